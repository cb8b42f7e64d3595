#include "plugins/s3/part_plan.h"

#include <gtest/gtest.h>

namespace capstan::s3 {
namespace {

constexpr std::int64_t kMiB = PartPlan::kMiB;
constexpr std::int64_t kTiB = kMiB * kMiB;

// Walks over all parts up to `end` and checks that they follow each other without a gap.
PartPlace LastPlace(const PartPlan& plan, std::int64_t end) {
  PartPlace last;
  std::uint32_t number = 1;
  for (std::int64_t at = 0; at < end;) {
    last = plan.At(at);
    const PartPlace again = plan.At(last.end() - 1);
    EXPECT_EQ(last.begin, at);
    EXPECT_EQ(again.begin, last.begin);
    EXPECT_EQ(again.part_number, last.part_number);
    number = last.begin == last.object_begin ? 1 : number + 1;
    EXPECT_EQ(last.part_number, number);
    EXPECT_LE(last.part_number, PartPlan::kPartCountMax);
    at = last.end();
  }
  return last;
}

TEST(PartPlan, PartsFollowEachOther) {
  const PartPlan plan(8 * kMiB, 32 * kMiB, 0);

  EXPECT_EQ(plan.At(0).size, 8 * kMiB);
  EXPECT_EQ(plan.At(8000 * kMiB).size, 16 * kMiB);
  EXPECT_EQ(plan.At(8000 * kMiB).part_number, 1001U);
  EXPECT_EQ(LastPlace(plan, 2 * plan.object_size()).object_index, 1U);
}

TEST(PartPlan, GoesOnInAnotherObjectWhenPartsMayNotGrow) {
  const PartPlan plan(8 * kMiB, 8 * kMiB, 0);

  EXPECT_EQ(plan.object_size(), 80'000 * kMiB);
  const PartPlace next = plan.At(80'000 * kMiB);
  EXPECT_EQ(next.object_index, 1U);
  EXPECT_EQ(next.part_number, 1U);
  EXPECT_EQ(next.begin, 80'000 * kMiB);
  EXPECT_EQ(next.object_begin, 80'000 * kMiB);
}

TEST(PartPlan, OneObjectTakesFiveTerabytesWhereMemoryAllows) {
  const PartPlan growing(8 * kMiB, 4096 * kMiB, 0);
  const PartPlan estimated(8 * kMiB, 1024 * kMiB, 5 * kTiB);

  EXPECT_EQ(growing.object_size(), 5 * kTiB);
  EXPECT_EQ(LastPlace(growing, 5 * kTiB).object_index, 0U);
  EXPECT_EQ(LastPlace(growing, 5 * kTiB).end(), 5 * kTiB);
  EXPECT_EQ(estimated.object_size(), 5 * kTiB);
  EXPECT_EQ(estimated.At(0).size, 1024 * kMiB);
}

TEST(PartPlan, SmallEstimateLeavesPartsSmall) {
  EXPECT_EQ(PartPlan(8 * kMiB, 64 * kMiB, 1 * kMiB).At(0).size, 8 * kMiB);
  EXPECT_EQ(PartPlan(8 * kMiB, 64 * kMiB, 0).At(0).size, 8 * kMiB);
}

}  // namespace
}  // namespace capstan::s3
