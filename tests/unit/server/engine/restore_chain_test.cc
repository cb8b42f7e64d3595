#include "server/engine/roll_forward/restore_chain.h"

#include <algorithm>
#include <map>

#include "tests/unit/server/engine/chain_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MessageHas;
using testing::AllOf;
using testing::HasSubstr;

// f, l1, d, l2, l3: each after a change of its own.
class RestoreChains : public ChainFixture {
 protected:
  void SetUp() override {
    ChainFixture::SetUp();
    BackUpAfterChange(kFull, "f");
    BackUpAfterChange(kLog, "l1");
    BackUpAfterChange(kDifferential, "d");
    BackUpAfterChange(kLog, "l2");
    BackUpAfterChange(kLog, "l3");
  }
  void BackUpAfterChange(Kind kind, const std::string& target) {
    writer_.Write(0, changes_, static_cast<unsigned char>(changes_));
    writer_.Write(1, changes_, static_cast<unsigned char>(changes_));
    ++changes_;
    ASSERT_THAT(BackUp(kind, target), IsOk());
    states_[target] = writer_.files;
    sets_[target] = Newest();
  }
  RestoreRequest StoppingAt(const std::string& target, writers::StopPoint stop) {
    RestoreRequest request = RestoreOf(kLog, target, End::kRecovery);
    request.stop = std::move(stop);
    return request;
  }

  std::uint64_t changes_ = 1;
  std::map<std::string, std::vector<test::MemoryWriter::Bytes>> states_;
  std::map<std::string, media::BackupSet> sets_;
};

TEST_F(RestoreChains, GoFromAFullBackupToTheEndOfTheLog) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  EXPECT_EQ(Now().state, State::kRestoring);
  EXPECT_EQ(Now().base_guid, sets_["f"].backup_set_guid);
  EXPECT_EQ(Now().redo_lsn, sets_["f"].last_lsn);
  EXPECT_EQ(Now().files.size(), 2U);
  for (const char* log : {"l1", "l2", "l3"}) {
    ASSERT_THAT(Apply(kLog, log), IsOk());
    EXPECT_EQ(Now().redo_lsn, sets_[log].last_lsn);
  }
  EXPECT_TRUE(writer_.restored.empty());

  ASSERT_THAT(Recover(), IsOk());

  ExpectCopyIs(states_["l3"]);
  EXPECT_EQ(Now().state, State::kOnline);
  EXPECT_EQ(observer_.Texts(3014).back().substr(0, 51),
            "RESTORE DATABASE successfully processed 0 pages in ");
  const auto rows = catalog_->Query(
      "SELECT restore_type, recovery FROM msdb_dbo_restorehistory ORDER BY 1, 2", {});
  EXPECT_EQ(rows->rows.size(), 4U);
  EXPECT_EQ(rows->rows[0][0], "D");
  EXPECT_EQ(rows->rows[1][0], "L");
}

// S1-32
TEST_F(RestoreChains, TakeTheDifferentialInsteadOfTheLogBeforeIt) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  ASSERT_THAT(Apply(kDifferential, "d"), IsOk());
  EXPECT_EQ(Now().base_guid, sets_["f"].backup_set_guid);
  ASSERT_THAT(Apply(kLog, "l2"), IsOk());
  EXPECT_THAT(observer_.Texts(3014).back(),
              HasSubstr("RESTORE LOG successfully processed 1 pages"));
  ASSERT_THAT(Apply(kLog, "l3", End::kRecovery), IsOk());
  ExpectCopyIs(states_["l3"]);
}

// S1-60
TEST_F(RestoreChains, NameTheLsnThatIsMissing) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  EXPECT_THAT(
      Apply(kLog, "l2"),
      AllOf(HasReason(4305), MessageHas(fmt::format("begins at LSN {}", sets_["l2"].first_lsn)),
            MessageHas(fmt::format("includes LSN {} can", sets_["f"].last_lsn))));
  ASSERT_THAT(Apply(kDifferential, "d"), IsOk());
  EXPECT_THAT(
      Apply(kLog, "l1"),
      AllOf(HasReason(4326), MessageHas(fmt::format("terminates at LSN {}", sets_["l1"].last_lsn)),
            MessageHas(fmt::format("includes LSN {} can", sets_["d"].last_lsn))));
  EXPECT_EQ(UnfinishedCount(), 0U);
  EXPECT_THAT(Apply(kLog, "l2", End::kRecovery), IsOk());
  ExpectCopyIs(states_["l2"]);
}

