// RESTORE ... WITH RESTART (S0-50): a restore that was interrupted goes on where it was, proves as
// much as one from the beginning, and leaves nothing behind.

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

#include "server/engine/restart/restored_frames.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/server/engine/restart/restart_fixture.h"

namespace capstan::engine {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;
using test::MessageHas;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

class Restart : public RestartFixture {
 protected:
  void SetUp() override {
    RestartFixture::SetUp();
    ASSERT_THAT(Backup({"a", "b"}), IsOk());
  }
  // The journal becomes what it is if the server dies: nobody has said that the restore is over.
  void DieInstead() {
    const catalog::JobRecord record = *Unfinished();
    const std::string frames = catalog_->CheckpointFrames(record.job_guid).value();
    ASSERT_THAT(catalog_->ForgetJob(record.job_guid), IsOk());
    ASSERT_THAT(catalog_->BeginJob(record), IsOk());
    ASSERT_THAT(catalog_->AddCheckpoint(record.job_guid, *record.progress, frames), IsOk());
  }
};

TEST_F(Restart, GoesOnWhereADeviceFailed) {
  CountReads();
  ASSERT_THAT(RestoreTo({"a", "b"}), IsOk());
  const int whole_reads = reads_;
  const int whole_extents = writer_.extents_written;
  ExpectNothingLeft();
  writer_.restored.clear();
  ASSERT_THAT(engine_->Detach("copy"), IsOk());

  const Status failed = Interrupt({"a", "b"});

  EXPECT_THAT(failed, Not(IsOk()));
  EXPECT_THAT(std::string(failed.hint()), HasSubstr("RESTART goes on from there"));
  ASSERT_TRUE(Unfinished());
  EXPECT_TRUE(Unfinished()->kept);
  const std::uint64_t restored = RestoredBytes();
  EXPECT_GT(restored, 0U);
  EXPECT_THAT(std::string(failed.hint()),
              HasSubstr(std::to_string(restored) + " of 5300000 bytes"));
  EXPECT_TRUE(writer_.restored.empty());

  writer_.extents_written = 0;
  ASSERT_THAT(RestoreTo({"a", "b"}, true), IsOk());

  ExpectRestored();
  ExpectNothingLeft();
  EXPECT_LT(reads_, whole_reads) << "devices with random access need not read what is there";
  EXPECT_LT(writer_.extents_written, whole_extents);
  EXPECT_THAT(observer_.Texts(65025), SizeIs(1));
  EXPECT_THAT(observer_.Texts(65025)[0], HasSubstr(std::to_string(restored)));
  const auto history = catalog_->Query(
      "SELECT restart FROM msdb_dbo_restorehistory ORDER BY restore_history_id DESC", {});
  ASSERT_THAT(history, IsOk());
  EXPECT_EQ(history->rows[0][0], "1");
}

TEST_F(Restart, GoesOnAfterAKill) {
  AtRead(22, 0, [this] {
    jobs_.Cancel(51);
    // Longer than it takes the job to notice, so that it has not come to its end by then.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return vdi::CompletionCode::kSuccess;
  });
  EXPECT_THAT(RestoreTo({"a", "b"}), HasReason(3204));
  CountReads();
  ASSERT_TRUE(Unfinished() && Unfinished()->kept);

  ASSERT_THAT(RestoreTo({"a", "b"}, true), IsOk());

  ExpectRestored();
  ExpectNothingLeft();
}

TEST_F(Restart, GoesOnAfterTheServerDied) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  ASSERT_NO_FATAL_FAILURE(DieInstead());
  Start();

  engine_->SettleUnfinishedJobs();

  ASSERT_TRUE(Unfinished() && Unfinished()->kept);
  EXPECT_TRUE(writer_.discarded.empty());
  engine_->SettleUnfinishedJobs();
  ASSERT_TRUE(Unfinished()) << "however often it is looked at";
  ASSERT_THAT(RestoreTo({"a", "b"}, true), IsOk());
  ExpectRestored();
  ExpectNothingLeft();
}

// A cluster's data directory speaks for its tablespaces.
TEST_F(Restart, GoesOnWithWhatIsKnownAtOneFileAlone) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  ASSERT_NO_FATAL_FAILURE(DieInstead());
  writer_.unfinished_at = "/new";
  Start();

  engine_->SettleUnfinishedJobs();

  ASSERT_TRUE(Unfinished() && Unfinished()->kept);
  EXPECT_TRUE(writer_.discarded.empty());
  ASSERT_THAT(RestoreTo({"a", "b"}, true), IsOk());
  ExpectRestored();
  ExpectNothingLeft();
}

