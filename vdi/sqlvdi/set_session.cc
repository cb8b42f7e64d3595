#include "vdi/sqlvdi/set_session.h"

#include <algorithm>
#include <bit>

#include <pthread.h>
#include <signal.h>

#include "vdi/sqlvdi/device_handles.h"

namespace capstan::sqlvdi {
namespace {

class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

Result<std::shared_ptr<SetSession>> SetSession::Open(std::string name, const Settings& settings,
                                                     const Opener& open) {
  const BlockedSignals blocked;
  CAPSTAN_ASSIGN_OR_RETURN(std::unique_ptr<vdi::ClientDeviceSet> set, open());
  return std::make_shared<SetSession>(std::move(set), std::move(name), settings);
}

Result<VDConfig> SetSession::GetConfiguration(std::int64_t timeout_ms) {
  CAPSTAN_ASSIGN_OR_RETURN(const vdi::DeviceSetConfig config,
                           set_->GetConfiguration(DeadlineAfterMs(timeout_ms)));
  return std::bit_cast<VDConfig>(config);
}

Result<ClientVirtualDevice*> SetSession::OpenDevice(std::string_view name) {
  auto device = set_->OpenDevice(name);
  if (!device.ok()) {
    if (device.status().code() == Code::kAlreadyExists && NormallyTerminated()) {
      return Error(Code::kFailedPrecondition, "the server has closed all devices of set '{}'",
                   name_);
    }
    return std::move(device).status();
  }
  auto session = std::make_shared<DeviceSession>(**device, std::string(name), settings_);
  const MutexLock lock(mutex_);
  if (closing_) {
    return Error(Code::kFailedPrecondition, "device set '{}' is being closed", name_);
  }
  devices_.push_back(session);
  return DeviceHandles::OfProcess().Make(session);
}

bool SetSession::NormallyTerminated() const {
  const auto config = set_->GetConfiguration(Deadline::Now());
  const MutexLock lock(mutex_);
  return config.ok() && devices_.size() == config->device_count &&
         std::all_of(devices_.begin(), devices_.end(),
                     [](const auto& device) { return device->closed_by_server(); });
}

Result<unsigned int> SetSession::GetBufferHandle(const std::uint8_t* buffer) {
  return set_->GetBufferHandle(reinterpret_cast<const std::byte*>(buffer));
}

Result<std::uint8_t*> SetSession::MapBufferHandle(int handle) {
  CAPSTAN_ASSIGN_OR_RETURN(std::byte* const buffer,
                           set_->MapBufferHandle(static_cast<vdi::BufferHandle>(handle)));
  return reinterpret_cast<std::uint8_t*>(buffer);
}

Status SetSession::SignalAbort() {
  set_->SignalAbort();
  return OkStatus();
}

Status SetSession::Close() {
  std::vector<std::shared_ptr<DeviceSession>> devices;
  {
    const MutexLock lock(mutex_);
    closing_ = true;
    devices = devices_;
  }
  for (const auto& device : devices) {
    device->Shut();
  }
  Status closed = set_->Close();
  for (const auto& device : devices) {
    device->Drain();
    DeviceHandles::OfProcess().Retire(*device);
  }
  return closed;
}

}  // namespace capstan::sqlvdi
