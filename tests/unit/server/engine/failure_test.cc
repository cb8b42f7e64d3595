// What can go wrong while a backup runs: each ends in a clear error, loses nothing, leaves nothing.

#include <atomic>
#include <cerrno>
#include <thread>

#include <gmock/gmock.h>

#include "tests/unit/server/engine/engine_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MemoryWriter;
using test::MessageHas;
using vdi::CommandCode;
using vdi::CompletionCode;

class Failure : public EngineFixture {
 protected:
  void SetUp() override {
    EngineFixture::SetUp();
    writer_.files = {MemoryWriter::Pattern(2'000'000, 7)};
    ASSERT_THAT(Backup({"a", "b"}), IsOk());
    old_a_ = *devices_.medium("a");
  }
  // The medium that was there before is there still, to the byte.
  void ExpectOldMediumKept() {
    ASSERT_NE(devices_.medium("a"), nullptr);
    EXPECT_EQ(*devices_.medium("a"), old_a_);
    EXPECT_THAT(Verify({"a", "b"}), IsOk());
    EXPECT_EQ(HistoryCount(), 1U);
  }

  test::MemoryDevices::Bytes old_a_;
};

// S0-12
TEST_F(Failure, DiskFullOnOneOfTwoFamiliesNamesDeviceAndCause) {
  std::atomic<int> writes{0};
  devices_.detail = "28(No space left on device)";
  devices_.fault = [&](std::size_t device, const vdi::ClientCommand& command) {
    return device == 1 && command.code == CommandCode::kWrite && ++writes > 4
               ? CompletionCode::kDiskFull
               : CompletionCode::kSuccess;
  };

  const Status status = Backup({"a", "b"});

  EXPECT_THAT(status, HasReason(3202));
  EXPECT_THAT(status, MessageHas("Write on \"b\" failed: 28(No space left on device)"));
  devices_.fault = nullptr;
  ExpectOldMediumKept();
  ExpectNothingHarmed();
}

// A folder that cannot be entered cannot be tidied either; nothing was begun there.
TEST_F(Failure, ARefusedMediumLeavesNothingToSettle) {
  devices_.open_answer = SqlError(3201, "c", OsErrorText(EACCES)).WithOsError(EACCES);
  devices_.recover_answer = OsError(EACCES, "unable to reach directory");

  EXPECT_THAT(Backup({"c"}), HasReason(3201));

  EXPECT_EQ(UnfinishedCount(), 0U);
  devices_.open_answer = devices_.recover_answer = OkStatus();
  ExpectNothingHarmed();
}

TEST_F(Failure, AnAgentThatWasLostWhileOpeningIsSettledLater) {
  devices_.open_answer = SqlError(3201, "c", "995(lost)").WithOsError(ECANCELED);
  devices_.recover_answer = Error(Code::kUnavailable, "no agent");

  EXPECT_THAT(Backup({"c"}), HasReason(3201));

  EXPECT_EQ(UnfinishedCount(), 1U);
  devices_.open_answer = devices_.recover_answer = OkStatus();
  engine_->SettleUnfinishedJobs();
  ExpectNothingHarmed();
}

// What a record said before its job ended says nothing any more: acting on it would undo a backup
// that was acknowledged.
TEST_F(Failure, SettlingSparesAJobThatEndsMeanwhile) {
  catalog::JobRecord interrupted;
  interrupted.job_guid = Guid::Random();
  interrupted.database_name = "sales";
  interrupted.devices.push_back({.device_class = "DISK", .target = "x", .token = "t-1"});
  ASSERT_THAT(catalog_->BeginJob(interrupted), IsOk());
  std::atomic<bool> held{false};
  std::atomic<bool> go{false};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    if (command.code == CommandCode::kFlush) {
      held = true;
      go.wait(false);
    }
    return CompletionCode::kSuccess;
  };
  std::jthread backup([&] { EXPECT_THAT(Backup({"c"}), IsOk()); });
  while (!held) {
    std::this_thread::yield();
  }
  devices_.on_recover = [&] {
    go = true;
    go.notify_all();
    while (!jobs_.List().empty()) {
      std::this_thread::yield();
    }
  };

  engine_->SettleUnfinishedJobs();

  EXPECT_EQ(devices_.recovered, 1) << "of the interrupted job alone";
  EXPECT_EQ(HistoryCount(), 2U);
  EXPECT_EQ(UnfinishedCount(), 0U);
  devices_.on_recover = nullptr;
}

