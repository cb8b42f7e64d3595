#include "server/engine/family_feed.h"

#include <algorithm>
#include <utility>

#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

bool IsEndOfData(vdi::CompletionCode code) {
  return code == vdi::CompletionCode::kHandleEof || code == vdi::CompletionCode::kNoDataDetected;
}

}  // namespace

FamilyFeed::~FamilyFeed() {
  for (TransferBuffer* buffer : free_) {
    set_.pool().Return(buffer);
  }
}

void FamilyFeed::OnRead(vdi::ServerCommand* command) {
  auto* buffer = static_cast<TransferBuffer*>(command->completion_context);
  auto* self = static_cast<FamilyFeed*>(buffer->owner);
  self->channel_.NoteCompletion(*command);
  MutexLock lock(self->mutex_);
  const auto read = std::find_if(self->reads_.begin(), self->reads_.end(),
                                 [&](const Read& r) { return r.buffer == buffer; });
  CAPSTAN_CHECK(read != self->reads_.end());
  read->completed = true;
  self->arrived_.NotifyOne();
}

Status FamilyFeed::Send(std::uint32_t size) {
  TransferBuffer* buffer = free_.back();
  free_.pop_back();
  buffer->Prepare({.code = vdi::CommandCode::kRead,
                   .size = size,
                   .position = position_,
                   .on_done = &FamilyFeed::OnRead,
                   .sender = this});
  {
    MutexLock lock(mutex_);
    reads_.push_back({.buffer = buffer});
  }
  if (Status status = channel_.Send(&buffer->command()); !status.ok()) {
    MutexLock lock(mutex_);
    reads_.pop_back();
    free_.push_back(buffer);
    return status;
  }
  position_ += size;
  return OkStatus();
}

TransferBuffer* FamilyFeed::Next() {
  MutexLock lock(mutex_);
  CAPSTAN_CHECK(!reads_.empty());
  while (!reads_.front().completed) {
    arrived_.Wait(mutex_);  // ends: the job's monitor aborts the set if the device stalls
  }
  TransferBuffer* buffer = reads_.front().buffer;
  reads_.pop_front();
  return buffer;
}

Status FamilyFeed::Feed(media::FamilyReader& reader, const TransferBuffer& buffer) {
  const vdi::ServerCommand& command = buffer.command();
  const vdi::CompletionCode code = command.completion_code;
  if (interrupted_ && code == vdi::CompletionCode::kIoDevice) {
    unread_ = true;
    return OkStatus();
  }
  const bool filemark = code == vdi::CompletionCode::kFilemarkDetected && set_.hard_filemarks();
  const bool end = IsEndOfData(code);
  if (code != vdi::CompletionCode::kSuccess && !filemark && !end) {
    return set_.ErrorOf(Direction::kRead, channel_, code);
  }
  const std::uint32_t bytes = command.bytes_transferred;
  const bool short_read = bytes != command.size && !filemark && !end;
  if (short_read || (unread_ && bytes > 0 && !set_.random_access())) {
    return set_.ErrorOf(Direction::kRead, channel_, vdi::CompletionCode::kReadFault);
  }
  interrupted_ = interrupted_ || filemark || end;
  if (reader.done() || reader.next_medium() != 0) {
    return OkStatus();
  }
  consumed_ += bytes;
  if (bytes > 0) {
    CAPSTAN_RETURN_IF_ERROR(reader.Consume(std::span<const std::byte>(buffer.data).first(bytes)));
  }
  if (const std::uint64_t jump = reader.TakeJump(); jump != 0) {
    consumed_ = jump;
    position_ = jump;
    return OkStatus();
  }
  if (first_frame_ && reader.may_read_ahead()) {  // so nothing else is in flight
    CAPSTAN_RETURN_IF_ERROR(SkipFrames(reader));
  }
  ended_ = ended_ || end;
  if (filemark) {
    CAPSTAN_RETURN_IF_ERROR(reader.OnFilemark());
    place_ = reader.TakePlace();
  }
  return OkStatus();
}

