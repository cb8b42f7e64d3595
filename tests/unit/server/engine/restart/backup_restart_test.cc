// BACKUP ... WITH RESTART: a full backup that was interrupted goes on with the frames that the
// database still holds, and is then worth as much as one from the beginning.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "tests/unit/server/engine/restart/restart_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr int kGoesOn = 65058;
constexpr int kBeginsAnew = 65059;

std::vector<CodingSample> Codings() {
  std::vector<CodingSample> codings = AllCodings();
  codings.push_back({"plain", std::nullopt, false});
  return codings;
}

class BackupRestart : public RestartFixture {
 protected:
  void SetUp() override {
    devices_.resumes = true;
    RestartFixture::SetUp();
  }
  BackupRequest Full(std::vector<std::string> targets, bool restart, const CodingSample& coding) {
    BackupRequest request = CodedFixture::Request(std::move(targets), coding);
    request.restart = restart;
    return request;
  }
  Status BackUp(std::vector<std::string> targets, bool restart = false,
                const CodingSample& coding = {}) {
    writes_ = 0;
    writer_.extents_kept = 0;
    return engine_->Backup(Full(std::move(targets), restart, coding), observer_);
  }
  // What happens at the n-th write of the devices together, once the journal knows that there is
  // something to go on with.
  void AtWrite(int n, std::function<vdi::CompletionCode()> what) {
    devices_.fault = [this, n, what = std::move(what)](std::size_t,
                                                       const vdi::ClientCommand& command) {
      if (command.code != vdi::CommandCode::kWrite || ++writes_ < n) {
        return vdi::CompletionCode::kSuccess;
      }
      const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (RestoredBytes() == 0 && std::chrono::steady_clock::now() < limit) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));  // polls, bounded by `limit`
      }
      return what();
    };
  }
  void CountWrites() {
    devices_.fault = [this](std::size_t, const vdi::ClientCommand& command) {
      writes_ += command.code == vdi::CommandCode::kWrite ? 1 : 0;
      return vdi::CompletionCode::kSuccess;
    };
  }
  Status Interrupt(std::vector<std::string> targets, bool restart = false,
                   const CodingSample& coding = {}, int write = 30) {
    AtWrite(write, [] { return vdi::CompletionCode::kWriteFault; });
    const Status failed = BackUp(std::move(targets), restart, coding);
    CountWrites();
    return failed;
  }
  void ExpectGoodBackup(std::vector<std::string> targets) {
    EXPECT_EQ(UnfinishedCount(), 0U);
    EXPECT_EQ(devices_.partial_count(), 0U);
    EXPECT_THAT(Verify(targets), IsOk());
    EXPECT_THAT(RestoreCopy(std::move(targets)), IsOk());
    ExpectRestored();
  }

  void ForgetPartials() {
    const catalog::JobRecord interrupted = Unfinished().value();
    for (const catalog::JobDevice& device : interrupted.devices) {
      ASSERT_THAT(devices_.Recover("DISK", {.name = device.target, .token = device.token},
                                   RecoverAction::kDiscard, Deadline::Never()),
                  IsOk());
    }
  }

  std::atomic<int> writes_{0};
};

TEST_F(BackupRestart, GoesOnWhereADeviceFailed) {
  CountWrites();
  ASSERT_THAT(BackUp({"a", "b"}), IsOk());
  const int whole = writes_;

  const Status failed = Interrupt({"a", "b"});

  EXPECT_THAT(std::string(failed.hint()), HasSubstr("BACKUP WITH RESTART goes on"));
  ASSERT_TRUE(Unfinished());
  EXPECT_TRUE(Unfinished()->kept);
  EXPECT_EQ(devices_.partial_count(), 2U);
  EXPECT_THAT(Verify({"a", "b"}), IsOk()) << "what was there before is as it was";

  ASSERT_THAT(BackUp({"a", "b"}, true), IsOk());

  EXPECT_LT(writes_, whole);
  EXPECT_GT(writer_.extents_kept, 10);
  EXPECT_THAT(observer_.Texts(kGoesOn), SizeIs(1));
  EXPECT_THAT(observer_.Texts(kBeginsAnew), IsEmpty());
  ExpectGoodBackup({"a", "b"});
}

