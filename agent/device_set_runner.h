// DeviceSetRunner: one device set from the engine's order to its end.
//
//   Start: open every medium --> create the set --> (reply to the engine) --> thread:
//   wait for the configuration --> a thread per device --> all ended --> close media --> close the
//   set
//
// How the media end follows from how the set ended:
//   read                                              DONE
//   closed by the engine, every device completed      DONE
//   closed by the engine, some device not completed   DISCARD, all: a set is whole or nothing;
//                                                     KEEP if the order says so
//   aborted, the engine lives                         DISCARD; KEEP if the order says so
//   the engine is gone                                KEEP: its journal decides when it is back
//   Start failed                                      DISCARD; KEEP of what was to be gone on with
// Threads: Start and the destructor on one; the rest from any. Owns one thread for the set and one
// per device.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "agent/device_runner.h"
#include "agent/media_plugin.h"
#include "vdi/base/clock.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/client_device_set.h"

namespace capstan::agent {

// What the engine orders.
struct DeviceSetOrder {
  struct Device {
    std::string device_name = {};  // the first is called as the set
    std::string target = {};
    std::string token = {};
    std::uint64_t size_estimate = 0;  // bytes
  };
  std::string set_name = {};
  std::int64_t job_id = 0;
  capstan_open_mode mode = CAPSTAN_OPEN_READ;
  std::vector<Device> devices = {};
  std::int64_t retain_until_unix_s = 0;  // 0 = no wish
  std::uint32_t queue_depth_max = 8;
  std::uint64_t bytes_per_second_max = 0;  // of all devices together, 0 = no limit
  // Of REPLACE and CREATE alone:
  bool resume = false;  // goes on with what the tokens began
  bool keep = false;    // where media would be discarded, they are kept
};

// vdi::ClientDeviceSet::Create, or a test's stand-in.
using CreateDeviceSet = std::function<Result<std::unique_ptr<vdi::ClientDeviceSet>>(
    const std::string& rendezvous_path, std::string_view name, const vdi::DeviceSetConfig& wishes)>;

// How an order ended; `target` names the medium that failed, if it was one.
struct OrderOutcome {
  Status status = {};
  std::string target = {};
};

class DeviceSetRunner {
 public:
  struct Environment {
    MediaPlugin& plugin;  // outlives the runner
    CreateDeviceSet create_set;
    std::string rendezvous_path;
  };

  // Null if the order failed; then nothing is left of it, and *outcome says why.
  static std::unique_ptr<DeviceSetRunner> Start(const DeviceSetOrder& order,
                                                const Environment& environment,
                                                OrderOutcome* outcome);
  ~DeviceSetRunner();  // aborts what still runs, and waits

  const std::string& set_name() const { return order_.set_name; }
  bool HasTarget(const std::string& target) const;

  // Ends the set soon; media are discarded, or kept. Idempotent.
  void Abort(const std::string& why) CAPSTAN_EXCLUDES(mutex_);
  // The engine is gone: ends the set soon; media are kept. Idempotent.
  void EngineVanished() CAPSTAN_EXCLUDES(mutex_);

  // False if media and set are not closed by then.
  bool WaitUntilEnded(Deadline deadline) CAPSTAN_EXCLUDES(mutex_);
  bool ended() CAPSTAN_EXCLUDES(mutex_);
  // For how long the set has been aborted, or its media are to be closed with DISCARD or KEEP,
  // while the plugin has not let go of them; 0: neither, or all is closed.
  std::chrono::milliseconds EndingFor() CAPSTAN_EXCLUDES(mutex_);

  std::vector<DeviceLoad> Load();

 private:
  DeviceSetRunner(DeviceSetOrder order, const Environment& environment);

  OrderOutcome OpenMedia(MediaPlugin& plugin);
  Status CreateSet();
  // Closes what Start has opened so far, as if there had been no order.
  void GiveUp();
  void Run();
  Status Serve();
  capstan_outcome DecideOutcome() CAPSTAN_EXCLUDES(mutex_);
  void CloseMedia(capstan_outcome outcome);

  const DeviceSetOrder order_;
  const Environment environment_;
  std::vector<std::unique_ptr<DeviceRunner>> devices_;
  std::vector<DeviceRunner::Ending> endings_;  // one per device, written by its thread
  std::unique_ptr<vdi::ClientDeviceSet> set_;

  Mutex mutex_;
  CondVar changed_;
  bool engine_vanished_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::string abort_reason_ CAPSTAN_GUARDED_BY(mutex_);  // empty: we did not abort
  bool given_up_ CAPSTAN_GUARDED_BY(mutex_) = false;     // CloseMedia is to discard or keep
  bool ended_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::chrono::steady_clock::time_point ending_since_ CAPSTAN_GUARDED_BY(mutex_);  // if known

  std::jthread thread_;  // last: uses everything above
};

}  // namespace capstan::agent
