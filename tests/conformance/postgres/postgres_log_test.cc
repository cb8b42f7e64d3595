// The log of real clusters: how it is kept for log backups, let go of, and backed up when the
// server is stopped for it, is down, or has a new timeline.
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "server/writers/postgres/postgres_writer.h"
#include "tests/support/cluster_restore.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using test::HasReason;
using test::IsOk;
using test::MessageHas;
using test::PostgresCluster;
using test::TakenSet;

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::uint64_t kMiB = 1 << 20;

// Where thousands of small files cost little.
std::string FastFolder() {
  return fs::is_directory("/dev/shm") ? "/dev/shm" : "";
}

class PostgresLog : public testing::Test {
 protected:
  void SetUp() override {
    if (!PostgresCluster::Available()) {
      GTEST_SKIP() << "PostgreSQL 15 is not installed";
    }
    // Log that nobody of this test wrote would be taken for its own.
    auto made = PostgresCluster::Create(
        {.settings = {"max_wal_size = 4MB", "min_wal_size = 2MB", "autovacuum = off"},
         .parent = FastFolder()});
    ASSERT_THAT(made, IsOk());
    cluster_ = *std::move(made);
    place_ = cluster_->folder() + "/restored";
    writer_ = std::make_unique<PostgresWriter>(LogKeeper::Options{.period = 50ms});
    Sql("CREATE TABLE t (n int); CREATE TABLE filler (f text)");
  }

