#include "server/engine/spanning_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "server/media/family_reader.h"
#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

using vdi::CompletionCode;

// A failure elsewhere does not wake the thread: it looks by itself.
constexpr std::chrono::milliseconds kWatchInterval{50};
// Fewer than the command ring has slots.
constexpr std::uint32_t kOutstandingMax = 128;
// A medium may warn before it holds a frame, if it was nearly full to begin with. Not two in a row:
// that would go on for ever.
constexpr int kMediaWithoutFramesMax = 1;
constexpr std::size_t kLabelSize = 64 << 10;  // bytes that surely hold a TAPE block

// The beginning of a medium, for its label.
class LabelSource final : public media::MediumSource {
 public:
  LabelSource(std::string device_name, std::span<const std::byte> bytes)
      : device_name_(std::move(device_name)), bytes_(bytes) {}
  const std::string& device_name() const override { return device_name_; }
  std::uint64_t size_bytes() const override { return 0; }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override {
    const std::size_t start = std::min<std::uint64_t>(offset, bytes_.size());
    const std::size_t size = std::min(target.size(), bytes_.size() - start);
    std::memcpy(target.data(), bytes_.data() + start, size);
    return size;
  }

 private:
  const std::string device_name_;
  const std::span<const std::byte> bytes_;
};

// All outstanding writes, and what ends the medium, must fit behind the place that warns.
std::uint64_t InFlightMax(const OpenSet& set, std::uint64_t transfer_size, std::uint64_t end_size) {
  const std::uint64_t zone = set.eom_warning_size();
  if (zone == 0) {
    return kOutstandingMax * transfer_size;
  }
  return std::max(transfer_size, zone - std::min(zone, end_size));
}

}  // namespace

SpanningStream::SpanningStream(const Parts& parts, std::unique_ptr<media::FamilyWriter> writer)
    : FamilyStream(parts, std::move(writer)),
      media_(set_, channel_, Direction::kWrite, error_),
      spare_(set_.spare(parts.devices.front())),
      transfer_size_(static_cast<std::uint32_t>(spare_.data.size())),
      end_size_(writer_->EndMedium()->size_bytes()),
      in_flight_max_(InFlightMax(set_, transfer_size_, end_size_)),
      thread_([this] { Run(); }) {}

SpanningStream::~SpanningStream() {
  MutexLock lock(mutex_);
  ending_ = true;
  work_.NotifyAll();
}

Status SpanningStream::WritePreamble() {
  return Do([this]() -> Status {
    const std::optional<media::TapePlace> place = writer_->preamble_place();
    CAPSTAN_RETURN_IF_ERROR(place ? media_.GoTo(*place) : media_.Begin());
    return WritePart(*writer_->Preamble(), /*stop_when_full=*/false).status();
  });
}

Status SpanningStream::WriteTrailer(const media::BackupSet& final_set,
                                    std::span<const media::FamilySummary> families) {
  return Do([&] { return EndFamily(final_set, families); });
}

Status SpanningStream::WriteFrame(TransferBuffer* buffer, const media::FrameExtent& extent) {
  load_.fetch_add(1, std::memory_order_relaxed);
  {
    MutexLock lock(mutex_);
    inbox_.push_back({.buffer = buffer, .extent = extent});
  }
  work_.NotifyAll();
  return error_.failed() ? CommandError(Direction::kWrite, channel_.target(),
                                        CompletionCode::kOperationAborted, "")
                         : OkStatus();
}

Status SpanningStream::Do(std::function<Status()> work) {
  Task task{.work = std::move(work)};
  MutexLock lock(mutex_);
  inbox_.push_back({.task = &task});
  work_.NotifyAll();
  while (!task.result) {
    task_done_.Wait(mutex_);  // ends: every command does, once the job's monitor aborts the set
  }
  return *std::move(task.result);
}

void SpanningStream::Run() {
  while (true) {
    Item item;
    Status status;
    switch (NextTurn(&item)) {
      case Turn::kFrame:
        status = SendFrame(item);
        break;
      case Turn::kTask:
        RunTask(item.task);
        break;
      case Turn::kSettle:
        status = Settle();
        break;
      case Turn::kGiveUp:
        GiveUp();
        break;
      case Turn::kEnd:
        return;
    }
    if (!status.ok()) {
      error_.Set(std::move(status));
    }
  }
}

