// Tails of the log, and databases that are being restored.
#include <chrono>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/unit/server/writers/sqlite/log/sqlite_chain_fixture.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

// S1-28.
TEST_F(SqliteChainTest, TailWithNoRecoveryLosesNothingAndStopsWriters) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  Application application(path_, 0);
  InsertRows(application, 11, 10);

  const auto tail = TakeLog(*writer_, path_, full->lsns.last, LogTail::kNoRecovery);
  ASSERT_THAT(tail, IsOk());
  EXPECT_EQ(application.TryRun("INSERT INTO t VALUES(99, '', 0)"), SQLITE_BUSY);
  EXPECT_EQ(Rows(path_), "20") << "it can still be read";
  KeepFrom(tail->lsns.last);
  StartServer();
  KeepFrom(tail->lsns.last);
  EXPECT_EQ(application.TryRun("INSERT INTO t VALUES(99, '', 0)"), SQLITE_BUSY) << "over a restart";

  EXPECT_EQ(RowsAfter({*full, *tail}), "20");
  ASSERT_THAT(writer_->Recover(path_, {}), IsOk());
  EXPECT_EQ(application.TryRun("INSERT INTO t VALUES(21, '', 231)"), SQLITE_OK);
}

TEST_F(SqliteChainTest, TailThatIsNotCommittedLetsWritersGoOn) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  Application application(path_, 0);
  const TakeOptions uncommitted{.backup = {.kind = BackupKind::kLog,
                                           .log_from = full->lsns.last,
                                           .tail = LogTail::kNoRecovery},
                                .commit = false};
  ASSERT_THAT(TakeSet(*writer_, path_, uncommitted), IsOk());

  EXPECT_EQ(application.TryRun("INSERT INTO t VALUES(11, '', 66)"), SQLITE_OK);
}

TEST_F(SqliteChainTest, TheDatabaseIsReplacedAfterItsTail) {
  for (const bool restarted : {false, true}) {
    std::filesystem::remove(path_);
    writer_->Keep({});
    MakeDatabase(path_, "WAL", 10);
    const auto full = TakeFull(*writer_, path_);
    KeepFrom(full->lsns.last);
    {
      Application application(path_);
      InsertRows(application, 11, 10);
    }
    const auto tail = TakeLog(*writer_, path_, full->lsns.last, LogTail::kNoRecovery);
    ASSERT_THAT(tail, IsOk());
    KeepRestoring(tail->lsns.last);
    if (restarted) {
      StartServer();
      KeepRestoring(tail->lsns.last);
    }

    ASSERT_THAT(PutSet(*writer_, path_, *full), IsOk());
    KeepRestoring(tail->lsns.last);
    EXPECT_EQ(Application(path_, 0).TryRun("INSERT INTO t VALUES(99, '', 0)"), SQLITE_BUSY);
    ASSERT_THAT(PutSet(*writer_, path_, *tail, {.end = RestoreEnd::kRecovery}), IsOk());
    KeepFrom(tail->lsns.last);

    EXPECT_EQ(Rows(path_), "20");
    Application application(path_);
    InsertRows(application, 21, 1);
    struct stat info {};
    ASSERT_EQ(::stat(path_.c_str(), &info), 0);
    EXPECT_NE(info.st_mode & S_IWUSR, 0U);
  }
}

// Other databases' backups are committed at any time, and each of them tells what to keep.
TEST_F(SqliteChainTest, ATailIsNotForgottenWhileItIsCommitted) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  KeepFrom(full->lsns.last);
  {
    auto session = writer_->BeginBackup(
        path_, "db",
        {.kind = BackupKind::kLog, .log_from = full->lsns.last, .tail = LogTail::kNoRecovery});
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT((*session)->End(), IsOk());
    KeepFrom(full->lsns.last);
    KeepRestoring((*session)->lsns().last);
    (*session)->Committed();
  }
  StartServer();
  KeepRestoring(full->lsns.last);

  EXPECT_EQ(Application(path_, 0).TryRun("INSERT INTO t VALUES(99, '', 0)"), SQLITE_BUSY);
}

TEST_F(SqliteChainTest, ADatabaseThatIsNoLongerKeptIsOpenForWriters) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  const auto tail = TakeLog(*writer_, path_, full->lsns.last, LogTail::kNoRecovery);
  ASSERT_THAT(tail, IsOk());
  KeepRestoring(tail->lsns.last);

  writer_->Keep({});

  EXPECT_EQ(Application(path_, 0).TryRun("INSERT INTO t VALUES(11, '', 66)"), SQLITE_OK);
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_NE(info.st_mode & S_IWUSR, 0U);
}

