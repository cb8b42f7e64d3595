// ScriptedDeviceSet: a client's device set whose engine is the test itself.
//
//   ScriptedEngine engine;
//   Agent agent(plugin, engine.creator());
//   ... agent opens a set ...
//   engine.Configure();
//   engine.Run(0, {.code = CommandCode::kWrite, ...});   // sends, waits for the completion
//   engine.CloseDevice(0);
//
// Threads: any.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/device_set_runner.h"
#include "vdi/base/mutex.h"
#include "vdi/client_device_set.h"

namespace capstan::test {

struct ScriptedCompletion {
  vdi::CompletionCode code = vdi::CompletionCode::kSuccess;
  std::uint32_t bytes = 0;
  std::int64_t position = 0;
};

// The engine of one set.
class ScriptedEngine {
 public:
  // For Agent and DeviceSetRunner. The engine outlives the sets.
  agent::CreateDeviceSet creator();
  void FailCreate(Status status);

  // Lets GetConfiguration return.
  void Configure();
  std::uint64_t Send(std::size_t device, vdi::ClientCommand command);
  // Nothing after ten seconds.
  std::optional<ScriptedCompletion> WaitFor(std::uint64_t command_id);
  std::optional<ScriptedCompletion> Run(std::size_t device, vdi::ClientCommand command) {
    return WaitFor(Send(device, command));
  }
  void CloseDevice(std::size_t device);
  void CloseDevices();
  void Abort();
  void Die();
  // Waits for the set to be closed by the client; false after ten seconds.
  bool WaitForClose();
  // Forgets the set, for the next one. REQUIRES: it is closed, and its agent done with it.
  void Renew();

  vdi::DeviceSetConfig wishes();
  std::string rendezvous_path();
  bool aborted();

 private:
  friend class ScriptedDevice;
  friend class ScriptedSet;
  struct DeviceState {
    std::string name;
    std::deque<vdi::ClientCommand> commands;
    bool closed = false;
  };

  void End(Status why) CAPSTAN_EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  Status create_failure_ CAPSTAN_GUARDED_BY(mutex_);
  vdi::DeviceSetConfig wishes_ CAPSTAN_GUARDED_BY(mutex_);
  std::string rendezvous_path_ CAPSTAN_GUARDED_BY(mutex_);
  bool configured_ CAPSTAN_GUARDED_BY(mutex_) = false;
  Status abort_reason_ CAPSTAN_GUARDED_BY(mutex_);
  bool closed_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::deque<DeviceState> devices_ CAPSTAN_GUARDED_BY(mutex_);  // in the order of opening
  std::uint64_t last_id_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::map<std::uint64_t, ScriptedCompletion> completions_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::test
