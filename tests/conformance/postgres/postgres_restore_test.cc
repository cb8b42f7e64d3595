// Chains of backups of a real cluster, restored, recovered and opened by stock PostgreSQL. All
// cases share one cluster and one chain: numbered rows, each committed by itself.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/postgres_set.h"
#include "server/writers/postgres/postgres_writer.h"
#include "server/writers/postgres/restoring_state.h"
#include "server/writers/postgres/wal_reader.h"
#include "tests/support/cluster_restore.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;
using test::MessageHas;
using test::PostgresCluster;
using test::TakenSet;

namespace fs = std::filesystem;

// Where thousands of small files cost little.
std::string FastFolder() {
  return fs::is_directory("/dev/shm") ? "/dev/shm" : "";
}

Lsn LsnFrom(const std::string& text) {
  return ParsePostgresLsn(text).value_or(Lsn{});
}

class PostgresRestore : public testing::Test {
 protected:
  // What happened to the cluster, in its order: rows of 1.. by one commit each.
  struct Chain {
    TakenSet full;          // rows 1-100
    TakenSet differential;  // 1-200
    TakenSet log1;          // 1-300, from the full one on
    TakenSet log2;          // 1-400
    std::int64_t after_250_us = 0;
    std::string lsn_350;  // where the log was when row 350 had been committed
    std::int64_t after_390_us = 0;
  };

  static void SetUpTestSuite() {
    if (!PostgresCluster::Available()) {
      return;
    }
    auto made = PostgresCluster::Create({.parent = FastFolder()});
    ASSERT_THAT(made, IsOk());
    cluster_ = std::move(made).value().release();
    writer_ = new PostgresWriter();
    chain_ = new Chain();
    auto folder = cluster_->AddTablespace("fast");
    ASSERT_THAT(folder, IsOk());
    tablespace_ = new std::string(*folder);
    ASSERT_THAT(cluster_->Sql("CREATE EXTENSION amcheck; "
                              "CREATE TABLE t (n int PRIMARY KEY, fill text); "
                              "CREATE TABLE big TABLESPACE fast AS SELECT g, repeat('x', 500) AS f "
                              "FROM generate_series(1, 4000) g"),
                IsOk());
    MakeChain();
  }
  static void MakeChain() {
    Insert(1, 100);
    chain_->full = Take({.kind = BackupKind::kFull});
    writer_->Keep({{.location = cluster_->conninfo(),
                    .name = "shop",
                    .log_from = chain_->full.set.lsns.last}});
    Insert(101, 200);
    chain_->differential =
        Take({.kind = BackupKind::kDifferential,
              .base = DifferentialBase{.backup_set_guid = Guid::Random(),
                                       .lsns = chain_->full.set.lsns,
                                       .writer_data = chain_->full.set.writer_data}});
    Insert(201, 250);
    chain_->after_250_us = Now();
    Insert(251, 299);
    Sql("SELECT pg_create_restore_point('before 300')");
    Insert(300, 300);
    chain_->log1 = Take({.kind = BackupKind::kLog, .log_from = chain_->full.set.lsns.last});
    Insert(301, 350);
    chain_->lsn_350 = Sql("SELECT pg_current_wal_insert_lsn()");
    Insert(351, 390);
    chain_->after_390_us = Now();
    Insert(391, 400);
    Sql("SELECT pg_switch_wal()");
    chain_->log2 = Take({.kind = BackupKind::kLog, .log_from = chain_->log1.set.lsns.last});
  }
  static void TearDownTestSuite() {
    delete chain_;
    delete tablespace_;
    delete writer_;
    delete cluster_;
  }
  void SetUp() override {
    if (!PostgresCluster::Available()) {
      GTEST_SKIP() << "PostgreSQL 15 is not installed";
    }
    ASSERT_NE(chain_, nullptr);
    place_ = cluster_->folder() + "/restored";
    log_name_ = place_ + ".capstan-log";
    Clear();
  }
  void TearDown() override {
    if (cluster_ != nullptr) {
      Clear();
    }
  }
  void Clear() {
    fs::remove_all(place_);
    fs::remove_all(place_ + "_fast");
    fs::remove_all(log_name_);
  }