SpanningStream::Turn SpanningStream::NextTurn(Item* item) {
  MutexLock lock(mutex_);
  std::optional<Turn> turn = TurnNow();
  while (!turn) {
    work_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kWatchInterval);
    turn = TurnNow();
  }
  if (turn == Turn::kFrame || turn == Turn::kTask) {
    *item = inbox_.front();
    inbox_.pop_front();
  }
  return *turn;
}

// What can be done now, if anything.
std::optional<SpanningStream::Turn> SpanningStream::TurnNow() {
  if (error_.failed() && (!inbox_.empty() || (outstanding_ == 0 && !flights_.empty()))) {
    return Turn::kGiveUp;
  }
  if (troubled_) {
    return outstanding_ == 0 && !error_.failed() ? std::optional(Turn::kSettle) : std::nullopt;
  }
  if (inbox_.empty()) {
    return ending_ && flights_.empty() ? std::optional(Turn::kEnd) : std::nullopt;
  }
  if (inbox_.front().task != nullptr) {
    return outstanding_ == 0 ? std::optional(Turn::kTask) : std::nullopt;
  }
  const bool room = in_flight_bytes_ == 0 || (in_flight_bytes_ + transfer_size_ <= in_flight_max_ &&
                                              outstanding_ < kOutstandingMax);
  return room ? std::optional(Turn::kFrame) : std::nullopt;
}

// The job has failed: nothing more is sent, and everybody gets back what is theirs.
void SpanningStream::GiveUp() {
  std::vector<TransferBuffer*> buffers;
  {
    MutexLock lock(mutex_);
    for (const Item& item : inbox_) {
      if (item.task != nullptr) {
        item.task->result = SqlError(3204);  // the pipeline knows the cause
      } else {
        buffers.push_back(item.buffer);
      }
    }
    inbox_.clear();
    if (outstanding_ == 0) {
      for (const Flight& flight : flights_) {
        buffers.push_back(flight.buffer);
      }
      flights_.clear();
      troubled_ = false;
    }
    task_done_.NotifyAll();
  }
  for (TransferBuffer* buffer : buffers) {
    load_.fetch_sub(1, std::memory_order_relaxed);
    set_.pool().Return(buffer);
  }
}

void SpanningStream::RunTask(Task* task) {
  Status result = task->work();
  MutexLock lock(mutex_);
  task->result = std::move(result);
  task_done_.NotifyAll();
}

Status SpanningStream::SendFrame(const Item& item) {
  if (full_) {
    Status changed = ChangeMedium(/*only_end_follows=*/false);
    if (!changed.ok()) {
      load_.fetch_sub(1, std::memory_order_relaxed);
      set_.pool().Return(item.buffer);
      return changed;
    }
  }
  TransferBuffer* buffer = item.buffer;
  const std::uint32_t size = geometry_.FrameSize(item.extent.stored_size());
  position_ = writer_->SealFrame(buffer->data.first(size), item.extent);
  buffer->Prepare(
      {.size = size, .position = position_, .on_done = &SpanningStream::OnWritten, .sender = this});
  {
    MutexLock lock(mutex_);
    flights_.push_back(
        {.serial = ++serial_, .buffer = buffer, .size = size, .position = position_});
    ++outstanding_;
    in_flight_bytes_ += size;
  }
  position_ += size;
  bytes_done_.fetch_add(item.extent.length, std::memory_order_relaxed);
  if (Status sent = channel_.Send(&buffer->command()); !sent.ok()) {
    // An earlier write has met the end of the medium, or an error; or the set was aborted.
    MutexLock lock(mutex_);
    Flight& flight = flights_.back();
    flight.completed = true;
    flight.code = sent.code() == Code::kAborted ? CompletionCode::kOperationAborted
                                                : CompletionCode::kIoDevice;
    --outstanding_;
    in_flight_bytes_ -= size;
    troubled_ = true;
  }
  return OkStatus();
}

void SpanningStream::OnWritten(vdi::ServerCommand* command) {
  auto* buffer = static_cast<TransferBuffer*>(command->completion_context);
  auto* self = static_cast<SpanningStream*>(buffer->owner);
  self->channel_.NoteCompletion(*command);
  const CompletionCode outcome = OutcomeOf(*command);
  const bool stored = outcome == CompletionCode::kSuccess;
  {
    MutexLock lock(self->mutex_);
    const auto flight = std::find_if(self->flights_.begin(), self->flights_.end(),
                                     [&](const Flight& f) { return f.buffer == buffer; });
    CAPSTAN_CHECK(flight != self->flights_.end());
    --self->outstanding_;
    self->in_flight_bytes_ -= command->size;
    if (stored) {
      self->last_stored_ = std::max(self->last_stored_, flight->serial);
      self->stored_behind_warning_ += self->troubled_ ? command->size : 0;
      self->flights_.erase(flight);
    } else {
      flight->completed = true;
      flight->code = outcome;
      flight->bytes = command->bytes_transferred;
      self->troubled_ = true;
    }
    self->work_.NotifyAll();
  }
  if (stored) {
    self->load_.fetch_sub(1, std::memory_order_relaxed);
    self->set_.pool().Return(buffer);
  }
}

