// Full and differential backups of a real cluster in use: what comes out is started with stock
// PostgreSQL and checked by its own tools. All cases share one cluster and its load.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/pg_control.h"
#include "server/writers/postgres/postgres_set.h"
#include "server/writers/postgres/postgres_writer.h"
#include "tests/support/child_process.h"
#include "tests/support/cluster_copy.h"
#include "tests/support/cluster_load.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/status_matchers.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

using test::ClusterLoad;
using test::ClusterSet;
using test::CopyOptions;
using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::PostgresCluster;

constexpr std::uint32_t kPageBytes = 8192;

class PostgresBackup : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!PostgresCluster::Available()) {
      return;
    }
    auto made = PostgresCluster::Create({.settings = {"max_wal_size = 64MB"}});
    ASSERT_THAT(made, IsOk());
    cluster_ = std::move(made).value().release();
    // On another file system where there is one, so that there are two volumes.
    ASSERT_THAT(cluster_->AddTablespace("fast", HasSharedMemory() ? "/dev/shm" : ""), IsOk());
    ASSERT_THAT(cluster_->Sql("CREATE DATABASE shop"), IsOk());
    ASSERT_THAT(cluster_->Run("pgbench", {"-i", "-q", "-s", "2", "shop"}), IsOk());
    ASSERT_THAT(
        cluster_->Sql("CREATE EXTENSION amcheck; CREATE TABLE notes (a text) TABLESPACE fast; "
                      "CREATE TABLE cold AS SELECT i, repeat('c', 500) AS b FROM "
                      "generate_series(1, 20000) i; CREATE INDEX ON cold (i); "
                      "CREATE UNLOGGED TABLE fleeting AS SELECT i FROM generate_series(1, 5000) i;"
                      "CREATE TABLE shrinking AS SELECT i FROM generate_series(1, 20000) i; "
                      "CREATE TABLE going AS SELECT i FROM generate_series(1, 20000) i",
                      "shop"),
        IsOk());
    // Age: what is loaded above is not newer than the next checkpoint.
    ASSERT_THAT(cluster_->Sql("VACUUM FREEZE", "shop"), IsOk());
    ASSERT_THAT(cluster_->Sql("CHECKPOINT"), IsOk());
  }
  static void TearDownTestSuite() { delete cluster_; }
  static bool HasSharedMemory() {
    struct stat temporary {};
    struct stat shared {};
    return ::stat(std::filesystem::temp_directory_path().c_str(), &temporary) == 0 &&
           ::stat("/dev/shm", &shared) == 0 && temporary.st_dev != shared.st_dev &&
           ::access("/dev/shm", W_OK) == 0;
  }

  void SetUp() override {
    if (!PostgresCluster::Available()) {
      GTEST_SKIP() << "PostgreSQL 15 is not installed";
    }
    ASSERT_NE(cluster_, nullptr);
  }

  Result<std::unique_ptr<BackupSession>> Begin(BackupOptions options = {}) {
    if (!options.on_page_error) {
      options.on_page_error = [this](const PageError& error) {
        const std::lock_guard<std::mutex> lock(mutex_);
        page_errors_.push_back(error);
        return OkStatus();
      };
    }
    return writer_.BeginBackup(cluster_->conninfo(), "shop", options);
  }
  Result<ClusterSet> BackUp(BackupOptions options = {}, const CopyOptions& copy = {}) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::unique_ptr<BackupSession> session,
                             Begin(std::move(options)));
    return test::ReadCluster(*session, copy);
  }
  static DifferentialBase BaseOf(const ClusterSet& set) {
    return {.backup_set_guid = Guid::Random(), .lsns = set.lsns, .writer_data = set.writer_data};
  }

  // Writes the sets one over the other, and starts what comes out.
  Result<std::unique_ptr<PostgresCluster>> Restore(const std::vector<const ClusterSet*>& sets) {
    const std::string folder = fmt::format("{}/copy{}", cluster_->folder(), copy_number_++);
    for (const ClusterSet* set : sets) {
      CAPSTAN_RETURN_IF_ERROR(test::WriteCluster(*set, folder));
    }
    CAPSTAN_RETURN_IF_ERROR(PostgresCluster::GiveToPostgres(folder));
    CAPSTAN_ASSIGN_OR_RETURN(std::unique_ptr<PostgresCluster> copy,
                             PostgresCluster::Adopt(folder + "/data"));
    CAPSTAN_RETURN_IF_ERROR(copy->Start());
    return copy;
  }

  static void ExpectSound(PostgresCluster& copy) {
    EXPECT_THAT(copy.Run("pg_amcheck", {"--database=shop", "--no-dependent-toast"}), IsOk());
    // What pgbench's transactions keep equal.
    const auto sums = copy.Sql(
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM "
        "pgbench_branches) AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) "
        "FROM pgbench_branches) AND (SELECT coalesce(sum(delta), 0) FROM pgbench_history) = "
        "(SELECT sum(bbalance) FROM pgbench_branches)",
        "shop");
    ASSERT_THAT(sums, IsOk());
    EXPECT_EQ(*sums, "t");
    EXPECT_THAT(copy.Stop(), IsOk());
    const auto checked = copy.Run("pg_checksums", {"-D", copy.data_directory()});
    ASSERT_THAT(checked, IsOk());
    EXPECT_NE(checked->find("Bad checksums:  0"), std::string::npos) << *checked;
  }

  static std::string PathOf(const std::string& table) {
    return cluster_->Sql(fmt::format("SELECT pg_relation_filepath('{}')", table), "shop").value();
  }

  static inline PostgresCluster* cluster_ = nullptr;
  static inline int copy_number_ = 0;
  PostgresWriter writer_;
  std::mutex mutex_;
  std::vector<PageError> page_errors_;
};

