#include "plugins/edge/quiet_thread.h"

#include <gmock/gmock.h>

namespace capstan::edge {
namespace {

bool Blocks(int signal) {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return ::sigismember(&mask, signal) == 1;
}

TEST(QuietThread, TakesNoSignals) {
  bool blocks = false;

  QuietThread([&] { blocks = Blocks(SIGTERM) && Blocks(SIGINT) && Blocks(SIGUSR1); }).join();

  EXPECT_TRUE(blocks);
}

TEST(QuietThread, LeavesItsStarterAsItWas) {
  sigset_t one;
  sigset_t before;
  ::sigemptyset(&one);
  ::sigaddset(&one, SIGUSR1);
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &one, &before), 0);

  QuietThread([] {}).join();
  const bool as_it_was = Blocks(SIGUSR1) && !Blocks(SIGTERM);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);

  EXPECT_TRUE(as_it_was);
}

TEST(QuietThread, IsToldToStop) {
  bool told = false;

  {
    const std::jthread thread = QuietThread([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        std::this_thread::yield();
      }
      told = true;
    });
  }

  EXPECT_TRUE(told);
}

}  // namespace
}  // namespace capstan::edge
