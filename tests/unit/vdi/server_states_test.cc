// Every call of the engine's end in every state of the set: the VDI specification's table of server
// calls, cell by cell. Connected is its state between Open and BeginConfiguration, Closed its "does
// not exist".
#include <functional>
#include <future>
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

struct ServerCall {
  std::string name;
  std::function<Status(DeviceSetPair&)> call;
  // What VDI calls PROTOCOL, kFailedPrecondition, where nothing is said.
  std::map<State, Code> expected;
};

void PrintTo(const ServerCall& call, std::ostream* out) {
  *out << call.name;
}

class ServerCallsByState : public testing::TestWithParam<std::tuple<ServerCall, State>> {};

TEST_P(ServerCallsByState, EndAsTheTableSays) {
  const auto& [row, state] = GetParam();
  const auto pair = PairIn(state);
  const auto said = row.expected.find(state);
  const Code expected = said == row.expected.end() ? Code::kFailedPrecondition : said->second;

  EXPECT_THAT(row.call(*pair), HasCode(expected));
}

// Where the specification has both PROTOCOL and ABORT for a call in Abort, it is ABORT here: the
// reason must not hide. ExecuteCompletionAgent is the set's own thread and no call.
const ServerCall kServerCalls[] = {
    {"Open",  // DNE to Connected is what every other test begins with
     [](DeviceSetPair& pair) { return pair.rendezvous().Open("set", Deadline::Now()).status(); },
     {{State::kConnected, Code::kNotFound},
      {State::kConfigurable, Code::kNotFound},
      {State::kInitializing, Code::kNotFound},
      {State::kActive, Code::kNotFound},
      {State::kNormallyTerminated, Code::kNotFound},
      {State::kAbort, Code::kNotFound},
      {State::kClosed, Code::kNotFound}}},
    {"GetConfiguration",  // a look at values that are there in every state
     [](DeviceSetPair& pair) {
       return pair.engine().GetConfiguration().device_count == 2
                  ? OkStatus()
                  : Error(Code::kInternal, "not the set's configuration");
     },
     {{State::kConnected, Code::kOk},
      {State::kConfigurable, Code::kOk},
      {State::kInitializing, Code::kOk},
      {State::kActive, Code::kOk},
      {State::kNormallyTerminated, Code::kOk},
      {State::kAbort, Code::kOk},
      {State::kClosed, Code::kOk}}},
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
    {"OpenDevice",  // nobody has opened it on the other side in Initializing
     [](DeviceSetPair& pair) { return pair.engine().OpenDevice("set", Deadline::Now()).status(); },
     {{State::kInitializing, Code::kDeadlineExceeded},
      {State::kActive, Code::kAlreadyExists},
      {State::kAbort, Code::kAborted}}},
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
      {State::kClosed, Code::kOk}}},  // nothing to abort any more
    {"Close",
     [](DeviceSetPair& pair) { return pair.engine().Close(); },
     {{State::kConnected, Code::kOk},
      {State::kConfigurable, Code::kOk},
      {State::kInitializing, Code::kOk},
      {State::kNormallyTerminated, Code::kOk},
      {State::kAbort, Code::kOk}}},
};

