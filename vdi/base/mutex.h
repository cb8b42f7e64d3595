// Mutex, MutexLock and CondVar: std::mutex with the annotations that clang's -Wthread-safety
// checks.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define CAPSTAN_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define CAPSTAN_THREAD_ATTRIBUTE(x)
#endif

#define CAPSTAN_CAPABILITY(x) CAPSTAN_THREAD_ATTRIBUTE(capability(x))
#define CAPSTAN_SCOPED_CAPABILITY CAPSTAN_THREAD_ATTRIBUTE(scoped_lockable)
#define CAPSTAN_GUARDED_BY(x) CAPSTAN_THREAD_ATTRIBUTE(guarded_by(x))
#define CAPSTAN_PT_GUARDED_BY(x) CAPSTAN_THREAD_ATTRIBUTE(pt_guarded_by(x))
#define CAPSTAN_REQUIRES(...) CAPSTAN_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define CAPSTAN_EXCLUDES(...) CAPSTAN_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define CAPSTAN_ACQUIRE(...) CAPSTAN_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define CAPSTAN_RELEASE(...) CAPSTAN_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define CAPSTAN_NO_THREAD_SAFETY_ANALYSIS CAPSTAN_THREAD_ATTRIBUTE(no_thread_safety_analysis)

namespace capstan {

class CAPSTAN_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() CAPSTAN_ACQUIRE() { mutex_.lock(); }
  void Unlock() CAPSTAN_RELEASE() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class CAPSTAN_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) CAPSTAN_ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() CAPSTAN_RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits may wake without cause: always wait in a loop on the condition itself.
class CondVar {
 public:
  void Wait(Mutex& mutex) CAPSTAN_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // False once `deadline` has passed.
  bool WaitUntil(Mutex& mutex, std::chrono::steady_clock::time_point deadline)
      CAPSTAN_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const bool in_time = condition_.wait_until(lock, deadline) == std::cv_status::no_timeout;
    lock.release();
    return in_time;
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace capstan
