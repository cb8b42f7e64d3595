#include "vdi/client_device.h"

#include <utility>

#include "vdi/base/crash_point.h"

namespace capstan::vdi {
namespace {

bool IsTransfer(CommandCode code) {
  return code == CommandCode::kRead || code == CommandCode::kWrite;
}

bool ReportsPosition(CommandCode code) {
  return code == CommandCode::kGetPosition || code == CommandCode::kSetPosition;
}

}  // namespace

ClientDeviceEnd::ClientDeviceEnd(ClientDeviceOwner& owner, DeviceArea& area,
                                 SleepWord& engine_sleep, ClientBuffers buffers, std::string name)
    : owner_(owner),
      area_(area),
      engine_sleep_(engine_sleep),
      buffers_(buffers),
      name_(std::move(name)),
      commands_(area.commands),
      completions_(area.completions) {}

void ClientDeviceEnd::Open() {
  // SYNC(sleep), poster half: WakeIfAsleep loads the sleep word after this store.
  area_.client_state.store(kClientOpen, std::memory_order_seq_cst);
  WakeIfAsleep(engine_sleep_);
}

void ClientDeviceEnd::Retire() {
  MutexLock take_lock(take_mutex_);
  MutexLock complete_lock(complete_mutex_);
  retired_ = true;
  mute_ = true;
}

Result<std::optional<ClientCommand>> ClientDeviceEnd::GetCommand(Deadline deadline) {
  MutexLock lock(take_mutex_);
  for (;;) {
    CAPSTAN_RETURN_IF_ERROR(CheckUsable());
    const bool ready = WaitForWork(area_.client_sleep, spin_, deadline,
                                   [this]() CAPSTAN_NO_THREAD_SAFETY_ANALYSIS {
                                     return commands_.Ready() || owner_.aborted();
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
    CAPSTAN_ASSIGN_OR_RETURN(std::optional<ClientCommand> command, TakeOne());
    if (command || closed_by_engine()) {
      return command;
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

Result<std::optional<ClientCommand>> ClientDeviceEnd::TakeOne() {
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
    return std::optional<ClientCommand>();
  }
  if (RefuseInIoError(record)) {
    return std::optional<ClientCommand>();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const ClientCommand command, Deliver(record));
  CAPSTAN_CRASH_POINT_OF("vdi.client.after_get_command", CommandName(command.code));
  return std::optional<ClientCommand>(command);
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

Result<ClientCommand> ClientDeviceEnd::Deliver(const CommandRecord& record) {
  auto decoded = Decode(record);
  if (!decoded.ok()) {
    return decoded;
  }
  CAPSTAN_CRASH_POINT_OF("vdi.client.before_get_command", CommandName(decoded->code));
  MutexLock lock(complete_mutex_);
  Outstanding& entry = outstanding_[record.id & (kRingCapacity - 1)];
  if (record.id == 0 || entry.id != 0) {
    return Broken("a command's id is in use");
  }
  entry = {.id = record.id, .code = decoded->code, .size = record.size};
  return decoded;
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
    if (record.buffer_offset > buffers_.size ||
        record.size > buffers_.size - record.buffer_offset) {
      return Broken("a buffer lies outside its area");
    }
    command.buffer = buffers_.data + record.buffer_offset;
  }
  return command;
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
  // There is room: the engine never has more commands in flight than the ring has slots.
  if (completions_.Post(record) != RingResult::kDone) {
    return Error(Code::kInternal, "the completion ring of device '{}' is full", name_);
  }
  WakeIfAsleep(engine_sleep_);
  CAPSTAN_CRASH_POINT_OF("vdi.client.after_complete", CommandName(entry.code));
  return OkStatus();
}

}  // namespace capstan::vdi
