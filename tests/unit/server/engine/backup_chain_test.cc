#include "server/engine/roll_forward/backup_chain.h"

#include <mutex>
#include <vector>

#include <fmt/format.h>

#include "tests/unit/server/engine/chain_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MessageHas;
using testing::_;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class BackupChains : public ChainFixture {
 protected:
  // One change amid the next backup, by whichever of its readers comes first.
  void WriteWhileItIsRead() {
    writer_.on_read = [this] { std::call_once(written_, [this] { writer_.Write(0, 3, 7); }); };
  }

 private:
  std::once_flag written_;
};

TEST_F(BackupChains, NeedAFullBackupFirst) {
  EXPECT_THAT(BackUp(kDifferential, "d"), AllOf(HasReason(3035), MessageHas("\"sales\"")));
  EXPECT_THAT(BackUp(kLog, "l"), HasReason(4214));
  EXPECT_EQ(UnfinishedCount(), 0U);
}

// S2-21
TEST_F(BackupChains, OfAReadOnlyDatabaseAreFullBackupsAlone) {
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  writer_.read_only = true;
  EXPECT_THAT(BackUp(kDifferential, "d"),
              AllOf(HasReason(3906), MessageHas("\"sales\" because the database is read-only")));
  EXPECT_THAT(BackUp(kLog, "l"), HasReason(3906));
  EXPECT_THAT(BackUp(kFull, "f2"), IsOk());
  BackupRequest copy_only = Request(kFull, "c");
  copy_only.copy_only = true;
  EXPECT_THAT(engine_->Backup(copy_only, observer_), IsOk());
  EXPECT_EQ(engine_->List(Transfer({"f"}))->sets[0].set.is_read_only, false);
  EXPECT_EQ(engine_->List(Transfer({"c"}))->sets[0].set.is_read_only, true);
  writer_.read_only = false;
  EXPECT_THAT(BackUp(kDifferential, "d"), IsOk());
}

// S1-24
TEST_F(BackupChains, SayWhereEachSetStands) {
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  const media::BackupSet full = Newest();
  EXPECT_TRUE(full.restarts_log);
  EXPECT_FALSE(full.begins_log_chain);
  EXPECT_EQ(full.recovery_model, "FULL");
  EXPECT_EQ(full.recovery_fork, writer_.fork);
  EXPECT_EQ(full.writer_data, "memory");
  EXPECT_EQ(full.finish_unix_us / 1'000'000, full.finish_unix_s);
  EXPECT_LT(full.start_unix_us, full.finish_unix_us);
  writer_.Write(0, 3, 7);
  writer_.Write(1, 5, 8);
  ASSERT_THAT(BackUp(kLog, "l1"), IsOk());
  const media::BackupSet first = Newest();
  EXPECT_EQ(first.kind, media::SetKind::kLog);
  EXPECT_EQ(first.first_lsn, full.last_lsn);
  EXPECT_EQ(first.last_lsn, full.last_lsn + 2);
  EXPECT_TRUE(first.begins_log_chain);
  EXPECT_EQ(first.database_backup_lsn, full.checkpoint_lsn);
  writer_.Write(0, 3, 9);
  ASSERT_THAT(BackUp(kLog, "l2"), IsOk());
  const media::BackupSet second = Newest();
  EXPECT_EQ(second.first_lsn, first.last_lsn);
  EXPECT_FALSE(second.begins_log_chain);
  EXPECT_EQ(second.first_recovery_fork, writer_.fork);
  writer_.Write(1, 0, 9);
  ASSERT_THAT(BackUp(kDifferential, "d"), IsOk());
  const media::BackupSet differential = Newest();
  EXPECT_EQ(differential.kind, media::SetKind::kDifferential);
  EXPECT_EQ(differential.differential_base_guid, full.backup_set_guid);
  EXPECT_EQ(differential.differential_base_lsn, full.checkpoint_lsn);
  EXPECT_EQ(differential.backup_size_bytes, 3 * test::kMemoryPage) << "pages 3, 5 and 0";
  EXPECT_FALSE(differential.restarts_log);
}