Status FamilyFeed::SkipFrames(media::FamilyReader& reader) {
  const auto ask = std::exchange(first_frame_, nullptr);
  // With large blocks, part of the first frame may have arrived already.
  const std::optional<FirstFrame> first = reader.at_frame() ? ask() : std::nullopt;
  if (!first || first->offset <= consumed_) {
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(reader.JumpToFrame(first->number, first->offset));
  consumed_ = first->offset;
  position_ = first->offset;
  return OkStatus();
}

Status FamilyFeed::TakeBuffers() {
  while (free_.size() < buffer_count_) {
    TransferBuffer* buffer = set_.pool().Take();
    if (buffer == nullptr) {
      return SqlError(3204);
    }
    free_.push_back(buffer);
  }
  return OkStatus();
}

Status FamilyFeed::Run(media::FamilyReader& reader) {
  CAPSTAN_RETURN_IF_ERROR(TakeBuffers());
  Status status = media_.Begin();
  while (status.ok() && !reader.done() && !error_.failed()) {
    status = ReadBatch(reader);
    if (status.ok() && !reader.done() && !error_.failed()) {
      status = GoOn(reader);
    }
  }
  if (!status.ok() && !set_.abort_reason().ok()) {
    return set_.ErrorOf(Direction::kRead, channel_, vdi::CompletionCode::kOperationAborted);
  }
  return status;
}

Status FamilyFeed::SendAhead(media::FamilyReader& reader) {
  const auto transfer_size = static_cast<std::uint32_t>(free_.front()->data.size());
  const std::size_t ahead = reader.may_read_ahead() ? buffer_count_ : 1;
  while (!refused_ && !interrupted_ && in_flight_ < ahead) {
    const std::uint32_t wanted = reader.next_read_size(transfer_size);
    const std::uint32_t block = set_.block_size();
    Status sent = Send(std::min(transfer_size, (wanted + block - 1) / block * block));
    if (sent.code() == Code::kFailedPrecondition && in_flight_ > 0) {
      refused_ = true;  // a read ahead has met a filemark or the end: it is among those in flight
      return OkStatus();
    }
    CAPSTAN_RETURN_IF_ERROR(std::move(sent));
    ++in_flight_;
  }
  return OkStatus();
}

Status FamilyFeed::ReadBatch(media::FamilyReader& reader) {
  interrupted_ = refused_ = unread_ = false;
  Status status;
  while (status.ok() && !reader.done() && !error_.failed()) {
    if (reader.next_medium() == 0) {
      status = SendAhead(reader);
    }
    if (in_flight_ == 0) {
      break;
    }
    TransferBuffer* buffer = Next();
    --in_flight_;
    if (status.ok()) {
      status = Feed(reader, *buffer);
    }
    free_.push_back(buffer);
  }
  Drain();
  return status;
}

Status FamilyFeed::GoOn(media::FamilyReader& reader) {
  if (interrupted_) {
    CAPSTAN_RETURN_IF_ERROR(media_.ClearError());
  }
  if (place_) {
    CAPSTAN_RETURN_IF_ERROR(media_.GoTo(*std::exchange(place_, std::nullopt)));
  }
  position_ = consumed_;
  if (ended_ || reader.next_medium() != 0) {
    CAPSTAN_RETURN_IF_ERROR(reader.EndMedium());
    if (reader.done() || !set_.removable()) {
      return reader.Finish();
    }
    CAPSTAN_RETURN_IF_ERROR(media_.Load(reader.next_medium()));
    reader.BeginNextMedium();
    position_ = 0;
    consumed_ = 0;
    ended_ = false;
  }
  return OkStatus();
}

void FamilyFeed::Drain() {
  for (; in_flight_ > 0; --in_flight_) {
    TransferBuffer* buffer = Next();
    interrupted_ =
        interrupted_ || buffer->command().completion_code != vdi::CompletionCode::kSuccess;
    free_.push_back(buffer);
  }
}

}  // namespace capstan::engine
