// Every call of the client's end in every state of the set: the VDI specification's table of client
// calls, cell by cell.
#include <functional>
#include <future>
#include <map>
#include <ostream>
#include <thread>

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

// As the client sees them. kClosed is "does not exist".
enum class State {
  kConfigurable,
  kInitializing,
  kActive,
  kNormallyTerminated,
  kAbort,
  kClosed,
};

void PrintTo(State state, std::ostream* out) {
  static const char* const names[] = {"Configurable",       "Initializing", "Active",
                                      "NormallyTerminated", "Abort",        "Closed"};
  *out << names[static_cast<int>(state)];
}

constexpr State kAllStates[] = {State::kConfigurable,       State::kInitializing, State::kActive,
                                State::kNormallyTerminated, State::kAbort,        State::kClosed};

// A set of two devices whose client end is in `state`. In Active, and what comes after it, both are
// open; one command is outstanding on the first, with the id `outstanding`.
struct ClientIn {
  explicit ClientIn(State state) {
    if (state == State::kConfigurable) {
      return;
    }
    pair.Configure();
    if (state == State::kInitializing) {
      return;
    }
    pair.OpenAll();
    if (state == State::kNormallyTerminated || state == State::kClosed) {
      for (std::size_t i = 0; i < 2; ++i) {
        Must(pair.engine_device(i).CloseDevice());
        CAPSTAN_CHECK(!Must(pair.client_device(i).GetCommand(Patience())).has_value());
      }
    } else {
      Must(pair.engine_device().SendCommand(flush.get()));
      outstanding = Must(pair.client_device().GetCommand(Patience()))->id;
    }
    if (state == State::kAbort) {
      pair.engine().SignalAbort(Error(Code::kCancelled, "the test says so"));
      EXPECT_THAT(pair.client_device().GetCommand(Patience()), HasCode(Code::kAborted));
    }
    if (state == State::kClosed) {
      Must(pair.client().Close());
    }
  }

  AwaitedCommand flush{CommandCode::kFlush};  // outlives the pair: its end calls back
  std::uint64_t outstanding = 1;
  DeviceSetPair pair{{.device_count = 2}};
};

struct ClientCall {
  std::string name;
  std::function<Status(ClientIn&)> call;
  // What VDI calls PROTOCOL, kFailedPrecondition, where nothing is said.
  std::map<State, Code> expected;
};

void PrintTo(const ClientCall& call, std::ostream* out) {
  *out << call.name;
}

class ClientCallsByState : public testing::TestWithParam<std::tuple<ClientCall, State>> {};

TEST_P(ClientCallsByState, EndAsTheTableSays) {
  const auto& [row, state] = GetParam();
  ClientIn client(state);
  const auto said = row.expected.find(state);
  const Code expected = said == row.expected.end() ? Code::kFailedPrecondition : said->second;

  EXPECT_THAT(row.call(client), HasCode(expected));
}

// Configured or not, OpenDevice alone makes devices: what the table says of GetCommand and
// CompleteCommand before Active is that there is no device to call.
const ClientCall kClientCalls[] = {
    {"Create",  // a second one of the same name
     [](ClientIn& client) {
       return ClientDeviceSet::Create(client.pair.path(), "set", {.device_count = 1}).status();
     },
     {{State::kClosed, Code::kOk}}},
    {"GetConfiguration",  // blocks until there is one
     [](ClientIn& client) {
       return client.pair.client().GetConfiguration(Deadline::Now()).status();
     },
     {{State::kConfigurable, Code::kDeadlineExceeded},
      {State::kInitializing, Code::kOk},
      {State::kActive, Code::kOk},
      {State::kNormallyTerminated, Code::kOk},
      {State::kAbort, Code::kAborted}}},
    {"OpenDevice",
     [](ClientIn& client) { return client.pair.client().OpenDevice("set").status(); },
     {{State::kInitializing, Code::kOk},
      {State::kActive, Code::kAlreadyExists},  // both are open
      {State::kAbort, Code::kAborted}}},
    {"SignalAbort",
     [](ClientIn& client) {
       client.pair.client().SignalAbort();
       return client.pair.client().abort_reason();
     },
     {{State::kConfigurable, Code::kAborted},
      {State::kInitializing, Code::kAborted},
      {State::kActive, Code::kAborted},
      {State::kNormallyTerminated, Code::kAborted},
      {State::kAbort, Code::kAborted},
      {State::kClosed, Code::kOk}}},  // nothing to abort any more
    {"Close",
     [](ClientIn& client) { return client.pair.client().Close(); },
     {{State::kConfigurable, Code::kOk},
      {State::kInitializing, Code::kOk},
      {State::kActive, Code::kAlreadyExists},
      {State::kNormallyTerminated, Code::kOk},
      {State::kAbort, Code::kOk}}},
    {"GetBufferHandle",  // of an address that is none: what has buffers says so
     [](ClientIn& client) { return client.pair.client().GetBufferHandle(nullptr).status(); },
     {{State::kInitializing, Code::kInvalidArgument},
      {State::kActive, Code::kInvalidArgument},
      {State::kNormallyTerminated, Code::kInvalidArgument},
      {State::kAbort, Code::kInvalidArgument}}},
    {"MapBufferHandle",
     [](ClientIn& client) { return client.pair.client().MapBufferHandle(0).status(); },
     {{State::kInitializing, Code::kInvalidArgument},
      {State::kActive, Code::kInvalidArgument},
      {State::kNormallyTerminated, Code::kInvalidArgument},
      {State::kAbort, Code::kInvalidArgument}}},
    {"OpenInSecondary",
     [](ClientIn& client) {
       return ClientDeviceSet::OpenInSecondary(client.pair.path(), "set").status();
     },
     {{State::kInitializing, Code::kOk},
      {State::kActive, Code::kOk},
      {State::kAbort, Code::kAborted}}},
};

