#include "server/engine/family_stream.h"

#include <algorithm>
#include <utility>

#include "server/engine/spanning_stream.h"
#include "server/messages/messages.h"
#include "vdi/base/mutex.h"

namespace capstan::engine {
namespace {

using vdi::CompletionCode;

// Onto the one medium that each of its devices has.
class DirectStream final : public FamilyStream {
 public:
  DirectStream(const Parts& parts, std::unique_ptr<media::FamilyWriter> writer)
      : FamilyStream(parts, std::move(writer)) {
    for (const std::size_t device : parts.devices) {
      mirrors_.push_back(&set_.device(device));
    }
  }

  std::uint32_t load() const override;
  Status WritePreamble() override {
    return WritePart(*writer_->Preamble(), writer_->preamble_offset());
  }
  Status WriteFrame(TransferBuffer* buffer, const media::FrameExtent& extent) override
      CAPSTAN_EXCLUDES(mutex_);
  Status WriteTrailer(const media::BackupSet& final_set,
                      std::span<const media::FamilySummary> families) override;

 private:
  static void OnWritten(vdi::ServerCommand* command);
  Status WritePart(media::MediumPart& part, std::uint64_t position);
  // Sends the first `size` bytes of `buffer` to `position` of every mirror. Takes the buffer over.
  Status Send(TransferBuffer* buffer, std::uint32_t size, std::uint64_t position);
  // So many mirrors have the buffer, or will not get it.
  void Land(TransferBuffer* buffer, std::size_t mirrors);

  std::vector<DeviceChannel*> mirrors_;  // constant after construction

  Mutex mutex_;  // orders SealFrame and the sends that follow it
};

// That of the slowest.
std::uint32_t DirectStream::load() const {
  std::uint32_t load = 0;
  for (const DeviceChannel* mirror : mirrors_) {
    load = std::max(load, mirror->in_flight());
  }
  return load;
}

void DirectStream::Land(TransferBuffer* buffer, std::size_t mirrors) {
  if (buffer->awaited.fetch_sub(mirrors, std::memory_order_acq_rel) == mirrors) {
    set_.pool().Return(buffer);  // the stream may be gone once its last buffer is back
  }
}

void DirectStream::OnWritten(vdi::ServerCommand* command) {
  auto* buffer = static_cast<TransferBuffer*>(command->completion_context);
  auto* self = static_cast<DirectStream*>(buffer->owner);
  DeviceChannel& mirror =
      *self->mirrors_[static_cast<std::size_t>(command - buffer->commands.data())];
  mirror.NoteCompletion(*command);
  if (const CompletionCode outcome = OutcomeOf(*command); outcome != CompletionCode::kSuccess) {
    self->NoteFailure(mirror, outcome);
  }
  self->Land(buffer, 1);
}

Status DirectStream::Send(TransferBuffer* buffer, std::uint32_t size, std::uint64_t position) {
  buffer->Prepare(
      {.size = size, .position = position, .on_done = &DirectStream::OnWritten, .sender = this},
      mirrors_.size());
  for (std::size_t i = 0; i < mirrors_.size(); ++i) {
    if (!mirrors_[i]->Send(&buffer->commands[i]).ok()) {
      Land(buffer, mirrors_.size() - i);
      // The set was aborted, or an earlier write failed: the pipeline finds the words for that.
      return CommandError(Direction::kWrite, mirrors_[i]->target(),
                          CompletionCode::kOperationAborted, "");
    }
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

Status DirectStream::WritePart(media::MediumPart& part, std::uint64_t position) {
  while (true) {
    TransferBuffer* buffer = set_.pool().Take();
    if (buffer == nullptr) {
      return SqlError(3204);
    }
    const auto size = static_cast<std::uint32_t>(part.Fill(buffer->data));
    if (size == 0) {
      set_.pool().Return(buffer);
      return OkStatus();
    }
    CAPSTAN_RETURN_IF_ERROR(Send(buffer, size, position));
    position += size;
  }
}

Status DirectStream::WriteTrailer(const media::BackupSet& final_set,
                                  std::span<const media::FamilySummary> families) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto trailer, writer_->Trailer(final_set, families));
  return WritePart(*trailer, writer_->trailer_offset());
}

}  // namespace

std::unique_ptr<FamilyStream> FamilyStream::Create(const Parts& parts,
                                                   std::unique_ptr<media::FamilyWriter> writer) {
  if (parts.set.removable() && parts.devices.size() == 1) {
    return std::make_unique<SpanningStream>(parts, std::move(writer));
  }
  return std::make_unique<DirectStream>(parts, std::move(writer));
}

void FamilyStream::NoteFailure(DeviceChannel& channel, CompletionCode code) {
  auto none = CompletionCode::kSuccess;
  if (failure_.compare_exchange_strong(none, code, std::memory_order_acq_rel)) {
    failed_.store(&channel, std::memory_order_release);
  }
  error_.Set(CommandError(Direction::kWrite, channel.target(), code, ""));
}

CompletionCode FamilyStream::OutcomeOf(const vdi::ServerCommand& write) {
  return write.completion_code == CompletionCode::kSuccess && write.bytes_transferred != write.size
             ? CompletionCode::kWriteFault
             : write.completion_code;
}

}  // namespace capstan::engine
