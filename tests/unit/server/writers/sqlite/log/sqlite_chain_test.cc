// Full, differential and log backups of one database, and what restores make of them.
#include <chrono>
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/unit/server/writers/sqlite/log/sqlite_chain_fixture.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

std::int64_t UnixMicroseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

TEST_F(SqliteChainTest, RestoresFullDifferentialAndLogs) {
  MakeDatabase(path_, "WAL", 1000);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  Application application(path_);
  InsertRows(application, 1001, 10);
  const auto log1 = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(log1, IsOk());
  InsertRows(application, 1011, 10);
  const auto differential = TakeDifferential(*writer_, path_, *full);
  ASSERT_THAT(differential, IsOk());
  InsertRows(application, 1021, 10);
  const auto log2 = TakeLog(*writer_, path_, log1->lsns.last);
  ASSERT_THAT(log2, IsOk());

  EXPECT_EQ(log2->lsns.first, log1->lsns.last);
  EXPECT_EQ(full->fork, log2->fork);
  EXPECT_EQ(full->fork, differential->fork);
  EXPECT_LT(differential->bytes(), full->bytes() / 4);
  EXPECT_FALSE(differential->file.whole);
  EXPECT_EQ(log2->file.type, 'L');
  EXPECT_EQ(log2->file.logical_name, "db_log");
  EXPECT_EQ(RowsAfter({*full}), "1000");
  EXPECT_EQ(RowsAfter({*full, *log1}), "1010");
  EXPECT_EQ(RowsAfter({*full, *log1, *log2}), "1030");
  EXPECT_EQ(RowsAfter({*full, *differential}), "1020");
  EXPECT_EQ(RowsAfter({*full, *differential, *log2}), "1030");
  EXPECT_EQ(outcome_.reached, log2->lsns.last);
  EXPECT_FALSE(outcome_.recovery_fork.is_zero());
  EXPECT_NE(outcome_.recovery_fork, full->fork);
  EXPECT_EQ(Leftovers(), std::vector<std::string>());
}

TEST_F(SqliteChainTest, LogBackupFollowsTheWalThroughManyGenerations) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  Application application(path_);
  for (int i = 0; i < 60; ++i) {
    InsertRows(application, 11 + i * 10, 10);
    if (i % 5 == 0) {
      application.TryRun("PRAGMA wal_checkpoint(TRUNCATE)");
    } else if (i % 3 == 0) {
      application.TryRun("PRAGMA wal_checkpoint(RESTART)");
    }
  }
  const auto log = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(log, IsOk());

  EXPECT_GT(log->lsns.last.value >> 32, full->lsns.last.value >> 32) << "no WAL was started anew";
  EXPECT_EQ(RowsAfter({*full, *log}), "610");
}

TEST_F(SqliteChainTest, StopsAtATimeAndAtAnLsn) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  Application application(path_);
  std::vector<std::int64_t> times;
  std::vector<Lsn> lsns;
  for (int i = 0; i < 5; ++i) {
    InsertRows(application, 11 + i, 1);
    lsns.push_back(SeenBehind(lsns.empty() ? full->lsns.last : lsns.back()));
    times.push_back(UnixMicroseconds());
  }
  const auto log = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(log, IsOk());

  for (int i = 0; i < 5; ++i) {
    const std::string rows = std::to_string(11 + i);
    EXPECT_EQ(RowsAfter({*full, *log}, {.kind = StopPoint::Kind::kTime,
                                        .unix_us = times.at(static_cast<std::size_t>(i))}),
              rows);
    EXPECT_EQ(RowsAfter({*full, *log}, {.kind = StopPoint::Kind::kLsn,
                                        .lsn = lsns.at(static_cast<std::size_t>(i))}),
              rows);
    EXPECT_EQ(outcome_.reached, lsns.at(static_cast<std::size_t>(i)));
    EXPECT_EQ(
        RowsAfter({*full, *log},
                  {.kind = StopPoint::Kind::kMark,
                   .mark = "lsn:" + std::to_string(lsns.at(static_cast<std::size_t>(i)).value),
                   .before = true}),
        std::to_string(10 + i));
  }
}