std::string NameOf(const testing::TestParamInfo<std::tuple<ClientCall, State>>& info) {
  return std::get<0>(info.param).name + "In" + testing::PrintToString(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Table, ClientCallsByState,
                         testing::Combine(testing::ValuesIn(kClientCalls),
                                          testing::ValuesIn(kAllStates)),
                         NameOf);

class ClientDeviceCallsByState : public testing::TestWithParam<std::tuple<State, Code>> {};

TEST_P(ClientDeviceCallsByState, EndAsTheTableSays) {
  const auto [state, expected] = GetParam();
  ClientIn client(state);
  ClientDevice& device = client.pair.client_device();

  EXPECT_THAT(device.CompleteCommand(client.outstanding, CompletionCode::kSuccess, 0, 0),
              HasCode(expected));
  if (expected == Code::kOk) {
    client.flush.Await();
    Must(client.pair.engine_device().CloseDevice());
    EXPECT_FALSE(Must(device.GetCommand(Patience())).has_value());
  } else {
    EXPECT_THAT(device.GetCommand(Deadline::Now()), HasCode(expected));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, ClientDeviceCallsByState,
    testing::Values(std::tuple(State::kActive, Code::kOk),
                    std::tuple(State::kNormallyTerminated, Code::kFailedPrecondition),
                    std::tuple(State::kAbort, Code::kAborted),
                    std::tuple(State::kClosed, Code::kFailedPrecondition)),
    [](const auto& one) { return testing::PrintToString(std::get<0>(one.param)); });

TEST(ClientStates, TheConfigurationArrivesWhole) {
  DeviceSetPair pair({.device_count = 2,
                      .features = feature::kLikeTape | feature::kEnumFrozenFiles,
                      .prefix_zone_size = 100,
                      .alignment = 8192,
                      .server_timeout_ms = 60000,
                      .soft_filemark_block_size = 32768,
                      .eom_warning_size = 1 << 20});
  pair.Configure(4);

  const auto config = pair.client().GetConfiguration(Deadline::Now());

  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->device_count, 2U);
  EXPECT_EQ(config->features,
            feature::kLikeTape | feature::kEnumFrozenFiles | feature::kWriteMedia);
  EXPECT_EQ(config->prefix_zone_size, 100U);
  EXPECT_EQ(config->soft_filemark_block_size, 32768U);
  EXPECT_EQ(config->eom_warning_size, 1U << 20);
  EXPECT_EQ(config->server_timeout_ms, 60000U);
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

// S1-59. Names 2 to 64 come with the statement; before it, no device has one.
TEST(ClientStates, SixtyFourDevicesAreNamedByTheStatement) {
  DeviceSetPair pair({.device_count = 64});
  EXPECT_THAT(pair.client().OpenDevice("set2"), HasCode(Code::kFailedPrecondition));
  pair.Configure();
  pair.OpenAll();

  EXPECT_THAT(pair.client().OpenDevice("set64"), HasCode(Code::kAlreadyExists));
  for (std::size_t i = 0; i < 64; ++i) {
    AwaitedCommand flush(CommandCode::kFlush);
    Must(pair.engine_device(i).SendCommand(flush.get()));
    const auto command = Must(pair.client_device(i).GetCommand(Patience()));
    Must(pair.client_device(i).CompleteCommand(command->id, CompletionCode::kSuccess, 0, 0));
    flush.Await();
    Must(pair.engine_device(i).CloseDevice());
    EXPECT_FALSE(Must(pair.client_device(i).GetCommand(Patience())).has_value());
  }
  EXPECT_THAT(pair.client().Close(), IsOk());
  EXPECT_THAT(pair.engine().abort_reason(), IsOk());
}

TEST(ClientStates, AnAbortSaysWhy) {
  ClientIn client(State::kAbort);

  EXPECT_THAT(client.pair.client_device().GetCommand(Patience()), MessageHas("the test says so"));
  EXPECT_THAT(client.pair.client().abort_reason(), MessageHas("the test says so"));
}

TEST(ClientStates, ASetThatWasClosedIsNotAborted) {
  ClientIn client(State::kNormallyTerminated);

  EXPECT_THAT(client.pair.client().Close(), IsOk());
  EXPECT_THAT(client.pair.engine().abort_reason(), IsOk());
}

TEST(ClientStates, TheCloseRecordIsFoundAfterTheEngineHasGone) {
  DeviceSetPair pair;
  pair.Configure();
  pair.OpenAll();
  Must(pair.engine_device().CloseDevice());
  Must(pair.engine().Close());
  pair.DestroyEngine();

  const auto end = pair.client_device().GetCommand(Patience());

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
