// Deadline: the point in time at which a wait gives up. Every wait in Capstan takes one.
#pragma once

#include <chrono>
#include <cstdint>

namespace capstan {

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  static Deadline After(std::chrono::nanoseconds duration) {
    const Clock::time_point now = Clock::now();
    return duration >= Clock::time_point::max() - now ? Never() : Deadline(now + duration);
  }
  // For waits that another mechanism is sure to end (peer death, abort): say so where you use it.
  static Deadline Never() { return Deadline(Clock::time_point::max()); }
  static Deadline Now() { return Deadline(Clock::time_point::min()); }

  bool never() const { return when_ == Clock::time_point::max(); }
  bool passed() const { return !never() && Clock::now() >= when_; }
  Clock::time_point when() const { return when_; }
  // Zero once the deadline has passed.
  std::chrono::nanoseconds remaining() const {
    if (never()) {
      return std::chrono::nanoseconds::max();
    }
    const Clock::time_point now = Clock::now();
    return when_ <= now ? std::chrono::nanoseconds(0) : std::chrono::nanoseconds(when_ - now);
  }

 private:
  explicit Deadline(Clock::time_point when) : when_(when) {}
  Clock::time_point when_;
};

// CLOCK_MONOTONIC in nanoseconds; comparable between processes of one machine.
inline std::uint64_t MonotonicNanos() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

}  // namespace capstan
