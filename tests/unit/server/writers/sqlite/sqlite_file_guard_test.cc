// The hazard that the guard is there for: closing any descriptor of a file drops the process's
// POSIX locks on it. Another process looks whether SQLite's locks are still there.
#include "server/writers/sqlite/sqlite_file_guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

class SqliteFileGuardTest : public testing::Test {
 protected:
  void SetUp() override {
    MakeDatabase(path_, "DELETE", 100);
    other_ = std::make_unique<OtherProcess>(path_);
  }

  // What another process is told when it tries to commit.
  int Commit() { return other_->TryRun("UPDATE t SET sum = sum + 1 WHERE id = 1"); }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  SqliteWriter writer_;
  std::unique_ptr<OtherProcess> other_;
};

TEST_F(SqliteFileGuardTest, HazardIsReal) {
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  ASSERT_EQ(Commit(), SQLITE_BUSY);

  ::close(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));

  EXPECT_EQ(Commit(), SQLITE_OK) << "then the guard is not needed any more";
  EXPECT_THAT((*session)->End(), MessageHas("a transaction was committed during the backup"))
      << "and even then nobody gets an inconsistent copy";
}

TEST_F(SqliteFileGuardTest, DescribeKeepsLocksOfBackup) {
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());

  ASSERT_THAT(writer_.Describe(path_, "db"), IsOk());

  EXPECT_EQ(Commit(), SQLITE_BUSY);
  EXPECT_THAT((*session)->End(), IsOk());
  EXPECT_EQ(Commit(), SQLITE_OK);
}

TEST_F(SqliteFileGuardTest, EndOfOneBackupKeepsLocksOfTheOther) {
  auto first = writer_.BeginBackup(path_, "db", {});
  auto second = SqliteWriter().BeginBackup(path_, "db", {});
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());

  ASSERT_THAT((*first)->End(), IsOk());
  EXPECT_EQ(Commit(), SQLITE_BUSY);

  ASSERT_THAT((*second)->End(), IsOk());
  EXPECT_EQ(Commit(), SQLITE_OK);
}

TEST_F(SqliteFileGuardTest, HardLinkIsTheSameFile) {
  const std::string other = scratch_.Under("b.db");
  ASSERT_EQ(::link(path_.c_str(), other.c_str()), 0);
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());

  (void)SqliteFileGuard::Acquire(other);

  EXPECT_EQ(Commit(), SQLITE_BUSY);
}

TEST_F(SqliteFileGuardTest, FailedRestoreOverDatabaseInBackupKeepsItsLocks) {
  const auto image = BackUp(writer_, path_);
  ASSERT_THAT(image, IsOk());
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());

  EXPECT_THAT(Restore(writer_, path_, *image, true), HasReason(3101));

  EXPECT_EQ(Commit(), SQLITE_BUSY);
  EXPECT_THAT((*session)->End(), IsOk());
}

TEST_F(SqliteFileGuardTest, KnowsWhenAnotherFileTookThePlace) {
  const auto guard = SqliteFileGuard::Acquire(path_);
  ASSERT_THAT(guard, IsOk());
  EXPECT_TRUE(guard->IsAt(path_));

  std::filesystem::rename(path_, path_ + ".old");
  MakeDatabase(path_, "DELETE", 1);

  EXPECT_FALSE(guard->IsAt(path_));
  EXPECT_TRUE(guard->IsAt(path_ + ".old"));
}

}  // namespace
}  // namespace capstan::writers
