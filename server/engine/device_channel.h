// DeviceChannel: one virtual device as the pipelines use it: commands that are waited for, errors
// in SQL Server's words, and the counters behind throughput and stall detection.
//
// Threads: any, unless a method says otherwise.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "server/engine/job.h"
#include "vdi/base/clock.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/server_device_set.h"

namespace capstan::engine {

// How long the engine waits for others. Set by configuration.
struct Timeouts {
  std::chrono::milliseconds device{
      60'000};  // a device that completes nothing for this long has failed
  std::chrono::milliseconds open{30'000};      // a set must be created, configured and opened
  std::chrono::milliseconds database{30'000};  // a lock that the database must grant
  std::chrono::milliseconds recover{15'000};   // an agent must finish or undo a medium
  std::chrono::milliseconds mount{3'600'000};  // a client must put the files of a snapshot in place
};

class DeviceChannel {
 public:
  // `target` is the name that the statement used, for messages.
  DeviceChannel(vdi::ServerDevice& device, std::string target, std::string agent)
      : device_(device), target_(std::move(target)), agent_(std::move(agent)) {}
  DeviceChannel(const DeviceChannel&) = delete;
  DeviceChannel& operator=(const DeviceChannel&) = delete;

  // Sends a command whose routine the caller has set; the routine must call NoteCompletion.
  Status Send(vdi::ServerCommand* command);
  void NoteCompletion(const vdi::ServerCommand& command);

  // Sends a command and waits for its completion; returns it, also when its code is not success.
  // A set that was aborted completes it with kOperationAborted, sent or not.
  // The wait is bounded by the job's monitor, which aborts the set when the device stalls or the
  // job is cancelled: an aborted set completes every command.
  Result<vdi::ServerCommand> Execute(vdi::ServerCommand command);
  // The same for a command that waits for a person or a robot: the device does not count as stalled
  // meanwhile. `on_wait` is called several times a second until it has completed.
  Result<vdi::ServerCommand> ExecutePatiently(vdi::ServerCommand command,
                                              const std::function<void()>& on_wait);
  bool awaits_medium() const { return awaits_medium_.load(std::memory_order_acquire); }

  Status Close() { return device_.CloseDevice(); }

  const std::string& target() const { return target_; }
  const std::string& device_name() const { return device_.name(); }
  std::uint32_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }
  std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  // MonotonicNanos() of the last completion, or of the first send of a busy spell.
  std::uint64_t last_progress_ns() const {
    return last_progress_ns_.load(std::memory_order_relaxed);
  }
  // Nanoseconds during which at least one command was in flight.
  std::uint64_t busy_ns() const;

  void SetState(std::string_view state) CAPSTAN_EXCLUDES(mutex_);
  // From one thread: keeps the window of the current rate.
  DeviceSnapshot Sample(std::uint64_t now_ns) CAPSTAN_EXCLUDES(mutex_);

 private:
  vdi::ServerDevice& device_;
  const std::string target_;
  const std::string agent_;

  Result<vdi::ServerCommand> Execute(vdi::ServerCommand command,
                                     const std::function<void()>& on_wait);

  std::atomic<bool> awaits_medium_{false};
  std::atomic<std::uint32_t> in_flight_{0};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> last_progress_ns_{MonotonicNanos()};
  std::atomic<std::uint64_t> busy_since_ns_{0};  // 0 = idle
  std::atomic<std::uint64_t> busy_ns_{0};
  const std::uint64_t opened_ns_ = MonotonicNanos();

  Mutex mutex_;
  std::string state_ CAPSTAN_GUARDED_BY(mutex_) = "Active";
  std::uint64_t window_start_ns_ CAPSTAN_GUARDED_BY(mutex_) = MonotonicNanos();
  std::uint64_t window_start_bytes_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::optional<std::uint64_t> rate_now_ CAPSTAN_GUARDED_BY(mutex_);  // of the last whole window
};

// Whether a failure happened while writing or reading: 3202 or 3203.
enum class Direction { kWrite, kRead };

// The error for a command that completed with a code other than success: `Write on "x" failed:
// 112(...)`. `detail`, if not empty, is the agent's own account with the OS number, and is
// preferred.
Status CommandError(Direction direction, const std::string& target, vdi::CompletionCode code,
                    const std::string& detail);

}  // namespace capstan::engine
