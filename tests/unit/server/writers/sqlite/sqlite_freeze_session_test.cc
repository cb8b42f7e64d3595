// A frozen database: what others can and cannot do to it, and how a freeze ends.

#include <atomic>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/snapshot_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using test::Application;
using test::HasCode;
using test::HasReason;
using test::IsOk;
using test::OtherProcess;
using test::ReadElsewhere;

constexpr char kInsert[] = "INSERT INTO t SELECT max(id)+1, 'x', (max(id)+1)*(max(id)+2)/2 FROM t";

class FreezeSessionTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    test::MakeDatabase(path_, GetParam(), 100);
    // Before anything of ours opens the database: see OtherProcess.
    other_ = std::make_unique<OtherProcess>(path_);
  }
  bool wal() const { return std::string(GetParam()) == "WAL"; }
  std::unique_ptr<FreezeSession> Begin() {
    auto session = writer_.BeginSnapshot(path_, "sales");
    EXPECT_THAT(session, IsOk());
    return session.ok() ? *std::move(session) : nullptr;
  }
  std::unique_ptr<FreezeSession> Frozen() {
    auto session = Begin();
    EXPECT_THAT(session->Freeze({.lock_deadline = Deadline::After(std::chrono::seconds(10))}),
                IsOk());
    return session;
  }

  test::TemporaryDirectory directory_;
  const std::string path_ = directory_.Under("sales.db");
  std::unique_ptr<OtherProcess> other_;
  SqliteWriter writer_;
};
INSTANTIATE_TEST_SUITE_P(JournalModes, FreezeSessionTest, testing::Values("WAL", "DELETE"));

TEST_P(FreezeSessionTest, OthersReadButDoNotCommitUntilTheThaw) {
  auto session = Frozen();

  EXPECT_EQ(other_->TryRun(kInsert), SQLITE_BUSY);
  EXPECT_EQ(other_->TryRun("SELECT count(*) FROM t"), SQLITE_OK);
  EXPECT_THAT(session->Thaw(), IsOk());

  EXPECT_EQ(other_->TryRun(kInsert), SQLITE_OK);
  session->End();
}

TEST_P(FreezeSessionTest, ThawsOnDestruction) {
  Frozen().reset();

  EXPECT_EQ(other_->TryRun(kInsert), SQLITE_OK);
}

TEST_P(FreezeSessionTest, AWriterWaitsForTheThawAndNoLonger) {
  auto session = Frozen();
  std::atomic<bool> committed{false};
  std::jthread writer([&] {
    Application(path_).Run(kInsert);
    committed = true;
  });
  EXPECT_EQ(other_->TryRun(kInsert), SQLITE_BUSY);  // time for the thread, and still frozen
  EXPECT_FALSE(committed);

  EXPECT_THAT(session->Thaw(), IsOk());
  writer.join();

  EXPECT_TRUE(committed);
}

// What a snapshot would miss or mix up: every way by which another process could change either
// file.
TEST_P(FreezeSessionTest, NobodyChangesTheFiles) {
  test::RunInChild([&] {
    Application application(path_);
    test::InsertRows(application, 101, 50);
    ::_exit(0);  // without a close: the WAL keeps its frames
    return 0;
  });
  auto session = Frozen();
  const std::string database = ReadElsewhere(path_);
  const std::string log = ReadElsewhere(path_ + "-wal");
  EXPECT_EQ(log.empty(), !wal());

  for (const char* sql :
       {"PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(FULL)",
        "PRAGMA wal_checkpoint(RESTART)", "PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM",
        "PRAGMA journal_mode=DELETE", "PRAGMA journal_mode=WAL", "BEGIN EXCLUSIVE", kInsert}) {
    (void)other_->TryRun(sql);  // each closes its connection, too, which would checkpoint
    EXPECT_TRUE(ReadElsewhere(path_) == database) << sql;
    EXPECT_TRUE(ReadElsewhere(path_ + "-wal") == log) << sql;
  }
  EXPECT_THAT(session->Thaw(), IsOk());
}

TEST_P(FreezeSessionTest, ACopyOfTheFilesIsTheStateThatWasFrozen) {
  auto session = Begin();
  std::atomic<bool> stop{false};
  std::jthread writer([&] {
    Application application(path_);
    for (int id = 101; !stop; ++id) {
      test::InsertRows(application, id, 1);
    }
  });
  ASSERT_THAT(session->Freeze({.lock_deadline = Deadline::After(std::chrono::seconds(30))}),
              IsOk());
  const std::string rows = Application(path_).Ask("SELECT count(*) FROM t");
  const std::string copy = directory_.Under("copy.db");
  for (const DatabaseFile& file : session->description().files) {
    const std::string bytes = ReadElsewhere(file.physical_name);
    EXPECT_EQ(bytes.size(), file.size_bytes);
    test::WriteWhole(copy + (file.type == 'L' ? "-wal" : ""), bytes);
  }
  EXPECT_THAT(session->Thaw(), IsOk());
  stop = true;
  writer.join();

  EXPECT_EQ(test::FaultOf(copy), "");
  EXPECT_EQ(Application(copy).Ask("SELECT count(*) FROM t"), rows);
}

