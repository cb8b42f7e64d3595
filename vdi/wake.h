// How a thread waits for the other process: a brief spin, then a sleep in a shared futex.
//
// A busy ring makes no system call: the poster looks at the sleep word, and wakes only a sleeper
// that announced itself. One sleeper per word; any number of posters.
//
// SYNC(sleep). Sleeper: store asleep=1, then look for work. Poster: store work, then load asleep.
// All four are sequentially consistent, so in their single order either the poster's load comes
// after the sleeper's store and it wakes, or the sleeper's look comes after the poster's store and
// it finds the work. Merely releasing stores could both pass by each other (store buffering), and
// the sleeper would sleep through the post. The poster clears the word before it wakes, so a
// sleeper that has announced itself but not yet entered the kernel finds another value there and
// returns. Left over: a wake for work that the sleeper already found. Harmless, it looks again.
#pragma once

#include <chrono>
#include <cstdint>

#include "vdi/base/clock.h"
#include "vdi/segment_layout.h"

namespace capstan::vdi {

// For those who post: makes the sleeper, if there is one, look for work.
void WakeIfAsleep(SleepWord& word);

// How many futex system calls this process has made here. For tests and measurements.
std::uint64_t FutexCallCount();

// How long it pays to spin before sleeping: grows when spinning found work, shrinks to nothing when
// it did not, so that an idle device costs no CPU. Belongs to one sleeper.
class SpinBudget {
 public:
  SpinBudget();
  std::uint64_t nanos() const { return nanos_; }
  void Found();
  void Wasted();

 private:
  std::uint64_t nanos_;
};

namespace wake_detail {
void Pause();
// Sleeps while the word still says so, at most until `deadline`, and never long: a peer that spoils
// the word can delay this side by kNapMax, no more.
void Nap(SleepWord& word, Deadline deadline);
}  // namespace wake_detail

inline constexpr std::chrono::milliseconds kNapMax{250};

// Waits until `ready` or `deadline`; returns what `ready` said last. `ready` must read what posters
// write with sequentially consistent loads, and is called often. It returns early, with false,
// after kNapMax: callers loop, and use the occasion to look at their clocks.
template <typename Ready>
bool WaitForWork(SleepWord& word, SpinBudget& budget, Deadline deadline, const Ready& ready) {
  if (ready()) {
    return true;
  }
  if (budget.nanos() > 0 && !deadline.passed()) {
    const std::uint64_t until = MonotonicNanos() + budget.nanos();
    do {
      for (int i = 0; i < 8; ++i) {
        wake_detail::Pause();
        if (ready()) {
          budget.Found();
          return true;
        }
      }
    } while (MonotonicNanos() < until);
  }
  budget.Wasted();
  // SYNC(sleep), sleeper half: announce, then look once more, then sleep.
  word.asleep.store(1, std::memory_order_seq_cst);
  if (!ready() && !deadline.passed()) {
    wake_detail::Nap(word, deadline);
  }
  word.asleep.store(0, std::memory_order_seq_cst);
  return ready();
}

}  // namespace capstan::vdi
