// Waiting: how a device waits for people, robots and drives: it says for what, and stops when it is
// told to give up.
//
// Threads: any.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>

#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

class Waiting {
 public:
  // What is waited for, for a person to read; empty: nothing is.
  void Say(std::string what);
  std::string waits_for();

  // False at once, or as soon as, it was told to give up.
  bool Sleep(std::chrono::milliseconds time);
  void GiveUp();
  bool given_up();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string waits_for_;  // guarded by mutex_
  bool given_up_ = false;  // guarded by mutex_
};

// Asks again while the answer is kNotReady, kBusy or kMediumChanged, which pass by themselves,
// until `patience` is over or the wait is given up; the last answer.
Answer AskPatiently(Waiting& waiting, std::chrono::milliseconds patience,
                    const std::function<Answer()>& ask);

}  // namespace capstan::tape