  static TakenSet Take(const BackupOptions& options) {
    auto taken = test::TakeSet(*writer_, cluster_->conninfo(), options);
    EXPECT_THAT(taken, IsOk());
    return taken.ok() ? *std::move(taken) : TakenSet{};
  }
  static std::string Sql(const std::string& statement) {
    const auto result = cluster_->Sql(statement);
    EXPECT_THAT(result, IsOk());
    return result.ok() ? *result : "";
  }
  static std::int64_t Now() {
    return std::stoll(Sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"));
  }
  static void Insert(int first, int last) {
    Sql(
        fmt::format("DO $$ BEGIN FOR i IN {}..{} LOOP INSERT INTO t VALUES (i, repeat('y', 100)); "
                    "COMMIT; END LOOP; END $$",
                    first, last));
  }

  // The data directory and the tablespace moved; the log stays where the set says.
  std::vector<RestoreTarget> Targets(const TakenSet& taken) const {
    std::vector<RestoreTarget> targets;
    for (const DatabaseFile& file : taken.set.description.files) {
      targets.push_back({.file = file, .physical_name = file.physical_name});
      if (file.type == 'D') {
        targets.back().physical_name = targets.size() == 1 ? place_ : place_ + "_fast";
      }
    }
    return targets;
  }
  Result<RestoreOutcome> Restore(const TakenSet& taken, const RestoreOptions& options = {}) {
    return test::RestoreSet(*writer_, taken, Targets(taken), options);
  }
  Status RestoreFully(std::initializer_list<const TakenSet*> sets) {
    for (const TakenSet* set : sets) {
      CAPSTAN_RETURN_IF_ERROR(Restore(*set, {.end = RestoreEnd::kNoRecovery}).status());
    }
    return OkStatus();
  }
  Result<RestoreOutcome> Recover(const StopPoint& stop = {}) {
    return writer_->Recover(place_, {.end = RestoreEnd::kRecovery, .stop = stop});
  }
  // What a statement says in the restored cluster, started by the stock server, in which pg_amcheck
  // finds every table and index right, and stopped again.
  std::string Ask(const std::string& statement) {
    auto restored = PostgresCluster::Adopt(place_);
    EXPECT_THAT(restored, IsOk());
    if (!restored.ok()) {
      return "";
    }
    EXPECT_THAT((*restored)->Start(), IsOk()) << (*restored)->Log();
    const auto answer = (*restored)->Sql(statement);
    EXPECT_THAT(answer, IsOk());
    EXPECT_THAT((*restored)->Run("pg_amcheck", {"--heapallindexed", "-d", "postgres"}), IsOk());
    EXPECT_THAT((*restored)->Stop(), IsOk());
    return answer.ok() ? *answer : "";
  }
  std::string RowsThere() { return Ask("SELECT concat_ws(' ', count(*), max(n)) FROM t"); }
  bool IsThere(const std::string& name) const { return fs::exists(place_ + "/" + name); }

  static PostgresCluster* cluster_;
  static PostgresWriter* writer_;
  static Chain* chain_;
  static std::string* tablespace_;
  std::string place_;
  std::string log_name_;
};

PostgresCluster* PostgresRestore::cluster_ = nullptr;
PostgresWriter* PostgresRestore::writer_ = nullptr;
PostgresRestore::Chain* PostgresRestore::chain_ = nullptr;
std::string* PostgresRestore::tablespace_ = nullptr;

TEST_F(PostgresRestore, BringsAFullBackupBackAndLeavesNothingOfItsOwn) {
  const auto outcome = Restore(chain_->full);

  ASSERT_THAT(outcome, IsOk());
  EXPECT_GE(outcome->reached, chain_->full.set.lsns.last);
  EXPECT_FALSE(outcome->recovery_fork.is_zero());
  EXPECT_NE(outcome->recovery_fork, chain_->full.set.recovery_fork);
  for (const auto& entry : fs::recursive_directory_iterator(place_)) {
    EXPECT_THAT(entry.path().filename().string(), testing::Not(testing::HasSubstr("capstan")));
  }
  EXPECT_FALSE(IsThere("postmaster.opts") || IsThere("recovery.signal"));
  EXPECT_EQ(RowsThere(), "100 100");
  EXPECT_EQ(Ask("SELECT count(*) FROM big"), "4000");
  EXPECT_EQ(fs::read_symlink(*fs::directory_iterator(place_ + "/pg_tblspc")), place_ + "_fast");
  EXPECT_THAT(cluster_->Run("pg_checksums", {"--check", "-D", place_}), IsOk());
}

TEST_F(PostgresRestore, AppliesADifferentialBackupAndLog) {
  ASSERT_THAT(RestoreFully({&chain_->full, &chain_->differential, &chain_->log1, &chain_->log2}),
              IsOk());
  EXPECT_FALSE(IsThere("global/pg_control"));  // no server starts on it by mistake

  ASSERT_THAT(Recover(), IsOk());

  EXPECT_EQ(RowsThere(), "400 400");
  EXPECT_THAT(cluster_->Run("pg_checksums", {"--check", "-D", place_}), IsOk());
}

// S5: the newest commit before the point is there, and none after.
TEST_F(PostgresRestore, StopsAtATimeAnLsnAndAMark) {
  struct Case {
    StopPoint stop;
    std::string rows;
  };
  const std::vector<Case> cases = {
      {{.kind = StopPoint::Kind::kTime, .unix_us = chain_->after_250_us}, "250 250"},
      {{.kind = StopPoint::Kind::kLsn, .lsn = LsnFrom(chain_->lsn_350), .before = true}, "350 350"},
      {{.kind = StopPoint::Kind::kMark, .mark = "before 300"}, "299 299"},
  };
  for (const Case& wanted : cases) {
    Clear();
    ASSERT_THAT(RestoreFully({&chain_->full, &chain_->log1, &chain_->log2}), IsOk());
    const auto outcome = Recover(wanted.stop);
    ASSERT_THAT(outcome, IsOk());
    EXPECT_FALSE(outcome->stop_missed);
    EXPECT_EQ(RowsThere(), wanted.rows);
  }
}

TEST_F(PostgresRestore, GoesOnWithMoreLogAfterAStopThatWasMissed) {
  ASSERT_THAT(RestoreFully({&chain_->full}), IsOk());
  const StopPoint stop{.kind = StopPoint::Kind::kTime, .unix_us = chain_->after_390_us};

  const auto missed = Restore(chain_->log1, {.stop = stop});

  ASSERT_THAT(missed, IsOk());
  EXPECT_TRUE(missed->stop_missed);
  EXPECT_EQ(missed->reached, chain_->log1.set.lsns.last);
  const auto reached = Restore(chain_->log2, {.stop = stop});
  ASSERT_THAT(reached, IsOk());
  EXPECT_FALSE(reached->stop_missed);
  EXPECT_EQ(RowsThere(), "390 390");
}

TEST_F(PostgresRestore, RefusesAStopBeforeTheBackupIsConsistent) {
  ASSERT_THAT(RestoreFully({&chain_->full, &chain_->differential, &chain_->log1}), IsOk());

  const auto outcome =
      Recover({.kind = StopPoint::Kind::kLsn, .lsn = chain_->differential.set.lsns.first});

  EXPECT_THAT(outcome, HasReason(4338));
  EXPECT_THAT(outcome, MessageHas("too early"));
  ASSERT_THAT(Recover(), IsOk());  // nothing was changed by that
  EXPECT_EQ(RowsThere(), "300 300");
}

TEST_F(PostgresRestore, StandbyIsReadableAndTakesMoreLog) {
  ASSERT_THAT(RestoreFully({&chain_->full}), IsOk());
  ASSERT_THAT(Restore(chain_->log1, {.end = RestoreEnd::kStandby}), IsOk());
  auto standby = PostgresCluster::Adopt(place_, {"wal_retrieve_retry_interval=100ms"});
  ASSERT_THAT(standby, IsOk());
  ASSERT_THAT((*standby)->Start(), IsOk()) << (*standby)->Log();
  const auto rows_of_standby = [&] { return (*standby)->Sql("SELECT count(*) FROM t").value(); };
  const auto wait_for = [&](const std::string& rows) {
    for (int tries = 0; tries < 300 && rows_of_standby() != rows; ++tries) {
      ::usleep(50'000);
    }
    return rows_of_standby();
  };
  EXPECT_EQ(wait_for("300"), "300");
  EXPECT_THAT((*standby)->Sql("INSERT INTO t VALUES (1000)"), MessageHas("read-only"));

  // Also while it runs; recovery needs it stopped.
  ASSERT_THAT(Restore(chain_->log2, {.end = RestoreEnd::kStandby}), IsOk());
  EXPECT_EQ(wait_for("400"), "400");
  EXPECT_THAT(Recover(), HasReason(3101));
  ASSERT_THAT((*standby)->Stop(), IsOk());
  ASSERT_THAT(Recover(), IsOk());
  EXPECT_FALSE(IsThere("standby.signal") || fs::exists(log_name_));
  std::ifstream settings(place_ + "/postgresql.auto.conf");
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(settings), {}),
              testing::Not(testing::HasSubstr("restore_command")));
  EXPECT_EQ(RowsThere(), "400 400");
}

