#include "server/writers/postgres/pending_extents.h"

#include <cstddef>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using test::HasCode;
using test::IsOk;

constexpr std::uint32_t kPageBytes = 8192;

// Of one file of which nothing is on disk. `file` tells when nobody holds it open any more.
ExtentPlan PlanOf(std::uint64_t length, std::weak_ptr<BackupFile>* file = nullptr) {
  auto made = std::make_shared<BackupFile>();
  made->path = "global/pg_control";
  made->content.assign(length, std::byte{7});
  made->size_bytes = length;
  if (file != nullptr) {
    *file = made;
  }
  FileStretch stretch{.file = std::move(made), .length = length};
  ExtentPlanner planner(1 << 20, kPageBytes);
  EXPECT_TRUE(planner.Add(&stretch));
  return planner.Finish();
}

Status Read(PendingExtents* extents, const Extent& extent) {
  std::vector<std::byte> bytes(extent.length);
  return extents->Read(extent, bytes, {});
}

TEST(PendingExtents, LieBehindEachOtherInTheirFile) {
  PendingExtents extents(2);
  const Extent first = extents.Add(1, PlanOf(100));
  const Extent other = extents.Add(0, PlanOf(100));
  const Extent second = extents.Add(1, PlanOf(3 * kPageBytes));

  EXPECT_EQ(first.offset, 0U);
  EXPECT_EQ(other.offset, 0U);
  EXPECT_EQ(second.offset, first.length);
  EXPECT_EQ(extents.size_bytes(1), first.length + second.length);
}

TEST(PendingExtents, LieBehindWhatIsReserved) {
  PendingExtents extents(2);
  extents.Reserve(1, 1000);
  extents.Reserve(1, 700);
  const Extent first = extents.Add(1, PlanOf(100));
  const Extent other = extents.Add(0, PlanOf(100));

  EXPECT_EQ(first.offset, 1000U);
  EXPECT_EQ(other.offset, 0U);
  EXPECT_EQ(extents.size_bytes(1), 1000U + first.length);
  EXPECT_THAT(Read(&extents, first), IsOk());
  EXPECT_THAT(Read(&extents, {.file_index = 1, .offset = 0, .length = 100}),
              HasCode(Code::kInvalidArgument));
}

TEST(PendingExtents, AreReadInPiecesAndForgottenWithTheLast) {
  PendingExtents extents(1);
  std::weak_ptr<BackupFile> file;
  const Extent whole = extents.Add(0, PlanOf(2 * kPageBytes, &file));
  Extent head = whole;
  head.length = kPageBytes;
  Extent rest = whole;
  rest.offset += head.length;
  rest.length -= head.length;

  ASSERT_THAT(Read(&extents, rest), IsOk());
  EXPECT_FALSE(file.expired());
  ASSERT_THAT(Read(&extents, head), IsOk());
  EXPECT_TRUE(file.expired());
  EXPECT_THAT(Read(&extents, head), HasCode(Code::kInvalidArgument));
}

TEST(PendingExtents, RefusesBytesThatAreOfNoExtent) {
  PendingExtents extents(2);
  const Extent extent = extents.Add(0, PlanOf(100));
  Extent beyond = extent;
  beyond.offset += 1;
  Extent of_other_file = extent;
  of_other_file.file_index = 1;

  EXPECT_THAT(Read(&extents, beyond), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(Read(&extents, of_other_file), HasCode(Code::kInvalidArgument));
  std::vector<std::byte> short_target(extent.length - 1);
  EXPECT_THAT(extents.Read(extent, short_target, {}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(Read(&extents, extent), IsOk()) << "what was refused took nothing away";
}

}  // namespace
}  // namespace capstan::writers
