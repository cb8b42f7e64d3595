#include "tests/unit/server/catalog/catalog_test.h"

namespace capstan::catalog {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;
using test::RecordBackup;
using test::SampleHeader;
using test::SampleJob;
using test::SampleRestore;
using test::SampleSet;
using State = RollForward::State;

class CatalogChains : public CatalogTest {
 protected:
  void SetUp() override {
    CatalogTest::SetUp();
    ASSERT_THAT(catalog_->AddDatabase(Sales()), IsOk());
  }
  static Database Sales() {
    return {.name = "sales", .scheme = "sqlite", .location = "/srv/sales.db", .created_unix_s = 7};
  }
  static media::BackupSet Set(media::SetKind kind, std::uint64_t first, std::uint64_t last) {
    media::BackupSet set = SampleSet();
    set.kind = kind;
    set.first_lsn = first;
    set.last_lsn = last;
    set.checkpoint_lsn = first;
    set.recovery_fork = kFork;
    return set;
  }
  static media::BackupSet Full(std::uint64_t first, std::uint64_t last) {
    return Set(media::SetKind::kDatabase, first, last);
  }
  static media::BackupSet Log(std::uint64_t first, std::uint64_t last) {
    return Set(media::SetKind::kLog, first, last);
  }
  static media::BackupSet FirstFull(std::uint64_t first, std::uint64_t last) {
    media::BackupSet set = Full(first, last);
    set.restarts_log = true;
    return set;
  }
  void Record(const media::BackupSet& set) {
    ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), set), IsOk());
  }
  ChainEnd End() {
    auto end = catalog_->FindChainEnd("sales");
    EXPECT_THAT(end, IsOk());
    return end.ok() ? std::move(end).value() : ChainEnd();
  }
  void RestoreTo(const RollForward& roll_forward) {
    const JobRecord job = SampleJob();
    ASSERT_THAT(catalog_->BeginJob(job), IsOk());
    RestoreRecord record = SampleRestore(Guid::Random());
    record.database = Sales();
    record.database.roll_forward = roll_forward;
    ASSERT_THAT(catalog_->CommitRestore(job.job_guid, record), IsOk());
  }
  RollForward Now() { return catalog_->FindDatabase("sales").value().roll_forward; }

  static inline const Guid kFork = Guid::Random();
};

TEST_F(CatalogChains, KeepWhatADatabaseIsSetTo) {
  Database sales = catalog_->FindDatabase("sales").value();
  EXPECT_FALSE(sales.recovery_model.has_value());
  EXPECT_EQ(sales.backup_preference, writers::BackupPreference::kAny);
  sales.recovery_model = writers::RecoveryModel::kFull;
  sales.backup_preference = writers::BackupPreference::kSecondaryOnly;
  sales.location = "/elsewhere/sales.db";
  sales.roll_forward = {.state = State::kStandby,
                        .base_guid = Guid::Random(),
                        .redo_lsn = ~std::uint64_t{0},
                        .recovery_fork = kFork,
                        .files = {{"sales", "/a"}, {"sales2", "/b"}}};
  sales.created_unix_s = 99;  // not to be changed
  ASSERT_THAT(catalog_->UpdateDatabase(sales), IsOk());
  Reopen();

  const Database found = catalog_->FindDatabase("sales").value();
  EXPECT_EQ(found.recovery_model, writers::RecoveryModel::kFull);
  EXPECT_EQ(found.backup_preference, writers::BackupPreference::kSecondaryOnly);
  EXPECT_EQ(found.location, "/elsewhere/sales.db");
  EXPECT_EQ(found.created_unix_s, 7);
  EXPECT_EQ(found.roll_forward.state, State::kStandby);
  EXPECT_EQ(found.roll_forward.base_guid, sales.roll_forward.base_guid);
  EXPECT_EQ(found.roll_forward.redo_lsn, ~std::uint64_t{0});
  EXPECT_EQ(found.roll_forward.recovery_fork, kFork);
  ASSERT_EQ(found.roll_forward.files.size(), 2u);
  EXPECT_EQ(found.roll_forward.files[1].physical_name, "/b");
  EXPECT_EQ(catalog_->ListDatabases()->front().roll_forward.files.size(), 2u);
}