TEST_F(SqliteChainTest, NothingIsBegunForADatabaseThatIsBeingRestored) {
  MakeDatabase(path_, "WAL", 10);
  KeepRestoring(Lsn{5});
  EXPECT_FALSE(writer_->DescribeLog(path_)->kept.has_value());
}

// What stands there may be half of another database, whose lock would keep the old one from coming
// back, and whose WAL would be taken for the database's own.
TEST_F(SqliteChainTest, NothingOpensADatabaseThatIsBeingReplaced) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  KeepFrom(full->lsns.last);
  StartServer();

  KeptDatabase database{.location = path_, .name = "db", .log_from = full->lsns.last};
  database.being_replaced = true;
  writer_->Keep({database});
  EXPECT_FALSE(writer_->DescribeLog(path_)->kept.has_value());

  database.being_replaced = false;
  writer_->Keep({database});
  EXPECT_EQ(writer_->DescribeLog(path_)->kept->last, full->lsns.last) << "what was kept is there";
}

TEST_F(SqliteChainTest, NoTruncateSavesTheLogOfALostDatabase) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  KeepFrom(full->lsns.last);
  ASSERT_EQ(RunInChild([&] {
              auto* const application = new Application(path_);
              InsertRows(*application, 11, 20);
              return 0;  // without closing
            }),
            0);
  SeenBehind(full->lsns.last);
  std::filesystem::remove(path_);

  EXPECT_THAT(TakeLog(*writer_, path_, full->lsns.last), HasReason(65005));
  const auto tail = TakeLog(*writer_, path_, full->lsns.last, LogTail::kNoTruncate);
  ASSERT_THAT(tail, IsOk());
  EXPECT_EQ(RowsAfter({*full, *tail}), "30");
}

TEST_F(SqliteChainTest, NoTruncateFollowsTheWalOverARestart) {
  MakeDatabase(path_, "WAL", 10);
  Application reader(path_);
  Application application(path_);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  reader.Run("BEGIN");  // keeps the WAL from being brought into the database
  reader.Ask("SELECT count(*) FROM t");
  InsertRows(application, 11, 10);
  writer_.reset();
  InsertRows(application, 21, 10);
  std::filesystem::remove(path_);
  StartServer();
  KeepFrom(full->lsns.last);

  const auto tail = TakeLog(*writer_, path_, full->lsns.last, LogTail::kNoTruncate);
  ASSERT_THAT(tail, IsOk());
  EXPECT_EQ(RowsAfter({*full, *tail}), "30");
}

TEST_F(SqliteChainTest, NoTruncateFollowsTheNextWalOfADatabaseThatWasAtRest) {
  const auto insert = [&](int first) {
    return RunInChild([&] {
      auto* const application = new Application(path_);
      InsertRows(*application, first, 10);
      return 0;  // without closing
    });
  };
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  ASSERT_THAT(full, IsOk());
  ASSERT_EQ(insert(11), 0);
  writer_.reset();
  ASSERT_EQ(insert(21), 0);
  // It cannot be opened like this, and its file is as it was.
  std::filesystem::remove(path_ + "-shm");
  std::filesystem::create_directory(path_ + "-shm");
  StartServer();
  KeepFrom(full->lsns.last);

  const auto tail = TakeLog(*writer_, path_, full->lsns.last, LogTail::kNoTruncate);
  ASSERT_THAT(tail, IsOk());
  EXPECT_EQ(RowsAfter({*full, *tail}), "30");
}

// Never glossed over: it fails first, and a database that comes back is looked at anew.
TEST_F(SqliteChainTest, NoTruncateSaysThatCommitsMayBeMissing) {
  for (const bool wal_is_gone : {false, true}) {
    writer_->Keep({});
    std::filesystem::remove(path_);
    MakeDatabase(path_, "WAL", 10);
    auto application = std::make_unique<Application>(path_);
    const auto full = TakeFull(*writer_, path_);
    ASSERT_THAT(full, IsOk());
    InsertRows(*application, 11, 10);
    SeenBehind(full->lsns.last);
    writer_.reset();
    application->Run("PRAGMA wal_checkpoint(TRUNCATE)");
    InsertRows(*application, 21, 10);
    application->Run("PRAGMA wal_checkpoint(TRUNCATE)");
    if (wal_is_gone) {
      application.reset();
    } else {
      InsertRows(*application, 31, 10);
    }
    std::filesystem::remove(path_);
    StartServer();
    KeepFrom(full->lsns.last);

    const auto refused = TakeLog(*writer_, path_, full->lsns.last, LogTail::kNoTruncate);
    EXPECT_THAT(refused, HasReason(65056));
    EXPECT_THAT(refused, MessageHas(wal_is_gone ? "may be missing behind it: its WAL is gone: "
                                                : "may be missing behind it: its WAL was started "
                                                  "anew while nobody watched it."));
    EXPECT_THAT(refused, MessageHas("The log of the database '" + path_ + "' was followed up to "));
    EXPECT_THAT(std::string(refused.status().hint()), testing::HasSubstr("the log that is there"));
    EXPECT_NE(writer_->DescribeLog(path_)->broken, "");
    StartServer();
    KeepFrom(full->lsns.last);
    EXPECT_NE(writer_->DescribeLog(path_)->broken, "") << "over a restart";
    const auto tail = TakeLog(*writer_, path_, full->lsns.last, LogTail::kNoTruncate);
    ASSERT_THAT(tail, IsOk()) << "what there is can still be had";
    EXPECT_EQ(RowsAfter({*full, *tail}), "20");
    application.reset();
  }
}