TEST_F(RestoreChains, NeedADatabaseThatIsBeingRestored) {
  EXPECT_THAT(Apply(kLog, "l1"), AllOf(HasReason(3118), MessageHas("\"copy\"")));
  EXPECT_THAT(Apply(kDifferential, "d"), HasReason(3118));
  ASSERT_THAT(Apply(kFull, "f", End::kRecovery), IsOk());
  EXPECT_THAT(Apply(kLog, "l1"), HasReason(3117));
  EXPECT_THAT(Apply(kDifferential, "d"), HasReason(3117));
  EXPECT_THAT(Recover(), HasReason(3153));
}

TEST_F(RestoreChains, TakeADifferentialOnItsOwnBaseOnly) {
  ASSERT_THAT(BackUp(kFull, "f2"), IsOk());
  ASSERT_THAT(Apply(kFull, "f2"), IsOk());
  EXPECT_THAT(Apply(kDifferential, "d"), HasReason(3136));
  ASSERT_THAT(Apply(kFull, "f"), IsOk()) << "over one being restored, without REPLACE";
  ASSERT_THAT(Apply(kLog, "l1"), IsOk());
  ASSERT_THAT(Apply(kDifferential, "d"), IsOk()) << "newer than the log before it";
  ASSERT_THAT(Apply(kLog, "l2"), IsOk());
  EXPECT_THAT(Apply(kDifferential, "d"), HasReason(3136)) << "older than the log before it";
}

TEST_F(RestoreChains, TellLogFromDatabase) {
  RestoreRequest request = RestoreOf(kLog, "l1", End::kNoRecovery);
  request.log = false;
  EXPECT_THAT(engine_->Restore(request, observer_),
              AllOf(HasReason(3135), MessageHas("created by BACKUP LOG")));
  request = RestoreOf(kFull, "f", End::kNoRecovery);
  request.log = true;
  EXPECT_THAT(engine_->Restore(request, observer_), HasReason(3135));
}

TEST_F(RestoreChains, StayOnTheirRecoveryFork) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  catalog::Database copy = catalog_->FindDatabase("copy").value();
  copy.roll_forward.recovery_fork = Guid::Random();
  ASSERT_THAT(catalog_->UpdateDatabase(copy), IsOk());
  EXPECT_THAT(Apply(kLog, "l1"), HasReason(4330));
}

TEST_F(RestoreChains, FollowALogOntoTheNextFork) {
  writer_.fork = Guid::Random();  // the database was restored elsewhere, its log goes on
  BackUpAfterChange(kLog, "l4");
  EXPECT_EQ(sets_["l4"].first_recovery_fork, sets_["l3"].recovery_fork);
  EXPECT_EQ(sets_["l4"].recovery_fork, writer_.fork);
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  for (const char* log : {"l1", "l2", "l3", "l4"}) {
    ASSERT_THAT(Apply(kLog, log), IsOk());
  }
  EXPECT_EQ(Now().recovery_fork, writer_.fork);
}

// S4-11
TEST_F(RestoreChains, StopAtATime) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  ASSERT_THAT(Apply(kLog, "l1"), IsOk());
  const auto change = writer_.now_us;
  BackUpAfterChange(kLog, "l4");
  ASSERT_THAT(Apply(kLog, "l2"), IsOk());
  ASSERT_THAT(Apply(kLog, "l3"), IsOk());
  const auto stop = writers::StopPoint{.kind = writers::StopPoint::Kind::kTime,
                                       .unix_us = change + 1,
                                       .lsn = {},
                                       .mark = {}};  // the first of the two changes
  ASSERT_THAT(engine_->Restore(StoppingAt("l4", stop), observer_), IsOk());

  auto expected = states_["l3"];
  test::MemoryWriter::Fill(expected[0], changes_ - 1, static_cast<unsigned char>(changes_ - 1));
  ExpectCopyIs(expected);
  EXPECT_EQ(Now().state, State::kOnline);
}

TEST_F(RestoreChains, WaitForMoreLogBeforeAPointThatLiesBehind) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  const auto stop = writers::StopPoint{.kind = writers::StopPoint::Kind::kTime,
                                       .unix_us = writer_.now_us + 1'000'000,
                                       .lsn = {},
                                       .mark = {}};
  ASSERT_THAT(engine_->Restore(StoppingAt("l1", stop), observer_), IsOk());
  EXPECT_EQ(observer_.Texts(4329).size(), 1U);
  EXPECT_EQ(Now().state, State::kRestoring);
  EXPECT_EQ(Now().redo_lsn, sets_["l1"].last_lsn);
  EXPECT_TRUE(writer_.restored.empty());
  ASSERT_THAT(Apply(kLog, "l2", End::kRecovery), IsOk());
  ExpectCopyIs(states_["l2"]);
}

