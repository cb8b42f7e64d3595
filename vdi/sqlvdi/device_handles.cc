#include "vdi/sqlvdi/device_handles.h"

#include <algorithm>

#include <pthread.h>

ClientVirtualDevice* CVD::NewHandle(std::unique_ptr<CVD> device) {
  auto handle = std::make_unique<ClientVirtualDevice>();
  handle->cvd = device.release();
  return handle.release();
}

namespace capstan::sqlvdi {
namespace {

Mutex* handles_mutex = nullptr;  // for the handlers of fork, which have no argument

}  // namespace

DeviceHandles& DeviceHandles::OfProcess() {
  // Never destroyed: programs delete devices from destructors that run at exit.
  static DeviceHandles& handles = *new DeviceHandles;
  return handles;
}

// A child that is forked while another thread holds the lock would never get it.
DeviceHandles::DeviceHandles() {
  handles_mutex = &mutex_;
  ::pthread_atfork([]() CAPSTAN_NO_THREAD_SAFETY_ANALYSIS { handles_mutex->Lock(); },
                   []() CAPSTAN_NO_THREAD_SAFETY_ANALYSIS { handles_mutex->Unlock(); },
                   []() CAPSTAN_NO_THREAD_SAFETY_ANALYSIS { handles_mutex->Unlock(); });
}

ClientVirtualDevice* DeviceHandles::Make(const std::shared_ptr<DeviceSession>& session) {
  ClientVirtualDevice* const handle = CVD::NewHandle(std::make_unique<CVD>(session));
  const MutexLock lock(mutex_);
  open_.emplace(session.get(), handle);
  return handle;
}

void DeviceHandles::Retire(const DeviceSession& session) {
  ClientVirtualDevice* oldest = nullptr;
  {
    const MutexLock lock(mutex_);
    const auto found = open_.find(&session);
    if (found == open_.end()) {
      return;
    }
    retired_.push_back(found->second);
    open_.erase(found);
    if (retired_.size() > kRetiredMax) {
      oldest = retired_.front();
      retired_.pop_front();
    }
  }
  delete oldest;
}

void DeviceHandles::Forget(const ClientVirtualDevice* handle, const DeviceSession& session) {
  const MutexLock lock(mutex_);
  if (open_.erase(&session) == 0) {
    const auto found = std::find(retired_.begin(), retired_.end(), handle);
    if (found != retired_.end()) {
      retired_.erase(found);
    }
  }
}

}  // namespace capstan::sqlvdi
