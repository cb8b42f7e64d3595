// Commands through the built library: what the program sees, what the engine hears.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/vdi/sqlvdi/classic_pair.h"

namespace capstan::sqlvdi {
namespace {

using test::AwaitedCommand;
using test::Must;
using vdi::CommandCode;
using vdi::CompletionCode;

int Complete(ClassicPair& pair, VDC_Command* command, int code, unsigned long bytes = 0,
             std::int64_t position = 0) {
  return pair.device().CompleteCommand(command, code, bytes, position);
}

// A flush there and back; what the program saw of it.
VDC_Command* Flush(ClassicPair& pair) {
  AwaitedCommand flush(CommandCode::kFlush);
  Must(pair.engine_device().SendCommand(flush.get()));
  VDC_Command* const command = pair.Next();
  MustBeOk(Complete(pair, command, ERROR_SUCCESS), "CompleteCommand");
  flush.Await();
  return command;
}

TEST(ClassicDevice, AWriteBringsTheEnginesBytes) {
  ClassicPair pair;
  pair.ToActive();
  std::byte* const buffer = pair.Buffer();
  std::memset(buffer, 0x5A, 4096);
  AwaitedCommand write(CommandCode::kWrite, buffer, 4096);
  Must(pair.engine_device().SendCommand(write.get()));

  VDC_Command* const command = pair.Next();

  EXPECT_EQ(command->commandCode, VDC_Write);
  ASSERT_EQ(command->size, 4096);
  EXPECT_TRUE(std::all_of(command->buffer, command->buffer + 4096,
                          [](std::uint8_t byte) { return byte == 0x5A; }));
  EXPECT_EQ(Said(Complete(pair, command, ERROR_SUCCESS, 4096)), "NOERROR");
  EXPECT_EQ(write.Await().completion_code, CompletionCode::kSuccess);
  EXPECT_EQ(write.Await().bytes_transferred, 4096U);
}

TEST(ClassicDevice, AShortReadAtTheEndBringsWhatThereIs) {
  ClassicPair pair;
  pair.ToActive();
  std::byte* const buffer = pair.Buffer();
  AwaitedCommand read(CommandCode::kRead, buffer, 4096);
  Must(pair.engine_device().SendCommand(read.get()));
  VDC_Command* const command = pair.Next();

  std::memcpy(command->buffer, "the end", 7);
  EXPECT_EQ(Said(Complete(pair, command, ERROR_HANDLE_EOF, 7)), "NOERROR");

  EXPECT_EQ(read.Await().completion_code, CompletionCode::kHandleEof);
  EXPECT_EQ(read.Await().bytes_transferred, 7U);
  EXPECT_EQ(std::memcmp(buffer, "the end", 7), 0);
}

TEST(ClassicDevice, PositionsGoBothWays) {
  VDConfig wishes = ClassicPair::OneDevice();
  wishes.features = VDF_LikeDisk;
  ClassicPair pair(wishes);
  pair.ToActive();
  AwaitedCommand seek(CommandCode::kSetPosition, nullptr, VDC_End);
  seek.get()->position = -512;
  Must(pair.engine_device().SendCommand(seek.get()));
  VDC_Command* const command = pair.Next();

  EXPECT_EQ(command->size, VDC_End);
  EXPECT_EQ(command->position, -512);
  EXPECT_EQ(Said(Complete(pair, command, ERROR_SUCCESS, 0, 1LL << 40)), "NOERROR");

  EXPECT_EQ(seek.Await().out_position, 1LL << 40);
}

// Programs look at a command after they have completed it.
TEST(ClassicDevice, ACommandStaysAsItWasForAtLeast256More) {
  ClassicPair pair;
  pair.ToActive();
  std::byte* const buffer = pair.Buffer();
  VDC_Command* const command = Flush(pair);

  for (int i = 0; i < 256; ++i) {
    AwaitedCommand write(CommandCode::kWrite, buffer, 512);
    Must(pair.engine_device().SendCommand(write.get()));
    VDC_Command* const other = pair.Next();
    ASSERT_NE(other, command);
    MustBeOk(Complete(pair, other, ERROR_SUCCESS, 512), "CompleteCommand");
    write.Await();
  }

  EXPECT_EQ(command->commandCode, VDC_Flush);
}

TEST(ClassicDevice, SeveralCommandsMayBeOutstandingAndEndInAnyOrder) {
  ClassicPair pair;
  pair.ToActive();
  std::deque<AwaitedCommand> writes;
  std::vector<VDC_Command*> commands;
  for (int i = 0; i < 4; ++i) {
    writes.emplace_back(CommandCode::kWrite, pair.Buffer(), 512);
    Must(pair.engine_device().SendCommand(writes.back().get()));
  }
  for (int i = 0; i < 4; ++i) {
    commands.push_back(pair.Next());
  }

  for (const std::size_t i : {2U, 0U, 3U, 1U}) {
    EXPECT_FALSE(writes[i].ended());
    EXPECT_EQ(Said(Complete(pair, commands[i], ERROR_SUCCESS, 512)), "NOERROR");
    EXPECT_EQ(writes[i].Await().bytes_transferred, 512U);
  }
}

TEST(ClassicDevice, OnlyOutstandingCommandsCanBeCompleted) {
  ClassicPair pair;
  pair.ToActive();
  VDC_Command* const completed = Flush(pair);
  VDC_Command foreign = *completed;

  EXPECT_EQ(Said(Complete(pair, completed, ERROR_SUCCESS)), "VD_E_INVALID") << "twice";
  EXPECT_EQ(Said(Complete(pair, &foreign, ERROR_SUCCESS)), "VD_E_INVALID") << "a copy";
  auto* const inside = reinterpret_cast<VDC_Command*>(reinterpret_cast<char*>(completed) + 8);
  EXPECT_EQ(Said(Complete(pair, inside, ERROR_SUCCESS)), "VD_E_INVALID") << "not its beginning";
}

TEST(ClassicDevice, MoreBytesThanAskedForAreRefusedAndTheCommandStays) {
  ClassicPair pair;
  pair.ToActive();
  AwaitedCommand write(CommandCode::kWrite, pair.Buffer(), 512);
  Must(pair.engine_device().SendCommand(write.get()));
  VDC_Command* const command = pair.Next();

  EXPECT_EQ(Said(Complete(pair, command, ERROR_SUCCESS, 513)), "VD_E_INVALID");
  EXPECT_EQ(Said(Complete(pair, command, ERROR_SUCCESS, 512UL + (1UL << 32))), "VD_E_INVALID");
  EXPECT_FALSE(write.ended());
  EXPECT_EQ(Said(Complete(pair, command, ERROR_SUCCESS, 512)), "NOERROR");
  EXPECT_EQ(write.Await().bytes_transferred, 512U);
}

// Programs have completed with HRESULTs: the command must end, and with an error.
TEST(ClassicDevice, OddCompletionCodesAreFailures) {
  ClassicPair pair;
  pair.ToActive();
  AwaitedCommand flush(CommandCode::kFlush);
  Must(pair.engine_device().SendCommand(flush.get()));

  EXPECT_EQ(Said(Complete(pair, pair.Next(), VD_E_ABORT)), "NOERROR");

  EXPECT_EQ(flush.Await().completion_code, CompletionCode::kOperationAborted);
}

TEST(ClassicDevice, BytesOfACommandWithoutDataAreIgnored) {
  ClassicPair pair;
  pair.ToActive();
  AwaitedCommand flush(CommandCode::kFlush);
  Must(pair.engine_device().SendCommand(flush.get()));

  EXPECT_EQ(Said(Complete(pair, pair.Next(), ERROR_SUCCESS, 1UL << 40, 77)), "NOERROR");

  EXPECT_EQ(flush.Await().bytes_transferred, 0U);
}

TEST(ClassicDevice, ThePrefixZoneIsThePrograms) {
  VDConfig wishes = ClassicPair::OneDevice();
  wishes.prefixZoneSize = 100;
  wishes.alignment = 8192;
  wishes.features = VDF_Removable | VDF_RequestComplete;
  ClassicPair pair(wishes);
  pair.ToActive();
  EXPECT_EQ(pair.config().prefixZoneSize, 100U);
  EXPECT_EQ(pair.config().alignment, 8192U);
  EXPECT_EQ(pair.config().features, VDF_Removable | VDF_RequestComplete | VDF_WriteMedia);
  EXPECT_EQ(pair.config().maxIODepth, 4U);
  EXPECT_EQ(pair.config().maxTransferSize, ClassicPair::kBufferSize);
  for (int i = 0; i < 3; ++i) {
    std::byte* const buffer = pair.Buffer();
    std::memset(buffer, 0x11, ClassicPair::kBufferSize);
    AwaitedCommand write(CommandCode::kWrite, buffer, 512);
    Must(pair.engine_device().SendCommand(write.get()));

    VDC_Command* const command = pair.Next();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(command->buffer) % 8192, 0U);
    std::memset(command->buffer - 100, 0x22, 100);
    MustBeOk(Complete(pair, command, ERROR_SUCCESS, 512), "CompleteCommand");

    write.Await();
    EXPECT_EQ(buffer[0], std::byte{0x11}) << "the zone lies before the data";
  }
}

TEST(ClassicDevice, ABufferHandleLeadsBackToTheBuffer) {
  ClassicPair pair;
  pair.ToActive();
  AwaitedCommand write(CommandCode::kWrite, pair.Buffer(), 512);
  Must(pair.engine_device().SendCommand(write.get()));
  VDC_Command* const command = pair.Next();
  unsigned int handle = 0;
  std::uint8_t* mapped = nullptr;

  EXPECT_EQ(Said(pair.set().GetBufferHandle(command->buffer, &handle)), "NOERROR");
  EXPECT_EQ(Said(pair.set().MapBufferHandle(static_cast<int>(handle), &mapped)), "NOERROR");

  EXPECT_EQ(mapped, command->buffer);
  MustBeOk(Complete(pair, command, ERROR_SUCCESS, 512), "CompleteCommand");
  write.Await();
}

// Devices at work in threads of their own while another one closes the set. What it cannot show: an
// order that this machine does not have; ThreadSanitizer runs it, too.
TEST(ClassicDevice, CloseBesideBusyDevicesEndsThemAll) {
  VDConfig wishes = ClassicPair::OneDevice();
  wishes.deviceCount = 4;
  ClassicPair pair(wishes);
  pair.name(3);
  pair.ToActive();
  std::atomic<int> polls{0};
  std::vector<int> last(wishes.deviceCount, NOERROR);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < last.size(); ++i) {
      threads.emplace_back([&, i] {
        VDC_Command* command = nullptr;
        do {
          last[i] = pair.device(i).GetCommand(0, &command);
          polls.fetch_add(1);
        } while (last[i] == VD_E_TIMEOUT);
      });
    }
    while (polls.load() < 1000) {
      std::this_thread::yield();
    }
    EXPECT_EQ(Said(pair.set().Close()), "VD_E_OPEN");
  }

  for (const int end : last) {
    EXPECT_TRUE(end == VD_E_ABORT || end == VD_E_PROTOCOL) << Said(end);
  }
}

TEST(ClassicDevice, APollDoesNotWait) {
  ClassicPair pair;
  pair.ToActive();
  VDC_Command* command = nullptr;

  EXPECT_EQ(Said(pair.device().GetCommand(0, &command)), "VD_E_TIMEOUT");
  EXPECT_EQ(Said(pair.device().GetCommand(0, &command)), "VD_E_TIMEOUT") << "again";
}

TEST(ClassicDevice, TheEnvironmentChoosesTheUnitOfTimeouts) {
  const ScopedEnvironment unit("CAPSTAN_VDI_TIMEOUT_UNIT", "ms");
  ClassicPair pair;
  pair.Create();
  VDConfig config{};
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Said(pair.set().GetConfiguration(60, &config)), "VD_E_TIMEOUT");
  pair.Configure();
  pair.OpenAll();
  VDC_Command* command = nullptr;
  EXPECT_EQ(Said(pair.device().GetCommand(60, &command)), "VD_E_TIMEOUT");

  const auto took = std::chrono::steady_clock::now() - begin;

  EXPECT_GE(took, std::chrono::milliseconds(120));
  EXPECT_LT(took, std::chrono::seconds(60)) << "it took the number for seconds";
}

}  // namespace
}  // namespace capstan::sqlvdi