TEST_P(FreezeSessionTest, DescribesTheFrozenState) {
  Application application(path_);
  application.Run(kInsert);  // as long as it is there, nobody removes the WAL
  auto session = Begin();
  const Lsn before = session->last_lsn();
  const std::size_t file_count = session->description().files.size();
  EXPECT_EQ(other_->TryRun(kInsert), SQLITE_OK);

  ASSERT_THAT(session->Freeze({}), IsOk());

  const DatabaseDescription& description = session->description();
  ASSERT_EQ(description.files.size(), wal() ? 2U : 1U);
  EXPECT_EQ(file_count, description.files.size());
  EXPECT_EQ(description.files[0].type, 'D');
  EXPECT_FALSE(description.files[0].frozen_state.empty());
  EXPECT_GT(session->last_lsn(), before);
  if (wal()) {
    EXPECT_EQ(description.files[1].logical_name, "sales_log");
    EXPECT_EQ(description.files[1].physical_name, path_ + "-wal");
    EXPECT_EQ(description.files[1].type, 'L');
  }
}

// S0-43
TEST_P(FreezeSessionTest, TheWriterGoesThroughTheStatesOfASnapshot) {
  EXPECT_EQ(writer_.info().state, WriterState::kStable);
  auto session = Begin();
  EXPECT_EQ(writer_.info().state, WriterState::kWaitingForFreeze);
  ASSERT_THAT(session->Freeze({}), IsOk());
  EXPECT_EQ(writer_.info().state, WriterState::kWaitingForThaw);
  ASSERT_THAT(session->Thaw(), IsOk());
  EXPECT_EQ(writer_.info().state, WriterState::kWaitingForPostSnapshot);
  session->End();
  EXPECT_EQ(writer_.info().state, WriterState::kStable);

  Frozen().reset();  // given up by the engine

  EXPECT_EQ(writer_.info().state, WriterState::kStable);
}

TEST_P(FreezeSessionTest, WaitsForAWriterUntilTheDeadlineOrACancel) {
  Application application(path_);
  application.Run("BEGIN IMMEDIATE");
  application.Run(kInsert);
  auto session = Begin();

  EXPECT_THAT(session->Freeze({.lock_deadline = Deadline::After(std::chrono::milliseconds(50))}),
              HasReason(65005));
  EXPECT_EQ(writer_.info().state, WriterState::kWaitingForFreeze);
  EXPECT_THAT(
      session->Freeze({.lock_deadline = Deadline::Never(), .cancelled = [] { return true; }}),
      HasCode(Code::kCancelled));

  application.Run("COMMIT");
  EXPECT_THAT(session->Freeze({.lock_deadline = Deadline::After(std::chrono::seconds(10))}),
              IsOk());
}

TEST_P(FreezeSessionTest, LeavesNoFileThatWasNotThere) {
  Application(path_).Run("SELECT 1");
  const auto files = directory_.Leaves();

  auto session = Frozen();
  ASSERT_THAT(session->Thaw(), IsOk());
  session.reset();

  EXPECT_EQ(directory_.Leaves(), files);
}

TEST(FreezeSession, EndsWithItsProcess) {
  test::TemporaryDirectory directory;
  for (const char* mode : {"WAL", "DELETE"}) {
    const std::string path = directory.Under(std::string(mode) + ".db");
    test::MakeDatabase(path, mode, 10);
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    test::ForkedProcess server([&] {
      SqliteWriter writer;
      auto session = writer.BeginSnapshot(path, "db");
      const bool frozen = session.ok() && (*session)->Freeze({}).ok();
      (void)!::write(pipe[1], frozen ? "y" : "n", 1);
      ::pause();
      return 0;
    });
    char frozen = 0;
    ASSERT_EQ(::read(pipe[0], &frozen, 1), 1);
    ASSERT_EQ(frozen, 'y');
    EXPECT_EQ(Application(path, 0).TryRun(kInsert), SQLITE_BUSY);

    EXPECT_EQ(server.Kill(), 1000 + SIGKILL);

    EXPECT_EQ(Application(path, 0).TryRun(kInsert), SQLITE_OK) << mode;
    ::close(pipe[0]);
    ::close(pipe[1]);
  }
}

TEST(FreezeSession, RefusesWhatIsNoDatabase) {
  test::TemporaryDirectory directory;
  SqliteWriter writer;
  EXPECT_THAT(writer.BeginSnapshot(directory.Under("nothing.db"), "db"), HasReason(65005));
  EXPECT_EQ(writer.info().state, WriterState::kFailed);
}

}  // namespace
}  // namespace capstan::writers
