// DeviceHandles: every ClientVirtualDevice that OpenDevice gave to the program.
//
// The library owns them, says the interface, and they are of no use after Close. But programs use
// them after Close, and some delete them, before or after. So a handle outlives its set: it is
// retired, refuses every call, and goes when the program deletes it or kRetiredMax others have been
// retired since.
// Threads: any. One per process.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <unordered_map>

#include "vdi/base/mutex.h"
#include "vdi/sqlvdi/device_session.h"
#include "vdi/sqlvdi/include/vdi.h"

// What a ClientVirtualDevice points to.
struct CVD {
  explicit CVD(std::shared_ptr<capstan::sqlvdi::DeviceSession> its_session)
      : session(std::move(its_session)) {}

  static ClientVirtualDevice* NewHandle(std::unique_ptr<CVD> device);

  // Shared with the set: either may go first.
  const std::shared_ptr<capstan::sqlvdi::DeviceSession> session;
};

namespace capstan::sqlvdi {

class DeviceHandles {
 public:
  static constexpr std::size_t kRetiredMax = 4096;

  static DeviceHandles& OfProcess();

  ClientVirtualDevice* Make(const std::shared_ptr<DeviceSession>& session);
  // The session's set is closed. No-op if the program has deleted the handle.
  void Retire(const DeviceSession& session);
  // The handle is being destroyed, by the program or by Retire.
  void Forget(const ClientVirtualDevice* handle, const DeviceSession& session);

 private:
  DeviceHandles();

  Mutex mutex_;
  std::unordered_map<const DeviceSession*, ClientVirtualDevice*> open_ CAPSTAN_GUARDED_BY(mutex_);
  std::deque<ClientVirtualDevice*> retired_ CAPSTAN_GUARDED_BY(mutex_);  // oldest first
};

}  // namespace capstan::sqlvdi
