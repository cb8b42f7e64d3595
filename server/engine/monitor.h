// Monitor: what a job's thread does while others move data: report progress, notice a cancel, and
// end the job when a device stalls. Every wait of a worker is bounded by this loop.
//
// Threads: the job's thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "server/engine/first_error.h"
#include "server/engine/job.h"
#include "server/engine/open_set.h"

namespace capstan::engine {

class Monitor {
 public:
  struct Parts {
    Job& job;
    JobObserver& observer;
    OpenSet& set;
    FirstError& error;
    const std::atomic<std::uint64_t>& bytes_done;  // payload
    std::chrono::milliseconds device_timeout;
    std::optional<int> stats_percent;
  };

  explicit Monitor(Parts parts) : parts_(parts), next_percent_(parts.stats_percent.value_or(0)) {}

  // Returns when `wait` says that what is waited for has happened. `wait` blocks for at most the
  // given time. When the job is cancelled or a device stalls, the set is aborted; when the job has
  // failed, the pool is stopped: after either, what is waited for must happen by itself.
  void RunUntil(const std::function<bool(std::chrono::milliseconds)>& wait);

  // From here on a cancel comes too late.
  void IgnoreCancel() { cancellable_ = false; }

  // The "n percent processed." messages that are due, and one progress report.
  void Report();

 private:
  void CheckCancelled();
  void CheckStalled();

  Parts parts_;
  bool cancellable_ = true;
  int next_percent_;  // 0 = none is due any more
};

}  // namespace capstan::engine