TEST_F(BackupChains, SaySoInSqlServersWords) {
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  writer_.Write(0, 3, 7);
  ASSERT_THAT(BackUp(kDifferential, "d"), IsOk());
  EXPECT_THAT(observer_.Texts(3014).back(),
              HasSubstr("BACKUP DATABASE WITH DIFFERENTIAL successfully processed 1 pages in"));
  EXPECT_THAT(observer_.Texts(4035).back(),
              HasSubstr("Processed 0 pages for database 'sales', file 'sales2' on file 1."));
  ASSERT_THAT(BackUp(kLog, "l"), IsOk());
  EXPECT_THAT(observer_.Texts(3014).back(), HasSubstr("BACKUP LOG successfully processed 1 pages"));
  EXPECT_THAT(observer_.Texts(4035).back(),
              HasSubstr("Processed 1 pages for database 'sales', file 'sales_log' on file 1."));
}

TEST_F(BackupChains, KeepTheLogFromTheFirstFullBackupOn) {
  engine_->KeepLogs();
  EXPECT_FALSE(writer_.kept["/db/sales"].log_from.has_value());

  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  EXPECT_EQ(writer_.kept["/db/sales"].log_from->value, Newest().last_lsn);
  EXPECT_EQ(writer_.commits_told, 1);
  writer_.Write(0, 3, 7);
  ASSERT_THAT(BackUp(kLog, "l"), IsOk());

  EXPECT_EQ(writer_.kept["/db/sales"].log_from->value, writer_.next_lsn);
  EXPECT_TRUE(writer_.log.empty()) << "let go of, since its backup is committed";
  Start();
  writer_.kept.clear();
  engine_->SettleUnfinishedJobs();
  EXPECT_EQ(writer_.kept["/db/sales"].log_from->value, writer_.next_lsn);
}

TEST_F(BackupChains, LetGoOfNothingWhenABackupFails) {
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  writer_.Write(0, 3, 7);
  writer_.fail_read = 1;
  EXPECT_THAT(BackUp(kLog, "l"), HasReason(65005));
  EXPECT_EQ(writer_.log.size(), 1U);
  EXPECT_EQ(writer_.commits_told, 1);
  EXPECT_THAT(BackUp(kLog, "l"), IsOk());
  EXPECT_TRUE(Newest().begins_log_chain);
}

// S4-10
TEST_F(BackupChains, AreNotTouchedByCopies) {
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  const media::BackupSet full = Newest();
  writer_.Write(0, 3, 7);
  for (const Kind kind : {kFull, kLog}) {
    BackupRequest copy = Request(kind, "copy");
    copy.copy_only = true;
    ASSERT_THAT(engine_->Backup(copy, observer_), IsOk());
    EXPECT_TRUE(Newest().copy_only);
    EXPECT_FALSE(Newest().restarts_log);
  }
  BackupRequest differential = Request(kDifferential, "d");
  differential.copy_only = true;  // means nothing
  ASSERT_THAT(engine_->Backup(differential, observer_), IsOk());
  EXPECT_EQ(Newest().differential_base_guid, full.backup_set_guid);
  ASSERT_THAT(BackUp(kLog, "l"), IsOk());
  EXPECT_EQ(Newest().first_lsn, full.last_lsn);
  EXPECT_TRUE(Newest().begins_log_chain);
}

TEST_F(BackupChains, HaveNoLogUnderSimple) {
  catalog::Database sales = catalog_->FindDatabase("sales").value();
  sales.recovery_model = writers::RecoveryModel::kSimple;
  ASSERT_THAT(catalog_->UpdateDatabase(sales), IsOk());
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());

  EXPECT_THAT(BackUp(kLog, "l"), AllOf(HasReason(4208), MessageHas("BACKUP LOG")));
  EXPECT_FALSE(writer_.kept["/db/sales"].log_from.has_value());
  EXPECT_THAT(BackUp(kDifferential, "d"), IsOk());
  EXPECT_EQ(Newest().recovery_model, "SIMPLE");

  sales.recovery_model = writers::RecoveryModel::kFull;
  ASSERT_THAT(catalog_->UpdateDatabase(sales), IsOk());
  EXPECT_THAT(BackUp(kLog, "l"), HasReason(4214));
  EXPECT_THAT(BackUp(kDifferential, "d"), IsOk());
  EXPECT_TRUE(Newest().restarts_log) << "a differential one is enough to go on from";
  EXPECT_THAT(BackUp(kLog, "l"), IsOk());
}