std::set<std::string> PathsOf(const ClusterSet& set) {
  std::set<std::string> paths;
  for (const auto& [extent, bytes] : set.extents) {
    const auto parts = DecodeBundle(bytes);
    EXPECT_THAT(parts, IsOk());
    for (const BundlePart& part : *parts) {
      paths.insert(part.entry.path);
    }
  }
  return paths;
}

TEST_F(PostgresBackup, DescribesTheCluster) {
  const auto description = writer_.Describe(cluster_->conninfo(), "shop");

  ASSERT_THAT(description, IsOk());
  EXPECT_EQ(description->writer, "postgresql");
  const auto control = ReadPgControl(cluster_->data_directory());
  ASSERT_THAT(control, IsOk());
  EXPECT_EQ(cluster_->Sql("SELECT system_identifier FROM pg_control_system()").value(),
            std::to_string(control->system_identifier));
  EXPECT_EQ(description->created_unix_s,
            static_cast<std::int64_t>(control->system_identifier >> 32));
  EXPECT_EQ(description->version.substr(0, 3), "15.");
  EXPECT_EQ(description->page_size, kPageBytes);
  EXPECT_EQ(description->recovery_model, RecoveryModel::kFull);
  EXPECT_EQ(description->role, ReplicaRole::kLonePrimary);
  EXPECT_EQ(description->contained, (std::vector<std::string>{"postgres", "shop"}));
  ASSERT_EQ(description->files.size(), 3U);
  EXPECT_EQ(description->files[0].logical_name, "shop");
  EXPECT_EQ(description->files[0].physical_name, cluster_->data_directory());
  EXPECT_GT(description->files[0].size_bytes, 20U << 20);
  EXPECT_EQ(description->files[1].logical_name, "shop_fast");
  EXPECT_EQ(description->files[2].logical_name, "shop_log");
  EXPECT_EQ(description->files[2].type, 'L');
  EXPECT_FALSE(description->files[0].whole);
  EXPECT_EQ(description->volumes.size(), HasSharedMemory() ? 2U : 1U);
  EXPECT_EQ(description->files[1].volume, description->volumes.size() - 1);
}

TEST_F(PostgresBackup, OfAClusterInUseStartsAndIsSound) {
  std::unique_ptr<ClusterLoad> load = std::make_unique<ClusterLoad>(*cluster_);

  const auto set = BackUp();

  load.reset();
  ASSERT_THAT(set, IsOk());
  EXPECT_TRUE(page_errors_.empty()) << page_errors_[0].file << " " << page_errors_[0].cause;
  EXPECT_LT(set->lsns.first, set->lsns.last);
  EXPECT_EQ(set->lsns.first, set->lsns.checkpoint);
  EXPECT_FALSE(set->recovery_fork.is_zero());
  EXPECT_EQ(writer_.info().state, WriterState::kStable);
  auto copy = Restore({&*set});
  ASSERT_THAT(copy, IsOk());
  EXPECT_EQ((*copy)->Sql("SELECT count(*) FROM cold", "shop").value(), "20000");
  EXPECT_EQ((*copy)->Sql("SELECT count(*) FROM fleeting", "shop").value(), "0");
  ExpectSound(**copy);
}