// STOPAT with each log, all WITH NORECOVERY: the one behind the point is no sign of a gap.
TEST_F(RestoreChains, SayHowToEndWhereThePointMayHaveBeenReached) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  EXPECT_EQ(Apply(kLog, "l2").hint(), "");
  RestoreRequest request = StoppingAt("l2", {.kind = writers::StopPoint::Kind::kTime,
                                             .unix_us = writer_.now_us + 1'000'000,
                                             .lsn = {},
                                             .mark = {}});
  request.end = End::kNoRecovery;

  const Status refused = engine_->Restore(request, observer_);

  EXPECT_THAT(refused, HasReason(4305));
  EXPECT_THAT(std::string(refused.hint()), HasSubstr("RESTORE DATABASE copy WITH RECOVERY"));
}

TEST_F(RestoreChains, StopAtAndBeforeAMark) {
  writer_.Write(0, 9, 90);
  writer_.Write(0, 9, 99, "before the mistake");
  writer_.Write(0, 9, 100);
  BackUpAfterChange(kLog, "l4");
  for (const bool before : {false, true}) {
    RestoreRequest full = RestoreOf(kFull, "f", End::kNoRecovery);
    full.replace = before;  // over what came of the first time
    ASSERT_THAT(engine_->Restore(full, observer_), IsOk());
    for (const char* log : {"l1", "l2", "l3"}) {
      ASSERT_THAT(Apply(kLog, log), IsOk());
    }
    const auto stop = writers::StopPoint{.kind = writers::StopPoint::Kind::kMark,
                                         .lsn = {},
                                         .mark = "before the mistake",
                                         .before = before};
    ASSERT_THAT(engine_->Restore(StoppingAt("l4", stop), observer_), IsOk());
    auto expected = states_["l3"];
    test::MemoryWriter::Fill(expected[0], 9, before ? 90 : 99);
    ExpectCopyIs(expected);
  }
}

TEST_F(RestoreChains, RefuseAStopThatHasGoneBy) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  const auto at_lsn = writers::StopPoint{
      .kind = writers::StopPoint::Kind::kLsn, .lsn = {Now().redo_lsn - 1}, .mark = {}};
  EXPECT_THAT(engine_->Restore(StoppingAt("l1", at_lsn), observer_), HasReason(4338));
  RestoreRequest full = RestoreOf(kFull, "f", End::kNoRecovery);
  full.stop = {.kind = writers::StopPoint::Kind::kTime, .unix_us = 5, .lsn = {}, .mark = {}};
  EXPECT_THAT(engine_->Restore(full, observer_), HasReason(4338));
}

TEST_F(RestoreChains, CanBeReadInStandbyAndGoOn) {
  ASSERT_THAT(Apply(kFull, "f", End::kStandby), IsOk());
  EXPECT_EQ(Now().state, State::kStandby);
  ASSERT_THAT(Apply(kLog, "l1", End::kStandby), IsOk());
  ASSERT_THAT(Recover(), IsOk());
  ExpectCopyIs(states_["l1"]);
}

TEST_F(RestoreChains, TakeAnEmptyLogThatEndsWhereItBegins) {
  ASSERT_THAT(BackUp(kLog, "empty"), IsOk());
  BackUpAfterChange(kLog, "l4");
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  for (const char* log : {"l1", "l2", "l3", "empty", "empty", "l4"}) {
    ASSERT_THAT(Apply(kLog, log), IsOk()) << log;
  }
  ASSERT_THAT(Recover(), IsOk());
  ExpectCopyIs(states_["l4"]);
}

// S1-28: not one change is lost.
TEST_F(RestoreChains, BringADatabaseBackWithTheTailOfItsLog) {
  writer_.Write(0, 30, 33);
  ASSERT_THAT(BackUpTail("tail", writers::LogTail::kNoRecovery), IsOk());
  const auto last = writer_.files;
  for (const auto& [kind, target] : std::vector<std::pair<Kind, std::string>>{
           {kFull, "f"}, {kLog, "l1"}, {kLog, "l2"}, {kLog, "l3"}, {kLog, "tail"}}) {
    RestoreRequest request = RestoreOf(kind, target, End::kNoRecovery);
    request.database = "sales";
    request.moves.clear();
    ASSERT_THAT(engine_->Restore(request, observer_), IsOk()) << target << ": without REPLACE";
  }
  RecoverRequest recover;
  recover.database = "sales";
  ASSERT_THAT(engine_->Recover(recover, observer_), IsOk());
  EXPECT_TRUE(writer_.restored["/db/sales"] == last[0]);
  EXPECT_EQ(Now("sales").state, State::kOnline);
  EXPECT_THAT(BackUp(kLog, "l"), HasReason(4214)) << "a new chain begins with a full backup";
}

TEST_F(RestoreChains, AreAbandonedWithTheDatabase) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  ASSERT_THAT(engine_->Detach("copy"), IsOk());
  EXPECT_EQ(writer_.abandoned, std::vector<std::string>{"/db/copy"});
  EXPECT_THAT(catalog_->FindDatabase("copy"), HasReason(911));
  ASSERT_THAT(engine_->Detach("sales"), IsOk());
  EXPECT_EQ(writer_.abandoned.size(), 1U) << "one in use stays";
  EXPECT_THAT(engine_->Detach("sales"), HasReason(911));
}

