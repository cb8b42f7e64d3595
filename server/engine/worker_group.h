// WorkerGroup: threads of one step of a job. The first failure goes into the job's FirstError; a
// thread that cannot be started is one.
//
// Threads: Start and WaitAll from the job's thread. Owns the threads; the destructor joins them.
#pragma once

#include <chrono>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "server/engine/first_error.h"
#include "vdi/base/mutex.h"
#include "vdi/base/thread.h"

namespace capstan::engine {

class WorkerGroup {
 public:
  explicit WorkerGroup(FirstError& error) : error_(error) {}
  WorkerGroup(const WorkerGroup&) = delete;
  WorkerGroup& operator=(const WorkerGroup&) = delete;

  void Start(std::function<Status()> work) {
    {
      MutexLock lock(mutex_);
      ++running_;
    }
    auto thread = StartThread("a step of the job",
                              [this, work = std::move(work)]() noexcept { Finish(work()); });
    if (thread.ok()) {
      threads_.push_back(std::move(thread).value());
    } else {
      Finish(std::move(thread).status());
    }
  }

  // True when all are done, waiting at most `patience` for it.
  bool WaitAll(std::chrono::milliseconds patience) CAPSTAN_EXCLUDES(mutex_) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    MutexLock lock(mutex_);
    while (running_ > 0) {
      if (!finished_.WaitUntil(mutex_, deadline)) {
        return running_ == 0;
      }
    }
    return true;
  }

 private:
  void Finish(Status status) CAPSTAN_EXCLUDES(mutex_) {
    if (!status.ok()) {
      error_.Set(std::move(status));
    }
    MutexLock lock(mutex_);
    --running_;
    finished_.NotifyAll();
  }

  FirstError& error_;
  Mutex mutex_;
  CondVar finished_;
  int running_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::vector<std::jthread> threads_;  // last: joined before the rest goes
};

}  // namespace capstan::engine