TEST_F(BackupChains, CannotHaveLogThatTheWriterHasNone) {
  writer_.logged = false;
  catalog::Database sales = catalog_->FindDatabase("sales").value();
  sales.recovery_model = writers::RecoveryModel::kFull;
  ASSERT_THAT(catalog_->UpdateDatabase(sales), IsOk());
  EXPECT_THAT(BackUp(kLog, "l"), HasReason(4208));
}

TEST_F(BackupChains, GoOnFromTheNextBackupOnceLogWasLost) {
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  writer_.Write(0, 3, 7);
  writer_.log.clear();
  writer_.log_begin = writer_.next_lsn;
  writer_.broken = "its limit was reached";
  EXPECT_THAT(BackUp(kLog, "l"), HasReason(65005));

  ASSERT_THAT(BackUp(kDifferential, "d"), IsOk());
  EXPECT_TRUE(Newest().restarts_log);
  writer_.broken.clear();
  EXPECT_THAT(BackUp(kLog, "l"), IsOk());
  EXPECT_EQ(Newest().first_lsn, writer_.next_lsn);
}

TEST_F(BackupChains, SayWhichLogIsInNoBackup) {
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  writer_.Write(0, 3, 7);
  ASSERT_THAT(BackUp(kLog, "l"), IsOk());
  const std::uint64_t end = Newest().last_lsn;
  EXPECT_THAT(observer_.Texts(65057), IsEmpty());
  std::uint64_t bridged = 0;
  for (const Kind kind : {kDifferential, kFull}) {
    writer_.Write(0, 4, 7);
    writer_.log.clear();
    writer_.log_begin = writer_.next_lsn;
    writer_.broken = "its limit was reached";
    ASSERT_THAT(BackUp(kind, "b"), IsOk());
    bridged = Newest().last_lsn;
    writer_.broken.clear();
    if (kind == kDifferential) {
      EXPECT_THAT(BackUp(kLog, "l"), IsOk());
      EXPECT_THAT(observer_.Texts(65057),
                  ElementsAre(fmt::format("The log of database 'sales' from LSN {} to LSN {} is in "
                                          "no backup. A differential backup bridges the gap, and "
                                          "this log backup goes on from there.",
                                          end, bridged)));
      writer_.Write(0, 5, 7);
      EXPECT_THAT(BackUp(kLog, "l"), IsOk());
    }
  }
  const std::uint64_t second_end = bridged - 1;  // the one change that is in no log
  EXPECT_THAT(observer_.Texts(65057), SizeIs(1)) << "once a gap";
  BackupRequest copy = Request(kLog, "copy");
  copy.copy_only = true;
  ASSERT_THAT(engine_->Backup(copy, observer_), IsOk());
  ASSERT_THAT(BackUp(kLog, "l"), IsOk());
  EXPECT_THAT(observer_.Texts(65057),
              ElementsAre(_, _,
                          HasSubstr(fmt::format("from LSN {} to LSN {} is in no backup. A "
                                                "full backup",
                                                second_end, bridged))))
      << "as the copy said it, whose log begins there too";
}

TEST_F(BackupChains, SayNothingOfTheLogOfAnotherHistory) {
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  writer_.fork = Guid::Random();
  writer_.Write(0, 4, 7);
  writer_.broken = "the database was put back";
  ASSERT_THAT(BackUp(kFull, "f2"), IsOk());
  writer_.broken.clear();
  ASSERT_THAT(BackUp(kLog, "l"), IsOk());
  EXPECT_THAT(observer_.Texts(65057), IsEmpty());
}

catalog::KnownSet Known(media::SetKind kind, std::uint64_t first, std::uint64_t last,
                        bool restarts_log = false) {
  catalog::KnownSet known;
  known.set.kind = kind;
  known.set.first_lsn = first;
  known.set.last_lsn = last;
  known.set.restarts_log = restarts_log;
  return known;
}

// The writer found the gap after the bridge was planned, which so restarts no log.
TEST(GapBefore, IsSeenByWhereTheLogBegins) {
  using enum media::SetKind;
  const media::BackupSet log = Known(kLog, 40, 50).set;
  std::vector<catalog::KnownSet> sets = {Known(kDatabase, 10, 10, true), Known(kLog, 10, 20)};
  EXPECT_FALSE(GapBefore(log, sets).has_value()) << "nothing bridges it";
  sets.push_back(Known(kDifferential, 40, 40));
  sets.back().set.copy_only = true;
  EXPECT_FALSE(GapBefore(log, sets).has_value()) << "no log is kept from there on";
  sets.back().set.copy_only = false;
  sets.push_back(Known(kLog, 40, 50));  // itself

  const auto gap = GapBefore(log, sets);

  ASSERT_TRUE(gap.has_value());
  EXPECT_EQ(gap->from, 20U);
  EXPECT_EQ(gap->to, 40U);
  EXPECT_EQ(gap->bridge, kDifferential);
  sets.push_back(Known(kLog, 20, 41));
  EXPECT_FALSE(GapBefore(log, sets).has_value()) << "log goes past its beginning";
}