TEST_F(Restart, SettlesWhatHasLostItsUnfinishedDatabase) {
  const Guid job = Guid::Random();
  ASSERT_THAT(catalog_->BeginJob({.job_guid = job,
                                  .statement = "test",
                                  .database_name = "copy",
                                  .devices = {},
                                  .restore_scheme = "memory",
                                  .restore_paths = {"/new"},
                                  .restore_name = {},
                                  .progress = {}}),
              IsOk());
  ASSERT_THAT(catalog_->AddCheckpoint(job, {.backup_set_guid = Guid::Random()}, "x"), IsOk());

  engine_->SettleUnfinishedJobs();

  ExpectNothingLeft();
}

TEST_F(Restart, BeginsAnewWhereNothingWasInterrupted) {
  ASSERT_THAT(RestoreTo({"a", "b"}, true), IsOk());

  ExpectRestored();
  EXPECT_THAT(observer_.Texts(3018), SizeIs(1));
  EXPECT_THAT(observer_.Texts(65025), SizeIs(0));
}

TEST_F(Restart, BeginsAnewWhereTheUnfinishedDatabaseIsGone) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  writer_.unfinished.clear();

  ASSERT_THAT(RestoreTo({"a", "b"}, true), IsOk());

  ExpectRestored();
  ExpectNothingLeft();
}

TEST_F(Restart, BeginsAnewWithCheckpointsThatCannotBeRead) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  ASSERT_THAT(catalog_->AddCheckpoint(Unfinished()->job_guid, *Unfinished()->progress, "?"),
              IsOk());

  ASSERT_THAT(RestoreTo({"a", "b"}, true), IsOk());

  EXPECT_THAT(observer_.Texts(3028), SizeIs(1));
  ExpectRestored();
  ExpectNothingLeft();
}

TEST_F(Restart, IsGivenUpByARestoreWithoutIt) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  writer_.extents_written = 0;

  ASSERT_THAT(RestoreTo({"a", "b"}), IsOk());

  EXPECT_THAT(writer_.discarded, SizeIs(2)) << "files";
  ExpectRestored();
  ExpectNothingLeft();
}

TEST_F(Restart, IsGivenUpWithoutTheDatabaseThatItWasToBecome) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));

  EXPECT_TRUE(engine_->GiveUpInterrupted("copy").value());

  ExpectNothingLeft();
  EXPECT_FALSE(engine_->GiveUpInterrupted("copy").value());
}

TEST_F(Restart, RefusesAnotherSet) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  ASSERT_THAT(Backup({"c"}), IsOk());
  const std::uint64_t restored = RestoredBytes();

  EXPECT_THAT(RestoreTo({"c"}, true), HasReason(3019));

  EXPECT_EQ(RestoredBytes(), restored);
  EXPECT_THAT(writer_.unfinished, SizeIs(1));
  ASSERT_THAT(RestoreTo({"a", "b"}, true), IsOk());
  ExpectRestored();
}

TEST_F(Restart, RefusesOtherFiles) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  RestoreRequest request = Request({"a", "b"}, true);
  request.moves[0].second = "/elsewhere";

  EXPECT_THAT(engine_->Restore(request, observer_), HasReason(3019));

  EXPECT_TRUE(Unfinished() && Unfinished()->kept);
}

// A writer may have built in the place itself, which is taken then.
TEST_F(Restart, FindsItsOwnPlacesTaken) {
  const test::TemporaryDirectory folder;
  const std::string place = folder.Under("new");
  RestoreRequest request = Request({"a", "b"}, false);
  request.moves[0].second = place;
  const auto interrupt = [&] {
    reads_ = 0;
    FailAtRead(60, 2'000'000);
    EXPECT_THAT(engine_->Restore(request, observer_), Not(IsOk()));
    CountReads();
  };
  interrupt();
  std::ofstream(place) << "what was built";
  request.restart = true;
  ASSERT_THAT(engine_->Restore(request, observer_), IsOk());
  ExpectNothingLeft();
  ASSERT_THAT(engine_->Detach("copy"), IsOk());

  writer_.restored.clear();
  std::filesystem::remove(place);
  request.restart = false;
  interrupt();
  std::ofstream(place) << "of somebody else, so it is there after the other was given up";
  EXPECT_THAT(engine_->Restore(request, observer_), HasReason(3156));
  ExpectNothingLeft();
}

