// SetSession: one device set from Create or OpenInSecondary to Close.
//
// A ClientVirtualDeviceSet has one session after the other; calls that are under way on other
// threads keep theirs until they return.
// Threads: any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/client_device_set.h"
#include "vdi/sqlvdi/device_session.h"
#include "vdi/sqlvdi/fork_guard.h"
#include "vdi/sqlvdi/settings.h"

namespace capstan::sqlvdi {

class SetSession {
 public:
  // `open` makes the set. It runs with all signals blocked: the thread that it starts must not run
  // the program's signal handlers.
  using Opener = std::function<Result<std::unique_ptr<vdi::ClientDeviceSet>>()>;
  static Result<std::shared_ptr<SetSession>> Open(std::string name, const Settings& settings,
                                                  const Opener& open);

  SetSession(std::unique_ptr<vdi::ClientDeviceSet> set, std::string name, const Settings& settings)
      : set_(std::move(set)), name_(std::move(name)), settings_(settings) {}

  Result<VDConfig> GetConfiguration(std::int64_t timeout_ms);
  // The handle belongs to DeviceHandles.
  Result<ClientVirtualDevice*> OpenDevice(std::string_view name);
  Result<unsigned int> GetBufferHandle(const std::uint8_t* buffer);
  Result<std::uint8_t*> MapBufferHandle(int handle);
  Status SignalAbort();

  // kAlreadyExists: devices were open; all is released even so. At most one call.
  Status Close();

  bool in_other_process() const { return fork_guard_.in_other_process(); }
  const std::string& name() const { return name_; }
  TimeoutUnit timeout_unit() const { return settings_.timeout_unit; }

 private:
  // All devices of the set are open here and have been closed by the server.
  bool NormallyTerminated() const;

  const std::unique_ptr<vdi::ClientDeviceSet> set_;
  const std::string name_;
  const Settings settings_;
  const ForkGuard fork_guard_;

  mutable Mutex mutex_;
  std::vector<std::shared_ptr<DeviceSession>> devices_ CAPSTAN_GUARDED_BY(mutex_);
  bool closing_ CAPSTAN_GUARDED_BY(mutex_) = false;
};

}  // namespace capstan::sqlvdi
