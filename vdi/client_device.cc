#include "vdi/client_device.h"

#include <utility>

#include "vdi/base/crash_point.h"

namespace capstan::vdi {
namespace {

// How long a command may be here before the area of its buffer: the area's descriptor comes through
// the socket, the command does not.
constexpr std::chrono::seconds kAreaPatience{5};

}  // namespace

ClientDeviceEnd::ClientDeviceEnd(const Shared& shared, DeviceArea& area, std::string name)
    : owner_(shared.owner),
      buffers_(shared.buffers),
      engine_sleep_(shared.engine_sleep),
      member_(shared.member),
      area_(area),
      name_(std::move(name)),
      commands_(area.commands),
      completions_(area.completions) {}

bool ClientDeviceEnd::Claim(const Shared& shared, DeviceArea& area) {
  std::uint32_t expected = kClientClosed;
  // SYNC(sleep), poster half: WakeIfAsleep loads the sleep word after this swap. Of all processes
  // that try, one finds the device closed.
  if (!area.client_state.compare_exchange_strong(expected, ClientWord(kClientOpen, shared.member),
                                                 std::memory_order_seq_cst)) {
    return false;
  }
  WakeIfAsleep(shared.engine_sleep);
  return true;
}

void ClientDeviceEnd::Retire() {
  MutexLock take_lock(take_mutex_);
  MutexLock complete_lock(complete_mutex_);
  retired_ = true;
  mute_ = true;
}

Result<std::optional<ClientCommand>> ClientDeviceEnd::GetCommand(Deadline deadline) {
  MutexLock lock(take_mutex_);
  for (std::uint32_t refused = 0;;) {
    CAPSTAN_RETURN_IF_ERROR(CheckUsable());
    const bool ready = WaitForWork(area_.client_sleep, spin_, deadline,
                                   [this]() CAPSTAN_NO_THREAD_SAFETY_ANALYSIS {
                                     return HasWork() || owner_.aborted() || owner_.engine_left();
                                   });
    if (!ready) {
      if (deadline.passed()) {
        return Error(Code::kDeadlineExceeded, "no command came for device '{}' in time", name_);
      }
      continue;
    }
    if (owner_.aborted()) {
      return owner_.AbortedError();
    }
    // Asked before the ring is: what the engine posted before it left is there.
    if (owner_.engine_left() && !HasWork()) {
      return Broken("it left without closing the device");
    }
    CAPSTAN_ASSIGN_OR_RETURN(std::optional<ClientCommand> command, TakeOne());
    if (command || closed_by_engine()) {
      return command;
    }
    // An honest engine cannot have sent more than this for us to refuse; another one is not
    // served beyond the deadline.
    if (++refused >= kRingCapacity && deadline.passed()) {
      return Error(Code::kDeadlineExceeded, "no command came for device '{}' in time", name_);
    }
  }
}

Status ClientDeviceEnd::CheckUsable() const {
  if (owner_.aborted()) {
    return owner_.AbortedError();
  }
  if (retired_ || closed_by_engine()) {
    return Error(Code::kFailedPrecondition, "device '{}' is closed", name_);
  }
  return OkStatus();
}

bool ClientDeviceEnd::HasWork() const {
  return held_ ? drained_.load(std::memory_order_seq_cst) : commands_.Ready();
}

Result<std::optional<ClientCommand>> ClientDeviceEnd::TakeOne() {
  if (held_) {
    const CommandRecord clear_error = *held_;
    held_.reset();
    return Deliver(clear_error);
  }
  CommandRecord record{};
  switch (commands_.Take(record)) {
    case RingResult::kNothing:
      return std::optional<ClientCommand>();
    case RingResult::kCorrupt:
      return Broken("impossible count of commands");
    case RingResult::kDone:
      break;
  }
  if (record.code == kCloseRecord) {
    closed_.store(true, std::memory_order_release);
    CAPSTAN_CRASH_POINT("vdi.client.after_device_closed");
    area_.client_state.store(ClientWord(kClientFinished, member_), std::memory_order_release);
    return std::optional<ClientCommand>();
  }
  if (RefuseInIoError(record) || HoldBack(record)) {
    return std::optional<ClientCommand>();
  }
  return Deliver(record);
}

bool ClientDeviceEnd::RefuseInIoError(const CommandRecord& record) {
  MutexLock lock(complete_mutex_);
  if (!io_error_ || record.code == static_cast<std::int32_t>(CommandCode::kClearError)) {
    return false;
  }
  // There is room: the engine counts this command as in flight until it has taken the record.
  if (completions_.Post({.id = record.id,
                         .position = 0,
                         .code = static_cast<std::uint32_t>(CompletionCode::kIoDevice),
                         .bytes = 0,
                         .reserved = 0}) == RingResult::kDone) {
    WakeIfAsleep(engine_sleep_);
    CAPSTAN_CRASH_POINT("vdi.client.after_refusal");
  }
  return true;
}

bool ClientDeviceEnd::HoldBack(const CommandRecord& record) {
  if (record.code != static_cast<std::int32_t>(CommandCode::kClearError)) {
    return false;
  }
  MutexLock lock(complete_mutex_);
  if (outstanding_count_ == 0) {
    return false;
  }
  held_ = record;
  draining_ = true;
  drained_.store(false, std::memory_order_relaxed);
  return true;
}

Result<std::optional<ClientCommand>> ClientDeviceEnd::Deliver(const CommandRecord& record) {
  CAPSTAN_ASSIGN_OR_RETURN(const ClientCommand command, Decode(record));
  CAPSTAN_CRASH_POINT_OF("vdi.client.before_get_command", CommandName(command.code));
  {
    MutexLock lock(complete_mutex_);
    Outstanding& entry = outstanding_[record.id & (kRingCapacity - 1)];
    if (record.id == 0 || entry.id != 0) {
      return Broken("a command's id is in use");
    }
    entry = {.id = record.id, .code = command.code, .size = record.size};
    ++outstanding_count_;
  }
  CAPSTAN_CRASH_POINT_OF("vdi.client.after_get_command", CommandName(command.code));
  return std::optional<ClientCommand>(command);
}

Result<ClientCommand> ClientDeviceEnd::Decode(const CommandRecord& record) const {
  if (record.code < static_cast<std::int32_t>(CommandCode::kRead) ||
      record.code > static_cast<std::int32_t>(CommandCode::kComplete)) {
    return Broken("unknown command");
  }
  ClientCommand command{.id = record.id,
                        .code = static_cast<CommandCode>(record.code),
                        .size = record.size,
                        .position = record.position,
                        .buffer = nullptr};
  if (IsTransfer(command.code)) {
    CAPSTAN_ASSIGN_OR_RETURN(command.buffer, Locate(record));
  }
  return command;
}

Result<std::byte*> ClientDeviceEnd::Locate(const CommandRecord& record) const {
  const SharedMemory* const area = buffers_.Await(record.buffer_area, kAreaPatience);
  if (area == nullptr) {
    return owner_.aborted() ? owner_.AbortedError() : Broken("a buffer's area never came");
  }
  if (record.buffer_offset > area->size() || record.size > area->size() - record.buffer_offset) {
    return Broken("a buffer lies outside its area");
  }
  return area->data() + record.buffer_offset;
}

Status ClientDeviceEnd::Broken(std::string_view what) const {
  owner_.AbortSet(
      Error(Code::kDataLoss, "the engine broke the protocol on device '{}': {}", name_, what));
  return owner_.AbortedError();
}

Status ClientDeviceEnd::CompleteCommand(std::uint64_t command_id, CompletionCode code,
                                        std::uint32_t bytes, std::int64_t position) {
  if (owner_.aborted()) {
    return owner_.AbortedError();
  }
  MutexLock lock(complete_mutex_);
  if (mute_ || closed_by_engine()) {
    return Error(Code::kFailedPrecondition, "device '{}' is closed", name_);
  }
  Outstanding& entry = outstanding_[command_id & (kRingCapacity - 1)];
  if (command_id == 0 || entry.id != command_id) {
    return Error(Code::kInvalidArgument, "no command {} is outstanding on device '{}'", command_id,
                 name_);
  }
  CAPSTAN_CRASH_POINT_OF("vdi.client.before_complete", CommandName(entry.code));
  const bool transfer = IsTransfer(entry.code);
  if (transfer && bytes > entry.size) {
    return Error(Code::kInvalidArgument, "{} of {} bytes cannot have transferred {}",
                 CommandName(entry.code), entry.size, bytes);
  }
  const CompletionRecord record{.id = command_id,
                                .position = ReportsPosition(entry.code) ? position : 0,
                                .code = static_cast<std::uint32_t>(code),
                                .bytes = transfer ? bytes : 0,
                                .reserved = 0};
  if (code != CompletionCode::kSuccess || entry.code == CommandCode::kClearError) {
    io_error_ = code != CompletionCode::kSuccess;
  }
  entry.id = 0;
  if (--outstanding_count_ == 0 && draining_) {
    draining_ = false;
    // SYNC(sleep), poster half: the ClearError that GetCommand holds back is this post's work.
    drained_.store(true, std::memory_order_seq_cst);
    WakeIfAsleep(area_.client_sleep);
  }
  // There is room: the engine never has more commands in flight than the ring has slots.
  if (completions_.Post(record) != RingResult::kDone) {
    return Error(Code::kInternal, "the completion ring of device '{}' is full", name_);
  }
  WakeIfAsleep(engine_sleep_);
  CAPSTAN_CRASH_POINT_OF("vdi.client.after_complete", CommandName(entry.code));
  return OkStatus();
}

}  // namespace capstan::vdi