// What the medium says of a frame is not what it said when that was restored.
TEST_F(Restart, RefusesAMediumThatHasChanged) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  const catalog::JobRecord job = *Unfinished();
  auto frames = DecodeFrames(catalog_->CheckpointFrames(job.job_guid).value()).value();
  ++frames[0].extent.crc32c;
  ASSERT_THAT(catalog_->AddCheckpoint(job.job_guid, *job.progress, EncodeFrames(frames)), IsOk());
  const int begun = writer_.began_restores;

  EXPECT_THAT(RestoreTo({"a", "b"}, true), HasReason(3019));

  EXPECT_EQ(writer_.began_restores, begun) << "nothing was started";
  EXPECT_TRUE(Unfinished() && Unfinished()->kept);
}

// What was restored is read back: where it is not what it was, it is restored again.
TEST_F(Restart, RestoresAgainWhatIsNoLongerRight) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  auto& kept = writer_.unfinished.begin()->second;
  kept[0][100] ^= std::byte{1};
  kept[1][600'000] ^= std::byte{1};

  ASSERT_THAT(RestoreTo({"a", "b"}, true), IsOk());

  ExpectRestored();
}

// S0-09: pages of what was restored before the interruption as well.
TEST_F(Restart, FindsABadPageThatWasRestoredBefore) {
  BackupRequest backup;
  backup.transfer = Transfer({"a", "b"});
  backup.transfer.checksum = true;
  backup.database = "sales";
  backup.media_use = MediaUse::kFormat;
  ASSERT_THAT(engine_->Backup(backup, observer_), IsOk());
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  writer_.bad_pages = {1};
  RestoreRequest request = RestartFixture::Request({"a", "b"}, true);
  request.transfer.checksum = true;

  EXPECT_THAT(engine_->Restore(request, observer_), HasReason(3183));

  ExpectNothingLeft();
}

TEST_F(Restart, GoesOnFromAMirror) {
  BackupRequest backup;
  backup.transfer = Transfer({"a", "b"});
  backup.mirrors = {{"m", "n"}};
  backup.database = "sales";
  backup.media_use = MediaUse::kFormat;
  ASSERT_THAT(engine_->Backup(backup, observer_), IsOk());
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  writer_.extents_written = 0;

  ASSERT_THAT(RestoreTo({"n", "m"}, true), IsOk());

  ExpectRestored();
  EXPECT_LT(writer_.extents_written, 60);
}

TEST_F(Restart, KeepsWhatIsCompleteWhenTheOldDatabaseIsInUse) {
  writer_.on_restore_commit = [] { return SqlError(3101); };
  AtRead(40, 0, [] { return vdi::CompletionCode::kSuccess; });
  const Status refused = RestoreTo({"a", "b"});
  EXPECT_THAT(refused, HasReason(3101));
  EXPECT_EQ(RestoredBytes(), 5'300'000U);
  writer_.on_restore_commit = nullptr;
  writer_.extents_written = 0;
  CountReads();

  ASSERT_THAT(RestoreTo({"a", "b"}, true), IsOk());

  EXPECT_EQ(writer_.extents_written, 0);
  ExpectRestored();
}

TEST_F(Restart, ADatabaseThatCannotBeSyncedFailsTheRestore) {
  writer_.on_checkpoint = [] { return SqlError(65006, "/new", "planned sync fault"); };

  devices_.fault = [](std::size_t, const vdi::ClientCommand& command) {
    if (command.code == vdi::CommandCode::kRead) {
      // A device that is slower than the interval of checkpoints, so that there is one.
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return vdi::CompletionCode::kSuccess;
  };
  EXPECT_THAT(RestoreTo({"a", "b"}), MessageHas("planned sync fault"));

  ExpectNothingLeft();
}

TEST_F(Restart, IsNotPossibleWithAWriterWithoutCheckpoints) {
  writer_.resumable = false;
  devices_.fault = [this](std::size_t, const vdi::ClientCommand& command) {
    return command.code == vdi::CommandCode::kRead && ++reads_ > 22
               ? vdi::CompletionCode::kReadFault
               : vdi::CompletionCode::kSuccess;
  };

  const Status failed = RestoreTo({"a", "b"});

  EXPECT_THAT(std::string(failed.hint()), Not(HasSubstr("RESTART")));
  ExpectNothingLeft();
}

}  // namespace
}  // namespace capstan::engine
