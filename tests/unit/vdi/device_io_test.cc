// Commands and completions through both ends of one device.
#include "tests/unit/vdi/device_io.h"

#include <cstring>

#include <gtest/gtest.h>

#include "tests/support/device_client.h"
#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "vdi/segment_layout.h"
#include "vdi/wake.h"

namespace capstan::vdi {
namespace {

using test::AwaitedCommand;
using test::DeviceSetPair;
using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::Must;
using test::Patience;

// S1-05: the buffer is the client's until the completion, and the same bytes on both sides.
TEST_F(DeviceIo, AWriteHandsTheBufferOverAndBack) {
  std::byte* const buffer = Buffer();
  std::memset(buffer, 0x5a, 4096);
  AwaitedCommand write(CommandCode::kWrite, buffer, 4096);
  write.get()->position = 1LL << 40;
  Must(engine().SendCommand(write.get()));

  const ClientCommand command = Get();
  EXPECT_EQ(command.code, CommandCode::kWrite);
  EXPECT_EQ(command.size, 4096U);
  EXPECT_EQ(command.position, 1LL << 40);
  EXPECT_EQ(command.buffer[4095], std::byte{0x5a});
  std::memset(command.buffer - 64, 1, 64);  // the prefix zone is the client's own
  EXPECT_FALSE(write.ended());
  EXPECT_EQ(engine().in_flight(), 1U);
  Complete(command, CompletionCode::kSuccess, 4096);

  const ServerCommand& ended = write.Await();
  EXPECT_EQ(ended.completion_code, CompletionCode::kSuccess);
  EXPECT_EQ(ended.bytes_transferred, 4096U);
  EXPECT_GE(ended.completed_ns, ended.sent_ns);
  EXPECT_EQ(engine().in_flight(), 0U);
  EXPECT_THAT(pair_.engine().FreeBuffer(buffer), IsOk());
}

TEST_F(DeviceIo, AReadFillsTheEnginesBuffer) {
  std::byte* const buffer = Buffer();
  AwaitedCommand read(CommandCode::kRead, buffer, 1024);
  Must(engine().SendCommand(read.get()));

  const ClientCommand command = Get();
  std::memset(command.buffer, 0x77, 1024);
  Complete(command, CompletionCode::kSuccess, 1024);

  EXPECT_EQ(read.Await().bytes_transferred, 1024U);
  EXPECT_EQ(buffer[1023], std::byte{0x77});
}

TEST_F(DeviceIo, CommandsArriveInOrderAndMayEndInAnother) {
  AwaitedCommand first(CommandCode::kWrite, Buffer(), 512);
  AwaitedCommand second(CommandCode::kWrite, Buffer(), 1024);
  Must(engine().SendCommand(first.get()));
  Must(engine().SendCommand(second.get()));

  const ClientCommand one = Get();
  const ClientCommand two = Get();
  EXPECT_EQ(one.size, 512U);
  EXPECT_EQ(two.size, 1024U);
  Complete(two, CompletionCode::kSuccess, 1024);
  second.Await();
  EXPECT_FALSE(first.ended());
  Complete(one, CompletionCode::kSuccess, 512);

  first.Await();
}

TEST_F(DeviceIo, PositionsTravelBothWays) {
  AwaitedCommand set_position(CommandCode::kSetPosition, nullptr,
                              static_cast<std::uint32_t>(Whence::kEnd));
  set_position.get()->position = -10;
  Must(engine().SendCommand(set_position.get()));

  const ClientCommand command = Get();
  EXPECT_EQ(command.position, -10);
  EXPECT_EQ(command.size, 2U);
  EXPECT_EQ(command.buffer, nullptr);
  Complete(command, CompletionCode::kSuccess, /*bytes=*/99, 123456789012);

  EXPECT_EQ(set_position.Await().out_position, 123456789012);
  EXPECT_EQ(set_position.Await().bytes_transferred, 0U) << "only Read and Write transfer";
}

TEST_F(DeviceIo, AShortReadAtTheEndOfDataKeepsItsBytes) {
  AwaitedCommand read(CommandCode::kRead, Buffer(), 4096);
  Must(engine().SendCommand(read.get()));
  Complete(Get(), CompletionCode::kHandleEof, 100);

  EXPECT_EQ(read.Await().completion_code, CompletionCode::kHandleEof);
  EXPECT_EQ(read.Await().bytes_transferred, 100U);
}

TEST_F(DeviceIo, SendRefusesWhatIsNotATransferOfThisSet) {
  const auto code_of = [&](std::byte* buffer, std::uint32_t size) {
    AwaitedCommand write(CommandCode::kWrite, buffer, size);
    return engine().SendCommand(write.get()).code();
  };
  std::byte* const buffer = Buffer();
  std::byte foreign{};

  EXPECT_EQ(code_of(nullptr, 512), Code::kInvalidArgument);
  EXPECT_EQ(code_of(&foreign, 512), Code::kInvalidArgument);
  EXPECT_EQ(code_of(buffer + 1, 512), Code::kInvalidArgument);
  EXPECT_EQ(code_of(buffer, 0), Code::kInvalidArgument);
  EXPECT_EQ(code_of(buffer, 513), Code::kInvalidArgument);
  EXPECT_EQ(code_of(buffer, 65536 + 512), Code::kInvalidArgument);
}

TEST_F(DeviceIo, AQueueThatIsFullSaysSo) {
  std::byte* const buffer = Buffer();
  std::vector<std::unique_ptr<AwaitedCommand>> commands;
  for (std::uint32_t i = 0; i < kRingCapacity; ++i) {
    commands.push_back(std::make_unique<AwaitedCommand>(CommandCode::kWrite, buffer, 512));
    ASSERT_THAT(engine().SendCommand(commands.back()->get()), IsOk());
  }
  AwaitedCommand extra(CommandCode::kWrite, buffer, 512);
  ASSERT_THAT(engine().SendCommand(extra.get()), HasCode(Code::kResourceExhausted));

  // The last one ends first: the queue goes on although the first is still there.
  std::vector<ClientCommand> taken;
  for (std::uint32_t i = 0; i < kRingCapacity; ++i) {
    taken.push_back(Get());
  }
  Complete(taken.back(), CompletionCode::kSuccess, 512);
  commands.back()->Await();

  EXPECT_THAT(engine().SendCommand(extra.get()), IsOk());
  pair_.engine().SignalAbort(Error(Code::kCancelled, "enough"));
  for (auto& command : commands) {
    command->Await();
  }
  extra.Await();
}

TEST_F(DeviceIo, WhatMustStandAloneIsRefusedBesideOthers) {
  AwaitedCommand write(CommandCode::kWrite, Buffer(), 512);
  Must(engine().SendCommand(write.get()));
  for (const CommandCode code : {CommandCode::kFlush, CommandCode::kComplete,
                                 CommandCode::kSetPosition, CommandCode::kClearError}) {
    AwaitedCommand alone(code);
    EXPECT_THAT(engine().SendCommand(alone.get()), HasCode(Code::kFailedPrecondition));
  }

  Complete(Get(), CompletionCode::kSuccess, 512);
  write.Await();

  AwaitedCommand flush(CommandCode::kFlush);
  EXPECT_THAT(engine().SendCommand(flush.get()), IsOk());
  Complete(Get());
  flush.Await();
}

// The routine may send what must stand alone, for its own command has landed.
TEST_F(DeviceIo, ACallbackMaySendTheNextCommand) {
  struct Chain {
    ServerDevice* device;
    AwaitedCommand flush{CommandCode::kFlush};
    Status sent;
  } chain{.device = &engine(), .flush = AwaitedCommand(CommandCode::kFlush), .sent = OkStatus()};
  ServerCommand write{.code = CommandCode::kWrite,
                      .size = 512,
                      .buffer = Buffer(),
                      .completion_routine =
                          [](ServerCommand* command) {
                            auto* self = static_cast<Chain*>(command->completion_context);
                            self->sent = self->device->SendCommand(self->flush.get());
                          },
                      .completion_context = &chain};
  Must(engine().SendCommand(&write));

  Complete(Get(), CompletionCode::kSuccess, 512);
  Complete(Get());

  EXPECT_EQ(chain.flush.Await().completion_code, CompletionCode::kSuccess);
  EXPECT_THAT(chain.sent, IsOk());
}

// A backup with file streams flushes several times, and writes go on behind each.
TEST_F(DeviceIo, FlushMayComeMoreThanOnceAndCompleteEndsTheDevice) {
  std::byte* const buffer = Buffer();
  const auto run = [&](CommandCode code) {
    AwaitedCommand command(code, code == CommandCode::kWrite ? buffer : nullptr,
                           code == CommandCode::kWrite ? 512 : 0);
    Must(engine().SendCommand(command.get()));
    const ClientCommand order = Get();
    EXPECT_EQ(order.code, code);
    Complete(order, CompletionCode::kSuccess, order.size);
    return command.Await().completion_code;
  };
  for (const CommandCode code :
       {CommandCode::kWrite, CommandCode::kFlush, CommandCode::kFlush, CommandCode::kWrite,
        CommandCode::kFlush, CommandCode::kComplete}) {
    EXPECT_EQ(run(code), CompletionCode::kSuccess) << CommandName(code);
  }
  EXPECT_THAT(engine().CloseDevice(), IsOk());
}

TEST_F(DeviceIo, ACompleteThatFailsIsReported) {
  AwaitedCommand complete(CommandCode::kComplete);
  Must(engine().SendCommand(complete.get()));
  Complete(Get(), CompletionCode::kHandleDiskFull);

  EXPECT_EQ(complete.Await().completion_code, CompletionCode::kHandleDiskFull);
}

TEST_F(DeviceIo, WhatTheClientDoesNotExecuteIsNotSent) {
  for (const CommandCode code :
       {CommandCode::kRewind, CommandCode::kWriteMark, CommandCode::kLoad, CommandCode::kSkipMarks,
        CommandCode::kPrepareToFreeze, CommandCode::kFileInfoBegin, CommandCode::kDiscard,
        CommandCode::kGetError, static_cast<CommandCode>(33)}) {
    AwaitedCommand command(code);
    const Status sent = engine().SendCommand(command.get());
    EXPECT_THAT(sent, HasCode(Code::kUnimplemented)) << CommandName(code);
    EXPECT_THAT(sent, MessageHas(CommandName(code)));
  }
  EXPECT_EQ(engine().in_flight(), 0U);
}

TEST(TapeIo, SkipsCarryASignedCount) {
  DeviceSetPair pair({.features = feature::kLikeTape});
  pair.Configure();
  pair.OpenAll();
  AwaitedCommand skip(CommandCode::kSkipBlocks, nullptr, static_cast<std::uint32_t>(-3));
  Must(pair.engine_device().SendCommand(skip.get()));

  const auto order = Must(pair.client_device().GetCommand(Patience()));
  EXPECT_EQ(static_cast<std::int32_t>(order->size), -3);
  Must(pair.client_device().CompleteCommand(order->id, CompletionCode::kBeginningOfMedia, 0, 0));
  EXPECT_EQ(skip.Await().completion_code, CompletionCode::kBeginningOfMedia);
}

TEST_F(DeviceIo, CompleteCommandRefusesWhatIsNotOutstanding) {
  AwaitedCommand write(CommandCode::kWrite, Buffer(), 512);
  Must(engine().SendCommand(write.get()));
  const ClientCommand command = Get();

  EXPECT_THAT(client().CompleteCommand(command.id, CompletionCode::kSuccess, 513, 0),
              HasCode(Code::kInvalidArgument));
  EXPECT_THAT(client().CompleteCommand(command.id + 1, CompletionCode::kSuccess, 0, 0),
              HasCode(Code::kInvalidArgument));
  EXPECT_THAT(client().CompleteCommand(command.id + kRingCapacity, CompletionCode::kSuccess, 0, 0),
              HasCode(Code::kInvalidArgument));
  EXPECT_THAT(client().CompleteCommand(0, CompletionCode::kSuccess, 0, 0),
              HasCode(Code::kInvalidArgument));
  Complete(command, CompletionCode::kSuccess, 512);
  EXPECT_THAT(client().CompleteCommand(command.id, CompletionCode::kSuccess, 512, 0),
              HasCode(Code::kInvalidArgument));
  write.Await();
}

TEST_F(DeviceIo, GetCommandTimesOut) {
  EXPECT_THAT(client().GetCommand(Deadline::Now()), HasCode(Code::kDeadlineExceeded));
  EXPECT_THAT(client().GetCommand(Deadline::After(std::chrono::milliseconds(5))),
              HasCode(Code::kDeadlineExceeded));
}

TEST_F(DeviceIo, AnAbortCallsEverythingBackInOrderOfSending) {
  std::vector<std::uint32_t> order;
  std::vector<ServerCommand> commands(5);
  std::byte* const buffer = Buffer();
  for (std::uint32_t i = 0; i < commands.size(); ++i) {
    commands[i] = {.code = CommandCode::kWrite,
                   .size = (i + 1) * 512,
                   .buffer = buffer,
                   .completion_routine =
                       [](ServerCommand* command) {
                         static_cast<std::vector<std::uint32_t>*>(command->completion_context)
                             ->push_back(command->size / 512);
                       },
                   .completion_context = &order};
    Must(engine().SendCommand(&commands[i]));
  }

  pair_.engine().SignalAbort(Error(Code::kCancelled, "stop"));
  ASSERT_THAT(pair_.engine().Close(), IsOk());  // the abort has ended its devices already

  EXPECT_EQ(order, (std::vector<std::uint32_t>{1, 2, 3, 4, 5}));
  for (const ServerCommand& command : commands) {
    EXPECT_EQ(command.completion_code, CompletionCode::kOperationAborted);
  }
}

TEST(ServerTimeout, ASilentClientIsAbortedAfterTwoIntervals) {
  DeviceSetPair pair({.server_timeout_ms = 50});
  pair.Configure();
  pair.OpenAll();
  AwaitedCommand flush(CommandCode::kFlush);
  const auto begin = Deadline::Clock::now();
  Must(pair.engine_device().SendCommand(flush.get()));

  EXPECT_EQ(flush.Await().completion_code, CompletionCode::kOperationAborted);

  EXPECT_GE(Deadline::Clock::now() - begin, std::chrono::milliseconds(100));
  EXPECT_THAT(pair.engine().abort_reason(), HasCode(Code::kDeadlineExceeded));
  // The command may still be delivered before the client has heard of the end.
  Status last;
  while (last.ok()) {
    last = pair.client_device().GetCommand(Patience()).status();
  }
  EXPECT_THAT(last, HasCode(Code::kAborted));
}

// What this cannot show is that the time-out never strikes early on a loaded machine.
TEST(ServerTimeout, AnIdleSetIsNotAborted) {
  DeviceSetPair pair({.server_timeout_ms = 10});
  pair.Configure();
  pair.OpenAll();

  EXPECT_THAT(pair.client_device().GetCommand(Deadline::After(std::chrono::milliseconds(100))),
              HasCode(Code::kDeadlineExceeded));

  EXPECT_THAT(pair.engine().abort_reason(), IsOk());
}

// Both ends on one thread: nobody ever sleeps on the device, so nobody may be woken.
TEST(Wakes, ABusyDeviceMakesNoSystemCall) {
  DeviceSetPair pair;
  pair.Configure();
  pair.OpenAll();
  // Keeps the completion thread from sleeping: it never runs dry while its routine runs.
  struct Gate {
    std::promise<void> entered;
    std::promise<void> open;
  } gate;
  ServerCommand holder{.code = CommandCode::kFlush,
                       .completion_routine =
                           [](ServerCommand* command) {
                             auto* self = static_cast<Gate*>(command->completion_context);
                             self->entered.set_value();
                             self->open.get_future().wait();
                           },
                       .completion_context = &gate};
  Must(pair.engine_device().SendCommand(&holder));
  const auto held = Must(pair.client_device().GetCommand(Patience()));
  Must(pair.client_device().CompleteCommand(held->id, CompletionCode::kSuccess, 0, 0));
  gate.entered.get_future().wait();
  std::byte* const buffer = Must(pair.engine().AllocateBuffer(65536, 0));
  std::vector<std::unique_ptr<AwaitedCommand>> commands;
  const std::uint64_t before = FutexCallCount();

  for (std::uint32_t i = 0; i < kRingCapacity; ++i) {
    commands.push_back(std::make_unique<AwaitedCommand>(CommandCode::kWrite, buffer, 512));
    Must(pair.engine_device().SendCommand(commands.back()->get()));
    const auto command = Must(pair.client_device().GetCommand(Patience()));
    Must(pair.client_device().CompleteCommand(command->id, CompletionCode::kSuccess, 512, 0));
  }

  EXPECT_EQ(FutexCallCount(), before);
  gate.open.set_value();
  for (auto& command : commands) {
    command->Await();
  }
}

TEST(DeviceClientHelper, WritesToMemoryAndReadsBack) {
  test::TemporaryDirectory folder;
  const auto rendezvous = Must(Rendezvous::Listen({.path = folder.Under("s")}));
  test::MemoryMedia media(2);
  test::DeviceClient client(folder.Under("s"), "set", {.device_count = 2}, media.handlers());
  ASSERT_THAT(client.created(), IsOk());
  const auto engine = Must(rendezvous->Open("set", Patience()));
  Must(engine->BeginConfiguration({.added_features = feature::kWriteMedia}));
  Must(engine->RequestBuffers(65536, 0, 1));
  Must(engine->EndConfiguration(client.device_names()));
  std::byte* const buffer = Must(engine->AllocateBuffer(65536, 0));
  std::vector<ServerDevice*> devices;
  for (const std::string& name : client.device_names()) {
    devices.push_back(Must(engine->OpenDevice(name, Patience())));
  }
  const auto run = [&](std::size_t device, CommandCode code, std::uint32_t size) {
    AwaitedCommand command(code, size > 0 ? buffer : nullptr, size);
    Must(devices[device]->SendCommand(command.get()));
    return command.Await();
  };

  media.set_capacity(8192);
  std::memset(buffer, 0x11, 8192);
  EXPECT_EQ(run(1, CommandCode::kWrite, 8192).completion_code, CompletionCode::kSuccess);
  EXPECT_EQ(run(1, CommandCode::kFlush, 0).completion_code, CompletionCode::kSuccess);
  EXPECT_EQ(run(1, CommandCode::kWrite, 4096).completion_code, CompletionCode::kDiskFull);
  EXPECT_EQ(run(1, CommandCode::kClearError, 0).completion_code, CompletionCode::kSuccess);
  std::memset(buffer, 0, 8192);
  EXPECT_EQ(run(1, CommandCode::kRead, 12288).completion_code, CompletionCode::kHandleEof);
  EXPECT_EQ(buffer[8191], std::byte{0x11});
  EXPECT_EQ(run(0, CommandCode::kSnapshot, 0).completion_code, CompletionCode::kNotSupported);
  for (ServerDevice* device : devices) {
    Must(device->CloseDevice());
  }

  EXPECT_THAT(client.Finish(), IsOk());
  EXPECT_EQ(media.bytes(1).size(), 8192U);
  EXPECT_TRUE(media.bytes(0).empty());
}

}  // namespace
}  // namespace capstan::vdi