// S0-17
TEST_F(RestoreChains, RefuseADatabaseOfANewerVersion) {
  writer_.refused_version = "1.0";
  EXPECT_THAT(Apply(kFull, "f"), AllOf(HasReason(3169), MessageHas("version 1.0")));
  EXPECT_EQ(UnfinishedCount(), 0U);
  writer_.refused_version.clear();
  EXPECT_THAT(Apply(kFull, "f"), IsOk());  // S0-18
}

TEST_F(RestoreChains, AreVerifiedSetBySet) {
  for (const char* set : {"f", "l1", "d", "l2"}) {
    EXPECT_THAT(Verify({set}), IsOk()) << set;
  }
  VerifyRequest sample{.transfer = Transfer({"d"})};
  sample.sample_percent = 50;
  EXPECT_THAT(engine_->Verify(sample, observer_), IsOk());
}

TEST_F(RestoreChains, PutNothingInThePlaceOfLostLog) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  const auto before = Now();
  test::MemoryWriter::Bytes& bytes = *devices_.medium("l1");
  const std::string wanted = std::to_string(sets_["l1"].first_lsn) + " ";
  const auto at = std::search(bytes.begin(), bytes.end(), wanted.begin(), wanted.end(),
                              [](std::byte a, char b) { return static_cast<char>(a) == b; });
  ASSERT_NE(at, bytes.end());
  *at ^= std::byte{1};
  RestoreRequest request = RestoreOf(kLog, "l1", End::kNoRecovery);
  EXPECT_THAT(engine_->Restore(request, observer_), HasReason(65004));
  request.continue_after_error = true;
  EXPECT_THAT(engine_->Restore(request, observer_), HasReason(3186));
  EXPECT_EQ(Now().redo_lsn, before.redo_lsn);
  EXPECT_EQ(UnfinishedCount(), 0U);
}

TEST_F(RestoreChains, AreAsTheyWereWhenAStepFails) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  writer_.on_restore_commit = [] { return SqlError(3101); };
  EXPECT_THAT(Apply(kLog, "l1"), HasReason(3101));
  EXPECT_THAT(Apply(kFull, "f"), HasReason(3101));
  EXPECT_EQ(Now().base_guid, sets_["f"].backup_set_guid) << "the old chain was put back";
  writer_.on_restore_commit = nullptr;
  ASSERT_THAT(Apply(kLog, "l1", End::kRecovery), IsOk());
  ExpectCopyIs(states_["l1"]);
}

// A crash between the writer and the catalog: the files have more than the catalog says.
TEST_F(RestoreChains, RepeatAStepThatTheCatalogDidNotHearOf) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  const catalog::Database before = catalog_->FindDatabase("copy").value();
  for (const End end : {End::kNoRecovery, End::kRecovery}) {
    ASSERT_THAT(Apply(kLog, "l1"), IsOk());
    ASSERT_THAT(catalog_->UpdateDatabase(before), IsOk());
    ASSERT_THAT(Apply(kLog, "l1", end), IsOk());
    if (end == End::kNoRecovery) {
      EXPECT_EQ(Now().redo_lsn, sets_["l1"].last_lsn);
      ASSERT_THAT(catalog_->UpdateDatabase(before), IsOk());
      ASSERT_THAT(Apply(kFull, "f"), IsOk());
    }
  }
  ExpectCopyIs(states_["l1"]);
  EXPECT_EQ(Now().state, State::kOnline);
  ASSERT_THAT(catalog_->UpdateDatabase(before), IsOk());
  EXPECT_THAT(Recover(), IsOk()) << "the writer has nothing to recover any more";
  EXPECT_EQ(Now().state, State::kOnline);
}

TEST_F(RestoreChains, SayThatAFullBackupOverThemWasInterrupted) {
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  writer_.on_restore_commit = [this] {
    EXPECT_TRUE(Now().base_guid.is_zero()) << "from here on a crash leaves it so";
    return OkStatus();
  };
  ASSERT_THAT(Apply(kFull, "f"), IsOk());
  catalog::Database copy = catalog_->FindDatabase("copy").value();
  copy.roll_forward.base_guid = Guid();
  copy.roll_forward.redo_lsn = 0;
  ASSERT_THAT(catalog_->UpdateDatabase(copy), IsOk());
  EXPECT_THAT(Apply(kLog, "l1"), AllOf(HasReason(4319), MessageHas("'sales'")));
  EXPECT_THAT(Recover(), HasReason(4319));
  EXPECT_THAT(Apply(kFull, "f"), IsOk());
}

}  // namespace
}  // namespace capstan::engine