TEST_F(SqliteChainTest, StandbyCanBeReadAndRestoredOn) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  Application application(path_);
  InsertRows(application, 11, 10);
  const auto log1 = TakeLog(*writer_, path_, full->lsns.last);
  InsertRows(application, 21, 10);
  const auto log2 = TakeLog(*writer_, path_, log1->lsns.last);
  ASSERT_THAT(log2, IsOk());

  ASSERT_THAT(PutSet(*writer_, copy_, *full, {.end = RestoreEnd::kStandby}), IsOk());
  EXPECT_EQ(Rows(copy_), "10");
  struct stat info {};
  ASSERT_EQ(::stat(copy_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0222U, 0U);
  ASSERT_THAT(PutSet(*writer_, copy_, *log1, {.end = RestoreEnd::kStandby, .replace = false}),
              IsOk());
  EXPECT_EQ(Rows(copy_), "20");
  {
    Application reader(copy_);
    reader.Run("BEGIN");
    EXPECT_EQ(reader.Ask("SELECT count(*) FROM t"), "20");
    EXPECT_THAT(PutSet(*writer_, copy_, *log2, {.end = RestoreEnd::kRecovery}), HasReason(3101));
  }
  ASSERT_THAT(PutSet(*writer_, copy_, *log2, {.end = RestoreEnd::kNoRecovery}), IsOk());
  EXPECT_EQ(Rows(copy_), "20");
  ASSERT_THAT(writer_->Recover(copy_, {.job_name = "job-2", .lock_deadline = Deadline::Now()}),
              IsOk());
  EXPECT_EQ(Rows(copy_), "30");
  ASSERT_EQ(::stat(copy_.c_str(), &info), 0);
  EXPECT_NE(info.st_mode & 0200U, 0U);
  EXPECT_EQ(Leftovers(), std::vector<std::string>());
}

TEST_F(SqliteChainTest, TheOldDatabaseStaysInUseUntilRecovery) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  Application application(path_);
  InsertRows(application, 11, 10);

  ASSERT_THAT(PutSet(*writer_, path_, *full), IsOk());
  InsertRows(application, 21, 10);
  EXPECT_THAT(writer_->Recover(path_, {.job_name = "job-2", .lock_deadline = Deadline::Now()}),
              HasReason(3101));
  EXPECT_EQ(Rows(path_), "30");
  ASSERT_THAT(writer_->AbandonRestore(path_), IsOk());

  EXPECT_EQ(Leftovers(), std::vector<std::string>());
  const auto log = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(log, IsOk());
  EXPECT_EQ(RowsAfter({*full, *log}), "30");
}

TEST_F(SqliteChainTest, ADiscardedSessionLeavesWhatWasBefore) {
  MakeDatabase(path_, "WAL", 10);
  const auto full = TakeFull(*writer_, path_);
  Application application(path_);
  InsertRows(application, 11, 10);
  const auto log = TakeLog(*writer_, path_, full->lsns.last);
  ASSERT_THAT(PutSet(*writer_, copy_, *full), IsOk());
  {
    const RestoreTarget target{.file = log->file, .physical_name = copy_};
    auto session = writer_->BeginRestore(
        {&target, 1}, {.job_name = "j", .kind = BackupKind::kLog, .lsns = log->lsns});
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT((*session)->WriteExtent(log->extents[0].first,
                                        std::as_bytes(std::span(log->extents[0].second))),
                IsOk());
    EXPECT_THAT(writer_->AbandonRestore(copy_), HasCode(Code::kFailedPrecondition))
        << "it is being used";
  }
  ASSERT_THAT(writer_->Recover(copy_, {.job_name = "job-2", .lock_deadline = Deadline::Now()}),
              IsOk());
  EXPECT_EQ(Rows(copy_), "10");
}

}  // namespace
}  // namespace capstan::writers
