#include "server/coordinator/job_counters.h"

#include <utility>

namespace capstan::coordinator {

std::string_view JobCounters::KindOf(std::string_view command) {
  if (command.starts_with("BACKUP")) return "backup";
  if (command.starts_with("RESTORE DATABASE")) return "restore";
  if (command.starts_with("DEVICE")) return "bench";
  return "verify";
}

std::string_view JobCounters::DirectionOf(std::string_view command) {
  return command.starts_with("BACKUP") ? "write" : "read";
}

std::string JobCounters::AgentOf(const engine::DeviceSnapshot& device) {
  return device.agent.empty() ? "virtual device" : device.agent;
}

void JobCounters::NoteJob(std::string_view command, const Status& status,
                          std::chrono::nanoseconds elapsed) {
  const std::string kind(KindOf(command));
  const char* const outcome = status.ok()                         ? "succeeded"
                              : status.code() == Code::kCancelled ? "cancelled"
                                                                  : "failed";
  const double seconds = std::chrono::duration<double>(elapsed).count();
  const MutexLock lock(mutex_);
  ++totals_.jobs[{kind, outcome}];
  Durations& durations = totals_.durations[kind];
  ++durations.count;
  durations.sum_s += seconds;
  for (std::size_t i = 0; i < kDurationBounds.size(); ++i) {
    durations.counts[i] += seconds <= kDurationBounds[i] ? 1 : 0;
  }
}

void JobCounters::NoteError(int number) {
  const MutexLock lock(mutex_);
  ++totals_.errors[number];
}

JobCounters::Totals JobCounters::totals() const {
  const MutexLock lock(mutex_);
  return totals_;
}

void JobCounters::Watch::OnProgress(const engine::JobSnapshot& snapshot) {
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - std::exchange(seen_, now)).count();
  {
    const MutexLock lock(counters_.mutex_);
    // The measuring of a device does both, one after the other.
    const bool bench_writes =
        snapshot.phase == "Writing data" && KindOf(snapshot.command) == "bench";
    const std::string direction(bench_writes ? "write" : DirectionOf(snapshot.command));
    for (const engine::DeviceSnapshot& device : snapshot.devices) {
      const std::string agent = AgentOf(device);
      std::uint64_t& before = bytes_[device.device_name];
      counters_.totals_.device_bytes[{agent, direction}] +=
          device.bytes > before ? device.bytes - before : 0;
      before = device.bytes;
      if (!device.wait.empty()) {
        counters_.totals_.device_waits_s[{agent, device.wait}] += seconds;
      }
    }
  }
  observer_.OnProgress(snapshot);
}

}  // namespace capstan::coordinator
