// Every call of the classic interface in every state of the set: the client's table of the VDI
// specification, through the built library.
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <ostream>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/unit/vdi/sqlvdi/classic_pair.h"

namespace capstan::sqlvdi {
namespace {

using test::AwaitedCommand;
using test::HasCode;
using test::Must;

enum class State {
  kDoesNotExist,
  kConfigurable,
  kInitializing,
  kActive,
  kNormallyTerminated,
  kAbort,
};

void PrintTo(State state, std::ostream* out) {
  static const char* const names[] = {"DoesNotExist", "Configurable",       "Initializing",
                                      "Active",       "NormallyTerminated", "Abort"};
  *out << names[static_cast<int>(state)];
}

constexpr State kAllStates[] = {State::kDoesNotExist,       State::kConfigurable,
                                State::kInitializing,       State::kActive,
                                State::kNormallyTerminated, State::kAbort};

// A set in a state, with what the calls need. Abort comes out of Active. In Active and Abort a
// command is outstanding and another one is on its way; elsewhere there is neither.
struct Scene {
  explicit Scene(State state) {
    if (state >= State::kConfigurable) {
      pair.Create();
    }
    if (state >= State::kInitializing) {
      pair.Configure();
    }
    if (state < State::kActive) {
      return;
    }
    pair.OpenAll();
    device = &pair.device();
    for (AwaitedCommand* write : {&first, &second}) {
      write->get()->buffer = pair.Buffer();
      write->get()->size = 512;
    }
    Must(pair.engine_device().SendCommand(first.get()));
    command = pair.Next();
    if (state == State::kNormallyTerminated) {
      MustBeOk(device->CompleteCommand(command, ERROR_SUCCESS, 0, 0), "CompleteCommand");
      first.Await();
      pair.CloseAllByServer();
      return;
    }
    Must(pair.engine_device().SendCommand(second.get()));
    if (state == State::kAbort) {
      MustBeOk(pair.set().SignalAbort(), "SignalAbort");
    }
  }

