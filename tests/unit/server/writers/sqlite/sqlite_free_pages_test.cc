#include "server/writers/sqlite/sqlite_free_pages.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

// A database of which only the list of free pages was written. All else is 'x'.
class FreeList {
 public:
  explicit FreeList(std::uint32_t page_size = 512) : page_size_(page_size) {
    Put(1, 20, 0);  // and three bytes that mean nothing here
    Put(1, 52, 0);  // no pointer map
  }
  void Begin(std::uint32_t trunk, std::uint32_t count) {
    Put(1, 32, trunk);
    Put(1, 36, count);
  }
  void Trunk(std::uint32_t page, std::uint32_t next, const std::vector<std::uint32_t>& leaves) {
    Put(page, 0, next);
    Put(page, 4, static_cast<std::uint32_t>(leaves.size()));
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      Put(page, 8 + 4 * i, leaves[i]);
    }
  }
  void Put(std::uint32_t page, std::size_t at, std::uint32_t value) {
    std::string& bytes = pages_.try_emplace(page, page_size_, 'x').first->second;
    for (std::size_t i = 0; i < 4; ++i) {
      bytes[at + i] = static_cast<char>(value >> (24 - 8 * i));
    }
  }
  void Reserve(std::uint32_t bytes) { Put(1, 20, bytes << 24); }

  Result<SqliteFreePages> Find(std::uint32_t page_count = 100) const {
    return SqliteFreePages::Find(
        page_size_, page_count,
        [this](std::uint64_t offset, std::span<std::byte> target) -> Status {
          const auto page = static_cast<std::uint32_t>(offset / page_size_ + 1);
          if (page == unreadable) {
            return Error(Code::kUnavailable, "planned fault");
          }
          const auto found = pages_.find(page);
          const std::string bytes =
              found != pages_.end() ? found->second : std::string(page_size_, 'x');
          std::ranges::copy(std::as_bytes(std::span(bytes)), target.begin());
          return OkStatus();
        });
  }
  bool IsSound(std::uint32_t page_count = 100) const {
    const auto found = Find(page_count);
    EXPECT_THAT(found, IsOk());
    return found.ok() && found->sound();
  }

  std::uint32_t unreadable = 0;

 private:
  std::uint32_t page_size_;
  std::map<std::uint32_t, std::string> pages_;
};

// Of pages 2 to 6: trunk 3 with leaves 2 and 6, trunk 5 without one.
FreeList Sample() {
  FreeList list;
  list.Begin(3, 4);
  list.Trunk(3, 5, {6, 2});
  list.Trunk(5, 0, {});
  return list;
}

// The pages' bytes after Clear, from `offset` on: 'x' or '0'.
std::string Cleared(const SqliteFreePages& free, std::uint64_t offset, std::size_t length) {
  std::string bytes(length, 'x');
  free.Clear(offset, std::as_writable_bytes(std::span(bytes)));
  std::ranges::replace(bytes, '\0', '0');
  return bytes;
}

TEST(SqliteFreePages, AreTheLeavesOfTheList) {
  const auto free = Sample().Find();

  ASSERT_THAT(free, IsOk());
  EXPECT_TRUE(free->sound());
  std::vector<std::uint32_t> leaves;
  for (std::uint32_t page = 0; page <= 101; ++page) {
    if (free->Has(page)) {
      leaves.push_back(page);
    }
  }
  EXPECT_EQ(leaves, (std::vector<std::uint32_t>{2, 6}));
}

TEST(SqliteFreePages, BecomeZerosWithWhatTrunksNoLongerUse) {
  const auto free = Sample().Find();
  ASSERT_THAT(free, IsOk());
  const std::string expected = std::string(512, 'x') + std::string(512, '0') +  // 1, 2
                               std::string(16, 'x') + std::string(496, '0') +   // 3
                               std::string(512, 'x') +                          // 4
                               std::string(8, 'x') + std::string(504, '0') +    // 5
                               std::string(512, '0') + std::string(512, 'x');   // 6, 7

  EXPECT_EQ(Cleared(*free, 0, expected.size()), expected);
  for (std::size_t offset = 0; offset < expected.size(); offset += 61) {
    for (const std::size_t length : {0UL, 1UL, 300UL, 512UL, 1400UL}) {
      const std::string part = expected.substr(offset, length);
      EXPECT_EQ(Cleared(*free, offset, part.size()), part) << offset << " " << length;
    }
  }
}

// The checksum VFS has a checksum there, of all that stands before, and SQLite reads trunks.
TEST(SqliteFreePages, LeaveTrunksAloneInPagesWithReservedBytes) {
  FreeList list = Sample();
  list.Reserve(8);
  const auto free = list.Find();
  ASSERT_THAT(free, IsOk());
  EXPECT_EQ(Cleared(*free, 1024, 512), std::string(512, 'x'));
  EXPECT_EQ(Cleared(*free, 512, 512), std::string(512, '0'));
}

