// A restore of a cluster is killed at each of its crash points. Afterwards no server starts on what
// lies there, except on what PostgreSQL itself was to recover; the same step succeeds when it is
// repeated, and so does the rest of the chain. What this cannot show: the order in which a power
// cut loses what was not synced; SIGKILL keeps the page cache.
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/writers/postgres/postgres_writer.h"
#include "tests/support/child_process.h"
#include "tests/support/cluster_restore.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using test::IsOk;
using test::OptionsFor;
using test::PostgresCluster;
using test::RunInChild;
using test::TakenSet;

namespace fs = std::filesystem;

enum class Step { kFull, kDifferential, kLog, kRecover, kDone };

Step After(Step step) {
  return static_cast<Step>(static_cast<int>(step) + 1);
}

class PostgresRestoreCrash : public testing::Test {
 protected:
  void SetUp() override {
    if (!PostgresCluster::Available()) {
      GTEST_SKIP() << "PostgreSQL 15 is not installed";
    }
    auto made = PostgresCluster::Create({.settings = {"wal_keep_size = 64MB"},
                                         .parent = fs::is_directory("/dev/shm") ? "/dev/shm" : ""});
    ASSERT_THAT(made, IsOk());
    cluster_ = *std::move(made);
    place_ = cluster_->folder() + "/restored";
    ASSERT_THAT(cluster_->Sql("CREATE TABLE t (n int)"), IsOk());
    ASSERT_NO_FATAL_FAILURE(MakeChain());
  }
  void MakeChain() {
    PostgresWriter writer;
    const auto take = [&](const BackupOptions& options) {
      ASSERT_THAT(cluster_->Sql("INSERT INTO t SELECT generate_series(1, 100)"), IsOk());
      auto taken = test::TakeSet(writer, cluster_->conninfo(), options);
      ASSERT_THAT(taken, IsOk());
      sets_.push_back(*std::move(taken));
    };
    ASSERT_NO_FATAL_FAILURE(take({.kind = BackupKind::kFull}));
    const test::ClusterSet& full = sets_.front().set;
    const DifferentialBase base{
        .backup_set_guid = Guid::Random(), .lsns = full.lsns, .writer_data = full.writer_data};
    const Lsn log_from = full.lsns.last;
    ASSERT_NO_FATAL_FAILURE(take({.kind = BackupKind::kDifferential, .base = base}));
    ASSERT_NO_FATAL_FAILURE(take({.kind = BackupKind::kLog, .log_from = log_from}));
  }

  std::vector<RestoreTarget> TargetsOf(const TakenSet& taken) const {
    std::vector<RestoreTarget> targets;
    for (const DatabaseFile& file : taken.set.description.files) {
      targets.push_back({.file = file, .physical_name = file.physical_name});
    }
    targets.front().physical_name = place_;
    return targets;
  }
  Status Run(Step step) {
    PostgresWriter writer;
    if (step == Step::kRecover) {
      return writer.Recover(place_, {.end = RestoreEnd::kRecovery}).status();
    }
    const TakenSet& taken = sets_[static_cast<std::size_t>(step)];
    return test::RestoreSet(writer, taken, TargetsOf(taken), {.end = RestoreEnd::kNoRecovery})
        .status();
  }
  // The first half of the full backup, and a checkpoint.
  Status RunHalf() {
    PostgresWriter writer;
    const TakenSet& taken = sets_.front();
    CAPSTAN_ASSIGN_OR_RETURN(const auto session,
                             writer.BeginRestore(TargetsOf(taken), OptionsFor(taken, {})));
    for (std::size_t i = 0; i < taken.set.extents.size() / 2; ++i) {
      const auto& [extent, bytes] = taken.set.extents[i];
      CAPSTAN_RETURN_IF_ERROR(session->WriteExtent(extent, bytes));
    }
    return session->Checkpoint();
  }
  // Goes on with it, and to its end. Less than `adopted_min` extents there is an error.
  Status GoOn(std::size_t adopted_min) {
    PostgresWriter writer;
    const TakenSet& taken = sets_.front();
    CAPSTAN_ASSIGN_OR_RETURN(const test::ResumedSet resumed,
                             test::GoOnWithSet(writer, taken, TargetsOf(taken), {}));
    if (resumed.adopted_count < adopted_min) {
      return Error(Code::kUnknown, "only {} extents were there", resumed.adopted_count);
    }
    return resumed.session->Commit().status();
  }
  // In a process of its own: what is wrong, or "".
  std::string RunInVictim(const std::function<Status()>& run, const std::string& crash_point) {
    return RunInChild([&] {
      ::setenv("CAPSTAN_CRASH_AT", crash_point.c_str(), 1);
      const Status status = run();
      return status.ok() ? "" : status.ToString();
    });
  }
  std::string RunInVictim(Step step, const std::string& crash_point = "none") {
    return RunInVictim([&] { return Run(step); }, crash_point);
  }
  bool IsThere(const std::string& name) const { return fs::exists(place_ + "/" + name); }
  std::string RowsThere() {
    auto restored = PostgresCluster::Adopt(place_);
    EXPECT_THAT(restored, IsOk());
    EXPECT_THAT((*restored)->Start(), IsOk()) << (*restored)->Log();
    const auto rows = (*restored)->Sql("SELECT count(*) FROM t");
    EXPECT_THAT((*restored)->Stop(), IsOk());
    return rows.ok() ? *rows : std::string(rows.status().message());
  }

