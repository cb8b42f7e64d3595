// What a tracker says of WALs that backups saw a moment ago.
#include "server/writers/sqlite/log/sqlite_log_tracker.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "server/writers/sqlite/sqlite_connection.h"
#include "server/writers/sqlite/sqlite_view.h"
#include "tests/support/sqlite_barrier_hook.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

constexpr int kFirstRows = 10;

class SqliteLogTrackerTest : public testing::Test {
 protected:
  void SetUp() override {
    MakeDatabase(path_, "WAL", kFirstRows);
    application_ = std::make_unique<Application>(path_, 10000);
    Start();
    tracker_->Want(tracker_->status().kept->first);
    Insert();
  }

  void Start() {
    tracker_.reset();
    auto tracker = SqliteLogTracker::Open({.path = path_, .folder = scratch_.Under("log")});
    ASSERT_THAT(tracker, IsOk());
    tracker_ = *std::move(tracker);
    ASSERT_THAT(CatchUp(), IsOk());
  }
  Status CatchUp() { return tracker_->CatchUp(Deadline::After(std::chrono::seconds(10))); }
  void Insert() {
    InsertRows(*application_, next_row_++, 1);
    ASSERT_THAT(CatchUp(), IsOk());
  }
  WalSalt Salt() { return SqliteView::Open(path_, {})->wal_header()->salt; }
  void BeginAnotherWal() {
    const WalSalt before = Salt();
    ASSERT_EQ(application_->TryRun("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
    Insert();
    ASSERT_NE(Salt(), before);
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  std::unique_ptr<Application> application_;
  std::shared_ptr<SqliteLogTracker> tracker_;
  int next_row_ = kFirstRows + 1;
};

// A backup has its view, another WAL begins, and only then the backup asks for its place.
TEST_F(SqliteLogTrackerTest, KnowsTheWalThatHasJustEnded) {
  const WalSalt salt = Salt();
  const auto generation = tracker_->GenerationOf(salt);
  ASSERT_THAT(generation, IsOk());

  BeginAnotherWal();

  EXPECT_EQ(tracker_->GenerationOf(salt).value(), *generation);
  EXPECT_EQ(tracker_->status().broken, "");
}

// It is that of the log on disk then: forgotten, it would break the log.
TEST_F(SqliteLogTrackerTest, KnowsTheWalThatHasJustEndedAfterARestart) {
  const WalSalt salt = Salt();
  const auto generation = tracker_->GenerationOf(salt);
  ASSERT_THAT(generation, IsOk());
  Start();
  ASSERT_EQ(Salt(), salt) << "the restart was to go on in the same WAL";

  BeginAnotherWal();

  EXPECT_EQ(tracker_->GenerationOf(salt).value(), *generation);
  EXPECT_EQ(tracker_->status().broken, "");
}

// A WAL in which the log began anew has two numbers, and only the second one is in the log.
TEST_F(SqliteLogTrackerTest, KnowsTheWalInWhichTheLogBeganAnew) {
  const WalSalt salt = Salt();
  const auto before = tracker_->GenerationOf(salt);
  ASSERT_THAT(before, IsOk());
  WalSalt stranger = salt;
  stranger.front() ^= std::byte{1};
  ASSERT_THAT(tracker_->GenerationOf(stranger), IsOk());
  ASSERT_NE(tracker_->status().broken, "") << "a place that is not found breaks the log";
  const auto after = tracker_->GenerationOf(salt);
  ASSERT_THAT(after, IsOk());
  ASSERT_GT(*after, *before);

  BeginAnotherWal();

  EXPECT_EQ(tracker_->GenerationOf(salt).value(), *after);
}

// A busy application is nearly always in a checkpoint of its own. To let its next commit come only
// makes it begin another one: the WAL never got in, and each commit of the application synced
// twice.
TEST_F(SqliteLogTrackerTest, BringsTheWalInBehindTheCheckpointOfTheApplication) {
  auto checkpointing = SqliteConnection::Open(path_, SqliteOpenMode::kReadWrite, Deadline::Never());
  ASSERT_THAT(checkpointing, IsOk());
  ASSERT_THAT(checkpointing->BeginRead(), IsOk());
  ASSERT_THAT(checkpointing->EndTransaction(), IsOk());
  ASSERT_THAT(checkpointing->LockCheckpoints(), IsOk());
  const WalSalt before = Salt();
  application_->Run(
      "PRAGMA wal_autocheckpoint = 0; CREATE TABLE large AS SELECT randomblob(4000000)");

  Application other(path_, 20);
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (other.TryRun("BEGIN IMMEDIATE") == SQLITE_OK) {
    ASSERT_LT(std::chrono::steady_clock::now(), limit) << "nobody waits for the checkpoint";
    other.Run("ROLLBACK");
  }
  checkpointing->UnlockCheckpoints();

  while (Salt() == before) {
    ASSERT_LT(std::chrono::steady_clock::now(), limit) << "the WAL does not get in";
    Insert();
  }
  EXPECT_EQ(tracker_->status().broken, "");
}

// Loose, the WAL may start anew at any instant, also between two looks of one step.
TEST_F(SqliteLogTrackerTest, TakesAWalThatStartsAnewBetweenTwoLooksForNoBrokenLock) {
  std::atomic<int> countdown{0};  // barriers until the application commits
  std::atomic<int> started{0};    // WALs, by that
  tracker_.reset();
  {
    SqliteBarrierHook hook([&] {  // under the tracker's lock, as all of its looks are
      if (countdown > 0 && --countdown == 0) {
        const WalSalt before = Salt();
        InsertRows(*application_, next_row_++, 1);
        started += Salt() != before ? 1 : 0;
      }
    });
    Start();
    for (int barrier = 1; barrier <= 3; ++barrier) {
      const Deadline deadline = Deadline::After(std::chrono::seconds(20));
      started = 0;
      while (started == 0 && !deadline.passed()) {
        Insert();
        application_->TryRun("PRAGMA wal_checkpoint(PASSIVE)");
        // Only so that it becomes loose; if it has not, the next round will do.
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        countdown = barrier;
        while (countdown > 0 && !deadline.passed()) {
          // Only between two looks at the countdown, which the tracker's own looks end.
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        ASSERT_THAT(CatchUp(), IsOk());
        ASSERT_EQ(tracker_->status().broken, "") << "in front of barrier " << barrier;
      }
      EXPECT_GT(started, 0) << "no WAL started anew in front of barrier " << barrier;
    }
    tracker_.reset();
  }
}

}  // namespace
}  // namespace capstan::writers