std::string NameOf(const testing::TestParamInfo<std::tuple<ServerCall, State>>& info) {
  return std::get<0>(info.param).name + "In" + testing::PrintToString(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Table, ServerCallsByState,
                         testing::Combine(testing::ValuesIn(kServerCalls),
                                          testing::ValuesIn(kAllStates)),
                         NameOf);

// SendCommand and CloseDevice need a device, which there is from Active on.
TEST(ServerDeviceCallsByState, SendAndCloseWorkWhileActiveOnly) {
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

// A buffer that was taken can be given back in every state that has buffers.
TEST(ServerCallsByState, WhatWasTakenIsFreedInEveryStateThatHasBuffers) {
  for (const State end : {State::kActive, State::kNormallyTerminated, State::kAbort}) {
    const auto pair = PairIn(State::kActive);
    std::byte* const buffer = Must(pair->engine().AllocateBuffer(65536, 0));
    if (end == State::kNormallyTerminated) {
      Must(pair->engine_device(0).CloseDevice());
      Must(pair->engine_device(1).CloseDevice());
    } else if (end == State::kAbort) {
      pair->engine().SignalAbort(Error(Code::kCancelled, "stop"));
    }
    EXPECT_THAT(pair->engine().FreeBuffer(buffer), IsOk()) << testing::PrintToString(end);
  }
}

TEST(ServerStates, ClosingWithDevicesOpenSaysSoAndReleasesAll) {
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

TEST(ServerStates, DevicesAreFoundByNameAndOpenedOnce) {
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
TEST(ServerStates, OpenDeviceNamesWhatItWaitedFor) {
  DeviceSetPair pair({.device_count = 2});
  pair.Configure();

  const auto opened =
      pair.engine().OpenDevice("set2", Deadline::After(std::chrono::milliseconds(5)));

  EXPECT_THAT(opened, HasCode(Code::kDeadlineExceeded));
  EXPECT_THAT(opened, MessageHas("'set2'"));
  EXPECT_THAT(opened, MessageHas(std::to_string(::getpid())));
}

TEST(ServerStates, OpenDeviceWaitsForTheClient) {
  DeviceSetPair pair;
  pair.Configure();
  auto opened =
      std::async(std::launch::async, [&] { return pair.engine().OpenDevice("set", Patience()); });

  Must(pair.client().OpenDevice("set"));

  EXPECT_THAT(opened.get(), IsOk());
}

TEST(ServerStates, AnAbortEndsOpenDevice) {
  DeviceSetPair pair;
  pair.Configure();
  auto opened =
      std::async(std::launch::async, [&] { return pair.engine().OpenDevice("set", Patience()); });

  pair.client().SignalAbort();

  EXPECT_THAT(opened.get(), HasCode(Code::kAborted));
}

TEST(ServerStates, TheFirstReasonOfAnAbortIsKept) {
  DeviceSetPair pair;
  pair.engine().SignalAbort(Error(Code::kCancelled, "first"));
  pair.engine().SignalAbort(Error(Code::kInternal, "second"));

  EXPECT_THAT(pair.engine().abort_reason(), HasCode(Code::kCancelled));
  const auto seen = pair.client().GetConfiguration(Patience());
  EXPECT_THAT(seen, HasCode(Code::kAborted));
  EXPECT_THAT(seen, MessageHas("first")) << "the client learns why";
}

// Want of memory is an error at configuration, and a smaller request may follow (S1-12).
TEST(ServerStates, WantOfMemoryLeavesTheSetConfigurable) {
  DeviceSetPair pair({.segment_bytes_max = 10 * DeviceSetPair::kBufferSize});
  pair.Begin();
  Must(pair.engine().RequestBuffers(DeviceSetPair::kBufferSize, 0, 6));
  Must(pair.engine().RequestBuffers(DeviceSetPair::kBufferSize, 0, 5));
  ASSERT_THAT(pair.engine().EndConfiguration(pair.names()), HasCode(Code::kResourceExhausted));

  Must(pair.engine().RequestBuffers(DeviceSetPair::kBufferSize, 0, 10));

  EXPECT_THAT(pair.engine().EndConfiguration(pair.names()), IsOk());
  EXPECT_EQ(pair.engine().GetConfiguration().buffer_area_size, 10 * DeviceSetPair::kBufferSize);
}

TEST(ServerStates, RequestBuffersRefusesWhatCannotBe) {
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

TEST(ServerStates, ASetWithoutBuffersCanBeConfigured) {
  DeviceSetPair pair;
  pair.Configure(/*buffers=*/0);
  pair.OpenAll();
  std::byte byte{};
  AwaitedCommand write(CommandCode::kWrite, &byte, 512);

  EXPECT_THAT(pair.engine().AllocateBuffer(65536, 0), HasCode(Code::kResourceExhausted));
  EXPECT_THAT(pair.engine_device().SendCommand(write.get()), HasCode(Code::kInvalidArgument));
}

}  // namespace
}  // namespace capstan::vdi