// Extents as small as a device may ask for, read in odd pieces by several threads per volume.
TEST_F(PostgresBackup, InSmallExtentsByManyReadersIsSoundToo) {
  std::unique_ptr<ClusterLoad> load = std::make_unique<ClusterLoad>(*cluster_);

  const auto set =
      BackUp({}, {.extent_bytes_max = 60000, .piece_bytes = 10001, .shared_volumes = true});

  load.reset();
  ASSERT_THAT(set, IsOk());
  EXPECT_TRUE(page_errors_.empty()) << page_errors_[0].file << " " << page_errors_[0].cause;
  auto copy = Restore({&*set});
  ASSERT_THAT(copy, IsOk());
  ExpectSound(**copy);
}

TEST_F(PostgresBackup, LeavesOutWhatIsOfNoUse) {
  const std::string fleeting = PathOf("fleeting");
  const std::string temporary = cluster_->data_directory() + "/base/pgsql_tmp";
  std::filesystem::create_directory(temporary);
  std::ofstream(temporary + "/pgsql_tmp1.0") << "x";

  const auto set = BackUp();

  std::filesystem::remove_all(temporary);
  ASSERT_THAT(set, IsOk());
  const std::set<std::string> paths = PathsOf(*set);
  EXPECT_TRUE(paths.contains(fleeting + "_init"));
  EXPECT_FALSE(paths.contains(fleeting));
  EXPECT_FALSE(paths.contains("postmaster.pid"));
  EXPECT_FALSE(paths.contains("base/pgsql_tmp/pgsql_tmp1.0"));
  EXPECT_TRUE(paths.contains("global/pg_control"));
  EXPECT_TRUE(paths.contains("backup_label"));
  EXPECT_TRUE(paths.contains("postgresql.conf"));
  for (const std::string& path : paths) {
    for (const char* folder : {"pg_replslot/", "pg_notify/", "pg_subtrans/", "pg_stat_tmp/",
                               "pg_dynshmem/", "pg_snapshots/", "pg_serial/"}) {
      EXPECT_FALSE(path.starts_with(folder)) << path;
    }
  }
  const auto manifest = test::ManifestOf(*set);
  ASSERT_THAT(manifest, IsOk());
  const auto has_directory = [&](const std::string& path) {
    return std::ranges::any_of(manifest->directories,
                               [&](const auto& directory) { return directory.path == path; });
  };
  EXPECT_TRUE(has_directory("pg_replslot"));
  EXPECT_TRUE(has_directory("pg_wal/archive_status"));
}

TEST_F(PostgresBackup, ThatIsDifferentialHoldsWhatChangedAndNothingElse) {
  std::unique_ptr<ClusterLoad> load = std::make_unique<ClusterLoad>(*cluster_);
  const auto full = BackUp();
  ASSERT_THAT(full, IsOk());
  load.reset();
  // A database made by copying files has old LSNs in new files; a table gets shorter, one goes.
  ASSERT_THAT(cluster_->Sql("CREATE DATABASE copied TEMPLATE shop STRATEGY file_copy"), IsOk());
  ASSERT_THAT(cluster_->Sql("DELETE FROM shrinking WHERE i > 10; DROP TABLE going; "
                            "UPDATE cold SET b = 'changed' WHERE i = 7",
                            "shop"),
              IsOk());
  ASSERT_THAT(cluster_->Sql("VACUUM shrinking", "shop"), IsOk());
  load = std::make_unique<ClusterLoad>(*cluster_);

  const auto differential = BackUp({.kind = BackupKind::kDifferential, .base = BaseOf(*full)});

  load.reset();
  ASSERT_THAT(differential, IsOk());
  EXPECT_TRUE(page_errors_.empty()) << page_errors_[0].file << " " << page_errors_[0].cause;
  EXPECT_EQ(differential->recovery_fork, full->recovery_fork);
  auto copy = Restore({&*full, &*differential});
  ASSERT_THAT(copy, IsOk());
  EXPECT_EQ((*copy)->Sql("SELECT count(*) FROM shrinking", "shop").value(), "10");
  EXPECT_EQ((*copy)->Sql("SELECT b FROM cold WHERE i = 7", "shop").value(), "changed");
  EXPECT_EQ((*copy)->Sql("SELECT to_regclass('going') IS NULL", "shop").value(), "t");
  EXPECT_EQ((*copy)->Sql("SELECT count(*) FROM cold", "copied").value(), "20000");
  ExpectSound(**copy);
  ASSERT_THAT(cluster_->Sql("DROP DATABASE copied"), IsOk());
}

