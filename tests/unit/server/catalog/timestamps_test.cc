#include "server/catalog/timestamps.h"

#include <cstdlib>

#include <gtest/gtest.h>
#include <time.h>

namespace capstan::catalog {
namespace {

class Timestamps : public testing::Test {
 protected:
  void UseZone(const char* zone) {
    ::setenv("TZ", zone, 1);
    ::tzset();
  }
  ~Timestamps() override {
    ::unsetenv("TZ");
    ::tzset();
  }
};

TEST_F(Timestamps, AreMillisecondTextInUtc) {
  UseZone("UTC0");

  EXPECT_EQ(LocalDateTime(1'763'713'709), "2025-11-21 08:28:29.000");
}

TEST_F(Timestamps, FollowTheTimeZoneOfTheProcess) {
  UseZone("XYZ-5:30");

  EXPECT_EQ(LocalDateTime(1'763'713'709), "2025-11-21 13:58:29.000");
}

TEST_F(Timestamps, HaveNoTextForNone) {
  EXPECT_EQ(LocalDateTime(0), std::nullopt);
}

TEST_F(Timestamps, HaveNoTextForAYearThatNoCalendarHolds) {
  EXPECT_EQ(LocalDateTime(std::int64_t{1} << 62), std::nullopt);
}

}  // namespace
}  // namespace capstan::catalog
