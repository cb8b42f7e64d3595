// FirstError: the first failure of a job whose threads may fail all at once. Later ones are
// consequences of it. Threads: any.
#pragma once

#include <atomic>
#include <utility>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::engine {

class FirstError {
 public:
  // True if this was the first.
  bool Set(Status status) CAPSTAN_EXCLUDES(mutex_) {
    CAPSTAN_CHECK(!status.ok());
    MutexLock lock(mutex_);
    if (!status_.ok()) {
      return false;
    }
    status_ = std::move(status);
    failed_.store(true, std::memory_order_release);
    return true;
  }

  bool failed() const { return failed_.load(std::memory_order_acquire); }
  Status status() const CAPSTAN_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return status_;
  }

 private:
  std::atomic<bool> failed_{false};
  mutable Mutex mutex_;
  Status status_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::engine
