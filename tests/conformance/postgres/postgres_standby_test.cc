// Backups of a cluster with a streaming standby: where they run, and that one of the standby is as
// good as one of the primary. All cases share the two servers.
#include <atomic>
#include <memory>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/writers/postgres/postgres_set.h"
#include "server/writers/postgres/postgres_writer.h"
#include "tests/support/cluster_copy.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using test::ClusterSet;
using test::IsOk;
using test::MessageHas;
using test::PostgresCluster;

class PostgresStandby : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!PostgresCluster::Available()) {
      return;
    }
    auto made = PostgresCluster::Create({});
    ASSERT_THAT(made, IsOk());
    primary_ = std::move(made).value().release();
    ASSERT_THAT(primary_->AddTablespace("fast"), IsOk());
    ASSERT_THAT(primary_->Sql("CREATE EXTENSION amcheck; CREATE TABLE notes (a int, b text) "
                              "TABLESPACE fast; CREATE INDEX ON notes (a); "
                              "INSERT INTO notes SELECT i, repeat('n', 200) FROM "
                              "generate_series(1, 20000) i"),
                IsOk());
    auto standby = primary_->MakeStandby();
    ASSERT_THAT(standby, IsOk());
    standby_ = std::move(standby).value().release();
  }
  static void TearDownTestSuite() {
    delete standby_;
    delete primary_;
  }
  void SetUp() override {
    if (!PostgresCluster::Available()) {
      GTEST_SKIP() << "PostgreSQL 15 is not installed";
    }
    ASSERT_NE(standby_, nullptr);
  }

  // Both servers, the standby first.
  static std::string BothServers() {
    return fmt::format("host={},{} port=5432,5432 user=postgres dbname=postgres",
                       standby_->socket_folder(), primary_->socket_folder());
  }
  // On whose files a backup with these options runs.
  std::string RunsOn(const BackupOptions& options) {
    const auto session = writer_.BeginBackup(BothServers(), "shop", options);
    if (!session.ok()) {
      return session.status().ToString();
    }
    const DatabaseDescription& description = (*session)->description();
    if (description.files[0].physical_name == primary_->data_directory()) {
      return description.role != ReplicaRole::kSecondary ? "primary" : "primary, wrong role";
    }
    return description.role == ReplicaRole::kSecondary ? "standby" : "standby, wrong role";
  }

  static Result<std::unique_ptr<PostgresCluster>> Restore(const ClusterSet& set) {
    const std::string folder = fmt::format("{}/copy{}", primary_->folder(), copy_number_++);
    CAPSTAN_RETURN_IF_ERROR(test::WriteCluster(set, folder));
    CAPSTAN_RETURN_IF_ERROR(PostgresCluster::GiveToPostgres(folder));
    CAPSTAN_ASSIGN_OR_RETURN(std::unique_ptr<PostgresCluster> copy,
                             PostgresCluster::Adopt(folder + "/data"));
    CAPSTAN_RETURN_IF_ERROR(copy->Start());
    return copy;
  }

  static inline PostgresCluster* primary_ = nullptr;
  static inline PostgresCluster* standby_ = nullptr;
  static inline int copy_number_ = 0;
  PostgresWriter writer_;
};

// S2-32 to S2-35, S0-22.
TEST_F(PostgresStandby, BacksUpWhereItsAdministratorPrefers) {
  EXPECT_EQ(RunsOn({.preference = BackupPreference::kSecondaryOnly}), "primary");
  EXPECT_EQ(RunsOn({.copy_only = true, .preference = BackupPreference::kPrimary}), "primary");
  EXPECT_EQ(RunsOn({.copy_only = true, .preference = BackupPreference::kSecondaryOnly}), "standby");
  EXPECT_EQ(RunsOn({.copy_only = true, .preference = BackupPreference::kPreferSecondary}),
            "standby");
  EXPECT_EQ(RunsOn({.copy_only = true, .preference = BackupPreference::kAny}), "standby");
}

// S0-21
TEST_F(PostgresStandby, IsPreferredOnlyWhereThereIsOne) {
  const auto session =
      writer_.BeginBackup(primary_->conninfo(), "shop",
                          {.copy_only = true, .preference = BackupPreference::kPreferSecondary});
  ASSERT_THAT(session, IsOk());
  EXPECT_EQ((*session)->description().files[0].physical_name, primary_->data_directory());
}