  std::unique_ptr<PostgresCluster> cluster_;
  std::string place_;
  std::vector<TakenSet> sets_;  // by Step
};

TEST_F(PostgresRestoreCrash, LeavesWhatTheSameStepGoesOnFrom) {
  struct Case {
    Step step;
    const char* crash_point;
    bool server_may_start = false;
  };
  const std::vector<Case> cases = {
      {Step::kFull, "postgres.restore.marked"},
      {Step::kFull, "postgres.restore.written"},
      {Step::kDifferential, "postgres.restore.marked"},
      {Step::kDifferential, "postgres.restore.written"},
      {Step::kLog, "postgres.log_restore.gathered"},
      {Step::kLog, "postgres.log_restore.moved"},
      {Step::kRecover, "postgres.recovery.begun", true},
      {Step::kRecover, "postgres.recovery.ended", true},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{} in step {}", c.crash_point, static_cast<int>(c.step)));
    fs::remove_all(place_);
    for (Step step = Step::kFull; step != c.step; step = After(step)) {
      ASSERT_EQ(RunInVictim(step), "");
    }

    ASSERT_THAT(RunInVictim(c.step, c.crash_point), testing::HasSubstr("signal 9"))
        << "the crash point was not reached";

    EXPECT_TRUE(IsThere("capstan.restoring"));
    EXPECT_EQ(IsThere("global/pg_control"), c.server_may_start);
    for (Step step = c.step; step != Step::kDone; step = After(step)) {
      ASSERT_EQ(RunInVictim(step), "");
    }
    for (const auto& entry : fs::recursive_directory_iterator(place_)) {
      EXPECT_THAT(entry.path().filename().string(), testing::Not(testing::HasSubstr("capstan")));
    }
    EXPECT_EQ(RowsThere(), "300");
  }
}

// What a start of capstand does about the job that died.
TEST_F(PostgresRestoreCrash, OfAFullBackupIsDiscardedWithoutATrace) {
  for (const char* const crash_point : {"postgres.restore.marked", "postgres.restore.written"}) {
    ASSERT_THAT(RunInVictim(Step::kFull, crash_point), testing::HasSubstr("signal 9"));
    PostgresWriter writer;

    EXPECT_THAT(writer.DiscardRestore(place_, "7"), IsOk());
    EXPECT_THAT(writer.DiscardRestore(place_, "7"), IsOk()) << "idempotent";

    EXPECT_TRUE(fs::is_empty(place_)) << crash_point;
  }
}

// S0-50: whatever it dies of, and wherever on its way, the next one goes on with what is there.
TEST_F(PostgresRestoreCrash, OfAFullBackupCanBeGoneOnWith) {
  const std::size_t half = sets_.front().set.extents.size() / 2;
  const auto is_kept = [&] {
    PostgresWriter writer;
    const auto kept = writer.KeepRestore(place_, test::kRestoreName);
    EXPECT_THAT(kept, IsOk());
    return kept.ok() && *kept;
  };
  ASSERT_THAT(RunInVictim([&] { return RunHalf(); }, "postgres.restore.synced"),
              testing::HasSubstr("signal 9"));
  for (const char* const crash_point :
       {"postgres.restore.marked", "postgres.restore.written", "postgres.recovery.begun",
        "postgres.restore.marked", "postgres.recovery.ended"}) {
    SCOPED_TRACE(crash_point);
    EXPECT_TRUE(is_kept());
    EXPECT_TRUE(IsThere("capstan.restoring"));

    ASSERT_THAT(RunInVictim([&] { return GoOn(half / 2); }, crash_point),
                testing::HasSubstr("signal 9"))
        << "the crash point was not reached";
  }
  EXPECT_TRUE(is_kept());
  ASSERT_EQ(RunInVictim([&] { return GoOn(half / 2); }, "none"), "");
  EXPECT_FALSE(is_kept());
  for (const auto& entry : fs::recursive_directory_iterator(place_)) {
    EXPECT_THAT(entry.path().filename().string(), testing::Not(testing::HasSubstr("capstan")));
  }
  EXPECT_EQ(RowsThere(), "100");
}

TEST_F(PostgresRestoreCrash, IsGivenUpWhereverItDied) {
  for (const char* const crash_point :
       {"postgres.restore.marked", "postgres.restore.written", "postgres.recovery.begun"}) {
    SCOPED_TRACE(crash_point);
    ASSERT_THAT(RunInVictim([&] { return RunHalf(); }, "postgres.restore.synced"),
                testing::HasSubstr("signal 9"));
    ASSERT_THAT(RunInVictim([&] { return GoOn(1); }, crash_point), testing::HasSubstr("signal 9"));
    PostgresWriter writer;
    EXPECT_TRUE(writer.KeepRestore(place_, test::kRestoreName).value());

    EXPECT_THAT(writer.DiscardRestore(place_, test::kRestoreName), IsOk());

    EXPECT_TRUE(fs::is_empty(place_));
  }
}

}  // namespace
}  // namespace capstan::writers
