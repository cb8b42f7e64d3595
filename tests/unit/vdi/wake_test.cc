#include "vdi/wake.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace capstan::vdi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Wake, NobodyAsleepCostsNoSystemCall) {
  SleepWord word{};
  const std::uint64_t before = FutexCallCount();

  for (int i = 0; i < 1000; ++i) {
    WakeIfAsleep(word);
  }

  EXPECT_EQ(FutexCallCount(), before);
}

TEST(Wake, WorkThatIsThereCostsNoSystemCall) {
  SleepWord word{};
  SpinBudget spin;
  const std::uint64_t before = FutexCallCount();

  EXPECT_TRUE(WaitForWork(word, spin, Deadline::Never(), [] { return true; }));

  EXPECT_EQ(FutexCallCount(), before);
}

TEST(Wake, APassedDeadlineOnlyLooks) {
  SleepWord word{};
  SpinBudget spin;
  const std::uint64_t before = FutexCallCount();

  EXPECT_FALSE(WaitForWork(word, spin, Deadline::Now(), [] { return false; }));

  EXPECT_EQ(FutexCallCount(), before);
  EXPECT_EQ(word.asleep, 0U);
}

TEST(Wake, WaitEndsAtItsDeadline) {
  SleepWord word{};
  SpinBudget spin;
  const Deadline deadline = Deadline::After(milliseconds(20));

  while (!deadline.passed()) {
    EXPECT_FALSE(WaitForWork(word, spin, deadline, [] { return false; }));
  }

  EXPECT_LT(Deadline::Clock::now() - deadline.when(), seconds(5));
}

TEST(Wake, ASleeperIsWokenByAPost) {
  SleepWord word{};
  std::atomic<bool> work{false};
  std::jthread poster([&] {
    while (word.asleep.load() == 0) {
      std::this_thread::yield();
    }
    work.store(true);
    WakeIfAsleep(word);
  });
  SpinBudget spin;

  while (!WaitForWork(word, spin, Deadline::After(seconds(20)), [&] { return work.load(); })) {
  }

  EXPECT_EQ(word.asleep, 0U);
}

// A peer that clears or fills the word out of turn delays, and no more.
TEST(Wake, ASpoiltWordDelaysByOneNapAtMost) {
  SleepWord word{};
  SpinBudget spin;
  std::atomic<int> looks{0};
  const auto begin = Deadline::Clock::now();

  EXPECT_TRUE(WaitForWork(word, spin, Deadline::Never(), [&] {
    // Work appears without any wake once the sleeper has announced itself.
    return word.asleep.load() == 1 ? ++looks > 1 : looks.load() > 0;
  }));

  EXPECT_LT(Deadline::Clock::now() - begin, kNapMax + seconds(5));
}

TEST(SpinBudget, ShrinksWhenSpinningDoesNotHelpAndGrowsAgain) {
  SpinBudget spin;
  const std::uint64_t most = spin.nanos();

  for (int i = 0; i < 10; ++i) {
    spin.Wasted();
  }
  const std::uint64_t least = spin.nanos();
  for (int i = 0; i < 10; ++i) {
    spin.Found();
  }

  EXPECT_LE(least, most);
  EXPECT_LE(least, 1000U);
  EXPECT_EQ(spin.nanos(), most);
}

}  // namespace
}  // namespace capstan::vdi
