#include <cstdlib>
#include <limits>

#include <time.h>

#include "tests/unit/server/catalog/catalog_test.h"

namespace capstan::catalog {
namespace {

using test::IsOk;
using test::RecordBackup;
using test::SampleHeader;
using test::SampleJob;
using test::SampleRestore;
using test::SampleSet;

class CatalogHistory : public CatalogTest {
 protected:
  void SetUp() override {
    ::setenv("TZ", "UTC0", 1);
    ::tzset();
    CatalogTest::SetUp();
  }
  void TearDown() override {
    ::unsetenv("TZ");
    ::tzset();
  }
};

// S4-28, S1-34
TEST_F(CatalogHistory, TellsTheMediaSetAsMsdbDoes) {
  const auto header = SampleHeader(2);
  ASSERT_THAT(RecordBackup(*catalog_, header, SampleSet()), IsOk());

  const auto rows = Rows("SELECT * FROM msdb_dbo_backupmediaset");

  EXPECT_EQ(rows, (std::vector<Cells>{{"1", header.media_set_id.ToString(), "2",
                                       "https://disks/snapshot-7", "the nightly set", "Capstan",
                                       "17232", "1", "1", "0", "0", "0"}}));
}

TEST_F(CatalogHistory, TellsTheFamiliesAsMsdbDoes) {
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(2), SampleSet()), IsOk());

  const auto rows = Rows("SELECT * FROM msdb_dbo_backupmediafamily");

  EXPECT_EQ(rows, (std::vector<Cells>{{"1", "1", "4DA1B901-0000-0000-0000-000000000000", "1",
                                       std::nullopt, "/b/sales1.bak", "2", "4096", "0"},
                                      {"1", "2", "4DA1B902-0000-0000-0000-000000000000", "1",
                                       std::nullopt, "/b/sales2.bak", "2", "4096", "0"}}));
}

TEST_F(CatalogHistory, TellsTheDeviceTypeOfEveryClass) {
  JobRecord job = SampleJob(4);
  job.devices[1].device_class = "TAPE";
  job.devices[2].device_class = "VIRTUAL_DEVICE";
  job.devices[3].device_class = "URL";
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  ASSERT_THAT(catalog_->PrepareBackup(job.job_guid, SampleHeader(4), SampleSet()), IsOk());
  ASSERT_THAT(catalog_->CommitBackup(job.job_guid), IsOk());

  EXPECT_EQ(Value("SELECT group_concat(device_type) FROM msdb_dbo_backupmediafamily"), "2,5,7,9");
}

TEST_F(CatalogHistory, CountsMirrorsOfAFamily) {
  JobRecord job = SampleJob(4);
  job.devices[2].family_number = 1;
  job.devices[3].family_number = 2;
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  ASSERT_THAT(catalog_->PrepareBackup(job.job_guid, SampleHeader(2), SampleSet()), IsOk());
  ASSERT_THAT(catalog_->CommitBackup(job.job_guid), IsOk());

  EXPECT_EQ(Rows("SELECT physical_device_name, mirror FROM msdb_dbo_backupmediafamily "
                 "ORDER BY family_sequence_number, mirror"),
            (std::vector<Cells>{{"/b/sales1.bak", "0"},
                                {"/b/sales3.bak", "1"},
                                {"/b/sales2.bak", "0"},
                                {"/b/sales4.bak", "1"}}));
}

// S0-52, S1-34, S4-10
TEST_F(CatalogHistory, TellsTheBackupSetAsMsdbDoes) {
  auto set = SampleSet();
  set.copy_only = true;
  set.position = 3;
  set.expiration_unix_s = 1'800'000'000;
  set.time_zone_quarter_hours = -20;
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(2), set), IsOk());

  EXPECT_EQ(Rows("SELECT backup_set_id, backup_set_uuid, first_family_number, last_family_number, "
                 "first_media_number, position, expiration_date, software_vendor_id, name, "
                 "description, user_name, time_zone FROM msdb_dbo_backupset"),
            (std::vector<Cells>{{"1", set.backup_set_guid.ToString(), "1", "2", "1", "3",
                                 "2027-01-15 08:00:00.000", "17232", "nightly", std::nullopt, "dba",
                                 "-20"}}));
  EXPECT_EQ(Rows("SELECT first_lsn, last_lsn, checkpoint_lsn, database_backup_lsn, "
                 "database_creation_date, backup_start_date, backup_finish_date, type, "
                 "backup_size, compressed_backup_size, database_name, server_name, machine_name, "
                 "recovery_model FROM msdb_dbo_backupset"),
            (std::vector<Cells>{{"1000", "1100", "1050", "0", "2023-11-14 22:13:20.000",
                                 "2025-11-21 08:28:29.000", "2025-11-21 08:29:29.000", "D", "8192",
                                 "8192", "sales", "host1", "host1", "FULL"}}));
  EXPECT_EQ(Rows("SELECT flags, has_backup_checksums, is_copy_only, is_snapshot, is_damaged, "
                 "is_password_protected, differential_base_lsn, key_algorithm "
                 "FROM msdb_dbo_backupset"),
            (std::vector<Cells>{{"1552", "1", "1", "0", "0", "0", std::nullopt, std::nullopt}}));
}

