// Agent: carries out the engine's orders with one plugin. Knows nothing of gRPC.
//
// Threads: any method from any thread; orders may run at the same time, each on its caller's
// thread. Owns a DeviceSetRunner per set that is open.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/device_set_runner.h"
#include "agent/media_plugin.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::agent {

class Agent {
 public:
  Agent(MediaPlugin& plugin, CreateDeviceSet create_set);  // `plugin` outlives the agent
  ~Agent();                                                // Stop

  MediaPlugin& plugin() { return plugin_; }

  // Where sets are created from now on.
  void SetRendezvousPath(const std::string& path) CAPSTAN_EXCLUDES(mutex_);

  // OK once every medium is open and the set exists. kAlreadyExists: the set is open here.
  OrderOutcome OpenDeviceSet(const DeviceSetOrder& order) CAPSTAN_EXCLUDES(mutex_);

  // Aborts the set and waits until its media are closed. OK if there is no such set.
  Status CloseDeviceSet(const std::string& set_name) CAPSTAN_EXCLUDES(mutex_);

  // The stream to the engine broke: ends every set and keeps what is under construction.
  void EngineVanished() CAPSTAN_EXCLUDES(mutex_);

  // Aborts every set, discards what is under construction, takes no more orders.
  void Stop(const std::string& why) CAPSTAN_EXCLUDES(mutex_);

  // The plugin hangs in every set that there is, long after the set was over, and none is
  // beginning: only the end of the process helps, and costs nobody anything. To be asked every
  // second or so.
  bool OnlyStuckSetsAreLeft() CAPSTAN_EXCLUDES(mutex_);

  // Of every open device, and once more of those whose set has ended since the last call.
  std::vector<DeviceLoad> Load() CAPSTAN_EXCLUDES(mutex_);

 private:
  using Runners = std::vector<std::shared_ptr<DeviceSetRunner>>;

  Status CheckMayOpen(const std::string& set_name) CAPSTAN_REQUIRES(mutex_);
  bool WaitForOwnHolder(const std::string& target) CAPSTAN_EXCLUDES(mutex_);
  Runners Open() CAPSTAN_EXCLUDES(mutex_);
  void Forget() CAPSTAN_EXCLUDES(mutex_);

  MediaPlugin& plugin_;
  const CreateDeviceSet create_set_;

  Mutex mutex_;
  bool stopped_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::string rendezvous_path_ CAPSTAN_GUARDED_BY(mutex_);
  // Shared: an order or a report may hold one while another order forgets it.
  Runners runners_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<std::string> opening_ CAPSTAN_GUARDED_BY(mutex_);    // set names
  std::vector<DeviceLoad> last_loads_ CAPSTAN_GUARDED_BY(mutex_);  // of sets that are forgotten
};

}  // namespace capstan::agent
