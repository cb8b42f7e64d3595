#include "server/engine/family_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "server/messages/messages.h"

namespace capstan::engine {

FamilyStream::FamilyStream(OpenSet& set, DeviceChannel& channel,
                           std::unique_ptr<media::FamilyWriter> writer, FirstError& error,
                           std::atomic<std::uint64_t>& bytes_done)
    : set_(set),
      channel_(channel),
      writer_(std::move(writer)),
      geometry_(writer_->geometry()),
      error_(error),
      bytes_done_(bytes_done) {}

void FamilyStream::OnWritten(vdi::ServerCommand* command) {
  auto* buffer = static_cast<TransferBuffer*>(command->completion_context);
  auto* self = static_cast<FamilyStream*>(buffer->owner);
  self->channel_.NoteCompletion(*command);
  if (command->completion_code != vdi::CompletionCode::kSuccess ||
      command->bytes_transferred != command->size) {
    const vdi::CompletionCode code = command->completion_code == vdi::CompletionCode::kSuccess
                                         ? vdi::CompletionCode::kWriteFault
                                         : command->completion_code;
    auto none = vdi::CompletionCode::kSuccess;
    self->failure_.compare_exchange_strong(none, code, std::memory_order_acq_rel);
    // The job's thread finds better words once everything has drained (OpenSet::ErrorOf may wait).
    self->error_.Set(CommandError(Direction::kWrite, self->channel_.target(), code, ""));
  }
  self->set_.pool().Return(buffer);
}

Status FamilyStream::Send(TransferBuffer* buffer, std::uint32_t size, std::uint64_t position) {
  buffer->owner = this;
  vdi::ServerCommand& command = buffer->command;
  command.code = vdi::CommandCode::kWrite;
  command.size = size;
  command.position = static_cast<std::int64_t>(position);
  command.completion_routine = &FamilyStream::OnWritten;
  command.completion_context = buffer;
  if (!channel_.Send(&command).ok()) {
    set_.pool().Return(buffer);
    // The set was aborted, or an earlier write failed: the pipeline finds the words for that.
    return CommandError(Direction::kWrite, channel_.target(),
                        vdi::CompletionCode::kOperationAborted, "");
  }
  return OkStatus();
}

Status FamilyStream::WriteFrame(TransferBuffer* buffer, const media::FrameExtent& extent) {
  MutexLock lock(mutex_);
  const std::uint64_t position = writer_->SealFrame(buffer->data, extent);
  CAPSTAN_RETURN_IF_ERROR(Send(buffer, static_cast<std::uint32_t>(buffer->data.size()), position));
  bytes_done_.fetch_add(extent.length, std::memory_order_relaxed);
  return OkStatus();
}

Status FamilyStream::WritePreamble() {
  std::span<const std::byte> rest = writer_->preamble();
  while (!rest.empty()) {
    TransferBuffer* buffer = set_.pool().Take();
    if (buffer == nullptr) {
      return SqlError(3204);
    }
    const std::size_t size = std::min(rest.size(), buffer->data.size());
    std::memcpy(buffer->data.data(), rest.data(), size);
    CAPSTAN_RETURN_IF_ERROR(Send(buffer, static_cast<std::uint32_t>(size), position_));
    position_ += size;
    rest = rest.subspan(size);
  }
  return OkStatus();
}

Status FamilyStream::WriteTrailer(const media::BackupSet& final_set,
                                  std::span<const media::FamilySummary> families) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto trailer, writer_->Trailer(final_set, families));
  position_ = writer_->trailer_offset();
  while (true) {
    TransferBuffer* buffer = set_.pool().Take();
    if (buffer == nullptr) {
      return SqlError(3204);
    }
    const std::size_t size = trailer->Fill(buffer->data);
    if (size == 0) {
      set_.pool().Return(buffer);
      return OkStatus();
    }
    CAPSTAN_RETURN_IF_ERROR(Send(buffer, static_cast<std::uint32_t>(size), position_));
    position_ += size;
  }
}

}  // namespace capstan::engine
