#include "tools/capstan/units.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::cli {
namespace {

using test::HasCode;

TEST(FormatBytes, UsesTheUnitThatFits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(1048575), "1.0 MiB");
  EXPECT_EQ(FormatBytes(std::uint64_t{5} << 30), "5.0 GiB");
  EXPECT_EQ(FormatBytes(std::numeric_limits<std::uint64_t>::max()), "16.0 EiB");
  EXPECT_EQ(FormatRate(671088640), "640.0 MiB/s");
}

TEST(FormatDuration, GrowsFromSecondsToHours) {
  EXPECT_EQ(FormatDuration(372), "0.372 s");
  EXPECT_EQ(FormatDuration(59999), "59.999 s");
  EXPECT_EQ(FormatDuration(60000), "1:00");
  EXPECT_EQ(FormatDuration(125000), "2:05");
  EXPECT_EQ(FormatDuration(3725000), "1:02:05");
  EXPECT_EQ(FormatDuration(360000000), "100:00:00");
}

TEST(FormatBar, IsFullOnlyWhenAllIsDone) {
  EXPECT_EQ(FormatBar(0, 4), "----");
  EXPECT_EQ(FormatBar(0.5, 4), "##--");
  EXPECT_EQ(FormatBar(0.999, 4), "###-");
  EXPECT_EQ(FormatBar(1, 4), "####");
  EXPECT_EQ(FormatBar(7, 4), "####");
  EXPECT_EQ(FormatBar(-1, 4), "----");
  EXPECT_EQ(FormatBar(std::nan(""), 4), "----");
  EXPECT_EQ(FormatBar(0.5, -3), "");
}

TEST(ParseSize, TakesBinarySuffixes) {
  EXPECT_EQ(*ParseSize("65536"), 65536u);
  EXPECT_EQ(*ParseSize("64K"), 65536u);
  EXPECT_EQ(*ParseSize("1M"), 1048576u);
  EXPECT_EQ(*ParseSize("1 MiB"), 1048576u);
  EXPECT_EQ(*ParseSize("2gb"), std::uint64_t{2} << 30);
  EXPECT_EQ(*ParseSize("512B"), 512u);
}

TEST(ParseSize, RefusesWhatIsNoSize) {
  for (const char* const text : {"", "M", "1X", "1.5M", "-1", "1MM", "1Bi", "1 M B",
                                 "99999999999999999999", "99999999999T"}) {
    EXPECT_THAT(ParseSize(text), HasCode(Code::kInvalidArgument)) << text;
  }
}

}  // namespace
}  // namespace capstan::cli