TEST_F(Failure, AFlushOrCommitThatFailsFailsTheBackup) {
  for (const CommandCode code : {CommandCode::kFlush, CommandCode::kComplete}) {
    devices_.fault = [code](std::size_t device, const vdi::ClientCommand& command) {
      return device == 0 && command.code == code ? CompletionCode::kWriteFault
                                                 : CompletionCode::kSuccess;
    };

    EXPECT_THAT(Backup({"c"}), HasReason(3202)) << vdi::CommandName(code);

    EXPECT_EQ(devices_.medium("c"), nullptr);
    ExpectNothingHarmed();
  }
}

// A server that dies while it discards must not find a job that it would commit.
TEST_F(Failure, ARefusedCommitIsNoLongerPreparedWhenItsMediaAreDiscarded) {
  devices_.fault = [](std::size_t device, const vdi::ClientCommand& command) {
    return device == 1 && command.code == CommandCode::kComplete ? CompletionCode::kWriteFault
                                                                 : CompletionCode::kSuccess;
  };
  int prepared = 0;
  devices_.on_recover = [&] {
    const auto jobs = catalog_->UnfinishedJobs();
    for (const catalog::JobRecord& job : *jobs) {
      prepared += job.state == catalog::JobState::kPrepared ? 1 : 0;
    }
  };

  EXPECT_THAT(Backup({"c", "d"}), HasReason(3202));

  EXPECT_GE(devices_.recovered, 2);
  EXPECT_EQ(prepared, 0);
  devices_.on_recover = nullptr;
  ExpectNothingHarmed();
}

TEST_F(Failure, AReadErrorOfTheDatabaseEndsTheBackup) {
  writer_.fail_read = 5;

  EXPECT_THAT(Backup({"a", "b"}), HasReason(65005));

  ExpectOldMediumKept();
  ExpectNothingHarmed();
}

// S1-56: an agent that never completes a command.
TEST_F(Failure, AStalledDeviceEndsTheBackupByItsDeadline) {
  device_timeout_ = std::chrono::milliseconds(1500);
  Start();
  std::atomic<bool> stalled{true};
  std::atomic<int> writes{0};
  devices_.fault = [&](std::size_t device, const vdi::ClientCommand& command) {
    if (device == 1 && command.code == CommandCode::kWrite && ++writes == 3) {
      while (stalled) {
        std::this_thread::yield();
      }
    }
    return CompletionCode::kSuccess;
  };
  const auto begin = std::chrono::steady_clock::now();

  const Status status = Backup({"a", "b"});

  EXPECT_THAT(status, HasReason(3271));
  EXPECT_THAT(status, MessageHas("b"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
  stalled = false;
  ExpectOldMediumKept();
  ExpectNothingHarmed();
}

TEST_F(Failure, TheDeathOfTheClientEndsTheBackup) {
  std::atomic<int> writes{0};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    if (command.code == CommandCode::kWrite && ++writes == 6) {
      devices_.AbortLastClient();
    }
    return CompletionCode::kSuccess;
  };

  const Status status = Backup({"a", "b"});

  EXPECT_THAT(status, HasReason(3202));
  EXPECT_THAT(status, MessageHas("995("));
  ExpectOldMediumKept();
  ExpectNothingHarmed();
}

TEST_F(Failure, ACancelledJobSaysSo) {
  std::atomic<int> writes{0};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    if (command.code == CommandCode::kWrite && ++writes == 6) {
      EXPECT_TRUE(jobs_.Cancel(51));
      std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the medium is slow
    }
    return CompletionCode::kSuccess;
  };

  EXPECT_THAT(Backup({"a", "b"}), HasReason(3204));

  ExpectOldMediumKept();
  ExpectNothingHarmed();
}

