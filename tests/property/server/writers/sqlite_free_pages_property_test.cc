// Random histories of SQLite databases of which much is deleted: rows that overflow their pages,
// tables dropped and made again, with and without a pointer map, in WAL mode and with a rollback
// journal. Full and differential backups in between must restore to what the database was, with
// free pages that can be used; a full one has nothing in its free pages, a differential one does
// not have them at all, and has those that were free in the full one and are used now. Full backups
// go on with what others have copied, at other times of the history and in other stretches: what is
// kept and what comes make the database.
// CAPSTAN_TEST_SEED replays one history, CAPSTAN_TEST_HISTORIES asks for more of them.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/sqlite_chain.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

constexpr int kSteps = 40;
constexpr unsigned kTables = 4;

std::uint32_t NumberAt(const std::string& image, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value = value << 8 | static_cast<unsigned char>(image[at + i]);
  }
  return value;
}

// The list of free pages as SQLite's "Database File Format" has it.
struct FreeList {
  std::set<std::uint32_t> leaves;
  std::map<std::uint32_t, std::size_t> trunks;  // and how many bytes of each are in use
};
FreeList FreeListOf(const std::string& image, std::size_t page_size) {
  FreeList list;
  for (std::uint32_t trunk = NumberAt(image, 32); trunk != 0;) {
    const std::size_t at = (trunk - 1) * page_size;
    const std::uint32_t count = NumberAt(image, at + 4);
    list.trunks[trunk] = 8 + std::size_t{4} * count;
    for (std::uint32_t i = 0; i < count; ++i) {
      list.leaves.insert(NumberAt(image, at + 8 + std::size_t{4} * i));
    }
    trunk = NumberAt(image, at);
  }
  return list;
}

std::string ImageOf(const ChainSet& set) {
  std::string image(set.file.size_bytes, '\xee');
  for (const auto& [extent, contents] : set.extents) {
    image.replace(extent.offset, contents.size(), contents);
  }
  return image;
}

class History {
 public:
  explicit History(unsigned seed) : random_(seed) {
    writer_ =
        std::make_unique<SqliteWriter>(SqliteLogKeeper::Options{.folder = scratch_.Under("data")});
    constexpr std::array page_sizes = {512, 1024, 4096, 65536};
    page_size_ = static_cast<std::size_t>(page_sizes.at(Choose(4)));
    application_ = std::make_unique<Application>(path_, 2000);
    application_->Run("PRAGMA page_size=" + std::to_string(page_size_));
    application_->Run("PRAGMA auto_vacuum=" + std::to_string(Choose(3)));
    has_wal_ = Choose(2) == 0;
    application_->Run(has_wal_ ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=DELETE");
    application_->Run("PRAGMA synchronous=OFF");
    application_->Run("PRAGMA secure_delete=OFF");  // some builds have it on
    for (unsigned i = 0; i < kTables; ++i) {
      MakeTable(i);
    }
  }

  void Run() {
    TakeFullBackup();
    for (int i = 0; i < kSteps && !testing::Test::HasFatalFailure(); ++i) {
      Step();
    }
    TakeDifferentialBackup();
    TakeFullBackup();
  }
  std::size_t free_pages() const { return free_pages_; }
  std::size_t used_again() const { return used_again_; }
  std::uint64_t kept_bytes() const { return kept_bytes_; }

 private:
  unsigned Choose(unsigned count) { return static_cast<unsigned>(random_() % count); }

  static std::string Table(unsigned number) { return "t" + std::to_string(number); }

  void MakeTable(unsigned number) {
    application_->Run("CREATE TABLE " + Table(number) + "(id INTEGER PRIMARY KEY, payload BLOB)");
    application_->Run("CREATE INDEX i" + std::to_string(number) + " ON " + Table(number) +
                      "(length(payload))");
  }

  void Step() {
    const unsigned number = Choose(kTables);
    switch (Choose(10)) {
      case 0:
        application_->Run("DROP TABLE " + Table(number));
        return MakeTable(number);
      case 1:
      case 2:
        return application_->Run("DELETE FROM " + Table(number) + " WHERE id % 3 <> " +
                                 std::to_string(Choose(3)));
      case 3:
        application_->TryRun("PRAGMA incremental_vacuum(" + std::to_string(Choose(20)) + ")");
        return;
      case 4:
        application_->TryRun("PRAGMA wal_checkpoint(TRUNCATE)");
        return;
      case 5:
        return Choose(3) == 0 ? TakeFullBackup() : TakeDifferentialBackup();
      default:
        return application_->Run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < " +
            std::to_string(1 + Choose(80)) + ") INSERT INTO " + Table(number) +
            " SELECT NULL, randomblob(1 + i * " + std::to_string(1 + Choose(5000)) + " % " +
            (Choose(4) == 0 ? "9000" : "300") + ") FROM n");
    }
  }

