// AgentDirectory: the agents that are attached, what they were told to do, and what they said.
//
// An agent is here from Attach to Detach, or until it has been silent for one lease: then it counts
// as gone even if its process still exists (stopped, swapped out, hung). An agent that leaves, by
// either road, fails its pending orders at once and ends every device set it serves, through the
// set's watch: a job never waits for an agent that the directory has given up.
//
// Threads: any; owns one thread that watches the leases. Callbacks (on_gone of a watch, cancelled
// of a wait) run with the directory locked: they must not block and must not call back.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/coordinator/agent_link.h"
#include "vdi/base/clock.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

using AgentId = std::uint64_t;  // of one attachment; never used twice

struct AgentInfo {
  AgentId id = 0;
  std::string name;
  std::string agent_version;
  std::string plugin_name;
  std::string plugin_version;
  std::string plugin_vendor = {};
  std::string device_class;
  std::vector<std::string> schemes = {};
  std::uint32_t capabilities = 0;
  std::uint32_t device_features = 0;
  int pid = 0;
  std::int64_t attached_unix_s = 0;
  std::int64_t gone_unix_s = 0;  // 0 while it is attached
  std::string state =
      {};  // "Idle", "Serving" (has open sets), "Silent" (half a lease without word), "Gone"
  std::string last_error = {};  // of its last failed order or device, empty if there was none
};

// What the devices of agents of one name have done since the server started.
struct AgentTotals {
  std::string device_class = {};
  std::uint64_t requests = 0;
  std::uint64_t request_time_us = 0;
  std::uint64_t medium_time_us = 0;
  std::uint64_t throttled_us = 0;
  std::uint64_t retries = 0;
  std::uint64_t stops = 0;
  std::uint64_t errors = 0;
};

// How long a wait may take, and what ends it early.
struct Patience {
  Deadline deadline;
  std::function<bool()> cancelled = {};  // empty: nothing does
};