std::uint64_t BlocksWritten() {
  std::ifstream io("/proc/self/io");
  for (std::string key; io >> key;) {
    std::uint64_t value = 0;
    io >> value;
    if (key == "wchar:") {
      return value;
    }
  }
  return 0;
}

TEST_F(PostgresRestore, OverTheSameClusterWritesLittle) {
  const std::uint64_t before_first = BlocksWritten();
  ASSERT_THAT(Restore(chain_->full), IsOk());
  const std::uint64_t first = BlocksWritten() - before_first;
  std::ofstream(place_ + "/base/left_over") << "of another time";
  fs::create_directories(place_ + "/base/77777");
  std::ofstream(place_ + "/base/77777/1259") << "of a dropped database";
  EXPECT_THAT(Restore(chain_->full), HasReason(3156));

  const std::uint64_t before_second = BlocksWritten();
  ASSERT_THAT(Restore(chain_->full, {.replace = true}), IsOk());
  const std::uint64_t second = BlocksWritten() - before_second;

  EXPECT_LT(second, first / 2);
  EXPECT_FALSE(IsThere("base/left_over") || IsThere("base/77777"));
  EXPECT_EQ(RowsThere(), "100 100");
}

TEST_F(PostgresRestore, RefusesPlacesThatAreNotItsOwn) {
  fs::create_directories(place_);
  std::ofstream(place_ + "/letter.txt") << "dear";
  EXPECT_THAT(Restore(chain_->full), HasReason(3156));
  EXPECT_THAT(Restore(chain_->full, {.replace = true}), HasReason(3156));
  EXPECT_TRUE(IsThere("letter.txt"));
  fs::remove_all(place_);

  std::vector<RestoreTarget> targets = Targets(chain_->full);
  targets[0].physical_name = cluster_->data_directory();
  EXPECT_THAT(test::RestoreSet(*writer_, chain_->full, targets, {.replace = true}),
              HasReason(3101));
  // The tablespace of a cluster in use is no place either, although it may be replaced.
  targets[0].physical_name = place_;
  targets[1].physical_name = *tablespace_;
  EXPECT_THAT(test::RestoreSet(*writer_, chain_->full, targets, {.replace = true}),
              HasReason(3156));
  EXPECT_FALSE(fs::exists(place_));
}

