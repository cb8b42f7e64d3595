#include "vdi/sqlvdi/timeouts.h"

#include <chrono>

namespace capstan::sqlvdi {
namespace {

constexpr std::time_t kInfinite = 0xFFFFFFFF;  // as a DWORD of -1 arrives
constexpr std::time_t kMillisecondsFrom = 1000;
constexpr std::int64_t kMsPerSecond = 1000;
// Longer waits are "forever"; it also keeps the arithmetic far from its limits.
constexpr std::int64_t kLongestMs = 10LL * 365 * 24 * 3600 * kMsPerSecond;

std::int64_t ToMs(std::time_t timeout, bool seconds) {
  if (timeout < 0 || timeout == kInfinite || timeout > kLongestMs) {
    return kForeverMs;
  }
  const std::int64_t ms = seconds ? timeout * kMsPerSecond : timeout;
  return ms > kLongestMs ? kForeverMs : ms;
}

}  // namespace

std::optional<TimeoutUnit> ParseTimeoutUnit(std::string_view text) {
  if (text == "s") {
    return TimeoutUnit::kSeconds;
  }
  if (text == "ms") {
    return TimeoutUnit::kMilliseconds;
  }
  return std::nullopt;
}

std::int64_t CommandTimeoutMs(std::time_t timeout, TimeoutUnit unit) {
  return ToMs(timeout, unit != TimeoutUnit::kMilliseconds);
}

std::int64_t ConfigurationTimeoutMs(std::time_t timeout, TimeoutUnit unit) {
  return ToMs(timeout, unit == TimeoutUnit::kSeconds ||
                           (unit == TimeoutUnit::kAsDocumented && timeout < kMillisecondsFrom));
}

Deadline DeadlineAfterMs(std::int64_t timeout_ms) {
  if (timeout_ms == kForeverMs) {
    return Deadline::Never();
  }
  return timeout_ms == 0 ? Deadline::Now() : Deadline::After(std::chrono::milliseconds(timeout_ms));
}

}  // namespace capstan::sqlvdi
