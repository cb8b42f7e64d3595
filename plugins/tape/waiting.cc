#include "plugins/tape/waiting.h"

#include <utility>

namespace capstan::tape {
namespace {

constexpr std::chrono::milliseconds kAskInterval{100};

bool PassesByItself(Outcome outcome) {
  return outcome == Outcome::kNotReady || outcome == Outcome::kBusy ||
         outcome == Outcome::kMediumChanged;
}

}  // namespace

void Waiting::Say(std::string what) {
  const std::lock_guard lock(mutex_);
  waits_for_ = std::move(what);
}

std::string Waiting::waits_for() {
  const std::lock_guard lock(mutex_);
  return waits_for_;
}

bool Waiting::Sleep(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [this] { return given_up_; });
}

void Waiting::GiveUp() {
  const std::lock_guard lock(mutex_);
  given_up_ = true;
  changed_.notify_all();
}

bool Waiting::given_up() {
  const std::lock_guard lock(mutex_);
  return given_up_;
}

Answer AskPatiently(Waiting& waiting, std::chrono::milliseconds patience,
                    const std::function<Answer()>& ask) {
  const auto end = std::chrono::steady_clock::now() + patience;
  Answer answer = ask();
  while (PassesByItself(answer.outcome) && std::chrono::steady_clock::now() < end) {
    // What is told once needs no pause.
    if (answer.outcome != Outcome::kMediumChanged && !waiting.Sleep(kAskInterval)) {
      break;
    }
    answer = ask();
  }
  return answer;
}

}  // namespace capstan::tape
