// Ctrl-C (SIGINT) and SIGTERM, taken by a thread of their own instead of a handler.
//
// Construct it before any other thread exists: the signals are blocked in the constructing thread
// and in all that it starts. While a callback is set, the first signal calls it; a second one, or
// one that nobody has a callback for, ends the process at once with 128 + its number.
// Threads: owns one, on which the callback runs; OnInterrupt and WaitFor from any thread.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "vdi/base/mutex.h"
#include "vdi/base/unique_fd.h"

namespace capstan::cli {

class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // What the first signal does; at once if it has come already. It must not call back into this
  // object. An empty function takes the callback back.
  void OnInterrupt(std::function<void()> callback) CAPSTAN_EXCLUDES(mutex_);

  // Forgets the signal that came, for a program that goes on after it: the next one is the first.
  void Rearm() CAPSTAN_EXCLUDES(mutex_);

  // Sleeps; true if a signal came before the time was over.
  bool WaitFor(std::chrono::milliseconds duration) CAPSTAN_EXCLUDES(mutex_);

 private:
  void Run() noexcept;
  void Handle(int signal) CAPSTAN_EXCLUDES(mutex_);

  UniqueFd signals_;  // signalfd
  UniqueFd stop_;     // eventfd, written by the destructor

  Mutex mutex_;
  CondVar interrupted_changed_;
  bool interrupted_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::function<void()> callback_ CAPSTAN_GUARDED_BY(mutex_);

  std::jthread thread_;
};

}  // namespace capstan::cli
