#include "server/writers/sqlite/sqlite_writer.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

class SqliteWriterTest : public testing::Test {
 protected:
  Result<std::unique_ptr<BackupSession>> Begin(BackupKind kind = BackupKind::kFull) {
    return writer_.BeginBackup(path_, "db", {.kind = kind});
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  SqliteWriter writer_;
};

TEST_F(SqliteWriterTest, DescribesADatabase) {
  MakeDatabase(path_, "WAL", 100, 8192);

  const auto description = writer_.Describe(path_, "Sales");

  ASSERT_THAT(description, IsOk());
  EXPECT_EQ(description->writer, "sqlite");
  EXPECT_EQ(description->version, sqlite3_libversion());
  EXPECT_EQ(description->recovery_model, RecoveryModel::kFull);
  EXPECT_EQ(description->page_size, 8192U);
  EXPECT_GT(description->created_unix_s, 1600000000);
  ASSERT_EQ(description->files.size(), 1U);
  EXPECT_EQ(description->files[0].logical_name, "Sales");
  EXPECT_EQ(description->files[0].size_bytes, std::filesystem::file_size(path_));
  ASSERT_EQ(description->volumes.size(), 1U);
  EXPECT_FALSE(description->volumes[0].empty());
}

// S2-21
TEST_F(SqliteWriterTest, TellsAReadOnlyDatabase) {
  MakeDatabase(path_, "WAL", 10);
  EXPECT_FALSE(writer_.Describe(path_, "db")->read_only);
  std::filesystem::permissions(path_, std::filesystem::perms::owner_read);

  EXPECT_TRUE(writer_.Describe(path_, "db")->read_only);
  EXPECT_THAT(BackUp(writer_, path_), IsOk());
}

TEST_F(SqliteWriterTest, RollbackModeIsSimpleRecovery) {
  MakeDatabase(path_, "DELETE", 1);

  EXPECT_EQ(writer_.Describe(path_, "db")->recovery_model, RecoveryModel::kSimple);
  EXPECT_THAT(Begin(BackupKind::kLog), HasReason(4208));
}

TEST_F(SqliteWriterTest, WithoutAFolderThereIsNoLogAndDifferentialsHoldEverything) {
  MakeDatabase(path_, "WAL", 100);
  ASSERT_THAT(BackUp(writer_, path_), IsOk());

  EXPECT_THAT(Begin(BackupKind::kLog), HasReason(4214));
  EXPECT_THAT(Begin(BackupKind::kDifferential), HasReason(3035));
  auto session = writer_.BeginBackup(
      path_, "db", {.kind = BackupKind::kDifferential, .base = DifferentialBase{}});
  ASSERT_THAT(session, IsOk());
  const auto image = ReadAll(**session, 65536);
  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(*image, *BackUp(writer_, path_));
}

TEST_F(SqliteWriterTest, StateFollowsItsSessions) {
  MakeDatabase(path_, "WAL", 1);
  EXPECT_EQ(writer_.info().name, "SqliteWriter");
  EXPECT_EQ(writer_.info().state, WriterState::kStable);
  EXPECT_EQ(writer_.info().last_error, "No error");

  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  EXPECT_EQ(writer_.info().state, WriterState::kWaitingForBackupComplete);

  ASSERT_THAT((*session)->End(), IsOk());
  EXPECT_EQ(writer_.info().state, WriterState::kStable);

  EXPECT_THAT(writer_.BeginBackup(scratch_.Under("none"), "db", {}), HasReason(65005));
  EXPECT_EQ(writer_.info().state, WriterState::kFailed);
  EXPECT_NE(writer_.info().last_error.find("No such file"), std::string::npos);

  EXPECT_THAT(BackUp(writer_, path_), IsOk());
  EXPECT_EQ(writer_.info().state, WriterState::kStable);
}

TEST_F(SqliteWriterTest, InstanceIsNewAndKindIsConstant) {
  const SqliteWriter other;

  EXPECT_EQ(writer_.info().writer_id, other.info().writer_id);
  EXPECT_NE(writer_.info().instance_id, other.info().instance_id);
}

TEST_F(SqliteWriterTest, SessionMayOutliveItsWriter) {
  MakeDatabase(path_, "WAL", 1);
  auto writer = std::make_unique<SqliteWriter>();
  auto session = writer->BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());

  writer.reset();

  EXPECT_THAT((*session)->End(), IsOk());
}

TEST_F(SqliteWriterTest, LsnGrowsWithEveryCommitAndOnlyThen) {
  for (const char* mode : {"WAL", "DELETE"}) {
    std::filesystem::remove(path_);
    MakeDatabase(path_, mode, 1);
    Application application(path_);
    const auto lsn = [&] { return (*Begin())->lsns().last; };
    Lsn before = lsn();
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(lsn(), before);
      application.Run("UPDATE t SET sum = sum + 1");
      const Lsn after = lsn();
      EXPECT_GT(after, before) << mode << " commit " << i;
      before = after;
      if (i % 5 == 4) {
        application.Run("PRAGMA wal_checkpoint(TRUNCATE)");
        EXPECT_GE(lsn(), before);
        before = lsn();
      }
    }
  }
}

TEST(WriterStateName, IsWhatVssadminPrints) {
  EXPECT_EQ(WriterStateName(WriterState::kStable), "Stable");
  EXPECT_EQ(WriterStateName(WriterState::kWaitingForBackupComplete), "Waiting for completion");
  EXPECT_EQ(WriterStateName(WriterState::kFailed), "Failed");
}

}  // namespace
}  // namespace capstan::writers
