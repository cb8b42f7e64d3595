// RateLimit: how many bytes may move per second, shared by all who hold it.
//
// A transfer may begin as soon as those before it are paid for, so a limit is kept whatever the
// transfers' sizes are: over any time t, at most rate * (t + 100 ms) bytes and one transfer more.
// Who asks first goes first, and what one device does not use is there for the others.
//
// Threads: any.
#pragma once

#include <chrono>
#include <cstdint>

#include "vdi/base/mutex.h"

namespace capstan::agent {

class RateLimit {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit RateLimit(std::uint64_t bytes_per_second);  // not 0

  // Takes the bytes, and tells when their transfer may begin.
  TimePoint Take(std::uint64_t bytes, TimePoint now) CAPSTAN_EXCLUDES(mutex_);

 private:
  const double bytes_per_second_;
  Mutex mutex_;
  TimePoint paid_until_ CAPSTAN_GUARDED_BY(mutex_){};  // when all that was taken is paid for
};

}  // namespace capstan::agent
