// The history of jobs, the options of the server, and the step to the schema that has both.
#include <string>

#include "server/catalog/schema.h"
#include "tests/unit/server/catalog/catalog_test.h"

namespace capstan::catalog {
namespace {

using test::IsOk;
using test::RecordBackup;
using test::SampleHeader;
using test::SampleSet;

JobHistory SampleRun() {
  return {.job_guid = Guid::Random(),
          .command = "BACKUP DATABASE",
          .database_name = "sales",
          .user_name = "dba",
          .server_name = "host1",
          .statement = "BACKUP DATABASE sales TO DISK = '/b'",
          .start_unix_s = 1'763'713'709,
          .progress_unix_s = 1'763'713'709};
}

class CatalogJobHistory : public CatalogTest {};

// S0-34
TEST_F(CatalogJobHistory, TellsAllOfAFailedJob) {
  JobHistory job = SampleRun();
  const auto instance_id = catalog_->BeginJobHistory(job);
  ASSERT_THAT(instance_id, IsOk());
  EXPECT_EQ(Value("SELECT status FROM msdb_dbo_backupjobhistory"), "In progress");
  job.outcome = JobOutcome::kFailed;
  job.percent_complete = 40;
  job.progress_unix_s = job.start_unix_s + 60;
  job.end_unix_s = job.start_unix_s + 3'725;
  job.message_number = 3202;
  job.severity = 16;
  job.state = 1;
  job.source = "backup device";
  job.description = "Write on \"/b\" failed: 28(No space left on device)";
  job.possible_reasons = "free some space";

  ASSERT_THAT(catalog_->UpdateJobHistory(*instance_id, job), IsOk());

  EXPECT_EQ(Rows("SELECT * FROM msdb_dbo_backupjobhistory"),
            (std::vector<Cells>{{"1", "BACKUP DATABASE", "sales", "dba", "2025-11-21 08:28:29.000",
                                 "40", "2025-11-21 08:29:29.000", job.job_guid.ToString(),
                                 job.statement, "Failed", "2025-11-21 09:30:34.000", "3202", "16",
                                 "1", "backup device", job.description, "free some space"}}));
  EXPECT_EQ(
      Rows("SELECT job_id, step_id, step_name, sql_message_id, sql_severity, message, "
           "run_status, run_date, run_time, run_duration, retries_attempted, server FROM "
           "msdb_dbo_sysjobhistory"),
      (std::vector<Cells>{{job.job_guid.ToString(), "0", "BACKUP DATABASE", "3202", "16",
                           job.description, "0", "20251121", "82829", "10205", "0", "host1"}}));
}

TEST_F(CatalogJobHistory, CountsAJobThatTheServerDidNotSurviveAsFailed) {
  ASSERT_THAT(catalog_->BeginJobHistory(SampleRun()), IsOk());
  JobHistory done = SampleRun();
  done.outcome = JobOutcome::kSucceeded;
  done.end_unix_s = done.start_unix_s + 1;
  ASSERT_THAT(catalog_->UpdateJobHistory(catalog_->BeginJobHistory(done).value(), done), IsOk());

  Reopen();

  EXPECT_EQ(Rows("SELECT status, source, description IS NULL FROM msdb_dbo_backupjobhistory"),
            (std::vector<Cells>{{"Failed", "capstand", "0"}, {"Succeeded", std::nullopt, "1"}}));
}

TEST_F(CatalogJobHistory, KeepsTheNewestTenThousand) {
  {
    auto connection = Connection::Open(path(), Connection::Mode::kReadWrite);
    ASSERT_THAT(connection, IsOk());
    ASSERT_THAT(connection->Execute(
                    "INSERT INTO catalog_job_history (run_status) WITH RECURSIVE n(i) AS (SELECT 1 "
                    "UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT 1 FROM n"),
                IsOk());
  }
  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(catalog_->BeginJobHistory(SampleRun()), IsOk());
  }

  EXPECT_EQ(Rows("SELECT count(*), min(instance_id), max(instance_id) FROM msdb_dbo_sysjobhistory"),
            (std::vector<Cells>{{"10000", "4", "10003"}}));
}

TEST_F(CatalogJobHistory, ForgivesAnUpdateOfARowThatIsGone) {
  EXPECT_THAT(catalog_->UpdateJobHistory(77, SampleRun()), IsOk());
}

class CatalogOptions : public CatalogTest {};

TEST_F(CatalogOptions, KeepTheirValuesOverAReopening) {
  EXPECT_TRUE(catalog_->Options().value().empty());
  ASSERT_THAT(catalog_->SetOption("media retention", 5), IsOk());
  ASSERT_THAT(catalog_->SetOption("media retention", 7), IsOk());

  Reopen();

  EXPECT_EQ(catalog_->Options().value(),
            (std::map<std::string, std::int64_t>{{"media retention", 7}}));
}

TEST_F(CatalogOptions, CannotBeReadByRequesters) {
  EXPECT_THAT(catalog_->Query("SELECT * FROM catalog_option", {}), test::HasReason(208));
  EXPECT_THAT(catalog_->Query("SELECT * FROM catalog_job_history", {}), test::HasReason(208));
}

class CatalogUpgrade : public CatalogTest {};

// What version 1 wrote is there in version 2, and can be added to.
TEST_F(CatalogUpgrade, BringsAFileOfVersionOneAlong) {
  catalog_.reset();
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::remove((path() + suffix).c_str());
  }
  {
    std::fclose(std::fopen(path().c_str(), "a"));
    auto connection = Connection::Open(path(), Connection::Mode::kReadWrite);
    ASSERT_THAT(connection, IsOk());
    ASSERT_THAT(UpgradeSchema(*connection, SchemaSteps().first(1)), IsOk());
    ASSERT_THAT(connection->Execute(
                    "INSERT INTO catalog_database (name, scheme, location, created_unix_s) VALUES "
                    "('sales', 'sqlite', '/s.db', 5);"
                    "INSERT INTO catalog_media_set (media_uuid, visible) VALUES ('U', 1);"
                    "INSERT INTO catalog_backup_set (backup_set_uuid, media_set_id, database_name, "
                    "visible) VALUES ('S', 1, 'sales', 1);"),
                IsOk());
  }

  Reopen();

  EXPECT_EQ(catalog_->FindDatabase("sales").value().location, "/s.db");
  EXPECT_EQ(Value("SELECT backup_set_uuid FROM msdb_dbo_backupset"), "S");
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), SampleSet()), IsOk());
  EXPECT_THAT(catalog_->BeginJobHistory(SampleRun()), IsOk());
  EXPECT_EQ(Value("SELECT max(backup_set_id) FROM msdb_dbo_backupset"), "2");
}

}  // namespace
}  // namespace capstan::catalog