TEST_F(PostgresBackup, ThatIsDifferentialIsSmallWhereLittleChanged) {
  const auto full = BackUp();
  ASSERT_THAT(full, IsOk());
  ASSERT_THAT(cluster_->Sql("UPDATE cold SET b = 'again' WHERE i = 9", "shop"), IsOk());

  const auto differential =
      BackUp({.kind = BackupKind::kDifferential, .base = BaseOf(*full)}, {.shared_volumes = true});

  ASSERT_THAT(differential, IsOk());
  EXPECT_LT(differential->size_bytes() * 5, full->size_bytes())
      << differential->size_bytes() << " of " << full->size_bytes();
  auto copy = Restore({&*full, &*differential});
  ASSERT_THAT(copy, IsOk());
  EXPECT_EQ((*copy)->Sql("SELECT b FROM cold WHERE i = 9", "shop").value(), "again");
  ExpectSound(**copy);
}

TEST_F(PostgresBackup, ThatIsDifferentialNeedsABaseOfThisCluster) {
  const auto full = BackUp();
  ASSERT_THAT(full, IsOk());
  DifferentialBase base = BaseOf(*full);
  PostgresSet set = DecodePostgresSet(base.writer_data).value();

  EXPECT_THAT(BackUp({.kind = BackupKind::kDifferential}), HasCode(Code::kUnavailable));
  set.system_identifier += 1;
  base.writer_data = EncodePostgresSet(set).value();
  EXPECT_THAT(BackUp({.kind = BackupKind::kDifferential, .base = base}),
              MessageHas("another cluster"));
  set.system_identifier -= 1;
  set.timeline_begin_lsn = 99;
  base.writer_data = EncodePostgresSet(set).value();
  EXPECT_THAT(BackUp({.kind = BackupKind::kDifferential, .base = base}),
              MessageHas("restored or promoted"));
  set.timeline_begin_lsn = 0;
  set.data_checksums = false;
  base.writer_data = EncodePostgresSet(set).value();
  EXPECT_THAT(BackUp({.kind = BackupKind::kDifferential, .base = base}), MessageHas("checksums"));
  base.writer_data = "no set";
  EXPECT_THAT(BackUp({.kind = BackupKind::kDifferential, .base = base}), MessageHas("damaged"));
}

// S0-29: a damaged page fails the backup with its number.
TEST_F(PostgresBackup, NamesExactlyThePageThatIsDamaged) {
  const std::string path = cluster_->data_directory() + "/" + PathOf("cold");
  ASSERT_THAT(cluster_->Sql("CHECKPOINT"), IsOk());
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  char good = 0;
  constexpr off_t kPlace = 5 * kPageBytes + 4000;
  ASSERT_EQ(::pread(fd.get(), &good, 1, kPlace), 1);
  const char bad = static_cast<char>(good ^ 0x10);
  ASSERT_EQ(::pwrite(fd.get(), &bad, 1, kPlace), 1);

  const auto set = BackUp();
  const auto unverified = writer_.BeginBackup(cluster_->conninfo(), "shop", {});
  const auto refused = BackUp({.on_page_error = [](const PageError& error) {
    return Error(Code::kDataLoss, "page {} is bad", error.page);
  }});

  ASSERT_EQ(::pwrite(fd.get(), &good, 1, kPlace), 1);
  ASSERT_THAT(set, IsOk());
  ASSERT_EQ(page_errors_.size(), 1U);
  EXPECT_EQ(page_errors_[0].file, path);
  EXPECT_EQ(page_errors_[0].page, 5U);
  EXPECT_EQ(page_errors_[0].file_id, 1U);
  EXPECT_NE(page_errors_[0].cause.find("checksum"), std::string::npos);
  EXPECT_NE(page_errors_[0].cause.find("public.cold in database shop"), std::string::npos)
      << page_errors_[0].cause;
  ASSERT_THAT(unverified, IsOk());
  EXPECT_THAT(test::ReadCluster(**unverified), IsOk());
  EXPECT_THAT(refused, MessageHas("page 5 is bad"));

  // The same as the set is restored WITH CHECKSUM.
  std::vector<PageError> found;
  const auto check =
      writer_.BeginPageCheck(set->description.files, [&found](const PageError& error) {
        found.push_back(error);
        return OkStatus();
      });
  ASSERT_THAT(check, IsOk());
  for (const auto& [extent, bytes] : set->extents) {
    ASSERT_THAT((*check)->Take(extent, bytes), IsOk());
  }
  ASSERT_THAT((*check)->Finish(), IsOk());
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].page, 5U);
  EXPECT_EQ(found[0].file, path);
}