TEST_F(PostgresRestore, RefusesSetsThatDoNotFit) {
  EXPECT_THAT(Restore(chain_->log1), HasReason(3117));
  fs::create_directories(place_);
  EXPECT_THAT(Restore(chain_->differential), HasReason(3117));
  ASSERT_THAT(RestoreFully({&chain_->full}), IsOk());
  EXPECT_THAT(Restore(chain_->log2), HasReason(4305));
  ASSERT_THAT(RestoreFully({&chain_->log1}), IsOk());
  EXPECT_THAT(Restore(chain_->log1), HasReason(4326));

  TakenSet other = chain_->log2;
  PostgresSet set = DecodePostgresSet(other.set.writer_data).value();
  set.system_identifier += 1;
  other.set.writer_data = EncodePostgresSet(set).value();
  EXPECT_THAT(Restore(other), HasReason(4330));
  // A log that is cut is found out before anything is replaced by it.
  other = chain_->log2;
  other.set.extents.pop_back();
  EXPECT_THAT(Restore(other), HasCode(Code::kDataLoss));
  ASSERT_THAT(Restore(chain_->log2), IsOk());
  EXPECT_THAT(Recover(), HasReason(3117));
  EXPECT_EQ(RowsThere(), "400 400");
}

TEST_F(PostgresRestore, GivesAnIncompleteSetUpWithoutATrace) {
  TakenSet cut = chain_->full;
  cut.set.extents.erase(cut.set.extents.begin());

  EXPECT_THAT(Restore(cut), HasCode(Code::kDataLoss));

  EXPECT_TRUE(fs::is_empty(place_));
  // In a cluster that was to be replaced no server starts, and the next restore succeeds.
  ASSERT_THAT(Restore(chain_->full), IsOk());
  EXPECT_THAT(Restore(cut, {.replace = true}), HasCode(Code::kDataLoss));
  EXPECT_FALSE(IsThere("global/pg_control"));
  ASSERT_THAT(Restore(chain_->full), IsOk());
  EXPECT_EQ(RowsThere(), "100 100");
}