TEST_F(BackupChains, KnowTheEndOfALogThatIsReadLast) {
  writer_.log_in_full = true;
  WriteWhileItIsRead();
  const std::uint64_t began = writer_.next_lsn;

  ASSERT_THAT(BackUp(kFull, "f"), IsOk());

  EXPECT_EQ(Newest().first_lsn, began);
  EXPECT_EQ(Newest().last_lsn, began + 1);
  const auto listing = engine_->List(Transfer({"f"}));
  ASSERT_THAT(listing, IsOk());
  const media::BackupFile& log = listing->sets[0].set.files[2];
  EXPECT_EQ(log.type, 'L');
  EXPECT_FALSE(log.whole);
  EXPECT_GT(log.size_bytes, 0U);
  EXPECT_EQ(log.size_bytes, log.backup_size_bytes);
  EXPECT_THAT(Verify({"f"}), IsOk());
  ASSERT_THAT(Apply(kFull, "f", End::kRecovery), IsOk());
  ExpectCopyIs(writer_.files);
}

TEST_F(BackupChains, ReadWhatComesLastOfACompressedBackupToo) {
  writer_.log_in_full = true;
  WriteWhileItIsRead();
  BackupRequest request = Request(kFull, "f");
  request.compression = true;
  ASSERT_THAT(engine_->Backup(request, observer_), IsOk());
  ASSERT_THAT(Apply(kFull, "f", End::kRecovery), IsOk());
  ExpectCopyIs(writer_.files);
}

// S1-28
TEST_F(BackupChains, CloseTheDatabaseWithTheTailOfItsLog) {
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  writer_.Write(0, 3, 7);
  ASSERT_THAT(BackUpTail("tail", writers::LogTail::kNoRecovery), IsOk());

  EXPECT_TRUE(writer_.closed);
  EXPECT_TRUE(Newest().tail_log);
  EXPECT_EQ(Now("sales").state, State::kRestoring);
  EXPECT_EQ(Now("sales").redo_lsn, writer_.next_lsn);
  EXPECT_THAT(BackUp(kFull, "f2"), AllOf(HasReason(927), MessageHas("'sales'")));
  EXPECT_TRUE(writer_.kept["/db/sales"].being_restored);
}

TEST_F(BackupChains, OpenItAgainWhenTheTailFails) {
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  writer_.fail_read = 1;
  EXPECT_THAT(BackUpTail("tail", writers::LogTail::kNoRecovery), HasReason(65005));
  EXPECT_FALSE(writer_.closed);
  EXPECT_EQ(Now("sales").state, State::kOnline);
}

TEST_F(BackupChains, TakeTheTailOfADamagedDatabaseAsACopy) {
  ASSERT_THAT(BackUp(kFull, "f"), IsOk());
  writer_.Write(0, 3, 7);
  ASSERT_THAT(BackUpTail("tail", writers::LogTail::kNoTruncate), IsOk());
  EXPECT_TRUE(Newest().copy_only);
  EXPECT_EQ(writer_.log.size(), 1U);
  EXPECT_EQ(Now("sales").state, State::kOnline);
}

TEST_F(BackupChains, AreNotMadeOfADatabaseInStandby) {
  catalog::Database sales = catalog_->FindDatabase("sales").value();
  sales.roll_forward.state = State::kStandby;
  ASSERT_THAT(catalog_->UpdateDatabase(sales), IsOk());
  EXPECT_THAT(BackUp(kFull, "f"), HasReason(3036));
}

TEST_F(BackupChains, HaveNoSnapshotsButFullOnes) {
  BackupRequest request = Request(kLog, "l");
  request.snapshot = true;
  EXPECT_THAT(engine_->Backup(request, observer_), HasReason(3031));
}

}  // namespace
}  // namespace capstan::engine
