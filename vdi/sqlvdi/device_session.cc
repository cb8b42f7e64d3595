#include "vdi/sqlvdi/device_session.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "vdi/sqlvdi/error_codes.h"
#include "vdi/sqlvdi/timeouts.h"

namespace capstan::sqlvdi {

Result<VDC_Command*> DeviceSession::GetCommand(std::int64_t timeout_ms) {
  const CallGate::Pass pass(gate_);
  if (!pass || fork_guard_.in_other_process()) {
    return NotOpen();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<vdi::ClientCommand> command,
                           device_.GetCommand(DeadlineAfterMs(timeout_ms)));
  if (!command) {
    closed_by_server_.store(true, std::memory_order_release);
    return static_cast<VDC_Command*>(nullptr);
  }
  VDC_Command* const block = blocks_->Take(*command);
  if (block == nullptr) {
    return Error(Code::kInternal, "{} commands of device '{}' are outstanding",
                 CommandBlocks::kCount, name_);
  }
  return block;
}

Status DeviceSession::CompleteCommand(const VDC_Command* command, int completion_code,
                                      std::uint64_t bytes, std::int64_t position) {
  const CallGate::Pass pass(gate_);
  if (!pass || fork_guard_.in_other_process()) {
    return NotOpen();
  }
  const std::uint64_t id = blocks_->IdOf(command);
  // More than 32 bits is more than any command asks for, and refused where it counts.
  const auto bytes_in_range = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(bytes, std::numeric_limits<std::uint32_t>::max()));
  CAPSTAN_RETURN_IF_ERROR(
      device_.CompleteCommand(id, CompletionCodeOf(completion_code), bytes_in_range, position));
  blocks_->Release(command);
  return OkStatus();
}

void DeviceSession::Drain() {
  gate_.AwaitEmpty();
  blocks_.reset();
}

Status DeviceSession::NotOpen() const {
  if (fork_guard_.in_other_process()) {
    return Error(Code::kFailedPrecondition, "device '{}' belongs to the process before the fork",
                 name_)
        .WithHint("use OpenInSecondary to join the set from another process");
  }
  return Error(Code::kFailedPrecondition, "device '{}' is closed: its set is", name_);
}

}  // namespace capstan::sqlvdi
