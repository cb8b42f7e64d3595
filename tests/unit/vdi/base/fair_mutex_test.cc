#include "vdi/base/fair_mutex.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace capstan {
namespace {

TEST(FairMutex, KeepsOthersOut) {
  FairMutex mutex;
  int count = 0;
  const auto add = [&] {
    for (int i = 0; i < 10'000; ++i) {
      const FairMutexLock lock(mutex);
      ++count;
    }
  };
  {
    const std::jthread other(add);
    add();
  }
  EXPECT_EQ(count, 20'000);
}

// Who waits has it next, though another locks it again at once, time after time.
TEST(FairMutex, IsGivenToWhoWaits) {
  FairMutex mutex;
  std::atomic<bool> done{false};
  std::atomic<int> others{0};
  const std::jthread greedy([&] {
    while (!done) {
      const FairMutexLock lock(mutex);
      ++others;
    }
  });
  while (others == 0) {
    std::this_thread::yield();
  }
  for (int i = 0; i < 1000; ++i) {
    const FairMutexLock lock(mutex);
  }
  done = true;
}

}  // namespace
}  // namespace capstan
