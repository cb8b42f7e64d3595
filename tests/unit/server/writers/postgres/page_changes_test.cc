#include "server/writers/postgres/page_changes.h"

#include <gtest/gtest.h>

#include "tests/unit/server/writers/postgres/data_pages.h"

namespace capstan::writers {
namespace {

using test_pages::kPageBytes;
using test_pages::MakePage;

constexpr Lsn kSince{0x5000028};
constexpr std::int64_t kBaseTime = 1'700'000'000'000'000;

PageChanges MakeChanges() {
  return PageChanges(PostgresSet{.start_unix_us = kBaseTime,
                                 .block_bytes = kPageBytes,
                                 .wal_segment_bytes = 16 << 20,
                                 .database_folders = {{1663, 5}}},
                     kSince);
}

std::vector<std::byte> Pages(const std::vector<std::uint64_t>& lsns) {
  std::vector<std::byte> bytes;
  for (const std::uint64_t lsn : lsns) {
    const auto page = MakePage({lsn}, 0, std::byte{1});
    bytes.insert(bytes.end(), page.begin(), page.end());
  }
  return bytes;
}

TEST(PageChanges, AreThePagesThatAreNewerThanTheBase) {
  const auto runs = MakeChanges().Find(
      Pages({kSince.value - 1, kSince.value, kSince.value + 8, 0x4000000, 0x1'0000'0000}));

  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].offset, kPageBytes);
  EXPECT_EQ(runs[0].length, 2 * kPageBytes);
  EXPECT_EQ(runs[1].offset, 4 * kPageBytes);
  EXPECT_EQ(runs[1].length, kPageBytes);
}

// 40 is on the pages that initdb wrote; every other small number stands for no log.
TEST(PageChanges, ArePagesWrittenWithoutLogToo) {
  const auto runs = MakeChanges().Find(Pages({40, 0, 1, 1000}));

  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].offset, kPageBytes);
  EXPECT_EQ(runs[0].length, 3 * kPageBytes);
}

TEST(PageChanges, AreEmptyPagesToo) {
  std::vector<std::byte> bytes = Pages({0x4000000});
  bytes.resize(3 * kPageBytes);

  const auto runs = MakeChanges().Find(bytes);

  ASSERT_EQ(runs.size(), 1U);
  EXPECT_TRUE(runs[0].zeros);
  EXPECT_EQ(runs[0].offset, kPageBytes);
  EXPECT_EQ(runs[0].length, 2 * kPageBytes);
}

TEST(PageChanges, CanBeToldOfOldMainForksOfKnownDatabasesOnly) {
  const PageChanges changes = MakeChanges();
  const RelationFile main{.number = 1259};
  const PostgresDatabaseFolder known{1663, 5};

  EXPECT_TRUE(changes.CanCompare(main, known, kBaseTime - 1));
  EXPECT_TRUE(changes.CanCompare(main, known, 0));
  EXPECT_TRUE(changes.CanCompare(main, {1664, 0}, kBaseTime - 1));
  EXPECT_FALSE(changes.CanCompare(main, known, kBaseTime));
  EXPECT_FALSE(changes.CanCompare(main, {1663, 6}, kBaseTime - 1));
  EXPECT_FALSE(changes.CanCompare(main, {16384, 5}, kBaseTime - 1));
  for (const RelationFork fork :
       {RelationFork::kFreeSpaceMap, RelationFork::kVisibilityMap, RelationFork::kInit}) {
    EXPECT_FALSE(changes.CanCompare({.number = 1259, .fork = fork}, known, kBaseTime - 1));
  }
}

}  // namespace
}  // namespace capstan::writers
