// FakeAlarms: a clock that a test turns by hand. Calls are made by Advance, on the test's thread.
#pragma once

#include <chrono>
#include <map>
#include <utility>

#include "agent/decorators/alarms.h"
#include "vdi/base/check.h"
#include "vdi/base/mutex.h"

namespace capstan::test {

class FakeAlarms final : public agent::Alarms {
 public:
  TimePoint Now() const override {
    const MutexLock lock(mutex_);
    return now_;
  }

  Id CallAt(TimePoint when, std::function<void()> call) override {
    const MutexLock lock(mutex_);
    waiting_.emplace(std::pair(when, ++last_id_), std::move(call));
    changed_.NotifyAll();
    return last_id_;
  }

  void Cancel(Id id) override {
    const MutexLock lock(mutex_);
    std::erase_if(waiting_, [&](const auto& entry) { return entry.first.second == id; });
    while (running_ == id) {
      changed_.Wait(mutex_);  // Advance is making it on another thread
    }
  }

  // Makes every call that is due until then, each at its time.
  void Advance(std::chrono::nanoseconds by) {
    const TimePoint until = Now() + by;
    for (;;) {
      std::function<void()> call;
      {
        const MutexLock lock(mutex_);
        if (waiting_.empty() || waiting_.begin()->first.first > until) {
          now_ = until;
          return;
        }
        now_ = std::max(now_, waiting_.begin()->first.first);
        running_ = waiting_.begin()->first.second;
        call = std::move(waiting_.begin()->second);
        waiting_.erase(waiting_.begin());
      }
      call();
      const MutexLock lock(mutex_);
      running_ = 0;
      changed_.NotifyAll();
    }
  }

  // Waits, at most ten seconds, for another thread to ask for a call.
  void AwaitCall() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    const MutexLock lock(mutex_);
    while (waiting_.empty()) {
      CAPSTAN_CHECK(changed_.WaitUntil(mutex_, deadline) || !waiting_.empty());
    }
  }

  std::size_t waiting() const {
    const MutexLock lock(mutex_);
    return waiting_.size();
  }

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  TimePoint now_ CAPSTAN_GUARDED_BY(mutex_){std::chrono::hours(1)};
  Id last_id_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  Id running_ CAPSTAN_GUARDED_BY(mutex_) = 0;  // the call that is being made
  std::map<std::pair<TimePoint, Id>, std::function<void()>> waiting_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::test
