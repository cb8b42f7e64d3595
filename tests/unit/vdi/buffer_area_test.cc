#include "vdi/buffer_area.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;

struct Case {
  std::uint32_t size;
  std::uint32_t prefix;
  std::uint32_t alignment;
  std::uint64_t stride;
};

class BufferAreaLayoutTest : public testing::TestWithParam<Case> {};

TEST_P(BufferAreaLayoutTest, DataIsAlignedAndThePrefixZoneLiesInFront) {
  const Case& given = GetParam();
  auto area = BufferArea::Create({.size = given.size,
                                  .count = 3,
                                  .prefix_zone_size = given.prefix,
                                  .alignment = given.alignment});
  ASSERT_THAT(area, IsOk());
  const std::byte* const base = (*area)->memory().data();
  EXPECT_EQ((*area)->memory().size(), 3 * given.stride);

  std::set<std::byte*> buffers;
  for (int i = 0; i < 3; ++i) {
    auto buffer = (*area)->Allocate();
    ASSERT_THAT(buffer, IsOk());
    buffers.insert(*buffer);
  }

  ASSERT_EQ(buffers.size(), 3U);
  const std::byte* previous_end = base;
  for (std::byte* buffer : buffers) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer) % given.alignment, 0U);
    EXPECT_GE(buffer - given.prefix, previous_end) << "prefix zone overlaps the buffer before";
    previous_end = buffer + given.size;
    EXPECT_LE(previous_end, base + (*area)->memory().size());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, BufferAreaLayoutTest,
                         testing::Values(Case{65536, 0, 4096, 65536}, Case{65536, 1, 512, 66048},
                                         Case{4096, 100, 65536, 131072},
                                         Case{1000, 512, 512, 1536}));

class BufferAreaTest : public testing::Test {
 protected:
  std::unique_ptr<BufferArea> area_ = std::move(
      BufferArea::Create({.size = 4096, .count = 2, .prefix_zone_size = 512, .alignment = 512})
          .value());
};

TEST_F(BufferAreaTest, AllocateFailsWhenAllAreTaken) {
  auto first = area_->Allocate();
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(area_->Allocate(), IsOk());
  ASSERT_THAT(area_->Allocate(), HasCode(Code::kResourceExhausted));

  ASSERT_THAT(area_->Free(*first), IsOk());

  EXPECT_THAT(area_->Allocate(), IsOk());
}

TEST_F(BufferAreaTest, FreeRefusesWhatIsNotATakenBuffer) {
  auto buffer = area_->Allocate();
  ASSERT_THAT(buffer, IsOk());
  std::byte foreign{};

  EXPECT_THAT(area_->Free(nullptr), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(area_->Free(&foreign), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(area_->Free(*buffer + 1), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(area_->Free(*buffer - 512), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(area_->Free(*buffer + 4096 + 512), HasCode(Code::kInvalidArgument)) << "not taken";
  EXPECT_THAT(area_->Free(area_->memory().data() + area_->memory().size()),
              HasCode(Code::kInvalidArgument));
  ASSERT_THAT(area_->Free(*buffer), IsOk());
  EXPECT_THAT(area_->Free(*buffer), HasCode(Code::kInvalidArgument)) << "twice";
}

TEST_F(BufferAreaTest, OffsetsLeadBackToTheData) {
  auto buffer = area_->Allocate();
  ASSERT_THAT(buffer, IsOk());

  const auto offset = area_->OffsetOf(*buffer);

  ASSERT_TRUE(offset.has_value());
  EXPECT_EQ(area_->memory().data() + *offset, *buffer);
  EXPECT_FALSE(area_->OffsetOf(*buffer + 1).has_value());
}

TEST(BufferArea, TooMuchMemoryIsRefused) {
  EXPECT_THAT(BufferArea::Create({.size = 4 << 20, .count = 0xFFFFFF, .alignment = 4096}),
              HasCode(Code::kResourceExhausted));
}

}  // namespace
}  // namespace capstan::vdi
