// Every call of both ends in every state of the set: the tables of the VDI specification.
#include <functional>
#include <map>
#include <ostream>

#include <gtest/gtest.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"

namespace capstan::vdi {
namespace {

using test::AwaitedCommand;
using test::DeviceSetPair;
using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::Must;
using test::Patience;

enum class State {
  kConnected,
  kConfigurable,
  kInitializing,
  kActive,
  kNormallyTerminated,
  kAbort,
  kClosed,
};

void PrintTo(State state, std::ostream* out) {
  static const char* const names[] = {"Connected", "Configurable",       "Initializing",
                                      "Active",    "NormallyTerminated", "Abort",
                                      "Closed"};
  *out << names[static_cast<int>(state)];
}

constexpr State kAllStates[] = {State::kConnected, State::kConfigurable,       State::kInitializing,
                                State::kActive,    State::kNormallyTerminated, State::kAbort,
                                State::kClosed};

// A pair whose engine end is in `state`. Abort comes out of Active, so that there is all to abort.
std::unique_ptr<DeviceSetPair> PairIn(State state, std::uint32_t device_count = 2) {
  auto pair = std::make_unique<DeviceSetPair>(test::PairOptions{.device_count = device_count});
  if (state == State::kConnected) {
    return pair;
  }
  if (state == State::kConfigurable) {
    pair->Begin();
    return pair;
  }
  pair->Configure();
  if (state == State::kInitializing) {
    return pair;
  }
  pair->OpenAll();
  if (state == State::kAbort) {
    pair->engine().SignalAbort(Error(Code::kCancelled, "the test says so"));
    EXPECT_THAT(pair->client_device().GetCommand(Patience()), HasCode(Code::kAborted));
  }
  if (state == State::kNormallyTerminated || state == State::kClosed) {
    for (std::uint32_t i = 0; i < device_count; ++i) {
      Must(pair->engine_device(i).CloseDevice());
    }
  }
  if (state == State::kClosed) {
    Must(pair->engine().Close());
  }
  return pair;
}

struct EngineCall {
  std::string name;
  std::function<Status(DeviceSetPair&)> call;
  std::map<State, Code> expected;  // kFailedPrecondition where nothing is said
};

void PrintTo(const EngineCall& call, std::ostream* out) {
  *out << call.name;
}

class EngineStates : public testing::TestWithParam<std::tuple<EngineCall, State>> {};

TEST_P(EngineStates, CallEndsAsTheTableSays) {
  const auto& [row, state] = GetParam();
  const auto pair = PairIn(state);
  const auto said = row.expected.find(state);
  const Code expected = said == row.expected.end() ? Code::kFailedPrecondition : said->second;

  EXPECT_THAT(row.call(*pair), HasCode(expected));
}

const EngineCall kEngineCalls[] = {
    {"BeginConfiguration",
     [](DeviceSetPair& pair) {
       return pair.engine().BeginConfiguration({.added_features = feature::kReadMedia});
     },
     {{State::kConnected, Code::kOk}, {State::kAbort, Code::kAborted}}},
    {"RequestBuffers",
     [](DeviceSetPair& pair) { return pair.engine().RequestBuffers(65536, 0, 1); },
     {{State::kConfigurable, Code::kOk},
      {State::kInitializing, Code::kOk},
      {State::kActive, Code::kOk},
      {State::kAbort, Code::kAborted}}},
    {"QueryAvailableBuffers",
     [](DeviceSetPair& pair) { return pair.engine().QueryAvailableBuffers(65536, 0).status(); },
     {{State::kConfigurable, Code::kOk},
      {State::kInitializing, Code::kOk},
      {State::kActive, Code::kOk},
      {State::kAbort, Code::kAborted}}},
    {"EndConfiguration",
     [](DeviceSetPair& pair) { return pair.engine().EndConfiguration(pair.names()); },
     {{State::kConfigurable, Code::kOk}, {State::kAbort, Code::kAborted}}},
    {"AllocateBuffer",
     [](DeviceSetPair& pair) { return pair.engine().AllocateBuffer(65536, 0).status(); },
     {{State::kInitializing, Code::kOk},
      {State::kActive, Code::kOk},
      {State::kAbort, Code::kAborted}}},
    {"FreeBuffer",  // of an address that is none: what has buffers says so
     [](DeviceSetPair& pair) { return pair.engine().FreeBuffer(nullptr); },
     {{State::kInitializing, Code::kInvalidArgument},
      {State::kActive, Code::kInvalidArgument},
      {State::kNormallyTerminated, Code::kInvalidArgument},
      {State::kAbort, Code::kInvalidArgument}}},
    {"OpenDevice",  // nobody has opened it on the other side
     [](DeviceSetPair& pair) { return pair.engine().OpenDevice("set", Deadline::Now()).status(); },
     {{State::kInitializing, Code::kDeadlineExceeded},
      {State::kActive, Code::kAlreadyExists},
      {State::kAbort, Code::kAborted}}},
    {"SignalAbort",
     [](DeviceSetPair& pair) {
       pair.engine().SignalAbort(Error(Code::kCancelled, "stop"));
       return pair.engine().abort_reason();
     },
     {{State::kConnected, Code::kCancelled},
      {State::kConfigurable, Code::kCancelled},
      {State::kInitializing, Code::kCancelled},
      {State::kActive, Code::kCancelled},
      {State::kNormallyTerminated, Code::kCancelled},
      {State::kAbort, Code::kCancelled},
      {State::kClosed, Code::kOk}}},
    {"Close",
     [](DeviceSetPair& pair) { return pair.engine().Close(); },
     {{State::kConnected, Code::kOk},
      {State::kConfigurable, Code::kOk},
      {State::kInitializing, Code::kOk},
      {State::kNormallyTerminated, Code::kOk},
      {State::kAbort, Code::kOk}}},
};

std::string NameOf(const testing::TestParamInfo<std::tuple<EngineCall, State>>& info) {
  return std::get<0>(info.param).name + "In" + testing::PrintToString(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Table, EngineStates,
                         testing::Combine(testing::ValuesIn(kEngineCalls),
                                          testing::ValuesIn(kAllStates)),
                         NameOf);

// The engine's device, for the states in which there is one.
TEST(EngineDeviceStates, SendAndCloseWorkWhileActiveOnly) {
  for (const auto& [state, expected] :
       {std::pair(State::kActive, Code::kOk),
        std::pair(State::kNormallyTerminated, Code::kFailedPrecondition),
        std::pair(State::kAbort, Code::kAborted),
        std::pair(State::kClosed, Code::kFailedPrecondition)}) {
    const auto pair = PairIn(state);
    AwaitedCommand flush(CommandCode::kFlush);
    EXPECT_THAT(pair->engine_device().SendCommand(flush.get()), HasCode(expected))
        << testing::PrintToString(state);
    if (state == State::kActive) {
      EXPECT_THAT(pair->engine_device().CloseDevice(), HasCode(Code::kFailedPrecondition))
          << "a command is in flight";
      const auto command = Must(pair->client_device().GetCommand(Patience()));
      Must(pair->client_device().CompleteCommand(command->id, CompletionCode::kSuccess, 0, 0));
      flush.Await();
    }
    EXPECT_THAT(pair->engine_device().CloseDevice(), HasCode(expected))
        << testing::PrintToString(state);
  }
}

TEST(EngineStates, ClosingWithDevicesOpenSaysSoAndReleasesAll) {
  const auto pair = PairIn(State::kActive);
  AwaitedCommand flush(CommandCode::kFlush);
  Must(pair->engine_device().SendCommand(flush.get()));

  EXPECT_THAT(pair->engine().Close(), HasCode(Code::kFailedPrecondition));

  ASSERT_TRUE(flush.ended()) << "no callback runs after Close";
  EXPECT_EQ(flush.Await().completion_code, CompletionCode::kOperationAborted);
  // The command may still be delivered before the client has heard of the end.
  Status last;
  while (last.ok()) {
    last = pair->client_device().GetCommand(Patience()).status();
  }
  EXPECT_THAT(last, HasCode(Code::kAborted));
}

TEST(EngineStates, DevicesAreFoundByNameAndOpenedOnce) {
  DeviceSetPair pair({.device_count = 2});
  pair.Configure();
  Must(pair.client().OpenDevice("set2"));
  auto& engine = pair.engine();

  EXPECT_THAT(engine.OpenDevice("nobody", Patience()), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(engine.OpenDevice("set2", Patience()), IsOk());
  EXPECT_THAT(engine.OpenDevice("set2", Patience()), HasCode(Code::kFailedPrecondition));
  Must(pair.client().OpenDevice("set"));
  EXPECT_THAT(engine.OpenDevice("set", Patience()), IsOk());
  EXPECT_THAT(engine.OpenDevice("set", Patience()), HasCode(Code::kAlreadyExists));
}

// S1-56: no wait without a deadline, and it names the party that was waited for.
TEST(EngineStates, OpenDeviceNamesWhatItWaitedFor) {
  DeviceSetPair pair({.device_count = 2});
  pair.Configure();

  const auto opened =
      pair.engine().OpenDevice("set2", Deadline::After(std::chrono::milliseconds(5)));

  EXPECT_THAT(opened, HasCode(Code::kDeadlineExceeded));
  EXPECT_THAT(opened, MessageHas("'set2'"));
  EXPECT_THAT(opened, MessageHas(std::to_string(::getpid())));
}

TEST(EngineStates, OpenDeviceWaitsForTheClient) {
  DeviceSetPair pair;
  pair.Configure();
  auto opened =
      std::async(std::launch::async, [&] { return pair.engine().OpenDevice("set", Patience()); });

  Must(pair.client().OpenDevice("set"));

  EXPECT_THAT(opened.get(), IsOk());
}

TEST(EngineStates, AnAbortEndsOpenDevice) {
  DeviceSetPair pair;
  pair.Configure();
  auto opened =
      std::async(std::launch::async, [&] { return pair.engine().OpenDevice("set", Patience()); });

  pair.client().SignalAbort();

  EXPECT_THAT(opened.get(), HasCode(Code::kAborted));
}

TEST(EngineStates, TheFirstReasonOfAnAbortIsKept) {
  DeviceSetPair pair;
  pair.engine().SignalAbort(Error(Code::kCancelled, "first"));
  pair.engine().SignalAbort(Error(Code::kInternal, "second"));

  EXPECT_THAT(pair.engine().abort_reason(), HasCode(Code::kCancelled));
  const auto seen = pair.client().GetConfiguration(Patience());
  EXPECT_THAT(seen, HasCode(Code::kAborted));
  EXPECT_THAT(seen, MessageHas("first")) << "the client learns why";
}

// Want of memory is an error at configuration, and a smaller request may follow (S1-12).
TEST(EngineStates, WantOfMemoryLeavesTheSetConfigurable) {
  DeviceSetPair pair({.segment_bytes_max = 10 * DeviceSetPair::kBufferSize});
  pair.Begin();
  Must(pair.engine().RequestBuffers(DeviceSetPair::kBufferSize, 0, 6));
  Must(pair.engine().RequestBuffers(DeviceSetPair::kBufferSize, 0, 5));
  ASSERT_THAT(pair.engine().EndConfiguration(pair.names()), HasCode(Code::kResourceExhausted));

  Must(pair.engine().RequestBuffers(DeviceSetPair::kBufferSize, 0, 10));

  EXPECT_THAT(pair.engine().EndConfiguration(pair.names()), IsOk());
  EXPECT_EQ(pair.engine().GetConfiguration().buffer_area_size, 10 * DeviceSetPair::kBufferSize);
}

TEST(EngineStates, RequestBuffersRefusesWhatCannotBe) {
  DeviceSetPair pair;
  pair.Begin();
  auto& engine = pair.engine();

  EXPECT_THAT(engine.RequestBuffers(0, 0, 1), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(engine.RequestBuffers(65536, 0, 0), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(engine.RequestBuffers(100, 0, 1), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(engine.RequestBuffers(131072, 0, 1), HasCode(Code::kInvalidArgument));
  ASSERT_THAT(engine.RequestBuffers(65536, 0, 0xFFFFFFFF), IsOk());
  EXPECT_THAT(engine.RequestBuffers(65536, 3000, 1), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(engine.RequestBuffers(65536, 131072, 1), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(engine.RequestBuffers(65536, 0, 1), HasCode(Code::kResourceExhausted));
}

TEST(EngineStates, ASetWithoutBuffersCanBeConfigured) {
  DeviceSetPair pair;
  pair.Configure(/*buffers=*/0);
  pair.OpenAll();
  std::byte byte{};
  AwaitedCommand write(CommandCode::kWrite, &byte, 512);

  EXPECT_THAT(pair.engine().AllocateBuffer(65536, 0), HasCode(Code::kResourceExhausted));
  EXPECT_THAT(pair.engine_device().SendCommand(write.get()), HasCode(Code::kInvalidArgument));
}

TEST(ClientStates, TheConfigurationArrivesWhole) {
  DeviceSetPair pair({.device_count = 2,
                      .features = feature::kLikeDisk,
                      .prefix_zone_size = 100,
                      .alignment = 8192});
  pair.Configure(4);

  const auto config = pair.client().GetConfiguration(Deadline::Now());

  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->features, feature::kLikeDisk | feature::kWriteMedia);
  EXPECT_EQ(config->alignment, 8192U);
  EXPECT_EQ(config->block_size, 512U);
  EXPECT_EQ(config->max_io_depth, 4U);
  EXPECT_EQ(config->max_transfer_size, 65536U);
  EXPECT_EQ(config->buffer_area_size, 4 * (8192U + 65536U));
}

TEST(ClientStates, GetConfigurationTimesOutAndMayBeCalledAgain) {
  DeviceSetPair pair;
  EXPECT_THAT(pair.client().GetConfiguration(Deadline::After(std::chrono::milliseconds(5))),
              HasCode(Code::kDeadlineExceeded));
  pair.Configure();

  EXPECT_THAT(pair.client().GetConfiguration(Deadline::Now()), IsOk());
}

TEST(ClientStates, OpenDeviceIsReadPerDevice) {
  DeviceSetPair pair({.device_count = 2});
  EXPECT_THAT(pair.client().OpenDevice("set"), HasCode(Code::kFailedPrecondition));
  pair.Configure();
  auto& client = pair.client();

  EXPECT_THAT(client.OpenDevice("nobody"), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(client.OpenDevice("set"), IsOk());
  EXPECT_THAT(client.OpenDevice("set"), HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(client.OpenDevice("set2"), IsOk());
  EXPECT_THAT(client.OpenDevice("set"), HasCode(Code::kAlreadyExists));
  EXPECT_THAT(client.OpenDevice("nobody"), HasCode(Code::kAlreadyExists));
}

TEST(ClientStates, EveryCallSaysThatTheSetWasAborted) {
  const auto pair = PairIn(State::kAbort);

  EXPECT_THAT(pair->client().GetConfiguration(Patience()), HasCode(Code::kAborted));
  EXPECT_THAT(pair->client().OpenDevice("set"), HasCode(Code::kAborted));
  EXPECT_THAT(pair->client_device().GetCommand(Patience()), HasCode(Code::kAborted));
  EXPECT_THAT(pair->client_device().GetCommand(Patience()), MessageHas("the test says so"));
  EXPECT_THAT(pair->client_device().CompleteCommand(1, CompletionCode::kSuccess, 0, 0),
              HasCode(Code::kAborted));
  EXPECT_THAT(pair->client().Close(), IsOk()) << "the abort has ended its devices already";
  EXPECT_THAT(pair->client().Close(), HasCode(Code::kFailedPrecondition)) << "twice";
}

TEST(ClientStates, AfterTheCloseRecordTheDeviceIsClosed) {
  const auto pair = PairIn(State::kNormallyTerminated);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto end = pair->client_device(i).GetCommand(Patience());
    ASSERT_THAT(end, IsOk());
    EXPECT_FALSE(end->has_value());
    EXPECT_THAT(pair->client_device(i).GetCommand(Patience()), HasCode(Code::kFailedPrecondition));
    EXPECT_THAT(pair->client_device(i).CompleteCommand(1, CompletionCode::kSuccess, 0, 0),
                HasCode(Code::kFailedPrecondition));
  }

  EXPECT_THAT(pair->client().GetConfiguration(Patience()), IsOk());
  EXPECT_THAT(pair->client().Close(), IsOk());
  EXPECT_THAT(pair->engine().abort_reason(), IsOk());
  EXPECT_THAT(pair->client().GetConfiguration(Patience()), HasCode(Code::kFailedPrecondition));
}

TEST(ClientStates, TheCloseRecordIsFoundAfterTheEngineHasGone) {
  const auto pair = PairIn(State::kClosed);
  pair->DestroyEngine();

  const auto end = pair->client_device().GetCommand(Patience());

  ASSERT_THAT(end, IsOk());
  EXPECT_FALSE(end->has_value());
}

TEST(ClientStates, SignalAbortEndsTheEngineSide) {
  DeviceSetPair pair;
  pair.Configure();
  pair.OpenAll();
  AwaitedCommand flush(CommandCode::kFlush);
  Must(pair.engine_device().SendCommand(flush.get()));

  pair.client().SignalAbort();

  EXPECT_EQ(flush.Await().completion_code, CompletionCode::kOperationAborted);
  EXPECT_THAT(pair.engine().abort_reason(), HasCode(Code::kAborted));
  EXPECT_THAT(pair.engine().abort_reason(), MessageHas("SignalAbort"));
}

TEST(ClientStates, ClosingWithDevicesOpenAborts) {
  DeviceSetPair pair;
  pair.Configure();
  pair.OpenAll();
  AwaitedCommand flush(CommandCode::kFlush);
  Must(pair.engine_device().SendCommand(flush.get()));

  EXPECT_THAT(pair.client().Close(), HasCode(Code::kAlreadyExists));

  EXPECT_EQ(flush.Await().completion_code, CompletionCode::kOperationAborted);
  pair.client().SignalAbort();  // any time, also now
}

TEST(ClientStates, ClosingBeforeAnyStatementIsInOrder) {
  DeviceSetPair pair;

  EXPECT_THAT(pair.client().Close(), IsOk());

  while (pair.engine().abort_reason().ok()) {
    std::this_thread::yield();
  }
  EXPECT_THAT(pair.engine().BeginConfiguration({.added_features = feature::kWriteMedia}),
              HasCode(Code::kAborted));
}

TEST(ClientStates, AnAbortEndsAWaitingGetCommand) {
  DeviceSetPair pair;
  pair.Configure();
  pair.OpenAll();
  auto got =
      std::async(std::launch::async, [&] { return pair.client_device().GetCommand(Patience()); });

  pair.engine().SignalAbort(Error(Code::kCancelled, "stop"));

  EXPECT_THAT(got.get(), HasCode(Code::kAborted));
}

TEST(ClientStates, CloseEndsAWaitingGetCommand) {
  DeviceSetPair pair;
  pair.Configure();
  pair.OpenAll();
  auto got =
      std::async(std::launch::async, [&] { return pair.client_device().GetCommand(Patience()); });

  EXPECT_THAT(pair.client().Close(), HasCode(Code::kAlreadyExists));

  EXPECT_THAT(got.get(), testing::Not(IsOk()));
}

}  // namespace
}  // namespace capstan::vdi
