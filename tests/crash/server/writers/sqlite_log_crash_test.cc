// The server dies at every step of keeping log and of restoring a chain. Afterwards the log goes on
// without a gap, or says that there is one; a database that is being restored is as before the step
// or as after it, and can be finished.
#include <csignal>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/support/sqlite_chain.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

constexpr int kOldRows = 7;

class SqliteLogCrash : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<SqliteWriter> StartServer() {
    return std::make_unique<SqliteWriter>(
        SqliteLogKeeper::Options{.folder = scratch_.Under("data")});
  }
  // The exit status; the body runs with the crash point armed.
  int Die(const std::function<void(SqliteWriter&)>& body) {
    return RunInChild([&] {
      ::setenv("CAPSTAN_CRASH_AT", GetParam(), 1);
      const auto writer = StartServer();
      body(*writer);
      return 0;
    });
  }
  std::string Rows(const std::string& path) {
    return Application(path).Ask("SELECT count(*) FROM t");
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  const std::string copy_ = scratch_.Under("copy.db");
};

class SqliteLogKeepCrash : public SqliteLogCrash {};

TEST_P(SqliteLogKeepCrash, LogGoesOnOrSaysWhereItEnds) {
  MakeDatabase(path_, "WAL", 100);
  const auto full_path = scratch_.Under("lsn");
  // A server of its own takes the full backup, so that no lock of this process is in the way.
  std::optional<ChainSet> full;
  {
    const auto writer = StartServer();
    auto set = TakeFull(*writer, path_);
    ASSERT_THAT(set, IsOk());
    full = *std::move(set);
    writer->Keep({KeptDatabase{.location = path_, .name = "db", .log_from = full->lsns.last}});
  }

  ASSERT_EQ(
      Die([&](SqliteWriter& writer) {
        writer.Keep({KeptDatabase{.location = path_, .name = "db", .log_from = full->lsns.last}});
        auto* const application = new Application(path_);
        for (int i = 0; i < 20; ++i) {
          InsertRows(*application, 101 + i * 100, 100);
          const auto log = TakeLog(writer, path_, full->lsns.last);
          if (i % 4 == 3 && log.ok()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
          }
        }
      }),
      1000 + SIGKILL)
      << "the crash point was not reached";

  const auto writer = StartServer();
  writer->Keep({KeptDatabase{.location = path_, .name = "db", .log_from = full->lsns.last}});
  {
    Application application(path_);
    application.Run("INSERT INTO t SELECT max(id) + 1, '', sum + max(id) + 1 FROM t");
  }
  const std::string rows = Rows(path_);
  const auto log = TakeLog(*writer, path_, full->lsns.last);
  if (!log.ok()) {  // a trim of what was backed up before it died
    EXPECT_THAT(log, HasReason(4214));
    const auto again = TakeFull(*writer, path_);
    ASSERT_THAT(again, IsOk());
    full = *again;
    ASSERT_THAT(PutSet(*writer, copy_, *full, {.end = RestoreEnd::kRecovery}), IsOk());
  } else {
    ASSERT_THAT(PutSet(*writer, copy_, *full), IsOk());
    ASSERT_THAT(PutSet(*writer, copy_, *log, {.end = RestoreEnd::kRecovery}), IsOk());
  }
  EXPECT_EQ(FaultOf(copy_), "");
  EXPECT_EQ(Rows(copy_), rows);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, SqliteLogKeepCrash,
                         testing::Values("sqlite.log.torn_block:2", "sqlite.log.copied:2",
                                         "sqlite.log.before_loose", "sqlite.log.loose",
                                         "sqlite.log.before_trim", "sqlite.log.trimmed"));

class SqliteLogRestoreCrash : public SqliteLogCrash {};

TEST_P(SqliteLogRestoreCrash, LeavesTheDatabaseBeforeOrAfterTheStep) {
  std::vector<ChainSet> sets;
  {
    MakeDatabase(path_, "WAL", 100);
    const auto writer = StartServer();
    const auto full = TakeFull(*writer, path_);
    ASSERT_THAT(full, IsOk());
    {
      Application application(path_);
      InsertRows(application, 101, 50);
    }
    const auto differential = TakeDifferential(*writer, path_, *full);
    ASSERT_THAT(differential, IsOk());
    {
      Application application(path_);
      InsertRows(application, 151, 50);
    }
    const auto log = TakeLog(*writer, path_, full->lsns.last);
    ASSERT_THAT(log, IsOk());
    sets = {*full, *differential, *log};
  }
  MakeDatabase(copy_, "WAL", kOldRows);

  ASSERT_EQ(Die([&](SqliteWriter& writer) {
              for (const RestoreEnd end :
                   {RestoreEnd::kNoRecovery, RestoreEnd::kStandby, RestoreEnd::kRecovery}) {
                for (std::size_t i = 0; i < sets.size(); ++i) {
                  (void)PutSet(writer, copy_, sets[i],
                               {.end = i + 1 == sets.size() ? end : RestoreEnd::kNoRecovery});
                }
                (void)writer.AbandonRestore(copy_);
              }
            }),
            1000 + SIGKILL)
      << "the crash point was not reached";

  const auto writer = StartServer();
  ASSERT_THAT(writer->DiscardRestore(copy_, "job-1"), IsOk());
  const std::string rows = Rows(copy_);
  EXPECT_TRUE(rows == std::to_string(kOldRows) || rows == "200") << rows;
  EXPECT_EQ(FaultOf(copy_), "");
  const auto outcome =
      writer->Recover(copy_, {.job_name = "job-2", .lock_deadline = Deadline::Now()});
  if (outcome.ok()) {
    EXPECT_EQ(FaultOf(copy_), "");
    const int recovered = std::stoi(Rows(copy_));
    EXPECT_EQ(recovered, outcome->reached == sets[2].lsns.last   ? 200
                         : outcome->reached == sets[1].lsns.last ? 150
                                                                 : 100);
  } else {
    EXPECT_THAT(outcome, HasReason(3117));
  }
  for (std::size_t i = 0; i < sets.size(); ++i) {
    ASSERT_THAT(PutSet(*writer, copy_, sets[i],
                       {.end = i == 2 ? RestoreEnd::kRecovery : RestoreEnd::kNoRecovery}),
                IsOk());
  }
  EXPECT_EQ(Rows(copy_), "200");
  for (const std::string& leaf : scratch_.Leaves()) {
    EXPECT_EQ(leaf.find("capstan-rest"), std::string::npos) << leaf;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Everywhere, SqliteLogRestoreCrash,
    testing::Values("sqlite.log.restoring_renamed", "sqlite.log.restoring_adopted",
                    "sqlite.log.restoring_abandoned", "sqlite.log.part_ready",
                    "sqlite.log.part_ready:2", "sqlite.log.part_pending",
                    "sqlite.log.part_pending:2", "sqlite.log.part_written",
                    "sqlite.log.part_written:2", "sqlite.log.part_taken",
                    "sqlite.log.restoring_checked", "sqlite.log.restoring_swapped",
                    "sqlite.log.standby_copied", "sqlite.log.standby_swapped"));

}  // namespace
}  // namespace capstan::writers