TEST_F(PostgresStandby, IsNotThereForAFullBackupThatIsABase) {
  for (const BackupKind kind : {BackupKind::kFull, BackupKind::kDifferential}) {
    const auto session = writer_.BeginBackup(standby_->conninfo(), "shop", {.kind = kind});
    EXPECT_THAT(session, MessageHas("there is a standby only"));
    EXPECT_NE(session.status().hint().find("name all servers"), std::string_view::npos);
  }
  EXPECT_THAT(
      writer_.BeginBackup(primary_->conninfo(), "shop",
                          {.copy_only = true, .preference = BackupPreference::kSecondaryOnly}),
      MessageHas("there is no standby"));
}

TEST_F(PostgresStandby, IsBackedUpWhileItFollows) {
  std::atomic<bool> stopping = false;
  std::jthread load([&stopping] {
    for (int i = 0; !stopping; ++i) {
      (void)primary_->Sql(fmt::format("UPDATE notes SET b = '{}' WHERE a % 50 = {}", i, i % 50));
      (void)primary_->Sql("VACUUM notes");
    }
  });
  std::vector<PageError> page_errors;
  BackupOptions options{.copy_only = true,
                        .preference = BackupPreference::kSecondaryOnly,
                        .on_page_error = [&page_errors](const PageError& error) {
                          page_errors.push_back(error);
                          return OkStatus();
                        }};
  auto session = writer_.BeginBackup(BothServers(), "shop", options);
  ASSERT_THAT(session, IsOk());

  const auto set =
      test::ReadCluster(**session, {.extent_bytes_max = 200000, .after_first_extent = [] {
                                      (void)primary_->Sql("SELECT pg_switch_wal(); CHECKPOINT");
                                      (void)standby_->Sql("CHECKPOINT");
                                    }});

  EXPECT_EQ(writer_.Describe(primary_->conninfo(), "shop")->role, ReplicaRole::kPrimary);
  stopping = true;
  ASSERT_THAT(set, IsOk());
  EXPECT_TRUE(page_errors.empty());
  EXPECT_TRUE(DecodePostgresSet(set->writer_data).value().from_standby);
  EXPECT_EQ(set->recovery_fork,
            writer_.BeginBackup(primary_->conninfo(), "shop", {}).value()->recovery_fork());
  auto copy = Restore(*set);
  ASSERT_THAT(copy, IsOk());
  EXPECT_EQ((*copy)->Sql("SELECT pg_is_in_recovery()").value(), "f");
  EXPECT_EQ((*copy)->Sql("SELECT count(*) FROM notes").value(), "20000");
  EXPECT_THAT((*copy)->Run("pg_amcheck", {"--database=postgres"}), IsOk());
  EXPECT_THAT((*copy)->Stop(), IsOk());
  const auto checked = (*copy)->Run("pg_checksums", {"-D", (*copy)->data_directory()});
  ASSERT_THAT(checked, IsOk());
}

// Last, because the standby is none any more afterwards.
TEST_F(PostgresStandby, ThatIsPromotedFailsItsBackup) {
  const auto full = writer_.BeginBackup(primary_->conninfo(), "shop", {});
  ASSERT_THAT(full, IsOk());
  const auto base = test::ReadCluster(**full);
  ASSERT_THAT(base, IsOk());
  const auto session = writer_.BeginBackup(
      BothServers(), "shop", {.copy_only = true, .preference = BackupPreference::kSecondaryOnly});
  ASSERT_THAT(session, IsOk());

  const auto set = test::ReadCluster(
      **session, {.after_first_extent = [] { ASSERT_THAT(standby_->Promote(), IsOk()); }});

  EXPECT_THAT(set, MessageHas("promoted"));
  EXPECT_EQ(writer_.Describe(standby_->conninfo(), "shop")->role, ReplicaRole::kLonePrimary);
  // It is on a fork of its own now, which a base of the other one does not help.
  const auto forked = writer_.BeginBackup(standby_->conninfo(), "shop", {});
  ASSERT_THAT(forked, IsOk());
  EXPECT_NE((*forked)->recovery_fork(), base->recovery_fork);
  const auto copied = test::ReadCluster(**forked);
  ASSERT_THAT(copied, IsOk());
  EXPECT_THAT(writer_.BeginBackup(primary_->conninfo(), "shop",
                                  {.kind = BackupKind::kDifferential,
                                   .base = DifferentialBase{.lsns = copied->lsns,
                                                            .writer_data = copied->writer_data}}),
              MessageHas("restored or promoted"));
  auto copy = Restore(*copied);
  ASSERT_THAT(copy, IsOk());
  EXPECT_EQ((*copy)->Sql("SELECT timeline_id FROM pg_control_checkpoint()").value(), "2");
}

}  // namespace
}  // namespace capstan::writers
