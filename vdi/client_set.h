// ClientSetEnd: one process's end of a device set, be it the primary or a secondary.
//
// Threads: one of its own reads what the engine says on the socket, and notices when it dies.
// Public methods: any thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/unique_fd.h"
#include "vdi/client_areas.h"
#include "vdi/client_device.h"
#include "vdi/client_device_set.h"
#include "vdi/control_message.h"
#include "vdi/segment_layout.h"
#include "vdi/shared_memory.h"

namespace capstan::vdi {

class ClientSetEnd final : public ClientDeviceSet, public ClientDeviceOwner {
 public:
  struct Origin {
    std::string name;
    UniqueFd socket;
    SharedMemory control;
    std::uint32_t member = 0;  // 0: the primary
  };
  // kResourceExhausted: no thread is to be had.
  static Result<std::unique_ptr<ClientSetEnd>> Start(Origin origin);
  ~ClientSetEnd() override { [[maybe_unused]] const Status closed = Close(); }

  Result<DeviceSetConfig> GetConfiguration(Deadline deadline) override;
  Result<ClientDevice*> OpenDevice(std::string_view name) override;
  Result<BufferHandle> GetBufferHandle(const std::byte* buffer) override;
  Result<std::byte*> MapBufferHandle(BufferHandle handle) override;
  void SignalAbort() override { AbortSet(Error(Code::kAborted, "the client called SignalAbort")); }
  Status abort_reason() const override;
  Status Close() override;

 private:
  explicit ClientSetEnd(Origin origin);

  // ClientDeviceOwner
  bool aborted() const override { return aborted_.load(std::memory_order_seq_cst); }
  bool engine_left() const override { return engine_left_.load(std::memory_order_seq_cst); }
  Status AbortedError() const override;
  void AbortSet(Status why) override;

  void Listen();
  bool Closing() const;
  // False: nothing more will come.
  bool HandleMessage(const ReceivedMessage& message, UniqueFd passed_fd);
  Status Configure(const ConfiguredMessage& message, UniqueFd passed_fd);
  Status AddArea(const AreaMessage& message, UniqueFd passed_fd);
  // True if this call was the first to end the set.
  bool EndSet(Status why);
  // The engine has said that the set is over in good order, and will say no more.
  void Leave();

  // The device of that name, unless the set or the device is in the way.
  Result<std::size_t> FindUnopened(std::string_view name) const CAPSTAN_REQUIRES(mutex_);
  // Devices that are this process's to close, all of them for the primary, and are not.
  bool LeavesDevicesOpen() const CAPSTAN_REQUIRES(mutex_);
  Status CheckConfigured() const CAPSTAN_REQUIRES(mutex_);
  Status AbortedErrorLocked() const CAPSTAN_REQUIRES(mutex_);
  Status ClosedError() const;

  ControlHeader& header() const;
  DeviceArea& device_area(std::size_t index) const;

  const std::string name_;
  const UniqueFd socket_;
  const std::uint32_t member_;
  std::optional<SharedMemory> control_;  // until Close
  ClientAreas buffers_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::atomic<bool> aborted_{false};
  std::atomic<bool> engine_left_{false};
  Status abort_reason_ CAPSTAN_GUARDED_BY(mutex_);
  std::optional<DeviceSetConfig> config_ CAPSTAN_GUARDED_BY(mutex_);  // once configured
  std::vector<std::string> names_ CAPSTAN_GUARDED_BY(mutex_);         // of the devices
  // By index of the device; null until this process opens it.
  std::vector<std::unique_ptr<ClientDeviceEnd>> devices_ CAPSTAN_GUARDED_BY(mutex_);
  bool closed_ CAPSTAN_GUARDED_BY(mutex_) = false;

  std::jthread thread_;
};

}  // namespace capstan::vdi
