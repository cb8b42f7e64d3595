// What ends a backup or a restore over devices whose media can be changed, or makes it wait: media
// that are full, missing, wrong or damaged, devices that fail, people who cancel.

#include <atomic>
#include <thread>

#include <gmock/gmock.h>

#include "tests/unit/server/engine/removable_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MemoryWriter;
using test::MessageHas;
using vdi::CommandCode;
using vdi::CompletionCode;

using TapeFailure = TapeFixture;
using RemovableFailure = RemovableFixture;
INSTANTIATE_TEST_SUITE_P(Kinds, RemovableFailure, AllRemovableKinds(), RemovableKindName);

TEST_P(RemovableFailure, EndsWhenTheZoneDoesNotHoldWhatIsInFlight) {
  writer_.files = {MemoryWriter::Pattern(30 * 61440, 1)};
  buffer_count_ = 16;
  UseCapacity(8192 + 10 * kTransfer, 100);

  const Status status = Backup({"t"});

  EXPECT_THAT(status, HasReason(3202));
  EXPECT_THAT(status, MessageHas("1129("));
}

TEST_P(RemovableFailure, EndsWhenEveryMediumIsTooSmall) {
  writer_.files = {MemoryWriter::Pattern(3 * 61440, 1)};
  UseCapacity(70'000, 66'000);

  const Status status = Backup({"t"});

  EXPECT_THAT(status, HasReason(3202));
  EXPECT_THAT(std::string(status.hint()), testing::HasSubstr("media in a row"));
}

TEST_P(RemovableFailure, EndsWhenAMediumCannotBeMounted) {
  writer_.files = {MemoryWriter::Pattern(10 * 61440, 1)};
  UseCapacity(8192 + 4 * kTransfer, 2 * kTransfer);
  devices_.options.tells_zone = true;
  devices_.offered = [](const std::string&, std::size_t) { return std::size_t{0}; };

  const Status status = Backup({"t"});

  EXPECT_THAT(status, HasReason(3202));
  EXPECT_THAT(status, MessageHas("1112("));
  devices_.Finish();
  devices_.offered = nullptr;
  ASSERT_THAT(Backup({"u"}), IsOk());
  devices_.Finish();
  devices_.offered = [](const std::string&, std::size_t) { return std::size_t{0}; };
  EXPECT_THAT(Restore({"u"}), HasReason(3203));
}

TEST_P(RemovableFailure, RefusesMediaInTheWrongOrder) {
  writer_.files = {MemoryWriter::Pattern(30 * 61440, 1)};
  UseCapacity(8192 + 4 * kTransfer, 2 * kTransfer);
  devices_.options.tells_zone = true;
  ASSERT_THAT(Backup({"t"}), IsOk());
  ASSERT_GT(devices_.cartridges("t").size(), 2U);

  devices_.Finish();
  devices_.offered = [](const std::string&, std::size_t sequence) {
    return sequence == 2 ? std::size_t{3} : sequence;
  };
  const Status status = Restore({"t"});

  EXPECT_THAT(status, HasReason(3247));
  EXPECT_THAT(status, MessageHas("(3)"));
  EXPECT_THAT(status, MessageHas("insert volume 2"));
  EXPECT_TRUE(writer_.restored.empty());
}

TEST_P(RemovableFailure, RefusesAMediumOfAnotherBackupAndAnEmptyOne) {
  writer_.files = {MemoryWriter::Pattern(10 * 61440, 1)};
  UseCapacity(8192 + 4 * kTransfer, 2 * kTransfer);
  devices_.options.tells_zone = true;
  ASSERT_THAT(Backup({"t"}), IsOk());
  ASSERT_THAT(Backup({"u"}), IsOk());
  devices_.Finish();
  const test::Cartridge kept = *devices_.cartridges("t")[1];
  *devices_.cartridges("t")[1] = *devices_.cartridges("u")[1];
  EXPECT_THAT(Restore({"t"}), HasReason(3258));

  devices_.Finish();
  *devices_.cartridges("t")[1] = {};
  EXPECT_THAT(Verify({"t"}), HasReason(3254));

  devices_.Finish();
  *devices_.cartridges("t")[1] = kept;
  std::swap(*devices_.cartridges("t")[0], *devices_.cartridges("t")[1]);
  EXPECT_THAT(Verify({"t"}), HasReason(3249));
}

