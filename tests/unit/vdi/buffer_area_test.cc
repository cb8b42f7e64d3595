#include "vdi/buffer_area.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "vdi/buffer_pool.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;

struct Case {
  std::uint32_t size;
  std::uint32_t prefix;
  std::uint32_t alignment;
  std::uint64_t stride;
};

class BufferAreaLayoutTest : public testing::TestWithParam<Case> {};

TEST_P(BufferAreaLayoutTest, DataIsAlignedAndThePrefixZoneLiesInFront) {
  const Case& given = GetParam();
  auto area = BufferArea::Create({{.size = given.size,
                                   .alignment = given.alignment,
                                   .count = 3,
                                   .prefix_zone_size = given.prefix}});
  ASSERT_THAT(area, IsOk());
  const std::byte* const base = (*area)->memory().data();
  EXPECT_EQ((*area)->memory().size(), 3 * given.stride);

  std::set<std::byte*> buffers;
  for (int i = 0; i < 3; ++i) {
    buffers.insert((*area)->Allocate(0));
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

// Every buffer of every class: aligned, with its prefix zone, and apart from all others.
TEST(BufferAreaClasses, DoNotOverlap) {
  const std::vector<BufferClass> classes{
      {.size = 1024, .alignment = 512, .count = 3, .prefix_zone_size = 100},
      {.size = 65536, .alignment = 65536, .count = 2, .prefix_zone_size = 100},
      {.size = 512, .alignment = 4096, .count = 2, .prefix_zone_size = 100}};
  auto area = std::move(BufferArea::Create(classes).value());
  EXPECT_EQ(area->memory().size(), BufferAreaSize(classes));
  EXPECT_EQ(area->alignment(), 65536U);
  std::map<const std::byte*, const std::byte*> extents;

  for (std::size_t i = 0; i < classes.size(); ++i) {
    for (std::uint32_t n = 0; n < classes[i].count; ++n) {
      std::byte* const data = area->Allocate(i);
      ASSERT_NE(data, nullptr);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % classes[i].alignment, 0U);
      extents[data - 100] = data + classes[i].size;
      const auto place = area->Find(data);
      ASSERT_TRUE(place.has_value());
      EXPECT_EQ(area->memory().data() + place->offset, data);
      EXPECT_EQ(place->size, classes[i].size);
    }
    EXPECT_EQ(area->Allocate(i), nullptr) << "all are taken";
    EXPECT_EQ(area->FreeCount(i), 0U);
  }

  EXPECT_EQ(extents.size(), 7U);
  const std::byte* previous_end = area->memory().data();
  for (const auto& [start, end] : extents) {
    EXPECT_GE(start, previous_end);
    previous_end = end;
  }
  EXPECT_LE(previous_end, area->memory().data() + area->memory().size());
}

TEST(BufferAreaClasses, PaddingBetweenThemIsNoBuffer) {
  auto area = std::move(BufferArea::Create({{.size = 512, .alignment = 512, .count = 1},
                                            {.size = 512, .alignment = 4096, .count = 1}})
                            .value());
  std::byte* const base = area->memory().data();

  EXPECT_TRUE(area->Find(base).has_value());
  EXPECT_FALSE(area->Find(base + 512).has_value());
  EXPECT_TRUE(area->Find(base + 4096).has_value());
  EXPECT_TRUE(area->Contains(base + 512));
  EXPECT_FALSE(area->Contains(base + area->memory().size()));
}

class BufferPoolTest : public testing::Test {
 protected:
  void Add(const BufferClass& shape) {
    ASSERT_THAT(pool_.Add(std::move(BufferArea::Create({shape}).value())), IsOk());
  }
  void SetUp() override {
    Add({.size = 4096, .alignment = 512, .count = 2, .prefix_zone_size = 512});
  }
  BufferPool pool_;
};

TEST_F(BufferPoolTest, AllocateFailsWhenAllAreTaken) {
  auto first = pool_.Allocate(4096, 0);
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(pool_.Allocate(4096, 0), IsOk());
  EXPECT_EQ(pool_.Available(4096, 0), 0U);
  ASSERT_THAT(pool_.Allocate(4096, 0), HasCode(Code::kResourceExhausted));
  EXPECT_THAT(pool_.Allocate(4096, 0), MessageHas("taken"));
  EXPECT_THAT(pool_.Allocate(4608, 0), MessageHas("requested"));
  EXPECT_THAT(pool_.Allocate(4096, 1024), MessageHas("requested"));

  ASSERT_THAT(pool_.Free(*first), IsOk());

  EXPECT_EQ(pool_.Available(512, 512), 1U);
  EXPECT_THAT(pool_.Allocate(512, 512), IsOk()) << "a larger one serves, too";
}

TEST_F(BufferPoolTest, FreeRefusesWhatIsNotATakenBuffer) {
  auto buffer = pool_.Allocate(4096, 0);
  ASSERT_THAT(buffer, IsOk());
  std::byte foreign{};

  EXPECT_THAT(pool_.Free(nullptr), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(pool_.Free(&foreign), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(pool_.Free(*buffer + 1), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(pool_.Free(*buffer - 512), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(pool_.Free(*buffer + 4096 + 512), HasCode(Code::kInvalidArgument)) << "not taken";
  EXPECT_THAT(pool_.Free(pool_.area(0).memory().data() + pool_.area(0).memory().size()),
              HasCode(Code::kInvalidArgument));
  ASSERT_THAT(pool_.Free(*buffer), IsOk());
  EXPECT_THAT(pool_.Free(*buffer), HasCode(Code::kInvalidArgument)) << "twice";
}

TEST_F(BufferPoolTest, TheSmallestBufferThatServesIsTaken) {
  Add({.size = 65536, .alignment = 4096, .count = 1});
  Add({.size = 512, .alignment = 65536, .count = 1});

  const auto area_of = [&](std::uint32_t size, std::uint32_t alignment) {
    return pool_.Find(pool_.Allocate(size, alignment).value())->area;
  };
  EXPECT_EQ(pool_.Available(512, 0), 4U);
  EXPECT_EQ(area_of(512, 0), 2U);
  EXPECT_EQ(area_of(512, 0), 0U) << "the best is taken";
  EXPECT_EQ(area_of(512, 4096), 1U);
  EXPECT_THAT(pool_.Allocate(512, 4096), HasCode(Code::kResourceExhausted));
  EXPECT_EQ(area_of(512, 0), 0U);
}

TEST_F(BufferPoolTest, FindsBuffersInEveryArea) {
  Add({.size = 65536, .alignment = 4096, .count = 1});
  std::byte* const small = pool_.Allocate(4096, 0).value();
  std::byte* const large = pool_.Allocate(65536, 0).value();
  std::byte foreign{};

  for (std::byte* const data : {small, large}) {
    const auto place = pool_.Find(data);
    ASSERT_TRUE(place.has_value());
    EXPECT_EQ(place->area, data == small ? 0U : 1U);
    EXPECT_EQ(pool_.area(place->area).memory().data() + place->offset, data);
    EXPECT_FALSE(pool_.Find(data + 1).has_value());
    EXPECT_TRUE(pool_.Contains(data + 1));
  }
  EXPECT_FALSE(pool_.Find(&foreign).has_value());
  EXPECT_FALSE(pool_.Contains(&foreign));
  EXPECT_EQ(pool_.size(), 2 * (4096U + 512U) + 65536U);
}

TEST_F(BufferPoolTest, HasSixteenAreasAtMost) {
  for (int i = 1; i < 16; ++i) {
    Add({.size = 512, .alignment = 512, .count = 1});
  }
  EXPECT_THAT(pool_.Add(std::move(
                  BufferArea::Create({{.size = 512, .alignment = 512, .count = 1}}).value())),
              HasCode(Code::kResourceExhausted));
  EXPECT_EQ(pool_.area_count(), 16U);
}

TEST(BufferArea, TooMuchMemoryIsRefused) {
  EXPECT_THAT(BufferArea::Create({{.size = 4 << 20, .alignment = 4096, .count = 0xFFFFFF}}),
              HasCode(Code::kResourceExhausted));
}

}  // namespace
}  // namespace capstan::vdi
