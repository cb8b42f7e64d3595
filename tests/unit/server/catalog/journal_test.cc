#include "tests/unit/server/catalog/catalog_test.h"

namespace capstan::catalog {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::SampleHeader;
using test::SampleJob;
using test::SampleRestore;
using test::SampleSet;

class CatalogJournal : public CatalogTest {
 protected:
  std::vector<JobRecord> Unfinished() {
    auto jobs = catalog_->UnfinishedJobs();
    EXPECT_THAT(jobs, IsOk());
    return jobs.ok() ? *jobs : std::vector<JobRecord>();
  }
};

TEST_F(CatalogJournal, GivesEveryFieldOfAJobBackAfterReopening) {
  JobRecord job = SampleJob(2);
  job.devices[1].device_class = "URL";
  job.devices[1].media_family_id = 0xFFFFFFFF;
  job.restore_scheme = "sqlite";
  job.restore_paths = {"/srv/b.db", "/srv/a.db"};
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  Reopen();

  const auto jobs = Unfinished();

  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].job_guid, job.job_guid);
  EXPECT_EQ(jobs[0].state, JobState::kRunning);
  EXPECT_EQ(jobs[0].statement, job.statement);
  EXPECT_EQ(jobs[0].database_name, "sales");
  EXPECT_EQ(jobs[0].restore_scheme, "sqlite");
  EXPECT_EQ(jobs[0].restore_paths, job.restore_paths);
  ASSERT_EQ(jobs[0].devices.size(), 2u);
  EXPECT_EQ(jobs[0].devices[0].device_class, "DISK");
  EXPECT_EQ(jobs[0].devices[1].device_class, "URL");
  EXPECT_EQ(jobs[0].devices[1].target, "/b/sales2.bak");
  EXPECT_EQ(jobs[0].devices[1].token, "token2");
  EXPECT_EQ(jobs[0].devices[1].media_family_id, 0xFFFFFFFFu);
  EXPECT_EQ(jobs[0].devices[1].family_number, 2);
}

TEST_F(CatalogJournal, ListsJobsInTheOrderInWhichTheyBegan) {
  std::vector<Guid> began;
  for (int i = 0; i < 5; ++i) {
    const JobRecord job = SampleJob();
    ASSERT_THAT(catalog_->BeginJob(job), IsOk());
    began.push_back(job.job_guid);
  }

  std::vector<Guid> listed;
  for (const JobRecord& job : Unfinished()) {
    listed.push_back(job.job_guid);
  }

  EXPECT_EQ(listed, began);
}

TEST_F(CatalogJournal, ShowsABackupOnlyAfterItsCommit) {
  const JobRecord job = SampleJob(2);
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  ASSERT_THAT(catalog_->PrepareBackup(job.job_guid, SampleHeader(2), SampleSet()), IsOk());

  for (const char* table : {"backupset", "backupfile", "backupmediaset", "backupmediafamily"}) {
    EXPECT_EQ(Value(std::string("SELECT count(*) FROM msdb_dbo_") + table), "0") << table;
  }
  ASSERT_EQ(Unfinished().size(), 1u);
  EXPECT_EQ(Unfinished()[0].state, JobState::kPrepared);

  ASSERT_THAT(catalog_->CommitBackup(job.job_guid), IsOk());

  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset"), "1");
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupfile"), "1");
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupmediaset"), "1");
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupmediafamily"), "2");
  EXPECT_TRUE(Unfinished().empty());
}

TEST_F(CatalogJournal, LeavesNothingOfAForgottenPreparedBackup) {
  const JobRecord job = SampleJob();
  const auto header = SampleHeader();
  const auto set = SampleSet();
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  ASSERT_THAT(catalog_->PrepareBackup(job.job_guid, header, set), IsOk());

  ASSERT_THAT(catalog_->ForgetJob(job.job_guid), IsOk());

  EXPECT_TRUE(Unfinished().empty());
  // The same identities are free again, which they would not be if a row were left.
  EXPECT_THAT(test::RecordBackup(*catalog_, header, set), IsOk());
  EXPECT_EQ(Value("SELECT media_set_id FROM msdb_dbo_backupset"),
            Value("SELECT media_set_id FROM msdb_dbo_backupmediaset"));
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupfile"), "1");
}