// S4-44
TEST_F(CatalogHistory, TellsSnapshotsFromTheRest) {
  auto set = SampleSet();
  set.is_snapshot = true;
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), set), IsOk());

  EXPECT_EQ(Rows("SELECT is_snapshot, flags & 2, type FROM msdb_dbo_backupset"),
            (std::vector<Cells>{{"1", "2", "D"}}));
}

// S2-21
TEST_F(CatalogHistory, TellsWhetherTheDatabaseWasReadOnly) {
  for (const std::optional<bool> read_only :
       {std::optional<bool>(), std::optional(false), std::optional(true)}) {
    auto set = SampleSet();
    set.is_read_only = read_only;
    ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), set), IsOk());
  }

  EXPECT_EQ(Rows("SELECT is_readonly, flags & 4 FROM msdb_dbo_backupset ORDER BY backup_set_id"),
            (std::vector<Cells>{{std::nullopt, "0"}, {"0", "0"}, {"1", "4"}}));
}

TEST_F(CatalogHistory, TellsTheFilesAsMsdbDoes) {
  const auto set = SampleSet();
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), set), IsOk());

  EXPECT_EQ(
      Rows("SELECT backup_set_id, logical_name, physical_name, file_number, file_type, "
           "file_size, backup_size, page_size, backed_up_page_count, filegroup_name, state, "
           "state_desc, file_guid FROM msdb_dbo_backupfile"),
      (std::vector<Cells>{{"1", "sales", "/srv/sales.db", "1", "D", "16384", "8192", "4096", "2",
                           "PRIMARY", "0", "ONLINE", set.files[0].unique_id.ToString()}}));
}

TEST_F(CatalogHistory, KeepsEveryLsnExactAndInNumericOrder) {
  for (const std::uint64_t lsn : {std::numeric_limits<std::uint64_t>::max(), std::uint64_t{9},
                                  std::uint64_t{10}, std::uint64_t{9'223'372'036'854'775'809u}}) {
    auto set = SampleSet();
    set.first_lsn = lsn;
    ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), set), IsOk());
  }

  EXPECT_EQ(Rows("SELECT first_lsn FROM msdb_dbo_backupset ORDER BY first_lsn"),
            (std::vector<Cells>{{"9"}, {"10"}, {"9223372036854775809"}, {"18446744073709551615"}}));
  EXPECT_EQ(Value("SELECT max(first_lsn) FROM msdb_dbo_backupset"), "18446744073709551615");
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset WHERE first_lsn > 9"), "3");
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset WHERE first_lsn = '10'"), "1");
}

TEST_F(CatalogHistory, KeepsTheSizeOfACompressedBackupOnItsMedia) {
  auto set = SampleSet();
  set.compression_algorithm = "ZSTD";
  set.compressed_size_bytes = 4711;
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), set), IsOk());

  EXPECT_EQ(Value("SELECT compressed_backup_size FROM msdb_dbo_backupset"), "4711");
}

TEST_F(CatalogHistory, NamesTheBaseOfADifferential) {
  const auto base = SampleSet();
  auto copy_only = SampleSet();
  copy_only.copy_only = true;
  auto differential = SampleSet();
  differential.kind = media::SetKind::kDifferential;
  differential.database_backup_lsn = differential.differential_base_lsn = base.checkpoint_lsn;
  differential.differential_base_guid = base.backup_set_guid;
  for (const auto& set : {base, copy_only, differential}) {
    ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), set), IsOk());
  }

  EXPECT_EQ(Rows("SELECT differential_base_lsn, differential_base_guid, flags "
                 "FROM msdb_dbo_backupset WHERE type = 'I'"),
            (std::vector<Cells>{{"1050", base.backup_set_guid.ToString(), "2576"}}));
}

