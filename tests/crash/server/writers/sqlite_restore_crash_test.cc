// A restore is killed at each of its crash points, over each kind of thing that may lie at the
// target. Afterwards the old database or the new one must be there, whole, with nothing of the
// other in it; and a second restore must succeed. What this cannot show: the order in which a power
// cut loses what was not synced; SIGKILL keeps the page cache.
#include <cstdlib>
#include <ostream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

constexpr int kOldRows = 300;
constexpr int kNewRows = 1000;

enum class Target { kWal, kHotJournal, kUnreadable, kAbsent };

struct Case {
  Target target;
  const char* crash_point;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.crash_point << " over target " << static_cast<int>(c.target);
}

// As a program leaves it that died with rows in the WAL.
void MakeWalDatabase(const std::string& path) {
  ASSERT_EQ(RunInChild([&] {
              MakeDatabase(path, "WAL", kOldRows / 3);
              auto* const application = new Application(path);
              InsertRows(*application, kOldRows / 3 + 1, kOldRows - kOldRows / 3);
              return 0;  // without closing
            }),
            0);
  ASSERT_GT(std::filesystem::file_size(path + "-wal"), 0U);
}

// As a program leaves it that died when half of a transaction was in the file.
void MakeDatabaseWithHotJournal(const std::string& path) {
  ASSERT_EQ(RunInChild([&] {
              MakeDatabase(path, "DELETE", kOldRows);
              auto* const application = new Application(path);
              application->TryRun("PRAGMA cache_size=5");
              application->TryRun("BEGIN");
              application->TryRun("UPDATE t SET payload = hex(randomblob(150)), sum = 7");
              return 0;
            }),
            0);
  ASSERT_GT(std::filesystem::file_size(path + "-journal"), 0U);
}

// With a WAL that does not hold page 1: with one that does, SQLite would open the wreck.
void MakeWreckWithWal(const std::string& path) {
  ASSERT_EQ(RunInChild([&] {
              MakeDatabase(path, "WAL", kOldRows);
              auto* const application = new Application(path);
              application->Run("UPDATE t SET sum = sum + 1 WHERE id = 5");
              return 0;
            }),
            0);
  ASSERT_GT(std::filesystem::file_size(path + "-wal"), 0U);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(::pwrite(fd, std::string(4096, 'x').data(), 4096, 0), 4096);
  ::close(fd);
}

void MakeTarget(Target target, const std::string& path) {
  switch (target) {
    case Target::kWal:
      return MakeWalDatabase(path);
    case Target::kHotJournal:
      return MakeDatabaseWithHotJournal(path);
    case Target::kUnreadable:
      return MakeWreckWithWal(path);
    case Target::kAbsent:
      MakeWalDatabase(path);
      ASSERT_EQ(::unlink(path.c_str()), 0);
  }
}

int RestoreInChild(const std::string& path, const std::string& image, const char* crash_point) {
  return RunInChild([&] {
    ::setenv("CAPSTAN_CRASH_AT", (std::string("sqlite.restore.") + crash_point).c_str(), 1);
    SqliteWriter writer;
    return Restore(writer, path, image, true).ok() ? 0 : 1;
  });
}

class SqliteRestoreCrash : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    MakeDatabase(scratch_.Under("source.db"), "WAL", kNewRows);
    SqliteWriter writer;
    const auto image = BackUp(writer, scratch_.Under("source.db"));
    ASSERT_THAT(image, IsOk());
    image_ = *image;
    MakeTarget(GetParam().target, path_);
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("target.db");
  std::string image_;
};

TEST_P(SqliteRestoreCrash, LeavesOldOrNewDatabase) {
  const bool old_was_usable =
      GetParam().target == Target::kWal || GetParam().target == Target::kHotJournal;

  ASSERT_EQ(RestoreInChild(path_, image_, GetParam().crash_point), 1000 + SIGKILL)
      << "the crash point was not reached";

  SqliteWriter writer;
  const auto found = writer.Describe(path_, "db");
  if (found.ok()) {
    EXPECT_EQ(FaultOf(path_), "");
    const std::string rows = Application(path_).Ask("SELECT count(*) FROM t");
    const bool old_rows = rows == std::to_string(kOldRows);
    EXPECT_TRUE(rows == std::to_string(kNewRows) || (old_was_usable && old_rows)) << rows;
  } else {
    EXPECT_FALSE(old_was_usable) << found.status().ToString();
  }
}

TEST_P(SqliteRestoreCrash, IsCleanedUpByDiscard) {
  ASSERT_EQ(RestoreInChild(path_, image_, GetParam().crash_point), 1000 + SIGKILL);
  SqliteWriter writer;
  const bool swapped = writer.Describe(path_, "db").ok() && ReadWhole(path_) == image_;

  EXPECT_THAT(writer.DiscardRestore(path_, "job-1"), IsOk());
  EXPECT_THAT(writer.DiscardRestore(path_, "job-1"), IsOk()) << "idempotent";

  for (const std::string& leaf : scratch_.Leaves()) {
    EXPECT_EQ(leaf.find("capstan"), std::string::npos) << leaf;
  }
  if (GetParam().target == Target::kUnreadable || GetParam().target == Target::kAbsent) {
    EXPECT_NE(std::filesystem::exists(path_ + "-wal"), swapped)
        << "an unreadable database's WAL goes with it, and not before";
  }
}

TEST_P(SqliteRestoreCrash, LetsTheNextRestoreSucceed) {
  ASSERT_EQ(RestoreInChild(path_, image_, GetParam().crash_point), 1000 + SIGKILL);

  ASSERT_EQ(RestoreInChild(path_, image_, "none"), 0);

  EXPECT_EQ(ReadWhole(path_), image_);
  EXPECT_EQ(FaultOf(path_), "");
  EXPECT_EQ(Application(path_).Ask("SELECT count(*) FROM t"), std::to_string(kNewRows));
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (const Target target :
       {Target::kWal, Target::kHotJournal, Target::kUnreadable, Target::kAbsent}) {
    for (const char* point : {"checked", "before_directory_sync", "before_rename", "renamed",
                              "rename_synced", "retired"}) {
      cases.push_back({target, point});
    }
    const bool usable = target == Target::kWal || target == Target::kHotJournal;
    for (const char* point : usable ? std::vector{"locked", "checkpointed", "wal_removed"}
                                    : std::vector{"set_aside", "set_aside:2"}) {
      cases.push_back({target, point});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Everywhere, SqliteRestoreCrash, testing::ValuesIn(AllCases()));

}  // namespace
}  // namespace capstan::writers