// S0-50
TEST_F(CatalogJournal, TheCheckpointsOfARestoreAreTheNextOnesThatGoesOn) {
  JobRecord first = SampleJob();
  first.devices.clear();
  first.restore_paths = {"/db/sales"};
  ASSERT_THAT(catalog_->BeginJob(first), IsOk());
  EXPECT_FALSE(Unfinished()[0].progress);
  const std::string frames("a\0b\xff", 4);
  const JobProgress progress{
      .backup_set_guid = Guid::Random(), .done_bytes = 1'000, .total_bytes = 3'000};
  ASSERT_THAT(catalog_->AddCheckpoint(first.job_guid, progress, frames), IsOk());
  ASSERT_THAT(catalog_->AddCheckpoint(first.job_guid, progress, "next"), IsOk());
  ASSERT_THAT(catalog_->KeepJob(first.job_guid), IsOk());
  EXPECT_TRUE(Unfinished()[0].kept);

  JobRecord second = first;
  second.job_guid = Guid::Random();
  second.restore_name = Unfinished()[0].name();
  ASSERT_THAT(catalog_->ResumeJob(first.job_guid, second), IsOk());

  const auto jobs = Unfinished();
  ASSERT_EQ(jobs.size(), 1U);
  EXPECT_EQ(jobs[0].job_guid, second.job_guid);
  EXPECT_EQ(jobs[0].name(), first.job_guid.ToString());
  EXPECT_FALSE(jobs[0].kept);
  ASSERT_TRUE(jobs[0].progress);
  EXPECT_EQ(jobs[0].progress->backup_set_guid, progress.backup_set_guid);
  EXPECT_EQ(jobs[0].progress->done_bytes, 1'000U);
  EXPECT_EQ(jobs[0].progress->total_bytes, 3'000U);
  EXPECT_EQ(catalog_->CheckpointFrames(second.job_guid).value(), frames + "next");
  EXPECT_EQ(catalog_->CheckpointFrames(first.job_guid).value(), "");
  ASSERT_THAT(catalog_->ForgetJob(second.job_guid), IsOk());
  EXPECT_EQ(catalog_->CheckpointFrames(second.job_guid).value(), "");
}

TEST_F(CatalogJournal, ABackupThatGoesOnTakesThePlaceOfTheInterruptedOne) {
  const JobRecord first = SampleJob();
  ASSERT_THAT(catalog_->BeginJob(first), IsOk());
  ASSERT_THAT(catalog_->AddCheckpoint(first.job_guid, {.backup_set_guid = Guid::Random()}, ""),
              IsOk());
  ASSERT_THAT(catalog_->KeepJob(first.job_guid), IsOk());

  JobRecord second = first;
  second.job_guid = Guid::Random();
  second.restarts = first.restarts + 1;
  ASSERT_THAT(catalog_->ResumeJob(first.job_guid, second), IsOk());

  ASSERT_EQ(Unfinished().size(), 1U);
  const JobRecord now = Unfinished()[0];
  EXPECT_EQ(now.job_guid, second.job_guid);
  EXPECT_EQ(now.restarts, 1U);
  EXPECT_FALSE(now.kept);
  EXPECT_TRUE(now.progress);
  ASSERT_EQ(now.devices.size(), first.devices.size());
  EXPECT_EQ(now.devices[0].token, first.devices[0].token);
}

TEST_F(CatalogJournal, HasNoCheckpointsOfAJobThatItDoesNotHave) {
  const Guid unknown = Guid::Random();
  EXPECT_THAT(catalog_->AddCheckpoint(unknown, {}, "x"), HasCode(Code::kNotFound));
  EXPECT_THAT(catalog_->KeepJob(unknown), HasCode(Code::kNotFound));
  EXPECT_THAT(catalog_->ResumeJob(unknown, SampleJob()), HasCode(Code::kNotFound));
  EXPECT_TRUE(Unfinished().empty());
}

TEST_F(CatalogJournal, ARevokedBackupIsRunningAndHasLeftNoRow) {
  const JobRecord job = SampleJob();
  const auto header = SampleHeader();
  const auto set = SampleSet();
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  ASSERT_THAT(catalog_->PrepareBackup(job.job_guid, header, set), IsOk());

  ASSERT_THAT(catalog_->RevokeBackup(job.job_guid), IsOk());

  ASSERT_EQ(Unfinished().size(), 1u);
  EXPECT_EQ(Unfinished()[0].state, JobState::kRunning);
  EXPECT_EQ(Unfinished()[0].devices.size(), job.devices.size());
  EXPECT_THAT(test::RecordBackup(*catalog_, header, set), IsOk()) << "its identities are free";
}

TEST_F(CatalogJournal, RevokesNothingThatIsNotThere) {
  EXPECT_THAT(catalog_->RevokeBackup(Guid::Random()), HasCode(Code::kNotFound));
}

TEST_F(CatalogJournal, KeepsEarlierSetsOfTheMediumWhenAnAppendIsForgotten) {
  const auto header = SampleHeader();
  ASSERT_THAT(test::RecordBackup(*catalog_, header, SampleSet()), IsOk());
  const JobRecord job = SampleJob();
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  ASSERT_THAT(catalog_->PrepareBackup(job.job_guid, header, SampleSet()), IsOk());

  ASSERT_THAT(catalog_->ForgetJob(job.job_guid), IsOk());

  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset"), "1");
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupmediaset"), "1");
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupmediafamily"), "1");
}

TEST_F(CatalogJournal, ForgetsTwiceWithoutComplaint) {
  const JobRecord job = SampleJob();
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  ASSERT_THAT(catalog_->ForgetJob(job.job_guid), IsOk());

  EXPECT_THAT(catalog_->ForgetJob(job.job_guid), IsOk());
}

TEST_F(CatalogJournal, RefusesASecondBeginOfAJob) {
  const JobRecord job = SampleJob();
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());

  EXPECT_THAT(catalog_->BeginJob(job), HasCode(Code::kAlreadyExists));
  EXPECT_EQ(Unfinished()[0].devices.size(), 1u);
}

TEST_F(CatalogJournal, RefusesAnUnknownDeviceClassAndKeepsNothingOfTheJob) {
  JobRecord job = SampleJob(2);
  job.devices[1].device_class = "FLOPPY";

  EXPECT_THAT(catalog_->BeginJob(job),
              testing::AllOf(HasCode(Code::kInvalidArgument), MessageHas("FLOPPY")));
  EXPECT_TRUE(Unfinished().empty());
}

TEST_F(CatalogJournal, RefusesAJobThatBeginsPrepared) {
  JobRecord job = SampleJob();
  job.state = JobState::kPrepared;

  EXPECT_THAT(catalog_->BeginJob(job), HasCode(Code::kInvalidArgument));
}

TEST_F(CatalogJournal, RefusesStepsOfAnUnknownJob) {
  const Guid nobody = Guid::Random();

  EXPECT_THAT(catalog_->PrepareBackup(nobody, SampleHeader(), SampleSet()),
              HasCode(Code::kNotFound));
  EXPECT_THAT(catalog_->CommitBackup(nobody), HasCode(Code::kNotFound));
  EXPECT_THAT(catalog_->CommitRestore(nobody, SampleRestore(Guid::Random())),
              HasCode(Code::kNotFound));
}

TEST_F(CatalogJournal, RefusesStepsOutOfOrder) {
  const JobRecord job = SampleJob();
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  EXPECT_THAT(catalog_->CommitBackup(job.job_guid), HasCode(Code::kFailedPrecondition));

  ASSERT_THAT(catalog_->PrepareBackup(job.job_guid, SampleHeader(), SampleSet()), IsOk());
  EXPECT_THAT(catalog_->PrepareBackup(job.job_guid, SampleHeader(), SampleSet()),
              HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(catalog_->CommitRestore(job.job_guid, SampleRestore(Guid::Random())),
              HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(catalog_->CommitBackup(job.job_guid), IsOk());
}

TEST_F(CatalogJournal, RefusesABackupSetThatIsRecordedAlready) {
  const auto set = SampleSet();
  ASSERT_THAT(test::RecordBackup(*catalog_, SampleHeader(), set), IsOk());
  const JobRecord job = SampleJob();
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());

  EXPECT_THAT(
      catalog_->PrepareBackup(job.job_guid, SampleHeader(), set),
      testing::AllOf(HasCode(Code::kAlreadyExists), MessageHas(set.backup_set_guid.ToString())));
  EXPECT_EQ(Unfinished()[0].state, JobState::kRunning);
}

}  // namespace
}  // namespace capstan::catalog