TEST_F(BackupRestart, ReadsAnewWhatHasChanged) {
  for (const CodingSample& coding : Codings()) {
    SCOPED_TRACE(coding.name);
    ASSERT_THAT(Interrupt({"a", "b"}, false, coding), Not(IsOk()));
    for (std::size_t at = 0; at < writer_.files[0].size(); at += 300'000) {
      writer_.files[0][at] ^= std::byte{1};
    }

    ASSERT_THAT(BackUp({"a", "b"}, true, coding), IsOk());

    EXPECT_GT(writer_.extents_kept, 0);
    ExpectGoodBackup({"a", "b"});
  }
}

TEST_F(BackupRestart, GoesOnAgainAndAgain) {
  for (const CodingSample& coding : Codings()) {
    SCOPED_TRACE(coding.name);
    ASSERT_THAT(Interrupt({"a"}, false, coding, 15), Not(IsOk()));
    for (int again = 1; again <= 3; ++again) {
      writer_.files[0][static_cast<std::size_t>(again) * 100'000] ^= std::byte{1};
      ASSERT_THAT(Interrupt({"a"}, true, coding, 8), Not(IsOk()));
      ASSERT_TRUE(Unfinished());
      EXPECT_EQ(Unfinished()->restarts, static_cast<std::uint32_t>(again));
    }
    ASSERT_THAT(BackUp({"a"}, true, coding), IsOk());
    ExpectGoodBackup({"a"});
  }
}

// The server dies: nobody has said that the backup is over.
TEST_F(BackupRestart, GoesOnAfterTheServerDied) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  ASSERT_TRUE(Unfinished());
  const catalog::JobRecord record = *Unfinished();
  ASSERT_THAT(catalog_->ForgetJob(record.job_guid), IsOk());
  ASSERT_THAT(catalog_->BeginJob(record), IsOk());
  ASSERT_THAT(catalog_->AddCheckpoint(record.job_guid, *record.progress, ""), IsOk());
  Start();

  engine_->SettleUnfinishedJobs();
  engine_->SettleUnfinishedJobs();  // whenever an agent attaches

  ASSERT_TRUE(Unfinished());
  EXPECT_TRUE(Unfinished()->kept);
  ASSERT_THAT(BackUp({"a", "b"}, true), IsOk());
  EXPECT_GT(writer_.extents_kept, 0);
  ExpectGoodBackup({"a", "b"});
}

TEST_F(BackupRestart, AFullBackupWithoutRestartGivesItUp) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  ASSERT_THAT(BackUp({"c"}), IsOk());
  EXPECT_EQ(devices_.partial_count(), 0U);
  EXPECT_EQ(UnfinishedCount(), 0U);
}

TEST_F(BackupRestart, DetachGivesItUp) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  ASSERT_THAT(engine_->Detach("sales"), IsOk());
  EXPECT_EQ(devices_.partial_count(), 0U);
  EXPECT_EQ(UnfinishedCount(), 0U);
}

TEST_F(BackupRestart, BeginsAnewWhereThereIsNothingToGoOnWith) {
  struct Case {
    std::string what;
    std::function<void()> before;
    std::function<void(BackupRequest&)> with;
    std::string why;
  };
  const std::vector<Case> cases = {
      {"none", [this] { ASSERT_THAT(BackUp({"a"}), IsOk()); }, {}, "none was interrupted"},
      {"other devices", {}, [](BackupRequest& r) { r.transfer.targets = {"c"}; }, "other devices"},
      {"coding",
       {},
       [](BackupRequest& r) { r.compression = true; },
       "compressed or encrypted otherwise"},
      {"transfers",
       {},
       [](BackupRequest& r) { r.transfer.max_transfer_size = 128 << 10; },
       "MAXTRANSFERSIZE of 65536"},
      {"name", {}, [](BackupRequest& r) { r.media_name = "weekly"; }, "another name"},
      {"gone", [this] { ForgetPartials(); }, {}, "not there any more"},
      {"torn at once", [this] { devices_.partial("a")->resize(100); }, {}, "nothing whole"},
      {"files",
       [this] { writer_.files.push_back(test::MemoryWriter::Pattern(4096, 1)); },
       {},
       "other files"},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.what);
    ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
    if (each.before) {
      each.before();
    }
    observer_.messages.clear();
    BackupRequest request = Full({"a", "b"}, true, {});
    if (each.with) {
      each.with(request);
    }
    ASSERT_THAT(engine_->Backup(request, observer_), IsOk());
    EXPECT_THAT(observer_.Texts(kBeginsAnew), testing::ElementsAre(HasSubstr(each.why)));
    EXPECT_THAT(observer_.Texts(kGoesOn), IsEmpty());
    ExpectGoodBackup(request.transfer.targets);
  }
}