TEST_F(CatalogChains, ReportAnUnknownDatabase) {
  EXPECT_THAT(catalog_->UpdateDatabase({.name = "nosuch"}), HasReason(911));
  EXPECT_TRUE(catalog_->SetsOf("nosuch")->empty());
  EXPECT_FALSE(catalog_->FindChainEnd("nosuch")->log_from.has_value());
}

TEST_F(CatalogChains, BeginWithAFullBackupThatRestartsTheLog) {
  EXPECT_FALSE(End().base.has_value());
  EXPECT_FALSE(End().log_from.has_value());

  Record(Full(100, 110));  // under SIMPLE
  EXPECT_EQ(End().base->set.last_lsn, 110u);
  EXPECT_FALSE(End().log_from.has_value());

  Record(FirstFull(120, 130));
  EXPECT_EQ(End().base->set.last_lsn, 130u);
  EXPECT_EQ(End().log_from, 130u);
  EXPECT_TRUE(End().begins_log_chain);
  EXPECT_EQ(End().recovery_fork, kFork);
}

TEST_F(CatalogChains, GoOnWhereTheLastLogBackupEnded) {
  Record(FirstFull(100, 110));
  Record(Log(110, 150));
  EXPECT_EQ(End().log_from, 150u);
  EXPECT_FALSE(End().begins_log_chain);
  Record(Full(160, 170));  // log does not care
  EXPECT_EQ(End().log_from, 150u);
  EXPECT_EQ(End().base->set.last_lsn, 170u);

  media::BackupSet copy = Log(150, 200);
  copy.copy_only = true;
  Record(copy);
  media::BackupSet copy_of_all = Full(210, 220);
  copy_of_all.copy_only = true;
  Record(copy_of_all);

  EXPECT_EQ(End().log_from, 150u);
  EXPECT_EQ(End().base->set.last_lsn, 170u);
}

TEST_F(CatalogChains, BeginAnewAfterLogWasLost) {
  Record(FirstFull(100, 110));
  Record(Log(110, 150));
  media::BackupSet differential = Set(media::SetKind::kDifferential, 300, 310);
  differential.restarts_log = true;
  Record(differential);

  EXPECT_EQ(End().log_from, 310u);
  EXPECT_TRUE(End().begins_log_chain);
}

TEST_F(CatalogChains, LetGoOfTheLogUnderSimple) {
  Record(FirstFull(100, 110));
  Record(Log(110, 150));
  Database sales = catalog_->FindDatabase("sales").value();
  sales.recovery_model = writers::RecoveryModel::kSimple;
  ASSERT_THAT(catalog_->UpdateDatabase(sales), IsOk());
  sales.recovery_model = writers::RecoveryModel::kFull;
  ASSERT_THAT(catalog_->UpdateDatabase(sales), IsOk());

  EXPECT_FALSE(End().log_from.has_value());
  EXPECT_TRUE(End().base.has_value());
}

TEST_F(CatalogChains, EndWithARestoreAndWithTheRegistration) {
  Record(FirstFull(100, 110));
  RestoreTo({});
  EXPECT_FALSE(End().base.has_value());
  EXPECT_FALSE(End().log_from.has_value());

  Record(FirstFull(100, 120));
  ASSERT_TRUE(End().base.has_value());
  ASSERT_THAT(catalog_->RemoveDatabase("sales"), IsOk());
  ASSERT_THAT(catalog_->AddDatabase(Sales()), IsOk());
  EXPECT_FALSE(End().base.has_value());
}

TEST_F(CatalogChains, HaveNoBaseWithoutMedia) {
  const media::BackupSet full = FirstFull(100, 110);
  Record(full);
  ASSERT_THAT(catalog_->ExpireSets({full.backup_set_guid}), IsOk());

  EXPECT_FALSE(End().base.has_value());
  EXPECT_EQ(End().log_from, 110u) << "log goes on: other media may hold a backup";
  EXPECT_TRUE(catalog_->SetsOf("sales")->front().expired);
  EXPECT_EQ(Value("SELECT is_expired FROM msdb_dbo_backupset"), "1");
}

TEST_F(CatalogChains, ExpireAllOrNone) {
  const media::BackupSet full = FirstFull(100, 110);
  Record(full);

  EXPECT_THAT(catalog_->ExpireSets({full.backup_set_guid, Guid::Random()}),
              HasCode(Code::kNotFound));

  EXPECT_FALSE(catalog_->SetsOf("sales")->front().expired);
}

