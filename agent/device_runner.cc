#include "agent/device_runner.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "agent/abi_plugin.h"
#include "vdi/base/log.h"

namespace capstan::agent {
namespace {

using vdi::CommandCode;
using vdi::CompletionCode;

// The plugin's operations carry VDI's numbers, but not every command of VDI is one.
bool IsPluginOperation(CommandCode code) {
  switch (code) {
    case CommandCode::kRead:
    case CommandCode::kWrite:
    case CommandCode::kClearError:
    case CommandCode::kRewind:
    case CommandCode::kWriteMark:
    case CommandCode::kSkipMarks:
    case CommandCode::kSkipBlocks:
    case CommandCode::kLoad:
    case CommandCode::kGetPosition:
    case CommandCode::kSetPosition:
    case CommandCode::kFlush:
    case CommandCode::kComplete:
      return true;
    default:
      return false;
  }
}

bool IsTransfer(std::int32_t op) {
  return op == CAPSTAN_OP_READ || op == CAPSTAN_OP_WRITE;
}

bool ReportsPosition(std::int32_t op) {
  return op == CAPSTAN_OP_GET_POSITION || op == CAPSTAN_OP_SET_POSITION;
}

// What ends a stream or a volume in good order is a completion code, but no error.
bool IsError(CompletionCode code) {
  switch (code) {
    case CompletionCode::kSuccess:
    case CompletionCode::kHandleEof:
    case CompletionCode::kNoDataDetected:
    case CompletionCode::kFilemarkDetected:
    case CompletionCode::kEndOfMedia:
      return false;
    default:
      return true;
  }
}

// The report names the target by itself, and its readers know errors by their numbers.
std::string NumberAndText(const Status& error) {
  const int os_error = error.os_error();
  return os_error == 0 ? std::string(error.message())
                       : fmt::format("{}({})", os_error, std::generic_category().message(os_error));
}

// For a request that the plugin did not even take.
CompletionCode CodeOfRefusal(int os_error, CommandCode command) {
  switch (os_error) {
    case ENOSPC:
    case EDQUOT:
      return CompletionCode::kDiskFull;
    case EFBIG:
      return CompletionCode::kFileTooLarge;
    case EACCES:
    case EPERM:
      return CompletionCode::kAccessDenied;
    default:
      return command == CommandCode::kRead ? CompletionCode::kReadFault
                                           : CompletionCode::kWriteFault;
  }
}

}  // namespace

struct DeviceRunner::Slot {
  DeviceRunner* runner = nullptr;
  std::uint64_t command_id = 0;
  capstan_request request{};
};

DeviceRunner::DeviceRunner(std::string set_name, std::string device_name, std::string target,
                           std::unique_ptr<MediaDevice> medium)
    : set_name_(std::move(set_name)),
      device_name_(std::move(device_name)),
      target_(std::move(target)),
      medium_(std::move(medium)),
      reported_(std::chrono::steady_clock::now()) {}

DeviceRunner::~DeviceRunner() = default;

DeviceRunner::Ending DeviceRunner::Run(vdi::ClientDevice& device) {
  device_ = &device;
  while (true) {
    // Never: the engine's close, its abort and its death all end this wait, and so does our own
    // abort.
    auto command = device.GetCommand(Deadline::Never());
    if (!command.ok()) {
      CAPSTAN_LOG(kDebug, "device ended set={} device={} reason={}", set_name_, device_name_,
                  command.status().message());
      return Ending::kAborted;
    }
    if (!command->has_value()) {
      return Ending::kClosed;
    }
    Carry(**command);
  }
}

void DeviceRunner::Carry(const vdi::ClientCommand& command) {
  Slot* const slot = TakeSlot();
  slot->command_id = command.id;
  slot->request = capstan_request{};
  capstan_request& request = slot->request;
  request.struct_size = sizeof(request);
  request.op = static_cast<std::int32_t>(command.code);
  request.buffer = command.buffer;
  request.size = command.size;
  request.position = command.position;
  request.complete = OnComplete;
  request.context = slot;
  in_flight_.fetch_add(1, std::memory_order_relaxed);
  if (!IsPluginOperation(command.code)) {
    Finish(slot, CompletionCode::kNotSupported);
    return;
  }
  if (const Status status = medium_->Submit(&request); !status.ok()) {
    NoteError(status);
    Finish(slot, CodeOfRefusal(status.os_error(), command.code));
  }
}

DeviceRunner::Slot* DeviceRunner::TakeSlot() {
  const MutexLock lock(mutex_);
  if (free_.empty()) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->runner = this;
    free_.push_back(slots_.back().get());
  }
  Slot* const slot = free_.back();
  free_.pop_back();
  return slot;
}