// VDI specification, "Error Recovery" and "End of Media Processing".
Status SpanningStream::Settle() {
  std::vector<Flight> flights;
  std::uint64_t last_stored = 0;
  std::uint64_t stored_behind_warning = 0;
  {
    MutexLock lock(mutex_);
    flights.swap(flights_);
    last_stored = last_stored_;
    std::swap(stored_behind_warning, stored_behind_warning_);
    troubled_ = false;
  }
  Status status = CheckSettleable(flights, last_stored);
  UseRoom(stored_behind_warning);
  if (status.ok()) {
    status = media_.ClearError();
  }
  for (Flight& flight : flights) {
    if (status.ok()) {
      status = StoreRest(flight);
    }
    load_.fetch_sub(1, std::memory_order_relaxed);
    set_.pool().Return(flight.buffer);
  }
  return status;
}

// The first to fail must be a warning. Behind it there are more warnings and what was never taken;
// a write that was stored behind one that was not would have changed places with it.
Status SpanningStream::CheckSettleable(const std::vector<Flight>& flights,
                                       std::uint64_t last_stored) {
  std::uint64_t last_touched = last_stored;
  for (const Flight& flight : flights) {
    if (flight.bytes > 0) {
      last_touched = std::max(last_touched, flight.serial);
    }
  }
  bool warned = false;
  for (const Flight& flight : flights) {
    warned = warned || flight.code == CompletionCode::kEndOfMedia;
    const bool unsent = flight.code == CompletionCode::kIoDevice && warned;
    if (flight.code != CompletionCode::kEndOfMedia && !unsent) {
      return Fail(flight.code);
    }
    const bool whole = flight.bytes == flight.size;
    if (flight.bytes % set_.block_size() != 0 ||
        (!whole && flight.serial < last_touched && !set_.random_access())) {
      return Fail(CompletionCode::kWriteFault);
    }
    if (flight.code == CompletionCode::kEndOfMedia) {
      NoteWarning(flight.bytes);
    }
  }
  return OkStatus();
}

Status SpanningStream::StoreRest(Flight& flight) {
  const std::uint32_t rest = flight.size - flight.bytes;
  if (rest == 0) {
    return OkStatus();
  }
  std::memmove(flight.buffer->data.data(), flight.buffer->data.data() + flight.bytes, rest);
  return WriteNow(*flight.buffer, rest, flight.position + flight.bytes);
}

Status SpanningStream::WriteNow(TransferBuffer& buffer, std::uint32_t size,
                                std::uint64_t position) {
  while (true) {
    vdi::ServerCommand command;
    command.code = vdi::CommandCode::kWrite;
    command.buffer = buffer.data.data();
    command.size = size;
    command.position = static_cast<std::int64_t>(position);
    CAPSTAN_ASSIGN_OR_RETURN(const vdi::ServerCommand done, channel_.Execute(command));
    const std::uint32_t stored = done.bytes_transferred;
    if (done.completion_code == CompletionCode::kSuccess) {
      UseRoom(stored);
      return stored == size ? OkStatus() : Fail(CompletionCode::kWriteFault);
    }
    if (done.completion_code != CompletionCode::kEndOfMedia) {
      return Fail(done.completion_code);
    }
    NoteWarning(stored);
    CAPSTAN_RETURN_IF_ERROR(media_.ClearError());
    if (stored == size) {
      return OkStatus();
    }
    if (stored == 0 || stored % set_.block_size() != 0) {
      return Fail(CompletionCode::kEomOverflow);
    }
    size -= stored;
    position += stored;
    std::memmove(buffer.data.data(), buffer.data.data() + stored, size);
  }
}

// The medium warned while it took `size` bytes, the first of which may have been in its last zone.
void SpanningStream::NoteWarning(std::uint32_t size) {
  if (!std::exchange(full_, true)) {
    room_ = set_.eom_warning_size();
  }
  UseRoom(size);
}

void SpanningStream::UseRoom(std::uint64_t size) {
  room_ -= std::min(room_, size);
}

// What is no larger than the end of the medium never makes it worse.
bool SpanningStream::Fits(std::uint64_t size) const {
  return !full_ || size <= std::max(room_, end_size_);
}