  AwaitedCommand first{vdi::CommandCode::kWrite};  // outlive the engine's end
  AwaitedCommand second{vdi::CommandCode::kWrite};
  ClassicPair pair;
  ClientVirtualDevice unopened;
  VDC_Command unknown{};
  ClientVirtualDevice* device = &unopened;
  VDC_Command* command = &unknown;
};

struct Call {
  std::string name;
  std::function<int(Scene&)> call;
  std::map<State, int> expected;  // VD_E_PROTOCOL where nothing is said
};

void PrintTo(const Call& call, std::ostream* out) {
  *out << call.name;
}

class ClassicStates : public testing::TestWithParam<std::tuple<Call, State>> {};

TEST_P(ClassicStates, CallEndsAsTheTableSays) {
  const auto& [row, state] = GetParam();
  Scene scene(state);
  const auto said = row.expected.find(state);

  EXPECT_EQ(Said(row.call(scene)), Said(said == row.expected.end() ? VD_E_PROTOCOL : said->second));
}

const Call kCalls[] = {
    {"Create",
     [](Scene& scene) { return scene.pair.set().Create(scene.pair.name(0), &scene.pair.wishes()); },
     {{State::kDoesNotExist, NOERROR}}},
    {"GetConfiguration",
     [](Scene& scene) {
       VDConfig config{};
       return scene.pair.set().GetConfiguration(0, &config);
     },
     {{State::kConfigurable, VD_E_TIMEOUT},
      {State::kInitializing, NOERROR},
      {State::kActive, NOERROR},
      {State::kNormallyTerminated, NOERROR},
      {State::kAbort, VD_E_ABORT}}},
    {"OpenDevice",  // in Active all are open
     [](Scene& scene) {
       ClientVirtualDevice* device = nullptr;
       return scene.pair.set().OpenDevice(scene.pair.name(0), &device);
     },
     {{State::kInitializing, NOERROR}, {State::kActive, VD_E_OPEN}, {State::kAbort, VD_E_ABORT}}},
    {"GetCommand",
     [](Scene& scene) {
       VDC_Command* command = nullptr;
       return scene.device->GetCommand(-1, &command);
     },
     {{State::kActive, NOERROR}, {State::kAbort, VD_E_ABORT}}},
    {"CompleteCommand",
     [](Scene& scene) { return scene.device->CompleteCommand(scene.command, ERROR_SUCCESS, 0, 0); },
     {{State::kActive, NOERROR}, {State::kAbort, VD_E_ABORT}}},
    {"SignalAbort",
     [](Scene& scene) { return scene.pair.set().SignalAbort(); },
     {{State::kConfigurable, NOERROR},
      {State::kInitializing, NOERROR},
      {State::kActive, NOERROR},
      {State::kNormallyTerminated, NOERROR},
      {State::kAbort, NOERROR}}},
    {"Close",
     [](Scene& scene) { return scene.pair.set().Close(); },
     {{State::kConfigurable, NOERROR},
      {State::kInitializing, NOERROR},
      {State::kActive, VD_E_OPEN},
      {State::kNormallyTerminated, NOERROR},
      {State::kAbort, NOERROR}}},
    {"OpenInSecondary",  // the object has a set, or there is none of that name
     [](Scene& scene) { return scene.pair.set().OpenInSecondary(scene.pair.name(0)); },
     {}},
};

std::string NameOf(const testing::TestParamInfo<std::tuple<Call, State>>& info) {
  return std::get<0>(info.param).name + "In" + testing::PrintToString(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Table, ClassicStates,
                         testing::Combine(testing::ValuesIn(kCalls), testing::ValuesIn(kAllStates)),
                         NameOf);

TEST(ClassicSet, EveryDeviceIsOpenedOnce) {
  VDConfig wishes = ClassicPair::OneDevice();
  wishes.deviceCount = 2;
  ClassicPair pair(wishes);
  pair.name(1);
  pair.Create();
  pair.Configure();
  std::string nobody = "nobody";
  ClientVirtualDevice stranger;
  ClientVirtualDevice* device = &stranger;
  auto& set = pair.set();

  EXPECT_EQ(Said(set.OpenDevice(nobody.data(), &device)), "VD_E_INVALID");
  EXPECT_EQ(device, nullptr) << "after a failure there is no device";
  EXPECT_EQ(Said(set.OpenDevice(pair.name(1), &device)), "NOERROR");
  EXPECT_NE(device, nullptr);
  EXPECT_EQ(Said(set.OpenDevice(pair.name(1), &device)), "VD_E_PROTOCOL") << "this one is open";
  EXPECT_EQ(device, nullptr);
  EXPECT_EQ(Said(set.OpenDevice(pair.name(0), &device)), "NOERROR");
  EXPECT_EQ(Said(set.OpenDevice(pair.name(0), &device)), "VD_E_OPEN") << "all are open";
}

TEST(ClassicSet, ClosingWithDevicesOpenAbortsAndReleases) {
  ClassicPair pair;
  pair.ToActive();

  EXPECT_EQ(Said(pair.set().Close()), "VD_E_OPEN");

  EXPECT_EQ(Said(pair.set().Close()), "VD_E_PROTOCOL") << "it is closed all the same";
  EXPECT_THAT(pair.AwaitAbort(), HasCode(Code::kAborted));
}

TEST(ClassicSet, TheSameObjectCreatesAgainAfterClose) {
  ClassicPair pair;
  for (int round = 0; round < 3; ++round) {
    pair.Create();
    EXPECT_EQ(Said(pair.set().Close()), "NOERROR");
  }
}

TEST(ClassicSet, ANameIsTakenOnce) {
  ClassicPair pair;
  pair.Create();
  ClientVirtualDeviceSet another;

  EXPECT_EQ(Said(another.Create(pair.name(0), &pair.wishes())), "VD_E_PROTOCOL");
}

TEST(ClassicSet, NullIsInvalidEverywhere) {
  ClassicPair pair;
  auto& set = pair.set();
  EXPECT_EQ(Said(set.Create(nullptr, &pair.wishes())), "VD_E_INVALID");
  EXPECT_EQ(Said(set.Create(pair.name(0), nullptr)), "VD_E_INVALID");
  EXPECT_EQ(Said(set.OpenInSecondary(nullptr)), "VD_E_INVALID");
  pair.Create();
  EXPECT_EQ(Said(set.GetConfiguration(0, nullptr)), "VD_E_INVALID");
  pair.Configure();
  ClientVirtualDevice stranger;
  ClientVirtualDevice* device = &stranger;
  EXPECT_EQ(Said(set.OpenDevice(nullptr, &device)), "VD_E_INVALID");
  EXPECT_EQ(device, nullptr);
  EXPECT_EQ(Said(set.OpenDevice(pair.name(0), nullptr)), "VD_E_INVALID");
  unsigned int handle = 0;
  std::uint8_t byte = 0;
  std::uint8_t* buffer = nullptr;
  EXPECT_EQ(Said(set.GetBufferHandle(nullptr, &handle)), "VD_E_INVALID");
  EXPECT_EQ(Said(set.GetBufferHandle(&byte, &handle)), "VD_E_INVALID");
  EXPECT_EQ(Said(set.GetBufferHandle(&byte, nullptr)), "VD_E_INVALID");
  EXPECT_EQ(Said(set.MapBufferHandle(1, nullptr)), "VD_E_INVALID");
  EXPECT_EQ(Said(set.MapBufferHandle(-1, &buffer)), "VD_E_INVALID");
  EXPECT_EQ(Said(set.MapBufferHandle(0, &buffer)), "VD_E_INVALID");
  pair.OpenAll();
  EXPECT_EQ(Said(pair.device().GetCommand(0, nullptr)), "VD_E_INVALID");
  EXPECT_EQ(Said(pair.device().CompleteCommand(nullptr, 0, 0, 0)), "VD_E_INVALID");
}

TEST(ClassicSet, BufferHandlesNeedAConfiguredSet) {
  ClassicPair pair;
  unsigned int handle = 0;
  std::uint8_t byte = 0;
  std::uint8_t* buffer = nullptr;
  for (const bool created : {false, true}) {
    if (created) {
      pair.Create();
    }
    EXPECT_EQ(Said(pair.set().GetBufferHandle(&byte, &handle)), "VD_E_PROTOCOL");
    EXPECT_EQ(Said(pair.set().MapBufferHandle(1, &buffer)), "VD_E_PROTOCOL");
  }
}

TEST(ClassicSet, WhatCannotBeIsNotSupported) {
  ClassicPair pair;
  const auto create_with = [&pair](auto change) {
    VDConfig wishes = ClassicPair::OneDevice();
    change(wishes);
    return Said(pair.set().Create(pair.name(0), &wishes));
  };

  EXPECT_EQ(create_with([](VDConfig& it) { it.deviceCount = 0; }), "VD_E_NOTSUPPORTED");
  EXPECT_EQ(create_with([](VDConfig& it) { it.deviceCount = 65; }), "VD_E_NOTSUPPORTED");
  EXPECT_EQ(create_with([](VDConfig& it) { it.features = VDF_Rewind; }), "VD_E_NOTSUPPORTED");
  EXPECT_EQ(create_with([](VDConfig& it) { it.alignment = 3; }), "VD_E_NOTSUPPORTED");
  EXPECT_EQ(create_with([](VDConfig& it) { it.softFileMarkBlockSize = 512; }), "VD_E_NOTSUPPORTED");
  EXPECT_EQ(create_with([](VDConfig&) {}), "NOERROR") << "a refusal leaves the object as it was";
}

TEST(ClassicSet, NamesHaveTheirLimits) {
  ClassicPair pair;
  for (std::string name : {std::string(), std::string("a\\b"), std::string(129, 'x')}) {
    EXPECT_EQ(Said(pair.set().Create(name.data(), &pair.wishes())), "VD_E_INVALID") << name;
  }
  std::string longest(128, 'x');
  EXPECT_EQ(Said(pair.set().Create(longest.data(), &pair.wishes())), "NOERROR");
}

TEST(ClassicSet, GetConfigurationMayBeCalledAgainAfterATimeout) {
  ClassicPair pair;
  pair.Create();
  VDConfig config{};
  ASSERT_EQ(Said(pair.set().GetConfiguration(0, &config)), "VD_E_TIMEOUT");
  pair.Configure();

  EXPECT_EQ(Said(pair.set().GetConfiguration(0, &config)), "NOERROR");
}

TEST(ClassicSet, AnAbortEndsAWaitInAnotherThread) {
  ClassicPair pair;
  pair.ToActive();
  auto got = std::async(std::launch::async, [&pair] {
    VDC_Command* command = nullptr;
    return pair.device().GetCommand(-1, &command);
  });

  EXPECT_EQ(Said(pair.set().SignalAbort()), "NOERROR");

  EXPECT_EQ(Said(got.get()), "VD_E_ABORT");
}

TEST(ClassicSet, CloseEndsTheWaitsOfOtherThreads) {
  ClassicPair waiting;
  waiting.Create();
  auto configured = std::async(std::launch::async, [&waiting] {
    VDConfig config{};
    return waiting.set().GetConfiguration(-1, &config);
  });
  EXPECT_EQ(Said(waiting.set().Close()), "NOERROR");
  EXPECT_EQ(Said(configured.get()), "VD_E_PROTOCOL");

  ClassicPair active;
  active.ToActive();
  auto got = std::async(std::launch::async, [&active] {
    VDC_Command* command = nullptr;
    return active.device().GetCommand(-1, &command);
  });
  EXPECT_EQ(Said(active.set().Close()), "VD_E_OPEN");
  // Before Close it waits and is aborted; after it, it finds the device closed.
  EXPECT_TRUE(got.get() != NOERROR);
}

TEST(ClassicSet, ADeviceMayBeDeletedByTheProgram) {
  for (const bool before_close : {true, false}) {
    ClassicPair pair;
    pair.ToActive();
    pair.CloseAllByServer();
    ClientVirtualDevice* const device = &pair.device();
    if (before_close) {
      delete device;
    }
    EXPECT_EQ(Said(pair.set().Close()), "NOERROR");
    if (!before_close) {
      delete device;
    }
  }
}

TEST(ClassicSet, ADeletedDeviceThatWasOpenCountsAsOpen) {
  ClassicPair pair;
  pair.ToActive();
  delete &pair.device();

  EXPECT_EQ(Said(pair.set().Close()), "VD_E_OPEN");
}

TEST(ClassicSet, ADeviceRefusesAfterCloseAndAfterItsSetIsGone) {
  ClassicPair pair;
  pair.ToActive();
  pair.CloseAllByServer();
  ClientVirtualDevice& device = pair.device();
  VDC_Command* command = nullptr;
  ASSERT_EQ(Said(pair.set().Close()), "NOERROR");

  EXPECT_EQ(Said(device.GetCommand(-1, &command)), "VD_E_PROTOCOL");
  pair.DestroySet();
  EXPECT_EQ(Said(device.GetCommand(-1, &command)), "VD_E_PROTOCOL");
  EXPECT_EQ(Said(device.CompleteCommand(command, 0, 0, 0)), "VD_E_PROTOCOL");
}

TEST(ClassicSet, DestructionAbortsWhatIsOpen) {
  ClassicPair pair;
  pair.ToActive();

  pair.DestroySet();

  EXPECT_THAT(pair.AwaitAbort(), HasCode(Code::kAborted));
}

TEST(ClassicSet, TheEnginesEndIsAnAbort) {
  ClassicPair pair;
  pair.ToActive();
  VDC_Command* command = nullptr;
  VDConfig config{};

  pair.DestroyEngine();

  EXPECT_EQ(Said(pair.device().GetCommand(-1, &command)), "VD_E_ABORT");
  EXPECT_EQ(Said(pair.set().GetConfiguration(-1, &config)), "VD_E_ABORT");
  EXPECT_EQ(Said(pair.set().Close()), "NOERROR");
}

// As another process of the same program does it; here the other process is another object.
TEST(ClassicSet, ASecondaryServesADeviceOfItsOwn) {
  VDConfig wishes = ClassicPair::OneDevice();
  wishes.deviceCount = 2;
  ClassicPair pair(wishes);
  pair.name(1);
  ClientVirtualDeviceSet secondary;
  pair.Create();
  EXPECT_EQ(Said(secondary.OpenInSecondary(pair.name(0))), "VD_E_PROTOCOL") << "not configured";
  pair.Configure();
  ASSERT_EQ(Said(secondary.OpenInSecondary(pair.name(0))), "NOERROR");

  VDConfig config{};
  EXPECT_EQ(Said(secondary.GetConfiguration(0, &config)), "NOERROR");
  EXPECT_EQ(config.features, VDF_WriteMedia);
  ClientVirtualDevice* device = nullptr;
  ASSERT_EQ(Said(secondary.OpenDevice(pair.name(1), &device)), "NOERROR");
  EXPECT_EQ(Said(pair.set().OpenDevice(pair.name(1), &device)), "VD_E_PROTOCOL") << "it is taken";
  EXPECT_EQ(device, nullptr);
  ASSERT_EQ(Said(pair.set().OpenDevice(pair.name(0), &device)), "NOERROR");
  EXPECT_EQ(Said(secondary.Close()), "VD_E_OPEN");
  VDC_Command* command = nullptr;
  EXPECT_EQ(Said(device->GetCommand(-1, &command)), "VD_E_ABORT");
  EXPECT_EQ(Said(pair.set().GetConfiguration(-1, &config)), "VD_E_ABORT");
}

TEST(ClassicSet, ABufferHandleLeadsToTheSameBytesInTheSecondary) {
  ClassicPair pair;
  pair.Create();
  pair.Configure();
  ClientVirtualDeviceSet secondary;
  ASSERT_EQ(Said(secondary.OpenInSecondary(pair.name(0))), "NOERROR");
  pair.OpenAll();
  AwaitedCommand read(vdi::CommandCode::kRead, pair.Buffer(), 512);
  Must(pair.engine_device().SendCommand(read.get()));
  VDC_Command* const command = pair.Next();
  unsigned int handle = 0;
  std::uint8_t* mapped = nullptr;

  ASSERT_EQ(Said(pair.set().GetBufferHandle(command->buffer, &handle)), "NOERROR");
  ASSERT_EQ(Said(secondary.MapBufferHandle(static_cast<int>(handle), &mapped)), "NOERROR");

  ASSERT_NE(mapped, command->buffer) << "mapped a second time";
  mapped[511] = 0x77;
  EXPECT_EQ(command->buffer[511], 0x77);
  MustBeOk(pair.device().CompleteCommand(command, ERROR_SUCCESS, 512, 0), "CompleteCommand");
  read.Await();
}

TEST(ClassicSet, RegisterDeviceClosedDoesNothing) {
  ClassicPair pair;
  pair.ToActive();

  pair.set().RegisterDeviceClosed();

  EXPECT_EQ(Said(pair.set().Close()), "VD_E_OPEN") << "the device is open as before";
}

}  // namespace
}  // namespace capstan::sqlvdi