TEST_F(Failure, ACancelDuringTheCommitComesTooLate) {
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    if (command.code == CommandCode::kComplete) {
      EXPECT_TRUE(jobs_.Cancel(51));
      // Not for luck: the monitor looks every 50 ms, and must have had the chance to be wrong.
      std::this_thread::sleep_for(std::chrono::milliseconds(150));
    }
    return CompletionCode::kSuccess;
  };

  EXPECT_THAT(Backup({"a", "b"}), IsOk());

  EXPECT_EQ(HistoryCount(), 2U);
  ExpectNothingHarmed();
}

// The agent vanishes in the middle of the commit: the media are whole, so they are finished.
TEST_F(Failure, ACommitThatWasInterruptedIsRolledForward) {
  devices_.fault = [&](std::size_t device, const vdi::ClientCommand& command) {
    if (command.code == CommandCode::kComplete && device == 0) {
      devices_.AbortLastClient();
    }
    return CompletionCode::kSuccess;
  };

  EXPECT_THAT(Backup({"a", "b"}), IsOk());

  EXPECT_EQ(HistoryCount(), 2U);
  EXPECT_GE(devices_.recovered, 2);
  devices_.fault = nullptr;
  EXPECT_THAT(Verify({"a", "b"}), IsOk());
  ExpectNothingHarmed();
}

TEST_F(Failure, ReadErrorsOfARestoreNameTheDevice) {
  std::atomic<int> reads{0};  // few: a device that was slow has hardly more than head and end
  devices_.fault = [&](std::size_t device, const vdi::ClientCommand& command) {
    return device == 1 && command.code == CommandCode::kRead && ++reads > 4
               ? CompletionCode::kReadFault
               : CompletionCode::kSuccess;
  };

  const Status status = Restore({"a", "b"}, "copy", {{"sales", "/new"}});

  EXPECT_THAT(status, HasReason(3203));
  EXPECT_THAT(status, MessageHas("\"b\""));
  EXPECT_TRUE(writer_.restored.empty());
  ExpectNothingHarmed();
}

TEST_F(Failure, AStalledDeviceEndsARestoreToo) {
  device_timeout_ = std::chrono::milliseconds(1500);
  Start();
  std::atomic<bool> stalled{true};
  devices_.fault = [&](std::size_t device, const vdi::ClientCommand& command) {
    while (device == 0 && stalled && command.position > 300'000) {
      std::this_thread::yield();
    }
    return CompletionCode::kSuccess;
  };

  const Status status = Restore({"a", "b"}, "copy", {{"sales", "/new"}});

  EXPECT_THAT(status, HasReason(3271));
  stalled = false;
  EXPECT_TRUE(writer_.restored.empty());
  ExpectNothingHarmed();
}

// What a crash leaves in the journal is settled at the next start.
TEST_F(Failure, InterruptedJobsAreUndoneOrFinishedAtTheNextStart) {
  catalog::JobRecord running;
  running.job_guid = Guid::Random();
  running.devices = {{.device_class = "DISK", .target = "x", .token = "t1"}};
  ASSERT_THAT(catalog_->BeginJob(running), IsOk());
  catalog::JobRecord prepared;
  prepared.job_guid = Guid::Random();
  prepared.database_name = "sales";
  prepared.devices = {{.device_class = "DISK", .target = "y", .token = "t2"}};
  ASSERT_THAT(catalog_->BeginJob(prepared), IsOk());
  media::BackupSet set;
  set.backup_set_guid = Guid::Random();
  set.database_name = "sales";
  ASSERT_THAT(catalog_->PrepareBackup(prepared.job_guid, {.media_set_id = Guid::Random()}, set),
              IsOk());
  catalog::JobRecord restore;
  restore.job_guid = Guid::Random();
  restore.restore_scheme = "memory";
  restore.restore_paths = {"/new"};
  ASSERT_THAT(catalog_->BeginJob(restore), IsOk());
  Start();

  engine_->SettleUnfinishedJobs();

  EXPECT_EQ(UnfinishedCount(), 0U);
  EXPECT_EQ(HistoryCount(), 2U);  // the prepared one is visible now
  EXPECT_EQ(devices_.recovered, 2);
  EXPECT_THAT(writer_.discarded, testing::ElementsAre(restore.job_guid.ToString()));
}

}  // namespace
}  // namespace capstan::engine