Status SpanningStream::EndFamily(const media::BackupSet& final_set,
                                 std::span<const media::FamilySummary> families) {
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const auto trailer, writer_->Trailer(final_set, families));
    if (Fits(trailer->size_bytes())) {
      CAPSTAN_ASSIGN_OR_RETURN(const PartEnd end, WritePart(*trailer, /*stop_when_full=*/true));
      if (end == PartEnd::kWhole) {
        return OkStatus();
      }
    }
    CAPSTAN_RETURN_IF_ERROR(ChangeMedium(/*only_end_follows=*/true));
  }
}

Result<SpanningStream::PartEnd> SpanningStream::WritePart(media::MediumPart& part,
                                                          bool stop_when_full) {
  std::uint64_t left = part.size_bytes();
  while (true) {
    if (stop_when_full && !Fits(left)) {
      return PartEnd::kFull;
    }
    if (part.TakeFilemark()) {
      CAPSTAN_ASSIGN_OR_RETURN(const bool warned, media_.WriteFilemark());
      if (warned) {
        NoteWarning(0);
      }
      CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::uint64_t> block, media_.Position());
      if (block) {
        part.SetPosition(*block);
      }
      continue;
    }
    const auto size = static_cast<std::uint32_t>(part.Fill(spare_.data));
    if (size == 0) {
      return PartEnd::kWhole;
    }
    CAPSTAN_RETURN_IF_ERROR(WriteNow(spare_, size, position_));
    position_ += size;
    left -= size;
  }
}

Status SpanningStream::ChangeMedium(bool only_end_follows) {
  while (full_) {
    media_without_frames_ = writer_->frames_on_medium() == 0 ? media_without_frames_ + 1 : 0;
    if (media_without_frames_ > kMediaWithoutFramesMax) {
      return CommandError(Direction::kWrite, channel_.target(), CompletionCode::kEomOverflow, "")
          .WithHint(fmt::format("{} media in a row were too small to hold any data",
                                media_without_frames_));
    }
    CAPSTAN_RETURN_IF_ERROR(WritePart(*writer_->EndMedium(), /*stop_when_full=*/false).status());
    CAPSTAN_RETURN_IF_ERROR(media_.Flush());
    CAPSTAN_RETURN_IF_ERROR(writer_->NextMedium(only_end_follows));
    CAPSTAN_RETURN_IF_ERROR(media_.Load(writer_->header().media_sequence_number));
    position_ = 0;
    full_ = false;
    CAPSTAN_RETURN_IF_ERROR(RefuseOwnMedium());
    CAPSTAN_RETURN_IF_ERROR(WritePart(*writer_->Preamble(), /*stop_when_full=*/false).status());
  }
  return OkStatus();
}

// Somebody may have put the same medium in again; what is on it is part of this very backup.
Status SpanningStream::RefuseOwnMedium() {
  if (!set_.hard_filemarks() && !set_.random_access()) {
    return OkStatus();  // a pipe cannot be read and then written
  }
  vdi::ServerCommand command;
  command.code = vdi::CommandCode::kRead;
  command.buffer = spare_.data.data();
  command.size = static_cast<std::uint32_t>(std::min(spare_.data.size(), kLabelSize));
  CAPSTAN_ASSIGN_OR_RETURN(const vdi::ServerCommand done, channel_.Execute(command));
  if (done.completion_code != CompletionCode::kSuccess) {
    CAPSTAN_RETURN_IF_ERROR(media_.ClearError());  // empty, blank or not readable
  }
  CAPSTAN_RETURN_IF_ERROR(media_.Rewind());
  LabelSource source(channel_.target(),
                     std::span<const std::byte>(spare_.data).first(done.bytes_transferred));
  const Result<media::MediaHeader> label = media::ReadLabel(source);
  const media::MediaHeader& own = writer_->header();
  if (!label.ok() || label->media_set_id != own.media_set_id) {
    return OkStatus();
  }
  // Of sets that were overwritten or never came to their end.
  const bool later = label->family_number == own.family_number &&
                     label->media_sequence_number >= own.media_sequence_number;
  if (later) {
    return OkStatus();
  }
  return SqlError(3263, channel_.target(), label->media_sequence_number, label->family_number,
                  own.media_sequence_number, own.family_number);
}

Status SpanningStream::Fail(CompletionCode code) {
  NoteFailure(code);
  return CommandError(Direction::kWrite, channel_.target(), code, "");
}

}  // namespace capstan::engine
