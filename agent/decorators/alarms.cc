#include "agent/decorators/alarms.h"

#include <stop_token>
#include <thread>

namespace capstan::agent {
namespace {

class ThreadAlarms final : public Alarms {
 public:
  ThreadAlarms() : thread_([this](const std::stop_token& stop) noexcept { Run(stop); }) {}
  ~ThreadAlarms() override {
    thread_.request_stop();
    const MutexLock lock(mutex_);
    changed_.NotifyAll();
  }

  TimePoint Now() const override { return std::chrono::steady_clock::now(); }

  Id CallAt(TimePoint when, std::function<void()> call) override {
    const MutexLock lock(mutex_);
    const Id id = ++last_id_;
    waiting_.emplace(std::pair(when, id), std::move(call));
    changed_.NotifyAll();
    return id;
  }

  void Cancel(Id id) override {
    const MutexLock lock(mutex_);
    for (auto entry = waiting_.begin(); entry != waiting_.end(); ++entry) {
      if (entry->first.second == id) {
        waiting_.erase(entry);
        return;
      }
    }
    while (id != 0 && running_ == id) {
      changed_.Wait(mutex_);
    }
  }

 private:
  void Run(const std::stop_token& stop) CAPSTAN_EXCLUDES(mutex_) {
    while (std::function<void()> call = NextDue(stop)) {
      call();
      const MutexLock lock(mutex_);
      running_ = 0;
      changed_.NotifyAll();
    }
  }

  // Waits for it; empty once the thread is to end.
  std::function<void()> NextDue(const std::stop_token& stop) CAPSTAN_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    while (!stop.stop_requested()) {
      if (waiting_.empty()) {
        changed_.Wait(mutex_);
        continue;
      }
      const auto first = waiting_.begin();
      if (first->first.first > Now()) {
        changed_.WaitUntil(mutex_, first->first.first);
        continue;
      }
      running_ = first->first.second;
      std::function<void()> call = std::move(first->second);
      waiting_.erase(first);
      return call;
    }
    return {};
  }

  Mutex mutex_;
  CondVar changed_;
  Id last_id_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  Id running_ CAPSTAN_GUARDED_BY(mutex_) = 0;  // 0: none
  std::map<std::pair<TimePoint, Id>, std::function<void()>> waiting_ CAPSTAN_GUARDED_BY(mutex_);

  std::jthread thread_;  // last: ended before the rest goes
};

}  // namespace

std::unique_ptr<Alarms> MakeAlarms() {
  return std::make_unique<ThreadAlarms>();
}

}  // namespace capstan::agent