class AgentDirectory {
 public:
  struct Options {
    std::chrono::milliseconds lease{10'000};
    // How long a newcomer waits for an earlier agent of its name or class to go: one that was
    // killed and started again may arrive before its old stream is known to have ended.
    std::chrono::milliseconds takeover_wait{1'000};
    std::function<void()> on_attached = {};  // on the attaching thread, without a lock
    // An agent whose lease has run out, after it was let go: its process may hang, and then nobody
    // else ends it. On the lease thread, without a lock; must not block.
    std::function<void(const AgentInfo&)> on_lost = {};
  };
  explicit AgentDirectory(Options options);
  ~AgentDirectory();  // closes

  // --- the agents' side ---

  // Welcomes the agent. kFailedPrecondition: version, name or device class conflict;
  // kUnavailable: closed, or the agent went away. The link is shared because an order may still be
  // on its way out when the stream that the link stands for ends.
  Result<AgentId> Attach(const AgentHello& hello, std::shared_ptr<AgentLink> link)
      CAPSTAN_EXCLUDES(mutex_);
  void Detach(AgentId id, const Status& why) CAPSTAN_EXCLUDES(mutex_);
  // Both prove that the agent lives. Results of unknown orders are ignored: late ones are.
  void OnResult(AgentId id, std::uint64_t order_id, OrderResult result) CAPSTAN_EXCLUDES(mutex_);
  void OnReports(AgentId id, std::vector<DeviceReport> reports) CAPSTAN_EXCLUDES(mutex_);

  // --- the engine's side ---

  // An attached agent for "DISK", "URL" or "TAPE"; waits for one. Agents of one class share it by
  // the schemes of names ("s3" of "s3://..."): who names the scheme is preferred to who takes plain
  // names. Without a scheme in the name whoever takes plain names is preferred. kUnavailable,
  // kCancelled.
  Result<AgentInfo> WaitForAgent(const std::string& device_class, const Patience& patience,
                                 const std::string& scheme = "") CAPSTAN_EXCLUDES(mutex_);

  // Sends the order and waits for its result. A status without an answer from the agent names it:
  // kUnavailable (gone), kDeadlineExceeded, kCancelled. A set that an agent opens after nobody
  // waits for it any more is closed again.
  OrderResult Execute(AgentId id, const Order& order, const Patience& patience)
      CAPSTAN_EXCLUDES(mutex_);
  // Sends the order and forgets it.
  void Post(AgentId id, const Order& order) CAPSTAN_EXCLUDES(mutex_);

  // As long as the watch lives, `on_gone` is called (once) when the agent is gone; it does not run
  // any more once the watch is destroyed. The directory must outlive the watch.
  class SetWatch {
   public:
    SetWatch(AgentDirectory& directory, std::string set_name)
        : directory_(directory), set_name_(std::move(set_name)) {}
    ~SetWatch() { directory_.EndWatch(set_name_); }
    SetWatch(const SetWatch&) = delete;
    SetWatch& operator=(const SetWatch&) = delete;

   private:
    AgentDirectory& directory_;
    const std::string set_name_;
  };
  // kUnavailable: the agent is gone already.
  Result<std::unique_ptr<SetWatch>> WatchSet(AgentId id, const std::string& set_name,
                                             std::function<void(const Status& why)> on_gone)
      CAPSTAN_EXCLUDES(mutex_);

  // The last error that was reported for a device of a watched set; waits for a report of one.
  // Empty: none by the deadline, or no agent serves the set.
  std::string WaitForDeviceError(const std::string& set_name, const std::string& device_name,
                                 Deadline deadline) CAPSTAN_EXCLUDES(mutex_);

  // --- the tables' side ---

  std::vector<AgentInfo> List() const CAPSTAN_EXCLUDES(mutex_);
  // The last ones that left, one for each name that is not attached; `last_error` says why.
  std::vector<AgentInfo> ListGone() const CAPSTAN_EXCLUDES(mutex_);
  std::map<std::string, AgentTotals> Totals() const CAPSTAN_EXCLUDES(mutex_);  // by name
  std::optional<DeviceReport> FindReport(const std::string& device_name) const
      CAPSTAN_EXCLUDES(mutex_);

  // Lets every agent go and ends every wait. Nobody can attach from here on. Idempotent.
  void Close() CAPSTAN_EXCLUDES(mutex_);

 private:
  using TimePoint = Deadline::Clock::time_point;

  struct Agent {
    AgentInfo info;
    std::shared_ptr<AgentLink> link;
    TimePoint heard;        // when it last said something
    bool welcomed = false;  // orders may be sent
  };
  struct PendingOrder {
    AgentId agent = 0;
    std::string what;                   // for messages
    std::string opens_set;              // of an OpenSetOrder
    bool abandoned = false;             // nobody waits for the result
    std::optional<OrderResult> result;  // what the waiting thread takes
  };
  struct Watched {
    AgentId agent = 0;
    std::function<void(const Status&)> on_gone;
  };
  struct StoredReport {
    DeviceReport report;
    TimePoint at;
  };

  Status CheckHello(const AgentHello& hello) const;
  Status ConflictOf(const AgentHello& hello) const CAPSTAN_REQUIRES(mutex_);
  // Null if nobody serves it now.
  const Agent* AgentFor(const std::string& device_class, const std::string& scheme) const
      CAPSTAN_REQUIRES(mutex_);
  // Null if it has gone.
  Agent* Find(AgentId id) CAPSTAN_REQUIRES(mutex_);
  Status GoneError(const std::string& name, const Status& why) const;
  // Takes the agent out; returns its link, to be closed without the lock.
  std::shared_ptr<AgentLink> Remove(AgentId id, const Status& why) CAPSTAN_REQUIRES(mutex_);
  // Agents whose lease has run out, and when to look again.
  std::vector<AgentInfo> Expired(TimePoint& next) const CAPSTAN_REQUIRES(mutex_);
  // The order's id. kUnavailable: the agent is gone.
  Result<std::uint64_t> Dispatch(AgentId id, const Order& order, bool awaited)
      CAPSTAN_EXCLUDES(mutex_);
  void StoreReport(DeviceReport report) CAPSTAN_REQUIRES(mutex_);
  void AddToTotals(const AgentInfo& agent, const DeviceReport& report) CAPSTAN_REQUIRES(mutex_);
  void EndWatch(const std::string& set_name) CAPSTAN_EXCLUDES(mutex_);
  void WatchLeases(const std::stop_token& stop) CAPSTAN_EXCLUDES(mutex_);

  const Options options_;

  mutable Mutex mutex_;
  CondVar changed_;  // anything below
  bool closed_ CAPSTAN_GUARDED_BY(mutex_) = false;
  AgentId last_agent_id_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_order_id_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::map<AgentId, Agent> agents_ CAPSTAN_GUARDED_BY(mutex_);
  std::map<std::uint64_t, PendingOrder> orders_ CAPSTAN_GUARDED_BY(mutex_);
  std::map<std::string, Watched> watches_ CAPSTAN_GUARDED_BY(mutex_);       // by name of the set
  std::map<std::string, StoredReport> reports_ CAPSTAN_GUARDED_BY(mutex_);  // by name of the device
  std::map<std::string, AgentInfo> gone_ CAPSTAN_GUARDED_BY(mutex_);        // by name
  std::map<std::string, AgentTotals> totals_ CAPSTAN_GUARDED_BY(mutex_);    // likewise

  std::jthread lease_thread_;  // last: ended before the rest goes
};

}  // namespace capstan::coordinator