TEST_F(BackupRestart, BeginsAnewUnderAnotherCertificate) {
  ASSERT_THAT(certificates_->Import("weekly", test::TestCertificates::Second()), IsOk());
  const CodingSample aes{"AES", std::nullopt, true};
  ASSERT_THAT(Interrupt({"a"}, false, aes), Not(IsOk()));
  BackupRequest request = Full({"a"}, true, aes);
  request.encryption = {.encryptor = transform::CertificateName{"weekly"}};

  ASSERT_THAT(engine_->Backup(request, observer_), IsOk());

  EXPECT_THAT(observer_.Texts(kBeginsAnew), testing::ElementsAre(HasSubstr("another certificate")));
  EXPECT_EQ(writer_.extents_kept, 0);
  ExpectGoodBackup({"a"});
}

// What is cut off anywhere is as much as was written.
TEST_F(BackupRestart, GoesOnBehindTheLastWholeFrame) {
  ASSERT_THAT(Interrupt({"a"}), Not(IsOk()));
  devices_.partial("a")->resize(700'001);
  ASSERT_THAT(BackUp({"a"}, true), IsOk());
  EXPECT_GT(writer_.extents_kept, 5);
  ExpectGoodBackup({"a"});

  ASSERT_THAT(Interrupt({"a"}), Not(IsOk()));
  (*devices_.partial("a"))[700'001] ^= std::byte{1};
  ASSERT_THAT(BackUp({"a"}, true), IsOk());
  EXPECT_GT(writer_.extents_kept, 5);
  ExpectGoodBackup({"a"});
}

TEST_F(BackupRestart, IsKeptWhenItFailsWhileItGoesOn) {
  ASSERT_THAT(Interrupt({"a", "b"}), Not(IsOk()));
  writer_.on_keeps = [] { return SqlError(65005, "memory", "planned fault"); };
  EXPECT_THAT(BackUp({"a", "b"}, true), HasReason(65005));
  writer_.on_keeps = OkStatus;
  ASSERT_TRUE(Unfinished());
  EXPECT_TRUE(Unfinished()->kept);

  devices_.fault = [](std::size_t, const vdi::ClientCommand& command) {
    return command.code == vdi::CommandCode::kRead ? vdi::CompletionCode::kReadFault
                                                   : vdi::CompletionCode::kSuccess;
  };
  EXPECT_THAT(BackUp({"a", "b"}, true), HasReason(3203));
  CountWrites();
  devices_.open_answer = SqlError(3201, "a", "busy").WithOsError(EBUSY);
  EXPECT_THAT(BackUp({"a", "b"}, true), HasReason(3201));
  devices_.open_answer = OkStatus();

  ASSERT_THAT(BackUp({"a", "b"}, true), IsOk());
  EXPECT_GT(writer_.extents_kept, 0);
  ExpectGoodBackup({"a", "b"});
}

TEST_F(BackupRestart, IsNotKeptWhereItWouldBeInTheWay) {
  AtWrite(30, [] { return vdi::CompletionCode::kDiskFull; });
  EXPECT_THAT(BackUp({"a", "b"}), HasReason(3202));
  EXPECT_EQ(devices_.partial_count(), 0U);
  EXPECT_EQ(UnfinishedCount(), 0U);
}

TEST_F(BackupRestart, IsNotKeptBeforeItIsWorthIt) {
  checkpoint_bytes_ = 1ULL << 30;
  Start();
  devices_.fault = [this](std::size_t, const vdi::ClientCommand& command) {
    return command.code == vdi::CommandCode::kWrite && ++writes_ > 30
               ? vdi::CompletionCode::kWriteFault
               : vdi::CompletionCode::kSuccess;
  };
  EXPECT_THAT(BackUp({"a", "b"}), HasReason(3202));
  EXPECT_EQ(devices_.partial_count(), 0U);
  EXPECT_EQ(UnfinishedCount(), 0U);
}

}  // namespace
}  // namespace capstan::engine
