#include "server/engine/family_feed.h"

#include <algorithm>

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
  buffer->owner = this;
  vdi::ServerCommand& command = buffer->command;
  command.code = vdi::CommandCode::kRead;
  command.size = size;
  command.position = position_;
  command.completion_routine = &FamilyFeed::OnRead;
  command.completion_context = buffer;
  {
    MutexLock lock(mutex_);
    reads_.push_back({.buffer = buffer});
  }
  if (Status status = channel_.Send(&command); !status.ok()) {
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
  const vdi::ServerCommand& command = buffer.command;
  if (IsEndOfData(command.completion_code)) {
    ended_ = true;
  } else if (command.completion_code != vdi::CompletionCode::kSuccess) {
    return set_.ErrorOf(Direction::kRead, channel_, command.completion_code);
  } else if (command.bytes_transferred != command.size) {
    return set_.ErrorOf(Direction::kRead, channel_, vdi::CompletionCode::kReadFault);
  }
  if (command.bytes_transferred > 0 && !reader.done()) {
    CAPSTAN_RETURN_IF_ERROR(
        reader.Consume(std::span<const std::byte>(buffer.data).first(command.bytes_transferred)));
  }
  return ended_ && !reader.done() ? reader.Finish() : OkStatus();
}

Status FamilyFeed::Run(media::FamilyReader& reader, const std::function<bool()>& set_known) {
  while (free_.size() < buffer_count_) {
    TransferBuffer* buffer = set_.pool().Take();
    if (buffer == nullptr) {
      return SqlError(3204);
    }
    free_.push_back(buffer);
  }
  const auto transfer_size = static_cast<std::uint32_t>(free_.front()->data.size());
  Status status;
  std::size_t in_flight = 0;
  bool refused = false;
  while (status.ok() && !reader.done() && !ended_ && !error_.failed()) {
    const std::size_t ahead = set_known() ? buffer_count_ : 1;
    while (status.ok() && !refused && in_flight < ahead) {
      status = Send(reader.next_read_size(transfer_size));
      in_flight += status.ok() ? 1 : 0;
      if (status.code() == Code::kFailedPrecondition && in_flight > 0) {
        // A read ahead has met the end of the medium, or an error: it is among those in flight.
        refused = true;
        status = OkStatus();
      }
    }
    if (in_flight == 0) {
      break;
    }
    TransferBuffer* buffer = Next();
    --in_flight;
    if (status.ok()) {
      status = Feed(reader, *buffer);
    }
    free_.push_back(buffer);
  }
  Drain();
  if (!status.ok() && !set_.abort_reason().ok()) {
    return set_.ErrorOf(Direction::kRead, channel_, vdi::CompletionCode::kOperationAborted);
  }
  return status;
}

void FamilyFeed::Drain() {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (reads_.empty()) {
        return;
      }
    }
    free_.push_back(Next());
  }
}

}  // namespace capstan::engine
