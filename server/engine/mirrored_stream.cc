#include "server/engine/mirrored_stream.h"

#include <algorithm>
#include <utility>

#include "server/messages/messages.h"

namespace capstan::engine {

// A buffer on its way to all mirrors.
struct MirroredStream::Flight {
  struct Copy {
    vdi::ServerCommand command;
    Flight* flight = nullptr;
    DeviceChannel* channel = nullptr;
  };

  MirroredStream* stream = nullptr;
  TransferBuffer* buffer = nullptr;
  std::atomic<std::size_t> outstanding{0};
  std::vector<Copy> copies;  // one per mirror
};

MirroredStream::MirroredStream(const Parts& parts, std::unique_ptr<media::FamilyWriter> writer)
    : FamilyStream(parts, std::move(writer)) {
  for (std::size_t i = 0; i < parts.mirror_count; ++i) {
    mirrors_.push_back(&set_.device(parts.device_index + i * parts.mirror_stride));
  }
}

MirroredStream::~MirroredStream() = default;

std::uint32_t MirroredStream::load() const {
  std::uint32_t load = 0;
  for (const DeviceChannel* mirror : mirrors_) {
    load = std::max(load, mirror->in_flight());
  }
  return load;
}

MirroredStream::Flight* MirroredStream::TakeFlight() {
  MutexLock lock(flights_mutex_);
  if (!idle_.empty()) {
    Flight* flight = idle_.back();
    idle_.pop_back();
    return flight;
  }
  // There are at most as many as there are buffers.
  Flight* flight = flights_.emplace_back(std::make_unique<Flight>()).get();
  flight->stream = this;
  flight->copies.resize(mirrors_.size());
  for (std::size_t i = 0; i < mirrors_.size(); ++i) {
    flight->copies[i].flight = flight;
    flight->copies[i].channel = mirrors_[i];
  }
  return flight;
}

void MirroredStream::Land(Flight* flight) {
  if (flight->outstanding.fetch_sub(1, std::memory_order_acq_rel) != 1) {
    return;
  }
  TransferBuffer* buffer = flight->buffer;
  TransferPool& pool = set_.pool();
  {
    MutexLock lock(flights_mutex_);
    idle_.push_back(flight);
  }
  pool.Return(buffer);  // the stream may be gone once its last buffer is back
}

void MirroredStream::OnWritten(vdi::ServerCommand* command) {
  auto* copy = static_cast<Flight::Copy*>(command->completion_context);
  copy->channel->NoteCompletion(*command);
  const bool success = command->completion_code == vdi::CompletionCode::kSuccess;
  if (!success || command->bytes_transferred != command->size) {
    copy->flight->stream->NoteFailure(
        *copy->channel, success ? vdi::CompletionCode::kWriteFault : command->completion_code);
  }
  copy->flight->stream->Land(copy->flight);
}

Status MirroredStream::Send(TransferBuffer* buffer, std::uint32_t size, std::uint64_t position) {
  Flight* flight = TakeFlight();
  flight->buffer = buffer;
  flight->outstanding.store(mirrors_.size(), std::memory_order_release);
  for (std::size_t i = 0; i < mirrors_.size(); ++i) {
    Flight::Copy& copy = flight->copies[i];
    copy.command.code = vdi::CommandCode::kWrite;
    copy.command.buffer = buffer->command.buffer;
    copy.command.size = size;
    copy.command.position = static_cast<std::int64_t>(position);
    copy.command.completion_routine = &MirroredStream::OnWritten;
    copy.command.completion_context = &copy;
    if (!copy.channel->Send(&copy.command).ok()) {
      DeviceChannel& refused = *copy.channel;
      for (std::size_t unsent = i; unsent < mirrors_.size(); ++unsent) {
        Land(flight);
      }
      // The set was aborted, or an earlier write failed: the pipeline finds the words for that.
      return CommandError(Direction::kWrite, refused.target(),
                          vdi::CompletionCode::kOperationAborted, "");
    }
  }
  return OkStatus();
}

Status MirroredStream::WriteFrame(TransferBuffer* buffer, const media::FrameExtent& extent) {
  MutexLock lock(mutex_);
  const std::uint32_t size = geometry_.FrameSize(extent.stored_size());
  const std::uint64_t position = writer_->SealFrame(buffer->data.first(size), extent);
  CAPSTAN_RETURN_IF_ERROR(Send(buffer, size, position));
  bytes_done_.fetch_add(extent.length, std::memory_order_relaxed);
  return OkStatus();
}

Status MirroredStream::WritePart(media::MediumPart& part) {
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

Status MirroredStream::WritePreamble() {
  position_ = writer_->preamble_offset();
  return WritePart(*writer_->Preamble());
}

Status MirroredStream::WriteTrailer(const media::BackupSet& final_set,
                                    std::span<const media::FamilySummary> families) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto trailer, writer_->Trailer(final_set, families));
  position_ = writer_->trailer_offset();
  return WritePart(*trailer);
}

}  // namespace capstan::engine