TEST_F(PostgresRestore, AbandonRemovesWhatIsBeingRestored) {
  ASSERT_THAT(RestoreFully({&chain_->full}), IsOk());
  ASSERT_THAT(writer_->AbandonRestore(place_), IsOk());
  EXPECT_TRUE(fs::is_empty(place_));
  EXPECT_TRUE(fs::is_empty(place_ + "_fast"));

  auto session = test::WriteSet(*writer_, chain_->full, Targets(chain_->full), {});
  ASSERT_THAT(session, IsOk());
  EXPECT_THAT(writer_->AbandonRestore(place_), HasReason(3101));  // by its own session
  EXPECT_THAT(writer_->DiscardRestore(place_, "8"), IsOk());      // another job's
  EXPECT_TRUE(IsThere("capstan.restoring"));
  session->reset();
  EXPECT_TRUE(fs::is_empty(place_));
}

// The process that recovers dies, and PostgreSQL with it, if not at once: who comes next waits.
TEST_F(PostgresRestore, RecoveryCanBeRepeatedAfterItWasKilled) {
  ASSERT_THAT(RestoreFully({&chain_->full, &chain_->log1, &chain_->log2}), IsOk());
  for (const int milliseconds : {40, 90, 140, 200, 260}) {
    const pid_t child = ::fork();
    if (child == 0) {
      PostgresWriter writer;
      const auto done = writer.Recover(place_, {.end = RestoreEnd::kRecovery});
      ::_exit(done.ok() ? 0 : 1);
    }
    ::usleep(static_cast<useconds_t>(milliseconds) * 1000);
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
  }

  if (IsThere("capstan.restoring")) {
    EXPECT_THAT(Recover(), IsOk());
  }

  EXPECT_FALSE(IsThere("capstan.private"));
  EXPECT_EQ(RowsThere(), "400 400");
}

TEST_F(PostgresRestore, ReaderAgreesWithPgWaldump) {
  const std::string directory = cluster_->data_directory() + "/pg_wal";
  const std::string end = PostgresLsnText(chain_->log2.set.lsns.last);
  const auto dumped = cluster_->Run(
      "pg_waldump",
      {"-p", directory, "-s", PostgresLsnText(chain_->log1.set.lsns.first), "-e", end});
  ASSERT_THAT(dumped, IsOk());
  std::vector<std::string> wanted;
  for (std::size_t at = dumped->find("lsn: "); at != std::string::npos;
       at = dumped->find("lsn: ", at + 1)) {
    wanted.push_back(dumped->substr(at + 5, dumped->find(',', at) - at - 5));
  }

  auto reader = WalReader::Open({.directories = {directory},
                                 .segment_size = 1U << 20,
                                 .start = chain_->log1.set.lsns.first,
                                 .limit = chain_->log2.set.lsns.last});
  ASSERT_THAT(reader, IsOk());
  std::vector<std::string> found;
  std::vector<std::string> names;
  for (auto record = reader->Next(); record.ok() && record->has_value(); record = reader->Next()) {
    found.push_back(fmt::format("{:X}/{:08X}", (*record)->start.value >> 32,
                                (*record)->start.value & 0xFFFF'FFFF));
    if ((*record)->kind == WalRecord::Kind::kRestorePoint) {
      names.push_back((*record)->name);
    }
  }

  EXPECT_EQ(found, wanted);
  EXPECT_THAT(names, testing::ElementsAre("before 300"));
  EXPECT_EQ(reader->end(), chain_->log2.set.lsns.last);
}

}  // namespace
}  // namespace capstan::writers