TEST_F(SqliteChainTest, AStopPointBehindTheLogLeavesTheDatabaseRestoring) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  Application application(path_);
  InsertRows(application, 11, 5);
  const auto log1 = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(log1, IsOk());
  InsertRows(application, 16, 5);
  const auto log2 = TakeLog(*writer_, path_, log1->lsns.last);
  ASSERT_THAT(log2, IsOk());
  const StopPoint stop{.kind = StopPoint::Kind::kTime, .unix_us = UnixMicroseconds() + 60000000};

  ASSERT_THAT(PutSet(*writer_, copy_, *full, {.stop = stop}), IsOk());
  const auto outcome = PutSet(*writer_, copy_, *log1, {.end = RestoreEnd::kRecovery, .stop = stop});

  ASSERT_THAT(outcome, IsOk());
  EXPECT_TRUE(outcome->stop_missed);
  EXPECT_EQ(outcome->reached, log1->lsns.last);
  EXPECT_FALSE(std::filesystem::exists(copy_));
  ASSERT_THAT(PutSet(*writer_, copy_, *log2, {.end = RestoreEnd::kRecovery}), IsOk());
  EXPECT_EQ(Rows(copy_), "20");
}

TEST_F(SqliteChainTest, RefusesWhatDoesNotFit) {
  MakeDatabase(path_, "WAL", 10);
  EXPECT_THAT(TakeLog(*writer_, path_, Lsn{}), HasReason(4214));
  EXPECT_THAT(TakeSet(*writer_, path_, {.backup = {.kind = BackupKind::kDifferential}}),
              HasReason(3035));
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  Application application(path_);
  InsertRows(application, 11, 5);
  const auto log1 = TakeLog(*writer_, path_, full->lsns.last);
  InsertRows(application, 16, 5);
  const auto log2 = TakeLog(*writer_, path_, log1->lsns.last);
  const auto full2 = TakeFull(*writer_, path_);
  InsertRows(application, 21, 5);
  const auto differential2 = TakeDifferential(*writer_, path_, *full2);
  ASSERT_THAT(differential2, IsOk());

  EXPECT_THAT(PutSet(*writer_, copy_, *log1), HasReason(3117));
  EXPECT_THAT(writer_->Recover(copy_, {}), HasReason(3117));
  ASSERT_THAT(PutSet(*writer_, copy_, *full), IsOk());
  EXPECT_THAT(PutSet(*writer_, copy_, *log2), HasReason(4305));
  EXPECT_THAT(PutSet(*writer_, copy_, *differential2), HasReason(3136));
  EXPECT_THAT(
      PutSet(*writer_, copy_, *log1, {.stop = {.kind = StopPoint::Kind::kMark, .mark = "payroll"}}),
      HasCode(Code::kInvalidArgument));
  EXPECT_THAT(
      PutSet(*writer_, copy_, *log1, {.stop = {.kind = StopPoint::Kind::kTime, .unix_us = 5}}),
      HasReason(4335));
  ChainSet damaged = *log1;
  damaged.extents[0].second[500] ^= 1;
  EXPECT_THAT(PutSet(*writer_, copy_, damaged), HasReason(65006));
  ASSERT_THAT(PutSet(*writer_, copy_, *log1), IsOk()) << "nothing of that left a trace";
  ASSERT_THAT(PutSet(*writer_, copy_, *log2, {.end = RestoreEnd::kRecovery}), IsOk());
  EXPECT_EQ(Rows(copy_), "20");
}

// S1-23: under SIMPLE no log is kept, full and differential backups are.
TEST_F(SqliteChainTest, SimpleHasDifferentialsAndNoLog) {
  for (const char* mode : {"DELETE", "WAL"}) {
    std::filesystem::remove(path_);
    KeepFrom(std::nullopt, RecoveryModel::kSimple);
    MakeDatabase(path_, mode, 1000);
    const auto full = TakeFull(*writer_, path_);
    ASSERT_THAT(full, IsOk());
    {
      Application application(path_);
      InsertRows(application, 1001, 10);
    }

    EXPECT_THAT(TakeLog(*writer_, path_, full->lsns.last), HasReason(4208));
    EXPECT_FALSE(writer_->DescribeLog(path_)->kept.has_value());
    const auto differential = TakeDifferential(*writer_, path_, *full);
    ASSERT_THAT(differential, IsOk());
    EXPECT_LT(differential->bytes(), full->bytes() / 2);
    EXPECT_EQ(RowsAfter({*full, *differential}), "1010") << mode;
  }
}

TEST_F(SqliteChainTest, DifferentialOfAShrunkenDatabase) {
  MakeDatabase(path_, "WAL", 2000);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  Application application(path_);
  application.Run("DELETE FROM t WHERE id > 100");
  application.Run("VACUUM");

  const auto differential = TakeDifferential(*writer_, path_, *full);
  ASSERT_THAT(differential, IsOk());
  const auto log = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(log, IsOk());

  EXPECT_LT(differential->file.size_bytes, full->file.size_bytes / 2);
  EXPECT_EQ(RowsAfter({*full, *differential}), "100");
  EXPECT_EQ(std::filesystem::file_size(copy_), differential->file.size_bytes);
  EXPECT_EQ(RowsAfter({*full, *log}), "100");
}