  std::string Sql(const std::string& statement) {
    const auto result = cluster_->Sql(statement);
    EXPECT_THAT(result, IsOk());
    return result.ok() ? *result : "";
  }
  // So much log, and no more of it needed by the server itself.
  void WriteLog(std::uint64_t bytes) {
    Sql(fmt::format("INSERT INTO filler SELECT repeat('z', 1000) FROM generate_series(1, {})",
                    bytes / 1000));
    Sql("CHECKPOINT");
    Sql("SELECT pg_switch_wal()");
    Sql("CHECKPOINT");
  }
  TakenSet Take(const BackupOptions& options) {
    auto taken = test::TakeSet(*writer_, location(), options);
    EXPECT_THAT(taken, IsOk());
    return taken.ok() ? *std::move(taken) : TakenSet{};
  }
  std::string location() const { return cluster_->conninfo(); }
  void Keep(std::optional<Lsn> log_from, RecoveryModel model = RecoveryModel::kFull) {
    writer_->Keep(
        {{.location = location(), .name = "shop", .recovery_model = model, .log_from = log_from}});
  }
  LogStatus Status() {
    auto status = writer_->DescribeLog(location());
    EXPECT_THAT(status, IsOk());
    return status.ok() ? *status : LogStatus{};
  }
  static bool WaitUntil(const std::function<bool()>& condition) {
    for (int tries = 0; tries < 400; ++tries) {
      if (condition()) {
        return true;
      }
      ::usleep(25'000);
    }
    return false;
  }
  std::string Slots() {
    return Sql("SELECT coalesce(string_agg(slot_name, ' '), '') FROM pg_replication_slots");
  }
  Result<RestoreOutcome> Restore(const TakenSet& taken, const RestoreOptions& options) {
    std::vector<RestoreTarget> targets;
    for (const DatabaseFile& file : taken.set.description.files) {
      targets.push_back({.file = file, .physical_name = file.physical_name});
    }
    targets.front().physical_name = place_;
    return test::RestoreSet(*writer_, taken, targets, options);
  }
  // Of the restored cluster.
  std::string RowsThere(const std::string& directory) {
    auto restored = PostgresCluster::Adopt(directory);
    EXPECT_THAT(restored, IsOk());
    EXPECT_THAT((*restored)->Start(), IsOk()) << (*restored)->Log();
    auto rows = (*restored)->Sql("SELECT concat_ws(' ', count(*), max(n)) FROM t");
    EXPECT_THAT((*restored)->Stop(), IsOk());
    return rows.ok() ? *rows : std::string(rows.status().message());
  }

  std::unique_ptr<PostgresCluster> cluster_;
  std::string place_;
  std::unique_ptr<PostgresWriter> writer_;
};

TEST_F(PostgresLog, IsKeptFromTheFirstFullBackupOnUntilItIsBackedUp) {
  const TakenSet full = Take({.kind = BackupKind::kFull});
  // Before anybody has said that it is needed. The backup's own goes with its connection.
  EXPECT_TRUE(WaitUntil([&] { return Slots() == "capstan_shop"; }));
  Keep(full.set.lsns.last);
  WriteLog(6 * kMiB);
  const LogStatus kept = Status();
  ASSERT_TRUE(kept.kept.has_value());
  EXPECT_LE(kept.kept->first, full.set.lsns.last);
  EXPECT_GE(kept.bytes, 6 * kMiB);
  EXPECT_GT(kept.limit_bytes, 0U);
  EXPECT_EQ(kept.broken, "");

  const TakenSet log = Take({.kind = BackupKind::kLog, .log_from = full.set.lsns.last});

  EXPECT_EQ(log.set.lsns.first, full.set.lsns.last);
  EXPECT_EQ(log.set.recovery_fork, full.set.recovery_fork);
  EXPECT_EQ(Status().kept->first, log.set.lsns.last);
  // Nothing new but the mark of the next backup itself, which the server may not have flushed yet;
  // the chain goes on all the same.
  const TakenSet next = Take({.kind = BackupKind::kLog, .log_from = log.set.lsns.last});
  EXPECT_EQ(next.set.lsns.first, log.set.lsns.last);
  EXPECT_GE(next.set.lsns.last, next.set.lsns.first);
  EXPECT_LT(next.set.size_bytes(), 64U << 10);

  Keep(std::nullopt, RecoveryModel::kSimple);
  EXPECT_TRUE(WaitUntil([&] { return Slots().empty(); }));
  EXPECT_FALSE(Status().kept.has_value());
}

TEST_F(PostgresLog, IsLetGoBeyondItsLimitAndSaidSo) {
  writer_ =
      std::make_unique<PostgresWriter>(LogKeeper::Options{.limit_bytes = 3 * kMiB, .period = 50ms});
  const TakenSet full = Take({.kind = BackupKind::kFull});
  Keep(full.set.lsns.last);
  WriteLog(8 * kMiB);

  EXPECT_TRUE(WaitUntil([&] { return !Status().broken.empty(); }));

  EXPECT_THAT(Status().broken, testing::HasSubstr("more than the limit of"));
  EXPECT_TRUE(WaitUntil([&] { return Slots().empty(); }));
  WriteLog(8 * kMiB);
  const auto log = writer_->BeginBackup(location(), "shop",
                                        {.kind = BackupKind::kLog, .log_from = full.set.lsns.last});
  EXPECT_THAT(log, MessageHas("the first that is there is at"));
  EXPECT_THAT(log, MessageHas("more than the limit of"));
  EXPECT_THAT(std::string(log.status().hint()), testing::HasSubstr("full or differential"));

  // The next full backup begins a new chain.
  const TakenSet again = Take({.kind = BackupKind::kFull});
  Keep(again.set.lsns.last);
  EXPECT_TRUE(WaitUntil([&] { return Slots() == "capstan_shop"; }));
  EXPECT_EQ(Status().broken, "");
  Take({.kind = BackupKind::kLog, .log_from = again.set.lsns.last});
}

TEST_F(PostgresLog, WhoseSlotSomebodyDroppedIsBrokenIfItIsGone) {
  const TakenSet full = Take({.kind = BackupKind::kFull});
  Keep(full.set.lsns.last);
  ASSERT_TRUE(WaitUntil([&] { return Status().kept.has_value(); }));
  // The slot comes back as long as the log is there.
  Sql("SELECT pg_drop_replication_slot('capstan_shop')");
  EXPECT_TRUE(WaitUntil([&] { return Slots() == "capstan_shop"; }));
  EXPECT_EQ(Status().broken, "");

  // Nobody looks after it while the log goes.
  writer_.reset();
  Sql("SELECT pg_drop_replication_slot('capstan_shop')");
  WriteLog(8 * kMiB);
  WriteLog(8 * kMiB);
  writer_ = std::make_unique<PostgresWriter>(LogKeeper::Options{.period = 50ms});
  Keep(full.set.lsns.last);

  EXPECT_TRUE(WaitUntil([&] { return !Status().broken.empty(); }));
  EXPECT_THAT(Status().broken, testing::HasSubstr("not there"));
}

TEST_F(PostgresLog, TailStopsTheClusterUntilItIsRecovered) {
  Sql("INSERT INTO t VALUES (1)");
  const TakenSet full = Take({.kind = BackupKind::kFull});
  Keep(full.set.lsns.last);
  Sql("INSERT INTO t VALUES (2)");

  const TakenSet tail = Take(
      {.kind = BackupKind::kLog, .log_from = full.set.lsns.last, .tail = LogTail::kNoRecovery});

  const std::string& directory = cluster_->data_directory();
  EXPECT_FALSE(fs::exists(directory + "/postmaster.pid"));
  EXPECT_FALSE(fs::exists(directory + "/global/pg_control"));
  // All of it is in the backup, and the cluster itself comes back as well.
  ASSERT_THAT(Restore(full, {.end = RestoreEnd::kNoRecovery}), IsOk());
  ASSERT_THAT(Restore(tail, {}), IsOk());
  EXPECT_EQ(RowsThere(place_), "2 2");
  ASSERT_THAT(writer_->Recover(directory, {}), IsOk());
  EXPECT_EQ(RowsThere(directory), "2 2");
}

TEST_F(PostgresLog, OfACrashedClusterIsBackedUpWithoutAServer) {
  Sql("INSERT INTO t VALUES (1)");
  const TakenSet full = Take({.kind = BackupKind::kFull});
  Keep(full.set.lsns.last);
  Sql("INSERT INTO t VALUES (2)");
  ASSERT_THAT(cluster_->Stop(PostgresCluster::Shutdown::kImmediate), IsOk());
  fs::remove(cluster_->data_directory() + "/global/pg_control");  // it cannot be started either

  const TakenSet tail = Take(
      {.kind = BackupKind::kLog, .log_from = full.set.lsns.last, .tail = LogTail::kNoTruncate});

  ASSERT_THAT(Restore(full, {.end = RestoreEnd::kNoRecovery}), IsOk());
  ASSERT_THAT(Restore(tail, {}), IsOk());
  EXPECT_EQ(RowsThere(place_), "2 2");
  // Nobody knows where a cluster is that was never asked.
  PostgresWriter stranger;
  EXPECT_THAT(stranger.BeginBackup(location(), "shop",
                                   {.kind = BackupKind::kLog, .tail = LogTail::kNoTruncate}),
              MessageHas("no server has said where the files"));
  EXPECT_THAT(stranger.BeginBackup(cluster_->data_directory(), "shop",
                                   {.kind = BackupKind::kLog,
                                    .log_from = {full.set.lsns.last.value + (1ULL << 40)},
                                    .tail = LogTail::kNoTruncate}),
              MessageHas("is not in"));
}

TEST_F(PostgresLog, GoesOnAcrossAPromotion) {
  Sql("INSERT INTO t VALUES (1)");
  // A standby has no slot of ours.
  Sql("ALTER SYSTEM SET wal_keep_size = '64MB'");
  Sql("SELECT pg_reload_conf()");
  auto standby = cluster_->MakeStandby();
  ASSERT_THAT(standby, IsOk());
  const TakenSet full = Take({.kind = BackupKind::kFull});
  Sql("INSERT INTO t VALUES (2)");
  ASSERT_THAT((*standby)->WaitForReplay(*cluster_), IsOk());
  ASSERT_THAT((*standby)->Promote(), IsOk());
  ASSERT_THAT((*standby)->Sql("INSERT INTO t VALUES (3)"), IsOk());

  auto log = test::TakeSet(*writer_, (*standby)->conninfo(),
                           {.kind = BackupKind::kLog, .log_from = full.set.lsns.last});

  ASSERT_THAT(log, IsOk());
  EXPECT_NE(log->set.recovery_fork, full.set.recovery_fork);
  ASSERT_THAT(Restore(full, {.end = RestoreEnd::kNoRecovery}), IsOk());
  ASSERT_THAT(Restore(*log, {}), IsOk());
  EXPECT_EQ(RowsThere(place_), "3 3");
  // What the old primary has written since is another line of history.
  Sql("INSERT INTO t VALUES (4)");
  fs::remove_all(place_);
  ASSERT_THAT(Restore(full, {.end = RestoreEnd::kNoRecovery}), IsOk());
  ASSERT_THAT(Restore(*log, {.end = RestoreEnd::kNoRecovery}), IsOk());
  Sql("INSERT INTO filler SELECT repeat('z', 1000) FROM generate_series(1, 500)");
  const TakenSet longer = Take({.kind = BackupKind::kLog, .log_from = full.set.lsns.last});
  EXPECT_THAT(Restore(longer, {}), HasReason(4330));
}

TEST_F(PostgresLog, OfAStandbyGoesAsFarAsItHasReplayed) {
  // A standby has no slot of ours.
  Sql("ALTER SYSTEM SET wal_keep_size = '64MB'");
  Sql("SELECT pg_reload_conf()");
  auto standby = cluster_->MakeStandby();
  ASSERT_THAT(standby, IsOk());
  const TakenSet full = Take({.kind = BackupKind::kFull});
  Sql("INSERT INTO t VALUES (1)");
  ASSERT_THAT((*standby)->WaitForReplay(*cluster_), IsOk());

  auto log = test::TakeSet(*writer_, (*standby)->conninfo(),
                           {.kind = BackupKind::kLog, .log_from = full.set.lsns.last});

  ASSERT_THAT(log, IsOk());
  EXPECT_EQ(log->set.recovery_fork, full.set.recovery_fork);
  ASSERT_THAT(Restore(full, {.end = RestoreEnd::kNoRecovery}), IsOk());
  ASSERT_THAT(Restore(*log, {}), IsOk());
  EXPECT_EQ(RowsThere(place_), "1 1");
  EXPECT_THAT(writer_->BeginBackup(
                  (*standby)->conninfo(), "shop",
                  {.kind = BackupKind::kLog, .log_from = {log->set.lsns.last.value + kMiB}}),
              MessageHas("the log ends at"));
}

TEST(LogSlotName, IsOneThatPostgreSqlTakes) {
  EXPECT_EQ(LogSlotName("shop_2"), "capstan_shop_2");
  EXPECT_NE(LogSlotName("Shop"), LogSlotName("sHop"));
  EXPECT_LE(LogSlotName(std::string(200, 'x')).size(), 63U);
  EXPECT_NE(LogSlotName(std::string(200, 'x')), LogSlotName(std::string(201, 'x')));
}

}  // namespace
}  // namespace capstan::writers
