#include "server/writers/byte_ranges.h"

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace capstan::writers {
namespace {

using Range = ByteRanges::Range;

TEST(ByteRanges, ThatTouchAreOne) {
  ByteRanges ranges;
  EXPECT_TRUE(ranges.Add({10, 20}));
  EXPECT_TRUE(ranges.Add({30, 40}));
  EXPECT_TRUE(ranges.Add({50, 60}));
  EXPECT_EQ(ranges.range_count(), 3U);

  EXPECT_TRUE(ranges.Add({20, 30}));
  EXPECT_EQ(ranges.range_count(), 2U);
  EXPECT_TRUE(ranges.Add({0, 10}));
  EXPECT_TRUE(ranges.Add({60, 61}));

  EXPECT_EQ(ranges.range_count(), 2U);
  EXPECT_EQ(ranges.CountIn({0, 100}), 51U);
}

TEST(ByteRanges, RefuseWhatIsThereInPart) {
  ByteRanges ranges;
  EXPECT_TRUE(ranges.Add({10, 20}));

  for (const Range range : {Range{10, 20}, {0, 11}, {19, 30}, {12, 13}, {0, 100}}) {
    EXPECT_TRUE(ranges.Overlaps(range)) << range.begin;
    EXPECT_FALSE(ranges.Add(range)) << range.begin;
  }
  EXPECT_EQ(ranges.CountIn({0, 100}), 10U);
  EXPECT_FALSE(ranges.Overlaps({0, 10}));
  EXPECT_FALSE(ranges.Overlaps({20, 30}));
}

TEST(ByteRanges, EndWhereNumbersDo) {
  constexpr std::uint64_t kEnd = ~std::uint64_t{0};
  ByteRanges ranges;

  EXPECT_TRUE(ranges.Add({kEnd - 5, kEnd}));

  EXPECT_EQ(ranges.NextGap({0, kEnd}), (Range{0, kEnd - 5}));
  EXPECT_EQ(ranges.NextGap({kEnd - 5, kEnd}), std::nullopt);
}

// Against a byte map.
TEST(ByteRanges, AreWhatWasAdded) {
  constexpr std::uint64_t kBytes = 200;
  std::minstd_rand random(7);
  const auto choose = [&random](std::uint64_t count) { return random() % count; };
  for (int round = 0; round < 200; ++round) {
    ByteRanges ranges;
    std::vector<bool> bytes(kBytes);
    for (int i = 0; i < 40; ++i) {
      const std::uint64_t begin = choose(kBytes - 1);
      const Range range{begin, begin + 1 + choose(std::min<std::uint64_t>(20, kBytes - begin))};
      const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(range.begin);
      const auto last = bytes.begin() + static_cast<std::ptrdiff_t>(range.end);
      const auto there = static_cast<std::uint64_t>(std::count(first, last, true));
      ASSERT_EQ(ranges.CountIn(range), there);
      ASSERT_EQ(ranges.Overlaps(range), there != 0);
      const auto gap_begin = std::find(first, last, false);
      const auto gap = ranges.NextGap(range);
      ASSERT_EQ(gap.has_value(), gap_begin != last);
      if (gap) {
        const auto gap_end = std::find(gap_begin, last, true);
        ASSERT_EQ(*gap, (Range{static_cast<std::uint64_t>(gap_begin - bytes.begin()),
                               static_cast<std::uint64_t>(gap_end - bytes.begin())}));
      }
      ASSERT_EQ(ranges.Add(range), there == 0);
      if (there == 0) {
        std::fill(first, last, true);
      }
    }
    std::size_t runs = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      runs += bytes[i] && (i == 0 || !bytes[i - 1]) ? 1 : 0;
    }
    ASSERT_EQ(ranges.range_count(), runs);
  }
}

}  // namespace
}  // namespace capstan::writers
