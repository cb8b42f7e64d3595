// FairMutex: for a thread that holds a lock nearly always, and others that need it at times.
//
// Whoever unlocks a Mutex may lock it again before a thread that waits for it has been given a
// processor; on a busy machine that went on for minutes. Here whoever waits next holds the turn,
// and nobody else locks the mutex before.
#pragma once

#include "vdi/base/mutex.h"

namespace capstan {

class CAPSTAN_CAPABILITY("mutex") FairMutex {
 public:
  FairMutex() = default;
  FairMutex(const FairMutex&) = delete;
  FairMutex& operator=(const FairMutex&) = delete;

  void Lock() CAPSTAN_ACQUIRE() CAPSTAN_NO_THREAD_SAFETY_ANALYSIS {
    const MutexLock turn(turn_);
    mutex_.Lock();
  }
  void Unlock() CAPSTAN_RELEASE() CAPSTAN_NO_THREAD_SAFETY_ANALYSIS { mutex_.Unlock(); }

 private:
  Mutex turn_;
  Mutex mutex_;
};

class CAPSTAN_SCOPED_CAPABILITY FairMutexLock {
 public:
  explicit FairMutexLock(FairMutex& mutex) CAPSTAN_ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~FairMutexLock() CAPSTAN_RELEASE() { mutex_.Unlock(); }
  FairMutexLock(const FairMutexLock&) = delete;
  FairMutexLock& operator=(const FairMutexLock&) = delete;

 private:
  FairMutex& mutex_;
};

}  // namespace capstan
