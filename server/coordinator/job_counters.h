// JobCounters: what jobs have done since the server started, for its metrics.
//
// Threads: any.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "server/engine/job.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

class JobCounters {
 public:
  // Upper bounds of the durations that are told apart, seconds.
  static constexpr std::array<double, 8> kDurationBounds = {1, 5, 15, 60, 300, 900, 3'600, 14'400};

  struct Durations {
    std::array<std::uint64_t, kDurationBounds.size()> counts{};  // up to each bound
    std::uint64_t count = 0;
    double sum_s = 0;
  };
  using Pair = std::pair<std::string, std::string>;
  struct Totals {
    std::map<Pair, std::uint64_t> jobs;          // by kind and outcome
    std::map<std::string, Durations> durations;  // by kind
    std::map<int, std::uint64_t> errors;         // by number
    std::map<Pair, std::uint64_t> device_bytes;  // by agent and direction
    std::map<Pair, double> device_waits_s;       // by agent and what was waited for
  };

  // "backup", "restore", "verify" and "bench"; "read" and "write".
  static std::string_view KindOf(std::string_view command);
  static std::string_view DirectionOf(std::string_view command);
  // The agent of a device, or who stands for one.
  static std::string AgentOf(const engine::DeviceSnapshot& device);

  void NoteJob(std::string_view command, const Status& status, std::chrono::nanoseconds elapsed)
      CAPSTAN_EXCLUDES(mutex_);
  void NoteError(int number) CAPSTAN_EXCLUDES(mutex_);
  Totals totals() const CAPSTAN_EXCLUDES(mutex_);

  // Between a job and whoever watches it: counts what its devices have moved since the last look,
  // and what they waited for then.
  class Watch final : public engine::JobObserver {
   public:
    // Both must outlive the watch.
    Watch(JobCounters& counters, engine::JobObserver& observer)
        : counters_(counters), observer_(observer), seen_(std::chrono::steady_clock::now()) {}
    void OnMessage(int number, const std::string& text) override {
      observer_.OnMessage(number, text);
    }
    void OnProgress(const engine::JobSnapshot& snapshot) override;

   private:
    JobCounters& counters_;
    engine::JobObserver& observer_;
    std::chrono::steady_clock::time_point seen_;
    std::map<std::string, std::uint64_t> bytes_;  // by name of the device
  };

 private:
  mutable Mutex mutex_;
  Totals totals_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::coordinator