  static std::string Contents(Application& application) {
    std::string contents;
    for (unsigned i = 0; i < kTables; ++i) {
      contents += application.Ask(
                      "SELECT count(*) || ':' || coalesce(sum(id), 0) || ':' || "
                      "coalesce(group_concat(hex(payload)), '') FROM (SELECT * FROM " +
                      Table(i) + " ORDER BY id)") +
                  "\n";
    }
    return contents;
  }

  // Some of what the full backup before has copied, in any order, some of it twice, some of it cut
  // into other stretches.
  std::vector<std::pair<Extent, std::string>> Interrupted() {
    std::vector<std::pair<Extent, std::string>> frames;
    if (!full_) {
      return frames;
    }
    for (const auto& [extent, contents] : full_->extents) {
      const unsigned begin = Choose(4) == 0 ? Choose(extent.length) : 0;
      const unsigned length =
          Choose(4) == 0 ? 1 + Choose(extent.length - begin) : extent.length - begin;
      for (unsigned count = Choose(4); count > 1; --count) {
        frames.emplace_back(Extent{.offset = extent.offset + begin, .length = length},
                            contents.substr(begin, length));
      }
    }
    std::shuffle(frames.begin(), frames.end(), random_);
    return frames;
  }

  // Drops what is dropped last, so that nothing of it is anywhere but in free pages. What was
  // dropped before may be left in pages that were taken again.
  void DropMarkedRows() {
    marker_ = "of this row nothing is to be left, " + std::to_string(++drops_) + ".";
    application_->Run("CREATE TABLE marked(payload TEXT)");
    application_->Run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 300) "
        "INSERT INTO marked SELECT '" +
        marker_ + "' FROM n");
    application_->Run("DROP TABLE marked");
  }

  void TakeFullBackup() {
    DropMarkedRows();
    auto set = TakeSet(*writer_, path_,
                       {.length_max = 512 + Choose(60'000), .interrupted = Interrupted()});
    ASSERT_THAT(set, IsOk());
    kept_bytes_ += set->kept_bytes;
    ASSERT_EQ(set->bytes(), set->file.size_bytes) << "each byte once";
    const std::string image = ImageOf(*set);
    EXPECT_EQ(image.find(marker_), std::string::npos) << "at byte " << image.find(marker_);
    full_free_ = FreeListOf(image, page_size_);
    for (const std::uint32_t leaf : full_free_.leaves) {
      ASSERT_TRUE(image.substr((leaf - 1) * page_size_, page_size_) ==
                  std::string(page_size_, '\0'))
          << "page " << leaf;
    }
    for (const auto& [trunk, used] : full_free_.trunks) {
      const std::string rest = image.substr((trunk - 1) * page_size_ + used, page_size_ - used);
      ASSERT_TRUE(rest == std::string(rest.size(), '\0')) << "trunk " << trunk;
    }
    free_pages_ += full_free_.leaves.size();
    full_ = *std::move(set);
    if (has_wal_) {
      writer_->Keep({KeptDatabase{.location = path_, .name = "db", .log_from = full_->lsns.last}});
    }
    ExpectRestores({*full_});
  }

  void TakeDifferentialBackup() {
    auto set = TakeDifferential(*writer_, path_, *full_);
    ASSERT_THAT(set, IsOk());
    ExpectRestores({*full_, *set});
    const FreeList now = FreeListOf(ReadWhole(copy_), page_size_);
    for (const auto& [extent, contents] : set->extents) {
      const auto first = static_cast<std::uint32_t>(extent.offset / page_size_ + 1);
      for (std::uint32_t page = first; page < first + extent.length / page_size_; ++page) {
        ASSERT_FALSE(now.leaves.contains(page)) << "page " << page << " is free";
        used_again_ += full_free_.leaves.contains(page) ? 1 : 0;
      }
    }
  }

  void ExpectRestores(const std::vector<ChainSet>& sets) {
    for (std::size_t i = 0; i < sets.size(); ++i) {
      const bool last = i + 1 == sets.size();
      ASSERT_THAT(PutSet(*writer_, copy_, sets[i],
                         {.end = last ? RestoreEnd::kRecovery : RestoreEnd::kNoRecovery}),
                  IsOk());
    }
    const std::string used = scratch_.Under("used.db");
    WriteWhole(used, ReadWhole(copy_));
    Application restored(used);
    ASSERT_EQ(restored.Ask("PRAGMA integrity_check"), "ok");
    ASSERT_TRUE(Contents(restored) == Contents(*application_));
    // Every free page becomes one of something.
    restored.Run("CREATE TABLE more(payload BLOB)");
    restored.Run(
        "INSERT INTO more SELECT randomblob(freelist_count * page_size) FROM "
        "pragma_freelist_count, pragma_page_size");
    ASSERT_EQ(restored.Ask("PRAGMA freelist_count"), "0");
    ASSERT_EQ(restored.Ask("PRAGMA integrity_check"), "ok");
    ASSERT_TRUE(Contents(restored) == Contents(*application_));
  }

  std::minstd_rand random_;
  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  const std::string copy_ = scratch_.Under("copy.db");
  std::string marker_;
  int drops_ = 0;
  std::size_t page_size_ = 0;
  bool has_wal_ = false;
  std::unique_ptr<SqliteWriter> writer_;
  std::unique_ptr<Application> application_;
  std::optional<ChainSet> full_;
  FreeList full_free_;
  std::size_t free_pages_ = 0;
  std::size_t used_again_ = 0;
  std::uint64_t kept_bytes_ = 0;
};

unsigned NumberFrom(const char* variable, unsigned otherwise) {
  const char* const text = std::getenv(variable);
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

// S1-30
TEST(SqliteFreePagesProperty, AreInNoBackupAndMissingInNone) {
  const unsigned first = NumberFrom("CAPSTAN_TEST_SEED", 1);
  const unsigned count =
      std::getenv("CAPSTAN_TEST_SEED") != nullptr ? 1 : NumberFrom("CAPSTAN_TEST_HISTORIES", 16);
  std::size_t free_pages = 0;
  std::size_t used_again = 0;
  std::uint64_t kept_bytes = 0;
  for (unsigned seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("CAPSTAN_TEST_SEED=" + std::to_string(seed));
    History history(seed);
    history.Run();
    if (HasFailure()) {
      return;
    }
    free_pages += history.free_pages();
    used_again += history.used_again();
    kept_bytes += history.kept_bytes();
  }
  if (count > 1) {
    EXPECT_GT(free_pages, 100U);
    EXPECT_GT(kept_bytes, 1U << 20);
    EXPECT_GT(used_again, 0U) << "no page was free and then used, so none was seen to be copied";
  }
}

}  // namespace
}  // namespace capstan::writers