TEST_F(CatalogChains, TellEverythingThatASetSaysOfTheLog) {
  media::BackupSet differential = Set(media::SetKind::kDifferential, 300, 310);
  differential.position = 4;
  differential.database_backup_lsn = differential.differential_base_lsn = 100;
  differential.differential_base_guid = Guid::Random();
  differential.writer = "sqlite";
  differential.writer_data = std::string("\0\x01\xFF", 3);
  differential.digest = std::string(32, 'd');
  differential.expiration_unix_s = 1'800'000'000;
  differential.encryption = {.key_algorithm = "aes_256",
                             .encryptor_type = "CERTIFICATE",
                             .thumbprint = std::string(20, '\x7F'),
                             .wrapped_key = ""};
  const auto header = SampleHeader(2);
  ASSERT_THAT(RecordBackup(*catalog_, header, differential), IsOk());

  const auto sets = catalog_->SetsOf("sales");

  ASSERT_THAT(sets, IsOk());
  ASSERT_EQ(sets->size(), 1u);
  const media::BackupSet& set = sets->front().set;
  EXPECT_EQ(set.backup_set_guid, differential.backup_set_guid);
  EXPECT_EQ(set.kind, media::SetKind::kDifferential);
  EXPECT_EQ(set.position, 4);
  EXPECT_EQ(set.last_lsn, 310u);
  EXPECT_EQ(set.differential_base_lsn, 100u);
  EXPECT_EQ(set.differential_base_guid, differential.differential_base_guid);
  EXPECT_EQ(set.recovery_fork, kFork);
  EXPECT_EQ(set.first_recovery_fork, kFork);
  EXPECT_EQ(set.writer_data, differential.writer_data);
  EXPECT_EQ(set.digest, differential.digest);
  EXPECT_EQ(set.start_unix_s, differential.start_unix_s);
  EXPECT_EQ(set.finish_unix_s, differential.finish_unix_s);
  EXPECT_EQ(set.start_unix_us, differential.start_unix_us);
  EXPECT_EQ(set.finish_unix_us, differential.finish_unix_us);
  EXPECT_EQ(set.expiration_unix_s, 1'800'000'000);
  EXPECT_EQ(set.encryption, differential.encryption);
  EXPECT_EQ(set.backup_size_bytes, differential.backup_size_bytes);
  EXPECT_EQ(sets->front().media.media_set_id, header.media_set_id);
  EXPECT_EQ(sets->front().media.family_count, 2);
  ASSERT_EQ(sets->front().places.size(), 2u);
  EXPECT_EQ(sets->front().places[1].family_number, 2);
  EXPECT_EQ(sets->front().places[1].device_class, "DISK");
  EXPECT_EQ(sets->front().places[1].target, "/b/sales2.bak");
  EXPECT_EQ(Rows("SELECT type, differential_base_lsn, differential_base_guid, "
                 "first_recovery_fork_guid, last_recovery_fork_guid FROM msdb_dbo_backupset"),
            (std::vector<Cells>{{"I", "100", differential.differential_base_guid.ToString(),
                                 kFork.ToString(), kFork.ToString()}}));
}

TEST_F(CatalogChains, ListSetsByLsnAndKnowTheDatesOfOldRows) {
  Record(Log(110, 150));
  Record(FirstFull(100, 110));
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), Log(150, 200)), IsOk());

  const auto sets = catalog_->SetsOf("sales");

  ASSERT_EQ(sets->size(), 3u);
  EXPECT_EQ((*sets)[0].set.last_lsn, 110u);
  EXPECT_EQ((*sets)[1].set.last_lsn, 150u);
  EXPECT_EQ((*sets)[2].set.last_lsn, 200u);
}