TEST_F(CatalogHistory, MarksWhereALogChainBegins) {
  const auto log = [](std::uint64_t first, std::uint64_t last) {
    auto set = SampleSet();
    set.kind = media::SetKind::kLog;
    set.first_lsn = first;
    set.last_lsn = last;
    return set;
  };
  auto begins = log(1000, 1100);
  begins.begins_log_chain = true;
  auto begins_again = log(1300, 1400);
  begins_again.begins_log_chain = true;
  for (const auto& set : {begins, log(1100, 1200), begins_again}) {
    ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), set), IsOk());
  }

  EXPECT_EQ(Rows("SELECT first_lsn, begins_log_chain FROM msdb_dbo_backupset WHERE type = 'L'"),
            (std::vector<Cells>{{"1000", "1"}, {"1100", "0"}, {"1300", "1"}}));
}

TEST_F(CatalogHistory, KeepsOneMediaSetForAppendedSetsAndItsLatestPlace) {
  const auto header = SampleHeader();
  ASSERT_THAT(RecordBackup(*catalog_, header, SampleSet()), IsOk());
  JobRecord job = SampleJob();
  job.devices[0].target = "/moved/sales.bak";
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  ASSERT_THAT(catalog_->PrepareBackup(job.job_guid, header, SampleSet()), IsOk());
  EXPECT_EQ(Value("SELECT physical_device_name FROM msdb_dbo_backupmediafamily"), "/b/sales1.bak");

  ASSERT_THAT(catalog_->CommitBackup(job.job_guid), IsOk());

  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset WHERE media_set_id = 1"), "2");
  EXPECT_EQ(Value("SELECT physical_device_name FROM msdb_dbo_backupmediafamily"),
            "/moved/sales.bak");
}

// As in msdb, history tells what was written, not what still exists.
TEST_F(CatalogHistory, KeepsOlderSetsWhenAMediumIsFormattedAgain) {
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), SampleSet()), IsOk());
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), SampleSet()), IsOk());

  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset"), "2");
  EXPECT_EQ(Value("SELECT count(DISTINCT media_set_id) FROM msdb_dbo_backupmediafamily WHERE "
                  "physical_device_name = '/b/sales1.bak'"),
            "2");
}

// S1-34
TEST_F(CatalogHistory, TellsARestoreOfAKnownSet) {
  const auto set = SampleSet();
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(2), set), IsOk());
  const JobRecord job = SampleJob(2);
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());

  ASSERT_THAT(catalog_->CommitRestore(job.job_guid, SampleRestore(set.backup_set_guid)), IsOk());

  EXPECT_EQ(Rows("SELECT * FROM msdb_dbo_restorehistory"),
            (std::vector<Cells>{{"1", "2025-11-22 08:26:40.000", "sales_copy", "dba", "1", "D", "1",
                                 "1", "0", std::nullopt, "2", std::nullopt, std::nullopt,
                                 set.backup_set_guid.ToString()}}));
  EXPECT_EQ(Rows("SELECT restore_history_id, file_number, destination_phys_name "
                 "FROM msdb_dbo_restorefile"),
            (std::vector<Cells>{{"1", "1", "/srv/copy.db"}, {"1", "2", "/srv/copy.db-wal"}}));
  EXPECT_TRUE(catalog_->UnfinishedJobs().value().empty());
}

TEST_F(CatalogHistory, TellsARestoreFromAForeignMedium) {
  const Guid foreign = Guid::Random();
  const JobRecord job = SampleJob();
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());

  ASSERT_THAT(catalog_->CommitRestore(job.job_guid, SampleRestore(foreign)), IsOk());

  EXPECT_EQ(Rows("SELECT backup_set_id, backup_set_uuid FROM msdb_dbo_restorehistory"),
            (std::vector<Cells>{{std::nullopt, foreign.ToString()}}));
}

TEST_F(CatalogHistory, SurvivesReopening) {
  const auto set = SampleSet();
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), set), IsOk());

  Reopen();

  EXPECT_EQ(Value("SELECT backup_set_uuid FROM msdb_dbo_backupset"),
            set.backup_set_guid.ToString());
}

}  // namespace
}  // namespace capstan::catalog