// A C callback on a thread of the plugin.
void DeviceRunner::OnComplete(capstan_request* request) {
  Slot* const slot = static_cast<Slot*>(request->context);
  const auto code = static_cast<CompletionCode>(request->completion_code);
  if (IsError(code)) {
    slot->runner->NoteError(ErrorOf(request->error, slot->runner->target_));
  }
  slot->runner->Finish(slot, code);
}

void DeviceRunner::Finish(Slot* slot, CompletionCode code) {
  const capstan_request& request = slot->request;
  const std::uint32_t bytes =
      IsTransfer(request.op) ? std::min(request.bytes_transferred, request.size) : 0;
  const std::int64_t position = ReportsPosition(request.op) ? request.out_position : 0;
  const std::uint64_t command_id = slot->command_id;
  bytes_.fetch_add(bytes, std::memory_order_relaxed);
  if (request.op == CAPSTAN_OP_COMPLETE && code == CompletionCode::kSuccess) {
    completed_.store(true, std::memory_order_release);
  }
  in_flight_.fetch_sub(1, std::memory_order_relaxed);
  {
    const MutexLock lock(mutex_);
    free_.push_back(slot);
  }
  const Status status = device_->CompleteCommand(command_id, code, bytes, position);
  // An aborted set takes no completions any more; that is told by GetCommand.
  if (!status.ok() && status.code() != Code::kAborted && status.code() != Code::kUnavailable) {
    CAPSTAN_LOG(kWarning, "completion refused set={} device={} reason={}", set_name_, device_name_,
                status.message());
  }
}

void DeviceRunner::NoteError(const Status& error) {
  CAPSTAN_LOG(kWarning, "device error set={} device={} error={}", set_name_, device_name_,
              error.message());
  const MutexLock lock(mutex_);
  ++errors_;
  last_error_ = error;
}

Status DeviceRunner::CloseMedium(capstan_outcome outcome) {
  {
    const MutexLock lock(mutex_);
    last_status_ = medium_->status();
    last_status_.waits_for.clear();
    medium_open_ = false;
  }
  return medium_->Close(outcome);
}

DeviceLoad DeviceRunner::Load() {
  const auto now = std::chrono::steady_clock::now();
  const std::uint64_t bytes = bytes_.load(std::memory_order_relaxed);
  const MutexLock lock(mutex_);
  const double seconds = std::chrono::duration<double>(now - reported_).count();
  const auto rate = seconds > 0 ? static_cast<double>(bytes - reported_bytes_) / seconds : 0.0;
  reported_ = now;
  reported_bytes_ = bytes;
  return {.set_name = set_name_,
          .device_name = device_name_,
          .target = target_,
          .bytes = bytes,
          .bytes_per_second = static_cast<std::uint64_t>(rate),
          .queue_depth = in_flight_.load(std::memory_order_relaxed),
          .errors = errors_,
          .last_error = NumberAndText(last_error_),
          .last_error_text = std::string(last_error_.message()),
          .last_error_hint = std::string(last_error_.hint()),
          .status = medium_open_ ? medium_->status() : last_status_};
}

}  // namespace capstan::agent