TEST_P(RemovableFailure, FindsAFlippedBitOnALaterMedium) {
  writer_.files = {MemoryWriter::Pattern(10 * 61440, 1)};
  UseCapacity(8192 + 4 * kTransfer, 2 * kTransfer);
  devices_.options.tells_zone = true;
  ASSERT_THAT(Backup({"t"}), IsOk());
  devices_.Finish();
  test::Cartridge& second = *devices_.cartridges("t")[1];
  for (const std::size_t at : {std::size_t{300}, std::size_t{12'000}, second.bytes.size() / 2,
                               second.bytes.size() - 2 * 4096 + 70}) {
    second.bytes[at] ^= std::byte{1};
    EXPECT_THAT(Verify({"t"}), test::HasCode(Code::kDataLoss)) << at;
    devices_.Finish();
    second.bytes[at] ^= std::byte{1};
  }
  EXPECT_THAT(Verify({"t"}), IsOk());
}

TEST_F(TapeFailure, DoesNotOverwriteAMediumOfTheBackupThatIsBeingWritten) {
  writer_.files = {MemoryWriter::Pattern(10 * 61440, 1)};
  UseCapacity(8192 + 4 * kTransfer, 2 * kTransfer);
  devices_.options.tells_zone = true;
  devices_.offered = [](const std::string&, std::size_t) { return std::size_t{1}; };

  const Status status = Backup({"t"});

  EXPECT_THAT(status, HasReason(3263));
  EXPECT_THAT(status, MessageHas("sequence number 1 of family 1"));
  EXPECT_THAT(status, MessageHas("sequence number 2 of family 1"));
}

struct ImpatientTape : TapeFixture {
  ImpatientTape() : TapeFixture(std::chrono::milliseconds(1000)) {}
};

TEST_F(ImpatientTape, WaitsForAMediumBeyondTheDeadlineOfDevicesAndSaysSo) {
  writer_.files = {MemoryWriter::Pattern(10 * 61440, 1)};
  UseCapacity(8192 + 8 * kTransfer, 2 * kTransfer);
  devices_.options.tells_zone = true;
  std::atomic<bool> said{false};
  observer_.on_progress = [&](const JobSnapshot& snapshot) {
    said =
        said || (!snapshot.devices.empty() && snapshot.devices[0].state == "Waiting for medium 2" &&
                 snapshot.elapsed_ms > 1300);
  };
  devices_.offered = [&](const std::string&, std::size_t sequence) {
    while (!said) {
      std::this_thread::yield();
    }
    return sequence;
  };

  EXPECT_THAT(Backup({"t"}), IsOk());
}

TEST_F(TapeFailure, ACancelEndsTheWaitForAMedium) {
  writer_.files = {MemoryWriter::Pattern(10 * 61440, 1)};
  UseCapacity(8192 + 4 * kTransfer, 2 * kTransfer);
  devices_.options.tells_zone = true;
  std::atomic<bool> ended{false};
  devices_.offered = [&](const std::string&, std::size_t sequence) {
    EXPECT_TRUE(jobs_.Cancel(51));
    while (!ended) {
      std::this_thread::yield();
    }
    return sequence;
  };

  EXPECT_THAT(Backup({"t"}), HasReason(3204));

  ended = true;
  devices_.Finish();
}

TEST_F(TapeFailure, AFailureElsewhereEndsTheWaitForAMedium) {
  writer_.files = {MemoryWriter::Pattern(10 * 61440, 1), MemoryWriter::Pattern(10 * 61440, 2)};
  devices_.options.tells_zone = true;
  devices_.options.zone = 2 * kTransfer;
  devices_.capacity = [](const std::string& target, std::size_t) {
    return target == "t" ? 8192 + 4 * std::size_t{kTransfer} : std::size_t{1} << 30;
  };
  std::atomic<bool> waiting{false};
  std::atomic<bool> ended{false};
  devices_.fault = [&](std::size_t device, const vdi::ClientCommand& command) {
    if (device == 1 && command.code == CommandCode::kWrite && command.size == kTransfer) {
      while (!waiting && !ended) {
        std::this_thread::yield();
      }
      return CompletionCode::kWriteFault;
    }
    return CompletionCode::kSuccess;
  };
  devices_.offered = [&](const std::string&, std::size_t sequence) {
    waiting = true;
    while (!ended) {
      std::this_thread::yield();
    }
    return sequence;
  };

  const Status status = Backup({"t", "u"});

  EXPECT_THAT(status, HasReason(3202));
  EXPECT_THAT(status, MessageHas("Write on \"u\" failed: 29("));
  ended = true;
  devices_.Finish();
}

TEST_F(TapeFailure, AWriteErrorNamesTheDevice) {
  writer_.files = {MemoryWriter::Pattern(10 * 61440, 1)};
  for (const CommandCode code :
       {CommandCode::kWrite, CommandCode::kWriteMark, CommandCode::kRewind, CommandCode::kFlush}) {
    std::atomic<int> seen{0};
    devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
      return command.code == code && ++seen >= (code == CommandCode::kWrite ? 5 : 1)
                 ? CompletionCode::kWriteFault
                 : CompletionCode::kSuccess;
    };

    const Status status = Backup({"t"});

    EXPECT_THAT(status, HasReason(3202)) << vdi::CommandName(code);
    EXPECT_THAT(status, MessageHas("Write on \"t\" failed: 29(")) << vdi::CommandName(code);
    devices_.fault = nullptr;
  }
}

TEST_F(TapeFailure, AClearErrorThatFailsEndsTheJob) {
  writer_.files = {MemoryWriter::Pattern(10 * 61440, 1)};
  UseCapacity(8192 + 4 * kTransfer, 2 * kTransfer);
  devices_.options.tells_zone = true;
  devices_.fault = [](std::size_t, const vdi::ClientCommand& command) {
    return command.code == CommandCode::kClearError ? CompletionCode::kWriteFault
                                                    : CompletionCode::kSuccess;
  };

  EXPECT_THAT(Backup({"t"}), HasReason(3202));
}

TEST_F(TapeFailure, ADatabaseErrorLeavesNothingInFlight) {
  writer_.files = {MemoryWriter::Pattern(30 * 61440, 1)};
  UseCapacity(8192 + 4 * kTransfer, 2 * kTransfer);
  devices_.options.tells_zone = true;
  writer_.fail_read = 12;

  EXPECT_THAT(Backup({"t"}), HasReason(65005));
}

}  // namespace
}  // namespace capstan::engine
