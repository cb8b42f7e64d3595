#include "server/engine/family_stream.h"

#include <utility>

#include "server/engine/mirrored_stream.h"
#include "server/engine/spanning_stream.h"
#include "server/messages/messages.h"
#include "vdi/base/mutex.h"

namespace capstan::engine {
namespace {

// Onto the one medium that the device has.
class DirectStream final : public FamilyStream {
 public:
  DirectStream(const Parts& parts, std::unique_ptr<media::FamilyWriter> writer)
      : FamilyStream(parts, std::move(writer)) {}

  std::uint32_t load() const override { return channel_.in_flight(); }
  Status WritePreamble() override {
    position_ = writer_->preamble_offset();
    return WritePart(*writer_->Preamble());
  }
  Status WriteFrame(TransferBuffer* buffer, const media::FrameExtent& extent) override
      CAPSTAN_EXCLUDES(mutex_);
  Status WriteTrailer(const media::BackupSet& final_set,
                      std::span<const media::FamilySummary> families) override;

 private:
  static void OnWritten(vdi::ServerCommand* command);
  Status WritePart(media::MediumPart& part);
  // Sends the first `size` bytes of `buffer` to `position`; gives the buffer back if that fails.
  Status Send(TransferBuffer* buffer, std::uint32_t size, std::uint64_t position);

  std::uint64_t position_ = 0;  // where the next piece of preamble or trailer goes

  Mutex mutex_;  // orders SealFrame and the send that follows it
};

void DirectStream::OnWritten(vdi::ServerCommand* command) {
  auto* buffer = static_cast<TransferBuffer*>(command->completion_context);
  auto* self = static_cast<DirectStream*>(buffer->owner);
  self->channel_.NoteCompletion(*command);
  if (command->completion_code != vdi::CompletionCode::kSuccess ||
      command->bytes_transferred != command->size) {
    self->NoteFailure(command->completion_code == vdi::CompletionCode::kSuccess
                          ? vdi::CompletionCode::kWriteFault
                          : command->completion_code);
  }
  self->set_.pool().Return(buffer);
}

Status DirectStream::Send(TransferBuffer* buffer, std::uint32_t size, std::uint64_t position) {
  buffer->owner = this;
  vdi::ServerCommand& command = buffer->command;
  command.code = vdi::CommandCode::kWrite;
  command.size = size;
  command.position = static_cast<std::int64_t>(position);
  command.completion_routine = &DirectStream::OnWritten;
  command.completion_context = buffer;
  if (!channel_.Send(&command).ok()) {
    set_.pool().Return(buffer);
    // The set was aborted, or an earlier write failed: the pipeline finds the words for that.
    return CommandError(Direction::kWrite, channel_.target(),
                        vdi::CompletionCode::kOperationAborted, "");
  }
  return OkStatus();
}

Status DirectStream::WriteFrame(TransferBuffer* buffer, const media::FrameExtent& extent) {
  MutexLock lock(mutex_);
  const std::uint32_t size = geometry_.FrameSize(extent.stored_size());
  const std::uint64_t position = writer_->SealFrame(buffer->data.first(size), extent);
  CAPSTAN_RETURN_IF_ERROR(Send(buffer, size, position));
  bytes_done_.fetch_add(extent.length, std::memory_order_relaxed);
  return OkStatus();
}

Status DirectStream::WritePart(media::MediumPart& part) {
  while (true) {
    TransferBuffer* buffer = set_.pool().Take();
    if (buffer == nullptr) {
      return SqlError(3204);
    }
    const std::size_t size = part.Fill(buffer->data);
    if (size == 0) {
      set_.pool().Return(buffer);
      return OkStatus();
    }
    CAPSTAN_RETURN_IF_ERROR(Send(buffer, static_cast<std::uint32_t>(size), position_));
    position_ += size;
  }
}

Status DirectStream::WriteTrailer(const media::BackupSet& final_set,
                                  std::span<const media::FamilySummary> families) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto trailer, writer_->Trailer(final_set, families));
  position_ = writer_->trailer_offset();
  return WritePart(*trailer);
}

}  // namespace

std::unique_ptr<FamilyStream> FamilyStream::Create(const Parts& parts,
                                                   std::unique_ptr<media::FamilyWriter> writer) {
  if (parts.mirror_count > 1) {
    return std::make_unique<MirroredStream>(parts, std::move(writer));
  }
  if (parts.set.removable()) {
    return std::make_unique<SpanningStream>(parts, std::move(writer));
  }
  return std::make_unique<DirectStream>(parts, std::move(writer));
}

void FamilyStream::NoteFailure(DeviceChannel& channel, vdi::CompletionCode code) {
  auto none = vdi::CompletionCode::kSuccess;
  if (failure_.compare_exchange_strong(none, code, std::memory_order_acq_rel)) {
    failed_.store(&channel, std::memory_order_release);
  }
  error_.Set(CommandError(Direction::kWrite, channel.target(), code, ""));
}

}  // namespace capstan::engine
