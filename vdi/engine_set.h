// EngineSet: the engine's end of one virtual device set.
//
// Made by the rendezvous when a client creates the set, handed to whoever opens it by name.
// Processes that join later are members of the set like the one that created it; each has a link.
// Threads: one completion thread of its own, from EndConfiguration to Close; it takes completions
// of all devices, runs the callbacks, and sees time-outs. Public methods: any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/buffer_pool.h"
#include "vdi/client_link.h"
#include "vdi/engine_device.h"
#include "vdi/segment_layout.h"
#include "vdi/server_device_set.h"
#include "vdi/shared_memory.h"

namespace capstan::vdi {

class EngineSet final : public ServerDeviceSet,
                        public ClientLink::Listener,
                        public EngineDeviceOwner {
 public:
  struct Origin {
    std::string name;
    DeviceSetConfig wishes;
    std::shared_ptr<ClientLink> link;
    std::uint64_t segment_bytes_max = 0;
  };
  // Allocates the control area; the set is Created. kResourceExhausted.
  static Result<std::unique_ptr<EngineSet>> Create(Origin origin);
  ~EngineSet() override;

  // Created to Connected, when a statement takes the set.
  void Connect();
  // REQUIRES: not closed.
  const SharedMemory& control() const { return *control_; }

  const std::string& name() const override { return origin_.name; }
  int client_pid() const override { return origin_.link->pid(); }
  DeviceSetConfig GetConfiguration() const override;
  Status BeginConfiguration(const EngineConfiguration& configuration) override;
  Status RequestBuffers(std::uint32_t size, std::uint32_t alignment, std::uint32_t count) override;
  Result<std::uint32_t> QueryAvailableBuffers(std::uint32_t size,
                                              std::uint32_t alignment) const override;
  Status EndConfiguration(std::span<const std::string> device_names) override;
  Result<std::byte*> AllocateBuffer(std::uint32_t size, std::uint32_t alignment) override;
  Status FreeBuffer(std::byte* buffer) override;
  bool IsSharedBuffer(const void* address) const override;
  Result<ServerDevice*> OpenDevice(std::string_view name, Deadline deadline) override;
  void SignalAbort(Status why) override;
  Status abort_reason() const override;
  Status Close() override;

 private:
  enum class State {
    kCreated,
    kConnected,
    kConfigurable,
    kInitializing,
    kActive,
    kNormallyTerminated,
    kAbort,
    kClosed,
  };
  static std::string_view NameOf(State state);

  EngineSet(Origin origin, SharedMemory control);

  // ClientLink::Listener
  void OnClientEnd(std::uint32_t member, ClientLink::Ending ending, const Status& why) override;
  Status OnJoin(const std::shared_ptr<ClientLink>& newcomer) override;
  std::string_view StateName() const override;
  // EngineDeviceOwner
  void AbortSet(Status why) override { SignalAbort(std::move(why)); }
  Status AbortedError() const override;
  Status CloseDevice(EngineDevice& device) override;

  ControlHeader& header() const;
  DeviceArea& device_area(std::size_t index) const;
  BufferPool& buffers() { return activity_.buffers; }
  const BufferPool& buffers() const { return activity_.buffers; }

  Status WrongState(std::string_view call) const CAPSTAN_REQUIRES(mutex_);
  Status AbortedErrorLocked() const CAPSTAN_REQUIRES(mutex_);
  static AreaMessage AnnounceArea(std::uint32_t index, const BufferArea& area);
  Result<BufferClass> ShapeOf(std::uint32_t size, std::uint32_t alignment,
                              std::uint32_t count) const CAPSTAN_REQUIRES(mutex_);
  Status AddRequest(const BufferClass& shape) CAPSTAN_REQUIRES(mutex_);
  Status CheckRoomFor(const std::vector<BufferClass>& classes) const CAPSTAN_REQUIRES(mutex_);
  Status ReserveRequested() CAPSTAN_REQUIRES(mutex_);
  // Whether the set is configured, and not over.
  bool InUse() const CAPSTAN_REQUIRES(mutex_) {
    return state_ == State::kInitializing || state_ == State::kActive;
  }
  Result<std::uint32_t> AdmitMember() CAPSTAN_EXCLUDES(mutex_);
  // Tells a process all that it needs to work.
  Status Introduce(ClientLink& link) const CAPSTAN_REQUIRES(mutex_);
  // Whoever cannot be told sees end-of-file instead.
  template <typename Message>
  void TellAll(const Message& message, int passed_fd = -1) const CAPSTAN_REQUIRES(mutex_) {
    if (!origin_.link->Send(message, passed_fd).ok()) {
      origin_.link->Shutdown();
    }
    for (const auto& [member, link] : secondaries_) {
      if (!link->Send(message, passed_fd).ok()) {
        link->Shutdown();
      }
    }
  }
  Result<EngineDevice*> FindUnopened(std::string_view device_name) CAPSTAN_REQUIRES(mutex_);
  void Abort(Status why) CAPSTAN_REQUIRES(mutex_);
  // Lets go of every link. On return nobody calls the set any more.
  void Disconnect() CAPSTAN_EXCLUDES(mutex_);

  void RunCompletions();
  // One look at every device. False: the set is over for this thread.
  bool HarvestAll(bool& progressed);
  bool HasWork() const;
  // When the client will have been silent for two intervals with commands in flight.
  Deadline SilenceDeadline() const;
  void AbortIfSilent();

  const Origin origin_;
  std::optional<SharedMemory> control_;  // until Close

  mutable Mutex mutex_;
  CondVar changed_;  // a device was opened by the client, or the state changed
  State state_ CAPSTAN_GUARDED_BY(mutex_) = State::kCreated;
  Status abort_reason_ CAPSTAN_GUARDED_BY(mutex_);
  DeviceSetConfig config_ CAPSTAN_GUARDED_BY(mutex_);
  // Processes that joined and are still there, by member.
  std::map<std::uint32_t, std::shared_ptr<ClientLink>> secondaries_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<BufferClass> requested_ CAPSTAN_GUARDED_BY(mutex_);  // until EndConfiguration
  std::size_t opened_count_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::size_t closed_count_ CAPSTAN_GUARDED_BY(mutex_) = 0;

  // Written in EndConfiguration, before the completion thread starts; constant afterwards.
  std::vector<std::unique_ptr<EngineDevice>> devices_;

  EngineActivity activity_;
  std::atomic<bool> stopping_{false};
  std::jthread completion_thread_;
};

}  // namespace capstan::vdi