// Damage that looks newer than all log: no log will repair it.
TEST_F(PostgresBackup, DoesNotTakeAnLsnFromTheFutureForAnExcuse) {
  const std::string path = cluster_->data_directory() + "/" + PathOf("cold");
  ASSERT_THAT(cluster_->Sql("CHECKPOINT"), IsOk());
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  std::uint32_t good = 0;
  constexpr off_t kPlace = 6 * kPageBytes;
  ASSERT_EQ(::pread(fd.get(), &good, sizeof(good), kPlace), 4);
  const std::uint32_t bad = 0x7fffffff;
  ASSERT_EQ(::pwrite(fd.get(), &bad, sizeof(bad), kPlace), 4);

  const auto set = BackUp();

  ASSERT_EQ(::pwrite(fd.get(), &good, sizeof(good), kPlace), 4);
  ASSERT_THAT(set, IsOk());
  ASSERT_EQ(page_errors_.size(), 1U);
  EXPECT_EQ(page_errors_[0].page, 6U);
}

TEST_F(PostgresBackup, EndsWithAnErrorBeforeItsLogHasBeenRead) {
  auto session = Begin();
  ASSERT_THAT(session, IsOk());

  EXPECT_THAT((*session)->BeginTail(), HasCode(Code::kInternal));
  EXPECT_THAT((*session)->End(), HasCode(Code::kFailedPrecondition));
  EXPECT_EQ(writer_.info().state, WriterState::kFailed);
}

TEST_F(PostgresBackup, ThatIsGivenUpLeavesNothingBehind) {
  {
    auto session = Begin();
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT((*session)->NextExtent(0, 1 << 20), IsOk());
    EXPECT_EQ(cluster_->Sql("SELECT count(*) FROM pg_replication_slots WHERE temporary").value(),
              "1");
  }
  // Another one begins at once, so the first is over; its slot goes with its session.
  EXPECT_THAT(BackUp(), IsOk());
  for (int i = 0; i < 1000; ++i) {
    if (cluster_->Sql("SELECT count(*) FROM pg_replication_slots WHERE temporary").value() == "0") {
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ADD_FAILURE() << "a slot is left";
}

TEST_F(PostgresBackup, FailsWithAReasonWhenTheServerGoes) {
  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT(cluster_->Stop(PostgresCluster::Shutdown::kImmediate), IsOk());

  const auto set = test::ReadCluster(**session);

  EXPECT_THAT(set, HasCode(Code::kUnavailable));
  ASSERT_THAT(cluster_->Start(), IsOk());
}

TEST_F(PostgresBackup, NeedsToReadTheFiles) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can give up rights";
  }
  test::ChildProcess child([this]() -> std::string {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) {
      return "unable to give up rights";
    }
    const auto session = writer_.BeginBackup(cluster_->conninfo(), "shop", {});
    const std::string said = session.status().ToString();
    return said.find("ermission denied") != std::string::npos &&
                   session.status().hint().find("run capstand as root") != std::string_view::npos
               ? ""
               : said;
  });
  EXPECT_EQ(child.Await(), "");
}

TEST_F(PostgresBackup, RefusesWhatIsNoServerOrNoLocation) {
  EXPECT_THAT(writer_.Describe("host=/nonexistent", "x"), HasCode(Code::kUnavailable));
  const auto status = writer_.Describe("host=/tmp password", "x").status();
  EXPECT_NE(status.hint().find("postgresql:host="), std::string_view::npos);
  const auto secret = writer_.Describe("host=/nonexistent password=hunter2", "x").status();
  EXPECT_EQ(secret.ToString().find("hunter2"), std::string::npos);
}

TEST_F(PostgresBackup, IsOfAClusterThatCanBeDiscovered) {
  const std::vector<std::string> folders = {cluster_->folder()};
  const auto found = writer_.Discover(folders);

  ASSERT_THAT(found, IsOk());
  const auto ours = std::ranges::find_if(*found, [](const DiscoveredDatabase& database) {
    return database.state.find(cluster_->data_directory()) != std::string::npos;
  });
  ASSERT_NE(ours, found->end());
  EXPECT_TRUE(ours->state.starts_with("running, PostgreSQL 15 on port 5432"));
  EXPECT_THAT(writer_.Describe(ours->location + " user=postgres", "x"), IsOk());
}

}  // namespace
}  // namespace capstan::writers