TEST_F(SqliteChainTest, DifferentialIsMeasuredByHashesWhereTheLogHasAGap) {
  MakeDatabase(path_, "WAL", 2000);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  writer_.reset();
  {
    Application application(path_);
    InsertRows(application, 2001, 10);
    application.Run("PRAGMA wal_checkpoint(TRUNCATE)");
    InsertRows(application, 2011, 10);
  }
  StartServer();
  KeepFrom(full->lsns.last);

  const auto differential = TakeDifferential(*writer_, path_, *full);
  ASSERT_THAT(differential, IsOk());

  EXPECT_LT(differential->bytes(), full->bytes() / 4);
  EXPECT_EQ(RowsAfter({*full, *differential}), "2020");
}

TEST_F(SqliteChainTest, LogGoesOnOverARestart) {
  MakeDatabase(path_, "WAL", 100);
  Application application(path_);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  InsertRows(application, 101, 10);
  writer_.reset();
  InsertRows(application, 111, 10);
  StartServer();
  KeepFrom(full->lsns.last);
  InsertRows(application, 121, 10);

  const auto log = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(log, IsOk());
  EXPECT_EQ(writer_->DescribeLog(path_)->broken, "");
  EXPECT_EQ(RowsAfter({*full, *log}), "130");
  const auto differential = TakeDifferential(*writer_, path_, *full);
  ASSERT_THAT(differential, IsOk());
  EXPECT_EQ(RowsAfter({*full, *differential}), "130");
}

TEST_F(SqliteChainTest, AWalThatWasRemovedWithoutACommitIsNoGap) {
  MakeDatabase(path_, "WAL", 100);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  {
    Application application(path_);
    InsertRows(application, 101, 10);
  }
  writer_.reset();
  Rows(path_);  // as the last connection, it removes the WAL when it goes
  EXPECT_FALSE(std::filesystem::exists(path_ + "-wal"));
  StartServer();
  KeepFrom(full->lsns.last);
  {
    Application application(path_);
    InsertRows(application, 111, 10);
  }

  const auto log = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(log, IsOk());
  EXPECT_EQ(RowsAfter({*full, *log}), "120");
}

// Never glossed over.
TEST_F(SqliteChainTest, AGapIsSaidAndEndsWithTheNextFullBackup) {
  MakeDatabase(path_, "WAL", 100);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  writer_.reset();
  {
    Application application(path_);
    InsertRows(application, 101, 10);
  }  // the WAL goes with it
  StartServer();
  KeepFrom(full->lsns.last);

  const auto refused = TakeLog(*writer_, path_, full->lsns.last);
  EXPECT_THAT(refused, HasReason(4214));
  EXPECT_THAT(refused.status().hint(), testing::HasSubstr("while nobody watched"));
  EXPECT_NE(writer_->DescribeLog(path_)->broken, "");

  const auto full2 = TakeFull(*writer_, path_);
  ASSERT_THAT(full2, IsOk());
  KeepFrom(full2->lsns.last);
  EXPECT_GT(full2->lsns.last, full->lsns.last);
  EXPECT_EQ(writer_->DescribeLog(path_)->broken, "");
  Application application(path_);
  InsertRows(application, 111, 10);
  const auto log = TakeLog(*writer_, path_, full2->lsns.last);
  ASSERT_THAT(log, IsOk());
  EXPECT_EQ(RowsAfter({*full2, *log}), "120");
}

// A backup after the one that bridged the gap must find that log goes on, or it would begin a new
// log and what was kept between the two would be given up without a word.
TEST_F(SqliteChainTest, ABridgedGapIsNotBridgedAgain) {
  MakeDatabase(path_, "WAL", 100);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  writer_.reset();
  {
    Application application(path_);
    InsertRows(application, 101, 10);
  }  // the WAL goes with it
  StartServer();
  KeepFrom(full->lsns.last);
  EXPECT_GT(writer_->DescribeLog(path_)->kept->first, full->lsns.last);
  const auto bridge = TakeDifferential(*writer_, path_, *full);
  ASSERT_THAT(bridge, IsOk());

  const LogStatus bridged = *writer_->DescribeLog(path_);
  EXPECT_EQ(bridged.broken, "");
  EXPECT_EQ(bridged.kept->first, full->lsns.last);
  Application application(path_);
  InsertRows(application, 111, 10);
  ASSERT_THAT(TakeDifferential(*writer_, path_, *full), IsOk());
  InsertRows(application, 121, 10);
  const auto log = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(log, IsOk());
  EXPECT_EQ(log->lsns.first, bridge->lsns.last);
  EXPECT_EQ(RowsAfter({*full, *bridge, *log}), "130");
}