TEST_F(CatalogChains, KnowNoPlaceOfWhatWasWrittenOver) {
  const auto header = SampleHeader();
  media::BackupSet first = FirstFull(100, 110);
  media::BackupSet second = Log(110, 120);
  second.position = 2;
  ASSERT_THAT(RecordBackup(*catalog_, header, first), IsOk());
  ASSERT_THAT(RecordBackup(*catalog_, header, second), IsOk());
  EXPECT_EQ(catalog_->SetsOf("sales")->front().places.size(), 1u);

  media::BackupSet over = Log(120, 130);  // INIT: position 1 again
  ASSERT_THAT(RecordBackup(*catalog_, header, over), IsOk());
  auto sets = catalog_->SetsOf("sales").value();
  EXPECT_TRUE(sets[0].places.empty());
  EXPECT_TRUE(sets[1].places.empty());
  EXPECT_EQ(sets[2].places.size(), 1u);

  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), Log(130, 140)), IsOk());  // FORMAT
  sets = catalog_->SetsOf("sales").value();
  EXPECT_TRUE(sets[2].places.empty());
  EXPECT_EQ(sets[3].places.size(), 1u);
}

TEST_F(CatalogChains, CloseADatabaseTogetherWithTheTailOfItsLog) {
  const media::BackupSet full = FirstFull(100, 110);
  Record(full);
  media::BackupSet tail = Log(110, 160);
  tail.tail_log = true;
  const JobRecord job = SampleJob();
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  ASSERT_THAT(catalog_->PrepareBackup(job.job_guid, SampleHeader(), tail), IsOk());
  EXPECT_EQ(Now().state, State::kOnline);

  ASSERT_THAT(catalog_->CommitBackup(job.job_guid), IsOk());

  EXPECT_EQ(Now().state, State::kRestoring);
  EXPECT_EQ(Now().redo_lsn, 160u);
  EXPECT_EQ(Now().base_guid, full.backup_set_guid);
  EXPECT_EQ(Now().recovery_fork, kFork);
}

TEST_F(CatalogChains, RememberHowFarARestoreCame) {
  const JobRecord job = SampleJob();
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  RestoreRecord record = SampleRestore(Guid::Random());
  record.restore_type = 'L';
  record.recovery = false;
  record.restart = true;
  record.stop_at_unix_s = 1'763'800'000;
  record.stop_mark = "before the mistake";
  record.stop_before = true;
  record.database = {.name = "sales_copy", .scheme = "sqlite", .location = "/srv/copy.db"};
  record.database.roll_forward = {
      .state = State::kRestoring, .base_guid = kFork, .redo_lsn = 150, .files = {{"sales", "/c"}}};
  ASSERT_THAT(catalog_->CommitRestore(job.job_guid, record), IsOk());

  const auto copy = catalog_->FindDatabase("sales_copy");
  ASSERT_THAT(copy, IsOk()) << "registered with the restore";
  EXPECT_EQ(copy->roll_forward.state, State::kRestoring);
  EXPECT_EQ(copy->roll_forward.redo_lsn, 150u);
  EXPECT_EQ(copy->roll_forward.files.front().physical_name, "/c");
  EXPECT_EQ(Rows("SELECT restore_type, recovery, restart, stop_at IS NULL, stop_at_mark_name, "
                 "stop_before FROM msdb_dbo_restorehistory"),
            (std::vector<Cells>{{"L", "0", "1", "0", "before the mistake", "1"}}));
}

TEST_F(CatalogChains, KeepSettingsWhenADatabaseIsRestoredOver) {
  Database sales = Sales();
  sales.recovery_model = writers::RecoveryModel::kFull;
  ASSERT_THAT(catalog_->UpdateDatabase(sales), IsOk());
  const std::int64_t id = catalog_->FindDatabase("sales")->database_id;

  RestoreTo({.state = State::kRestoring, .redo_lsn = 5});

  EXPECT_EQ(catalog_->FindDatabase("sales")->recovery_model, writers::RecoveryModel::kFull);
  EXPECT_EQ(catalog_->FindDatabase("sales")->database_id, id);
  EXPECT_EQ(Now().redo_lsn, 5u);
}

TEST_F(CatalogChains, TellNothingOfARestoreThatReadNothing) {
  const JobRecord job = SampleJob();
  ASSERT_THAT(catalog_->BeginJob(job), IsOk());
  RestoreRecord record = SampleRestore(Guid());
  record.database = Sales();

  ASSERT_THAT(catalog_->CommitRestore(job.job_guid, record), IsOk());

  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_restorehistory"), "0");
  EXPECT_TRUE(catalog_->UnfinishedJobs()->empty());
}

}  // namespace
}  // namespace capstan::catalog
