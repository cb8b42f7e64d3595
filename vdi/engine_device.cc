#include "vdi/engine_device.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "vdi/base/clock.h"
#include "vdi/base/crash_point.h"
#include "vdi/configuration.h"
#include "vdi/wake.h"

namespace capstan::vdi {
namespace {

// How many completions one pass takes from one device before the others get their turn.
constexpr int kHarvestMax = 64;

// Win32 error numbers of the system end well below this; a client may use any of them.
constexpr std::uint32_t kCompletionCodeMax = 0xFFFF;

// An id is a serial number, never 0, above the command's place in the table.
constexpr std::uint64_t kFlightMask = kRingCapacity - 1;
constexpr int kFlightBits = 8;
static_assert(1U << kFlightBits == kRingCapacity);
// Stands in an entry of the table while the completion thread takes the command out of it. No
// serial number ever becomes so great.
constexpr std::uint64_t kFlightClaimed = ~std::uint64_t{0};

}  // namespace

template <typename... Args>
Status EngineDevice::Broken(fmt::format_string<Args...> what, Args&&... args) const {
  return Error(Code::kDataLoss, "the client broke the protocol on device '{}': {}", name_,
               fmt::format(what, std::forward<Args>(args)...));
}

EngineDevice::EngineDevice(EngineDeviceOwner& owner, EngineActivity& activity, DeviceArea& area,
                           std::string name)
    : owner_(owner),
      activity_(activity),
      area_(area),
      name_(std::move(name)),
      commands_(area.commands),
      completions_(area.completions) {}

Status EngineDevice::SendCommand(ServerCommand* command) {
  const SendOutcome outcome = TrySend(command);
  // From here on a sent command may already be called back and gone.
  return outcome == SendOutcome::kSent ? OkStatus() : ErrorOf(outcome, *command);
}

EngineDevice::SendOutcome EngineDevice::MaySend(const ServerCommand& command,
                                                BufferPool::Place& place) const {
  if (activity_.aborted.load(std::memory_order_acquire)) {
    return SendOutcome::kAborted;
  }
  if (state() != State::kOpen) {
    return SendOutcome::kNotOpen;
  }
  if (io_error_.load(std::memory_order_acquire) && command.code != CommandCode::kClearError) {
    return SendOutcome::kIoError;
  }
  if (!IsOffered(command)) {
    return SendOutcome::kNotOffered;
  }
  if (IsTransfer(command.code)) {
    const auto found = activity_.buffers.Find(command.buffer);
    if (!found) {
      return SendOutcome::kBadBuffer;
    }
    place = *found;
    if (command.size == 0 || command.size > place.size ||
        command.size % activity_.block_size != 0) {
      return SendOutcome::kBadSize;
    }
  } else if (MustWait(command)) {
    return SendOutcome::kNotAlone;
  }
  return in_flight() < kRingCapacity ? SendOutcome::kSent : SendOutcome::kFull;
}

bool EngineDevice::IsOffered(const ServerCommand& command) const {
  // The mask decides nearly all, and costs next to nothing.
  const auto number = static_cast<std::uint32_t>(command.code) & 31;
  return (activity_.offered_commands >> number & 1) != 0 &&
         (IsTransfer(command.code) ||
          OffersCommand(activity_.features, command.code, command.size));
}

bool EngineDevice::MustWait(const ServerCommand& command) const {
  if (command.code == CommandCode::kClearError && io_error_.load(std::memory_order_acquire)) {
    return clearing_.load(std::memory_order_acquire);
  }
  return in_flight() != 0;
}

EngineDevice::SendOutcome EngineDevice::TrySend(ServerCommand* command) {
  MutexLock lock(send_mutex_);
  BufferPool::Place place{};
  const SendOutcome verdict = MaySend(*command, place);
  if (verdict != SendOutcome::kSent) {
    return verdict;
  }
  command->sent_ns = MonotonicNanos();
  // Before it is counted: whoever sees the count sees that the wait has just begun, and not how
  // long the set had been idle.
  if (activity_.in_flight.load(std::memory_order_relaxed) == 0) {
    activity_.progress_ns.store(command->sent_ns, std::memory_order_relaxed);
  }
  activity_.in_flight.fetch_add(1, std::memory_order_release);
  in_flight_.fetch_add(1, std::memory_order_relaxed);
  if (command->code == CommandCode::kClearError) {
    clearing_.store(true, std::memory_order_relaxed);  // published with the flight
  }
  CommandRecord record{.id = 0,
                       .position = command->position,
                       .buffer_offset = place.offset,
                       .size = command->size,
                       .code = static_cast<std::int32_t>(command->code),
                       .buffer_area = place.area,
                       .reserved = {}};
  Flight& flight = ClaimFlight(command, record.id);
  CAPSTAN_CRASH_POINT_OF("vdi.server.before_send_command", CommandName(command->code));
  const RingResult posted = commands_.Post(record);
  if (posted == RingResult::kDone) {
    WakeIfAsleep(area_.client_sleep);
    CAPSTAN_CRASH_POINT_OF("vdi.server.after_send_command",
                           CommandName(static_cast<CommandCode>(record.code)));
    return SendOutcome::kSent;
  }
  // Only a client that moves its count wrongly brings us here: there were fewer commands in flight
  // than slots. If it guessed the id and completed the command before it was sent, then the
  // routine has run, and the command counts as sent.
  if (!flight.id.compare_exchange_strong(record.id, 0, std::memory_order_acq_rel)) {
    return SendOutcome::kSent;
  }
  if (command->code == CommandCode::kClearError) {
    clearing_.store(false, std::memory_order_release);
  }
  in_flight_.fetch_sub(1, std::memory_order_release);
  activity_.in_flight.fetch_sub(1, std::memory_order_relaxed);
  return posted == RingResult::kNothing ? SendOutcome::kFull : SendOutcome::kCorrupt;
}

EngineDevice::Flight& EngineDevice::ClaimFlight(ServerCommand* command, std::uint64_t& id) {
  // SYNC(flight-free), acquire half: fewer commands than entries are in flight, so one is free;
  // with completions in order it is the first one looked at.
  while (flights_[next_flight_].id.load(std::memory_order_acquire) != 0) {
    next_flight_ = (next_flight_ + 1) & kFlightMask;
  }
  Flight& flight = flights_[next_flight_];
  id = ++serial_ << kFlightBits | next_flight_;
  next_flight_ = (next_flight_ + 1) & kFlightMask;
  flight.command = command;
  // SYNC(flight-filled), release half; the acquire half is Settle.
  flight.id.store(id, std::memory_order_release);
  return flight;
}

Status EngineDevice::ErrorOf(SendOutcome outcome, const ServerCommand& command) {
  const std::string_view what = CommandName(command.code);
  switch (outcome) {
    case SendOutcome::kSent:
      return OkStatus();
    case SendOutcome::kFull:
      return Error(Code::kResourceExhausted, "the command queue of device '{}' is full ({})", name_,
                   kRingCapacity);
    case SendOutcome::kCorrupt:
      owner_.AbortSet(Broken("impossible count of commands taken"));
      return owner_.AbortedError();
    case SendOutcome::kAborted:
      return owner_.AbortedError();
    case SendOutcome::kNotOpen:
      return Error(Code::kFailedPrecondition, "unable to send {} to device '{}': it is not open",
                   what, name_);
    case SendOutcome::kIoError:
      return Error(Code::kFailedPrecondition,
                   "unable to send {} to device '{}': it is in IO-ERROR until ClearError", what,
                   name_);
    case SendOutcome::kNotOffered:
      return Error(Code::kUnimplemented,
                   "unable to send {} to device '{}': its client (features {:#x}) does not execute "
                   "it",
                   what, name_, activity_.features);
    case SendOutcome::kNotAlone:
      return Error(Code::kFailedPrecondition,
                   "unable to send {} to device '{}': other commands are in flight", what, name_);
    case SendOutcome::kBadBuffer:
      return Error(Code::kInvalidArgument,
                   "unable to send {} to device '{}': its buffer is not of the device set", what,
                   name_);
    case SendOutcome::kBadSize:
      return Error(
          Code::kInvalidArgument,
          "unable to send {} to device '{}': {} bytes are not a multiple of the block size {} "
          "that fits a buffer",
          what, name_, command.size, activity_.block_size);
  }
  return Error(Code::kInternal, "unknown outcome of a send");
}

bool EngineDevice::HasWork() const {
  return completions_.Ready() ||
         (!client_opened() && area_.client_state.load(std::memory_order_seq_cst) != kClientClosed);
}

Status EngineDevice::NoticeOpening() {
  const std::uint32_t word = area_.client_state.load(std::memory_order_acquire);
  if (word == kClientClosed) {
    return OkStatus();
  }
  if (StateOfWord(word) != kClientOpen ||
      MemberOfWord(word) > activity_.last_member.load(std::memory_order_acquire)) {
    return Broken("state {:#x}", word);
  }
  owner_word_.store(word, std::memory_order_release);
  return OkStatus();
}

bool EngineDevice::LeftOpenBy(std::uint32_t member) const {
  const std::uint32_t word = ClientWord(kClientOpen, member);
  // The segment as well: it may have gone before its opening was noticed.
  return state() != State::kDone && (owner_word_.load(std::memory_order_acquire) == word ||
                                     area_.client_state.load(std::memory_order_acquire) == word);
}

Status EngineDevice::Harvest(bool& progressed) {
  if (!client_opened()) {
    CAPSTAN_RETURN_IF_ERROR(NoticeOpening());
    progressed |= client_opened();
  }
  CompletionRecord record{};
  for (int i = 0; i < kHarvestMax && !activity_.aborted.load(std::memory_order_relaxed); ++i) {
    switch (completions_.Take(record)) {
      case RingResult::kDone:
        progressed = true;
        CAPSTAN_RETURN_IF_ERROR(Settle(record));
        break;
      case RingResult::kNothing:
        return OkStatus();
      case RingResult::kCorrupt:
        return Broken("impossible count of completions");
    }
  }
  return OkStatus();
}

Status EngineDevice::Settle(const CompletionRecord& record) {
  Flight& flight = flights_[record.id & kFlightMask];
  std::uint64_t expected = record.id;
  // SYNC(flight-filled), acquire half: `command` was written before this id. The entry is claimed
  // before the command is looked at: a client that guesses an id may complete the command while
  // TrySend, which could not post it, takes it back and returns it to its owner.
  if (record.id == 0 || record.id == kFlightClaimed ||
      !flight.id.compare_exchange_strong(expected, kFlightClaimed, std::memory_order_acq_rel)) {
    return Broken("no command {} is in flight", record.id);
  }
  ServerCommand* const command = flight.command;
  // SYNC(flight-free), release half; the acquire half is ClaimFlight.
  flight.id.store(0, std::memory_order_release);
  const bool transfer = IsTransfer(command->code);
  if (record.code > kCompletionCodeMax || (transfer && record.bytes > command->size)) {
    Status broken = Broken("{} of {} bytes completed with code {} and {} bytes",
                           CommandName(command->code), command->size, record.code, record.bytes);
    Strand(command);
    return broken;
  }
  command->completion_code = static_cast<CompletionCode>(record.code);
  command->bytes_transferred = transfer ? record.bytes : 0;
  command->out_position = ReportsPosition(command->code) ? record.position : 0;
  // A success of what was delivered before the failure does not end IO-ERROR; ClearError's does.
  const bool clears = command->code == CommandCode::kClearError;
  if (record.code != 0 || clears) {
    io_error_.store(record.code != 0, std::memory_order_release);
  }
  if (clears) {
    clearing_.store(false, std::memory_order_release);
  }
  [[maybe_unused]] const CommandCode code = command->code;  // it may be gone after its routine
  CAPSTAN_CRASH_POINT_OF("vdi.server.before_callback", CommandName(code));
  Land(command, MonotonicNanos());
  CAPSTAN_CRASH_POINT_OF("vdi.server.after_callback", CommandName(code));
  return OkStatus();
}

void EngineDevice::Land(ServerCommand* command, std::uint64_t now_ns) {
  command->completed_ns = now_ns;
  activity_.progress_ns.store(now_ns, std::memory_order_relaxed);
  activity_.in_flight.fetch_sub(1, std::memory_order_relaxed);
  // Before the routine runs, so that it may send what must be sent alone.
  in_flight_.fetch_sub(1, std::memory_order_release);
  command->completion_routine(command);
}

void EngineDevice::AbortInFlight() {
  {
    // Whoever is sending right now finishes first; whoever comes later sees `aborted`.
    MutexLock lock(send_mutex_);
  }
  std::vector<std::pair<std::uint64_t, ServerCommand*>> stranded;
  for (Flight& flight : flights_) {
    if (const std::uint64_t id = flight.id.load(std::memory_order_acquire); id != 0) {
      stranded.emplace_back(id, flight.command);
      flight.id.store(0, std::memory_order_release);
    }
  }
  std::sort(stranded.begin(), stranded.end());  // ids rise in order of sending
  for (const auto& [id, command] : stranded) {
    Strand(command);
  }
}

void EngineDevice::Strand(ServerCommand* command) {
  command->completion_code = CompletionCode::kOperationAborted;
  command->bytes_transferred = 0;
  command->out_position = 0;
  Land(command, MonotonicNanos());
}

Status EngineDevice::PostClose() {
  MutexLock lock(send_mutex_);
  if (in_flight() != 0) {
    return Error(Code::kFailedPrecondition,
                 "unable to close device '{}': {} commands are in flight", name_, in_flight());
  }
  if (const std::uint32_t word = area_.client_state.load(std::memory_order_acquire);
      word != owner_word_.load(std::memory_order_relaxed)) {
    return Broken("state {:#x} before the device was closed", word);
  }
  CommandRecord record{};
  record.code = kCloseRecord;
  if (commands_.Post(record) != RingResult::kDone) {
    return Broken("it takes no commands");
  }
  state_.store(State::kDone, std::memory_order_release);
  WakeIfAsleep(area_.client_sleep);
  return OkStatus();
}

void EngineDevice::Retire() {
  MutexLock lock(send_mutex_);
  state_.store(State::kDone, std::memory_order_release);
}

}  // namespace capstan::vdi
