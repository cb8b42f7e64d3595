#include "server/engine/monitor.h"

#include <algorithm>

#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

constexpr std::chrono::milliseconds kInterval{50};

}  // namespace

void Monitor::RunUntil(const std::function<bool(std::chrono::milliseconds)>& wait) {
  while (!wait(kInterval)) {
    CheckCancelled();
    CheckStalled();
    if (parts_.error.failed()) {
      parts_.set.pool().Stop();
    }
    Report();
  }
}

void Monitor::CheckCancelled() {
  if (cancellable_ && parts_.job.cancelled() && parts_.error.Set(SqlError(3204))) {
    parts_.set.Abort(parts_.error.status());
  }
}

void Monitor::CheckStalled() {
  const std::uint64_t now = MonotonicNanos();
  const auto limit = static_cast<std::uint64_t>(
      (std::chrono::nanoseconds(parts_.device_timeout) + parts_.set.rate_patience()).count());
  for (std::size_t i = 0; i < parts_.set.device_count(); ++i) {
    const DeviceChannel& channel = parts_.set.device(i);
    const std::uint64_t since = channel.last_progress_ns();
    if (channel.in_flight() == 0 || channel.awaits_medium() || now < since || now - since < limit) {
      continue;
    }
    Status why =
        Error(Code::kDeadlineExceeded, "device '{}' completed none of its {} commands for {} ms",
              channel.target(), channel.in_flight(), parts_.device_timeout.count());
    const std::string cause = fmt::format("121({})", why.message());
    if (parts_.error.Set(SqlError(3271, channel.target(), cause))) {
      parts_.set.LogFailure(channel.target(), cause);
      parts_.set.Abort(std::move(why));
    }
  }
}

void Monitor::Report() {
  const std::uint64_t done = parts_.bytes_done.load(std::memory_order_relaxed);
  parts_.job.Update(done, parts_.set.Sample());
  const JobSnapshot snapshot = parts_.job.Snapshot();
  const auto percent = static_cast<int>(snapshot.percent_complete());
  while (next_percent_ > 0 && next_percent_ <= percent) {
    parts_.observer.OnMessage(3211, MessageText(3211, next_percent_));
    if (next_percent_ >= 100) {
      next_percent_ = 0;
      break;
    }
    next_percent_ = std::min(100, next_percent_ + *parts_.stats_percent);
  }
  parts_.observer.OnProgress(snapshot);
}

}  // namespace capstan::engine
