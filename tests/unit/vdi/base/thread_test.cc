#include "vdi/base/thread.h"

#include <atomic>
#include <cstdlib>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/status_matchers.h"

namespace capstan {
namespace {

using test::HasCode;
using test::IsOk;

TEST(StartThread, RunsTheWork) {
  std::atomic<bool> ran{false};
  {
    auto thread = StartThread("a test", [&] { ran = true; });
    ASSERT_THAT(thread.status(), IsOk());
  }
  EXPECT_TRUE(ran);
}

// An agent died of an uncaught std::system_error here when memory for threads was short.
void EndByWhetherAThreadIsRefused() {
  const rlimit nothing_more{.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
  ::setrlimit(RLIMIT_AS, &nothing_more);
  const auto thread = StartThread("a test", [] {});
  const bool refused = thread.status().code() == Code::kResourceExhausted &&
                       thread.status().os_error() != 0 && !thread.status().hint().empty();
  std::_Exit(refused ? 0 : 1);
}

TEST(StartThreadDeathTest, FailsWhereTheSystemHasNone) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need the address space that this takes away";
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "sanitizers need the address space that this takes away";
#endif
#endif
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(EndByWhetherAThreadIsRefused(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace capstan