TEST(SqliteFreePages, AreNoneInADatabaseWithoutAny) {
  FreeList list;
  list.Begin(0, 0);
  const auto free = list.Find();
  ASSERT_THAT(free, IsOk());
  EXPECT_TRUE(free->sound());
  EXPECT_EQ(Cleared(*free, 0, 5120), std::string(5120, 'x'));
}

TEST(SqliteFreePages, CountForNothingInAListThatIsNotSound) {
  const auto expect_unsound = [](const std::string& what, FreeList list,
                                 std::uint32_t page_count = 100) {
    const auto free = list.Find(page_count);
    ASSERT_THAT(free, IsOk()) << what;
    EXPECT_FALSE(free->sound()) << what;
    EXPECT_EQ(Cleared(*free, 0, 5120), std::string(5120, 'x')) << what;
  };
  FreeList list = Sample();
  list.Begin(3, 5);
  expect_unsound("one more is counted", list);
  list.Begin(3, 3);
  expect_unsound("one less is counted", list);
  list.Begin(0, 1);
  expect_unsound("one is counted and none is there", list);
  for (const std::uint32_t leaf : {0U, 1U, 101U, 2U, 3U, ~0U}) {
    list = Sample();
    list.Trunk(3, 5, {2, leaf});
    expect_unsound("leaf " + std::to_string(leaf), list);
  }
  for (const std::uint32_t trunk : {1U, 101U, 2U, 3U}) {
    list = Sample();
    list.Trunk(3, trunk, {6, 2});
    expect_unsound("trunk " + std::to_string(trunk), list);
  }
  list = Sample();
  list.Trunk(3, 5, {6, 2});
  list.Put(3, 4, 512 / 4 - 1);
  expect_unsound("more leaves than there is room for", list);
  expect_unsound("behind the end of the database", Sample(), 5);
}

TEST(SqliteFreePages, AreNeverThoseThatSqliteKeepsForItself) {
  FreeList list = Sample();
  EXPECT_TRUE(list.IsSound());
  list.Put(1, 52, 9);  // the largest root of a tree: there is a pointer map, on page 2
  EXPECT_FALSE(list.IsSound());

  FreeList large(65536);
  const std::uint32_t locks = (1U << 30) / 65536 + 1;
  for (const std::uint32_t leaf : {locks - 1, locks, locks + 1}) {
    large.Begin(3, 2);
    large.Trunk(3, 0, {leaf});
    EXPECT_EQ(large.IsSound(locks + 10), leaf != locks) << leaf;
  }
}

TEST(SqliteFreePages, AreNotKnownIfTheDatabaseCannotBeRead) {
  for (const std::uint32_t page : {1U, 3U, 5U}) {
    FreeList list = Sample();
    list.unreadable = page;
    EXPECT_THAT(list.Find(), HasCode(Code::kUnavailable)) << page;
  }
}

class SqliteFreePagesTest : public testing::Test {
 protected:
  // A table that was dropped, and one that was not.
  void MakeSample(const std::string& journal_mode) {
    MakeDatabase(path_, journal_mode, 100);
    Application application(path_);
    application.Run("PRAGMA secure_delete=OFF");  // some builds have it on
    application.Run("CREATE TABLE gone(payload TEXT)");
    application.Run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 5000) "
        "INSERT INTO gone SELECT 'a row that was deleted' FROM n");
    application.Run("DROP TABLE gone");
  }
  static bool HasDeletedRows(const std::string& bytes) {
    return bytes.find("a row that was deleted") != std::string::npos;
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  SqliteWriter writer_;
};

// S1-30
TEST_F(SqliteFreePagesTest, AFullBackupHasNoDeletedPages) {
  for (const char* const mode : {"WAL", "DELETE"}) {
    std::filesystem::remove(path_);
    MakeSample(mode);
    ASSERT_TRUE(HasDeletedRows(ReadWhole(path_))) << "nothing is there to be left out";

    const auto image = BackUp(writer_, path_, 10000);

    ASSERT_THAT(image, IsOk());
    EXPECT_FALSE(HasDeletedRows(*image)) << mode;
    const std::string copy = scratch_.Under("copy.db");
    WriteWhole(copy, *image);
    EXPECT_EQ(FaultOf(copy), "");
    Application application(copy);
    EXPECT_GT(std::stoi(application.Ask("PRAGMA freelist_count")), 20);
    InsertRows(application, 101, 2000);  // needs them all
    EXPECT_EQ(application.Ask("PRAGMA freelist_count"), "0");
    EXPECT_EQ(FaultOf(copy), "");
  }
}

TEST_F(SqliteFreePagesTest, ADatabaseWhoseListIsNotSoundIsCopiedAsItIs) {
  MakeSample("DELETE");
  std::string bytes = ReadWhole(path_);
  bytes[39] ^= '\x01';  // the count in the header
  WriteWhole(path_, bytes);

  const auto image = BackUp(writer_, path_);

  ASSERT_THAT(image, IsOk());
  EXPECT_TRUE(*image == bytes);
}

}  // namespace
}  // namespace capstan::writers
