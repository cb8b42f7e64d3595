// DeviceSession: one device from OpenDevice to Close, in the terms of the classic interface.
//
// Shared between the set, which ends it, and the program's ClientVirtualDevice, which may live
// longer: after Shut every call is refused.
// Threads: any in CompleteCommand, one at a time in GetCommand; Shut and Drain once, beside them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "vdi/base/clock.h"
#include "vdi/base/status.h"
#include "vdi/client_device_set.h"
#include "vdi/sqlvdi/call_gate.h"
#include "vdi/sqlvdi/command_blocks.h"
#include "vdi/sqlvdi/diagnostics.h"
#include "vdi/sqlvdi/fork_guard.h"
#include "vdi/sqlvdi/settings.h"

namespace capstan::sqlvdi {

class DeviceSession {
 public:
  // `device` must stay until Drain has returned.
  DeviceSession(vdi::ClientDevice& device, std::string name, const Settings& settings)
      : device_(device),
        name_(std::move(name)),
        timeout_unit_(settings.timeout_unit),
        diagnostics_(settings),
        blocks_(std::make_unique<CommandBlocks>()) {}

  // The next command, or null once the server has closed the device.
  Result<VDC_Command*> GetCommand(std::int64_t timeout_ms);
  Status CompleteCommand(const VDC_Command* command, int completion_code, std::uint64_t bytes,
                         std::int64_t position);

  // From now on calls are refused with kFailedPrecondition.
  void Shut() { gate_.Shut(); }
  // Waits for the calls that were inside. REQUIRES: Shut, and the set behind it closed, which makes
  // them return.
  void Drain();

  const std::string& name() const { return name_; }
  TimeoutUnit timeout_unit() const { return timeout_unit_; }
  const Diagnostics& diagnostics() const { return diagnostics_; }
  bool closed_by_server() const { return closed_by_server_.load(std::memory_order_acquire); }

 private:
  Status NotOpen() const;

  vdi::ClientDevice& device_;
  const std::string name_;
  const TimeoutUnit timeout_unit_;
  const Diagnostics diagnostics_;
  const ForkGuard fork_guard_;

  CallGate gate_;
  std::unique_ptr<CommandBlocks> blocks_;  // until Drain; used inside the gate
  std::atomic<bool> closed_by_server_{false};
};

}  // namespace capstan::sqlvdi
