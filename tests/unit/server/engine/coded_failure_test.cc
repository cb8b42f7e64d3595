// What can go wrong while a coded backup runs, when any number of threads have an extent in hand:
// each ends in the error that a plain one would have, waits for nobody, leaves nothing.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include <gmock/gmock.h>

#include "tests/unit/server/engine/coded_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MessageHas;
using vdi::CommandCode;
using vdi::CompletionCode;

// Behind the preamble, whichever of two devices gets the more: all codings store more than twice
// that.
constexpr std::int64_t kAmongFrames = 100'000;

bool IsFrame(const vdi::ClientCommand& command) {
  return command.code == CommandCode::kWrite && command.position > kAmongFrames;
}

class CodedFailure : public CodedFixture {
 protected:
  void SetUp() override {
    CodedFixture::SetUp();
    writer_.files = {Rows(2'000'000, 1), Rows(500'000, 2)};
    ASSERT_THAT(Backup({"a", "b"}), IsOk());
    old_a_ = *devices_.medium("a");
    old_b_ = *devices_.medium("b");
  }
  void ExpectOldMediaKept() {
    EXPECT_EQ(*devices_.medium("a"), old_a_);
    EXPECT_EQ(*devices_.medium("b"), old_b_);
    EXPECT_EQ(devices_.partial_count(), 0U);
    EXPECT_EQ(UnfinishedCount(), 0U);
  }

  test::MemoryDevices::Bytes old_a_;
  test::MemoryDevices::Bytes old_b_;
};

TEST_F(CodedFailure, AReadErrorOfOneWorkerEndsThemAll) {
  for (const CodingSample& coding : AllCodings()) {
    for (const int read : {1, 5, 38}) {
      SCOPED_TRACE(coding.name + ", read " + std::to_string(read));
      writer_.fail_read = read;

      EXPECT_THAT(BackUp({"a", "b"}, coding), HasReason(65005));

      EXPECT_EQ(writer_.fail_read, 0) << "the fault was met";
      ExpectOldMediaKept();
    }
  }
  ExpectNothingHarmed();
}

TEST_F(CodedFailure, ADeviceThatFailsAmongFramesIsNamed) {
  for (const CodingSample& coding : AllCodings()) {
    SCOPED_TRACE(coding.name);
    devices_.fault = [](std::size_t, const vdi::ClientCommand& command) {
      return IsFrame(command) ? CompletionCode::kDiskFull : CompletionCode::kSuccess;
    };

    const Status status = BackUp({"a", "b"}, coding);

    EXPECT_THAT(status, HasReason(3202));
    EXPECT_THAT(status, MessageHas("112("));
    ExpectOldMediaKept();
  }
  ExpectNothingHarmed();
}

// The others wait for buffers by then, as the one that stands still has them.
TEST_F(CodedFailure, ADeviceThatStallsAmongFramesEndsTheBackupByItsDeadline) {
  device_timeout_ = std::chrono::milliseconds(1500);
  Start();
  const CodingSample coding = AllCodings().front();
  std::atomic<bool> stalled{true};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    while (stalled && IsFrame(command)) {
      std::this_thread::yield();
    }
    return CompletionCode::kSuccess;
  };
  const auto begin = std::chrono::steady_clock::now();

  EXPECT_THAT(BackUp({"a", "b"}, coding), HasReason(3271));

  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
  stalled = false;
  ExpectOldMediaKept();
  ExpectNothingHarmed();
}

TEST_F(CodedFailure, TheDeathOfTheClientAmongFramesEndsTheBackup) {
  for (const CodingSample& coding : AllCodings()) {
    SCOPED_TRACE(coding.name);
    devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
      if (IsFrame(command)) {
        devices_.AbortLastClient();
      }
      return CompletionCode::kSuccess;
    };

    const Status status = BackUp({"a", "b"}, coding);

    EXPECT_THAT(status, HasReason(3202));
    EXPECT_THAT(status, MessageHas("995("));
    ExpectOldMediaKept();
  }
  ExpectNothingHarmed();
}

// Nobody waits for a buffer or a device: every worker has read its extent when the set is aborted,
// codes it, and only then finds out.
TEST_F(CodedFailure, ACancelReachesWorkersThatAreAllCoding) {
  const unsigned workers = std::max(1U, std::thread::hardware_concurrency());
  writer_.files = {Rows(workers * 300'000, 3)};
  for (const CodingSample& coding : AllCodings()) {
    SCOPED_TRACE(coding.name);
    std::atomic<unsigned> reads{0};
    std::atomic<bool> cancelled{false};
    writer_.on_read = [&] {
      if (++reads == workers) {
        EXPECT_TRUE(jobs_.Cancel(51));
        // Not for luck: the monitor looks every 50 ms, and has aborted the set by then.
        std::this_thread::sleep_for(std::chrono::milliseconds(150));
        cancelled = true;
      }
      while (!cancelled) {
        std::this_thread::yield();
      }
    };

    EXPECT_THAT(BackUp({"a", "b"}, coding), HasReason(3204));

    EXPECT_EQ(reads, workers) << "nobody began another extent";
    writer_.on_read = nullptr;
    ExpectOldMediaKept();
  }
  ExpectNothingHarmed();
}

TEST_F(CodedFailure, AMirrorThatFailsAmongFramesFailsThemAll) {
  for (const CodingSample& coding : AllCodings()) {
    SCOPED_TRACE(coding.name);
    BackupRequest request = Request({"a"}, coding);
    request.mirrors = {{"b"}};
    devices_.fault = [](std::size_t device, const vdi::ClientCommand& command) {
      return device == 1 && IsFrame(command) ? CompletionCode::kWriteFault
                                             : CompletionCode::kSuccess;
    };

    const Status status = engine_->Backup(request, observer_);

    EXPECT_THAT(status, HasReason(3202));
    EXPECT_THAT(status, MessageHas("\"b\""));
    ExpectOldMediaKept();

    devices_.fault = nullptr;
    EXPECT_THAT(engine_->Backup(request, observer_), IsOk());
    EXPECT_EQ(*devices_.medium("a"), *devices_.medium("b"));
    devices_.Put("a", old_a_);
    devices_.Put("b", old_b_);
  }
  ExpectNothingHarmed();
}

}  // namespace
}  // namespace capstan::engine