TEST_F(SqliteChainTest, AnotherFileInItsPlaceIsAnotherHistory) {
  MakeDatabase(path_, "WAL", 100);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  MakeDatabase(scratch_.Under("other.db"), "WAL", 50);
  std::filesystem::rename(scratch_.Under("other.db"), path_);
  std::filesystem::remove(path_ + "-wal");
  std::filesystem::remove(path_ + "-shm");
  AwaitBroken();

  EXPECT_THAT(TakeLog(*writer_, path_, full->lsns.last), HasReason(4214));
  const auto full2 = TakeFull(*writer_, path_);
  ASSERT_THAT(full2, IsOk());
  EXPECT_NE(full2->fork, full->fork);
}

// S1-27: log goes only once a backup of it is committed.
TEST_F(SqliteChainTest, LogIsLetGoOnlyAfterItsBackupIsCommitted) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  Application application(path_);
  InsertRows(application, 11, 1000);
  const TakeOptions uncommitted{.backup = {.kind = BackupKind::kLog, .log_from = full->lsns.last},
                                .commit = false};
  const auto failed = TakeSet(*writer_, path_, uncommitted);
  ASSERT_THAT(failed, IsOk());
  KeepFrom(full->lsns.last);
  const LogStatus before = *writer_->DescribeLog(path_);
  EXPECT_EQ(before.kept->first, full->lsns.last);
  EXPECT_GT(before.bytes, 100000U);

  const auto log = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(log, IsOk());

  EXPECT_EQ(log->lsns.last, failed->lsns.last);
  EXPECT_EQ(RowsAfter({*full, *log}), "1010");
  const LogStatus after = *writer_->DescribeLog(path_);
  EXPECT_EQ(after.kept->first, log->lsns.last);
  EXPECT_LT(after.bytes, 10000U);
  KeepFrom(log->lsns.last);
  EXPECT_THAT(TakeLog(*writer_, path_, full->lsns.last), HasReason(4214));
}

TEST_F(SqliteChainTest, CopyOnlyBackupsLeaveTheChainAlone) {
  MakeDatabase(path_, "WAL", 10);
  ASSERT_THAT(TakeSet(*writer_, path_, {.backup = {.copy_only = true}}), IsOk());
  EXPECT_FALSE(writer_->DescribeLog(path_)->kept.has_value());
  const auto full = TakeFull(*writer_, path_);
  Application application(path_);
  InsertRows(application, 11, 10);
  const auto copy_log = TakeSet(
      *writer_, path_,
      {.backup = {.kind = BackupKind::kLog, .copy_only = true, .log_from = full->lsns.last}});
  ASSERT_THAT(copy_log, IsOk());
  ASSERT_THAT(TakeSet(*writer_, path_, {.backup = {.copy_only = true}}), IsOk());

  EXPECT_EQ(writer_->DescribeLog(path_)->kept->first, full->lsns.last);
  const auto log = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(log, IsOk());
  EXPECT_EQ(RowsAfter({*full, *log}), "20");
}

TEST_F(SqliteChainTest, LogBeyondTheLimitIsGivenUpAndSaid) {
  StartServer(200000);
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  Application application(path_);
  InsertRows(application, 11, 5000);
  AwaitBroken();

  EXPECT_THAT(TakeLog(*writer_, path_, full->lsns.last), HasReason(4214));
  EXPECT_NE(writer_->DescribeLog(path_)->broken.find("limit"), std::string::npos);
  EXPECT_EQ(application.TryRun("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
  const auto full2 = TakeFull(*writer_, path_);
  ASSERT_THAT(full2, IsOk());
  KeepFrom(full2->lsns.last);
  EXPECT_EQ(writer_->DescribeLog(path_)->broken, "");
  InsertRows(application, 5011, 10);
  const auto log = TakeLog(*writer_, path_, full2->lsns.last);
  ASSERT_THAT(log, IsOk());
  EXPECT_EQ(RowsAfter({*full2, *log}), "5020");
}

TEST_F(SqliteChainTest, NothingIsKeptOfDatabasesThatNobodyWants) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  KeepFrom(full->lsns.last);
  EXPECT_TRUE(writer_->DescribeLog(path_)->kept.has_value());

  writer_->Keep({});

  EXPECT_FALSE(writer_->DescribeLog(path_)->kept.has_value());
  EXPECT_EQ(NamesIn(scratch_.Under("data")), std::vector<std::string>{"generations"});
  EXPECT_THAT(TakeLog(*writer_, path_, full->lsns.last), HasReason(4214));
}

}  // namespace
}  // namespace capstan::writers
