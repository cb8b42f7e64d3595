#include "agent/agent.h"

#include <cerrno>
#include <functional>
#include <thread>
#include <vector>

#include "agent/abi_plugin.h"
#include "tests/support/faulty_media.h"
#include "tests/support/media_request.h"
#include "tests/support/memory_plugin.h"
#include "tests/support/scripted_device_set.h"
#include "tests/support/status_matchers.h"

namespace capstan::agent {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;
using Call = test::MediaFault::Call;
using vdi::CommandCode;
using vdi::CompletionCode;

constexpr char kTarget[] = "mem:a";

class AgentTest : public testing::Test {
 protected:
  AgentTest() { UsePlan({}); }

  // The faults that the plugin is to show. Before the first order.
  void UsePlan(std::vector<test::MediaFault> plan) {
    test::ForgetMemoryMedia();
    agent_.reset();
    plugin_ = std::make_unique<test::FaultyMedia>(
        WrapPlugin(test::MemoryPlugin(), "memory").value(), std::move(plan));
    agent_ = std::make_unique<Agent>(*plugin_, engine_.creator());
    agent_->SetRendezvousPath("/run/test.vdi");
  }

  static DeviceSetOrder Order(capstan_open_mode mode,
                              std::vector<std::string> targets = {kTarget}) {
    DeviceSetOrder order{.set_name = "set", .mode = mode};
    for (std::size_t index = 0; index < targets.size(); ++index) {
      order.devices.push_back({.device_name = index == 0 ? "set" : "set" + std::to_string(index),
                               .target = targets[index],
                               .token = "token"});
    }
    return order;
  }

  CompletionCode Write(std::size_t device = 0) {
    const auto done = engine_.Run(device, {.code = CommandCode::kWrite,
                                           .size = static_cast<std::uint32_t>(buffer_.size()),
                                           .buffer = buffer_.data()});
    EXPECT_TRUE(done.has_value());
    return done ? done->code : CompletionCode::kInvalidHandle;
  }
  CompletionCode Run(CommandCode code, std::size_t device = 0) {
    const auto done = engine_.Run(device, {.code = code});
    EXPECT_TRUE(done.has_value());
    return done ? done->code : CompletionCode::kInvalidHandle;
  }
  void OpenForWriting(std::vector<std::string> targets = {kTarget}) {
    ASSERT_THAT(agent_->OpenDeviceSet(Order(CAPSTAN_OPEN_REPLACE, std::move(targets))).status,
                IsOk());
    engine_.Configure();
  }

  test::ScriptedEngine engine_;
  test::MediaBuffer buffer_{65536, 9};
  std::unique_ptr<test::FaultyMedia> plugin_;
  std::unique_ptr<Agent> agent_;
};

TEST_F(AgentTest, WritesAMediumToItsEnd) {
  OpenForWriting();

  EXPECT_EQ(Write(), CompletionCode::kSuccess);
  EXPECT_EQ(Run(CommandCode::kFlush), CompletionCode::kSuccess);
  EXPECT_FALSE(test::MemoryMediumExists(kTarget));
  EXPECT_EQ(Run(CommandCode::kComplete), CompletionCode::kSuccess);
  engine_.CloseDevices();

  ASSERT_TRUE(engine_.WaitForClose());
  const auto bytes = test::MemoryMediumBytes(kTarget);
  EXPECT_TRUE(
      std::equal(bytes.begin(), bytes.end(), buffer_.bytes().begin(), buffer_.bytes().end()));
  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
}

TEST_F(AgentTest, CreatesTheSetWithThePluginsWishes) {
  OpenForWriting({"mem:a", "mem:b", "mem:c"});

  const vdi::DeviceSetConfig wishes = engine_.wishes();
  EXPECT_EQ(wishes.device_count, 3U);
  EXPECT_EQ(wishes.features, vdi::feature::kRandomAccess | vdi::feature::kRequestComplete);
  EXPECT_EQ(wishes.alignment, 4096U);
  EXPECT_EQ(engine_.rendezvous_path(), "/run/test.vdi");
}

TEST_F(AgentTest, ReadsToTheEndOfData) {
  OpenForWriting();
  Write();
  Run(CommandCode::kComplete);
  engine_.CloseDevices();
  ASSERT_TRUE(engine_.WaitForClose());
  test::ScriptedEngine reading;
  Agent reader(*plugin_, reading.creator());
  const test::MediaBuffer read(2 * buffer_.size());

  ASSERT_THAT(reader.OpenDeviceSet(Order(CAPSTAN_OPEN_READ)).status, IsOk());
  reading.Configure();
  const auto done = reading.Run(0, {.code = CommandCode::kRead,
                                    .size = static_cast<std::uint32_t>(read.size()),
                                    .buffer = read.data()});
  reading.CloseDevices();

  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(done->code, CompletionCode::kHandleEof);
  EXPECT_EQ(done->bytes, buffer_.size());
  EXPECT_TRUE(reading.WaitForClose());
  EXPECT_THAT(reader.CloseDeviceSet("set"), IsOk());
  EXPECT_EQ(reader.Load().size(), 1U) << "its last report";
  EXPECT_EQ(reader.Load().size(), 0U);
}

// One set that both reads and writes: what is there is looked at before more is written behind it.
TEST_F(AgentTest, AppendsToAMediumThatItReads) {
  OpenForWriting();
  Write();
  Run(CommandCode::kComplete);
  engine_.CloseDevices();
  ASSERT_TRUE(engine_.WaitForClose());
  test::ScriptedEngine appending;
  Agent appender(*plugin_, appending.creator());
  const test::MediaBuffer read(buffer_.size());
  const auto size = static_cast<std::uint32_t>(buffer_.size());

  ASSERT_THAT(appender.OpenDeviceSet(Order(CAPSTAN_OPEN_APPEND)).status, IsOk());
  appending.Configure();
  const auto got =
      appending.Run(0, {.code = CommandCode::kRead, .size = size, .buffer = read.data()});
  const auto put = appending.Run(
      0, {.code = CommandCode::kWrite, .size = size, .position = size, .buffer = buffer_.data()});
  const auto done = appending.Run(0, {.code = CommandCode::kComplete});
  appending.CloseDevices();

  ASSERT_TRUE(appending.WaitForClose());
  ASSERT_TRUE(got && put && done);
  EXPECT_EQ(got->code, CompletionCode::kSuccess);
  EXPECT_EQ(put->code, CompletionCode::kSuccess);
  EXPECT_EQ(done->code, CompletionCode::kSuccess);
  EXPECT_EQ(test::MemoryMediumBytes(kTarget).size(), 2 * buffer_.size());
}

TEST_F(AgentTest, AppendThatTheEngineGaveUpIsUndone) {
  OpenForWriting();
  Write();
  Run(CommandCode::kComplete);
  engine_.CloseDevices();
  ASSERT_TRUE(engine_.WaitForClose());
  test::ScriptedEngine appending;
  Agent appender(*plugin_, appending.creator());
  const auto size = static_cast<std::uint32_t>(buffer_.size());

  ASSERT_THAT(appender.OpenDeviceSet(Order(CAPSTAN_OPEN_APPEND)).status, IsOk());
  appending.Configure();
  ASSERT_TRUE(appending.Run(
      0, {.code = CommandCode::kWrite, .size = size, .position = size, .buffer = buffer_.data()}));
  EXPECT_THAT(appender.CloseDeviceSet("set"), IsOk());

  EXPECT_EQ(test::MemoryMediumBytes(kTarget).size(), buffer_.size());
  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
}

TEST_F(AgentTest, MissingMediumIsNotAppendedTo) {
  const OrderOutcome outcome = agent_->OpenDeviceSet(Order(CAPSTAN_OPEN_APPEND));

  EXPECT_EQ(outcome.status.os_error(), ENOENT);
  EXPECT_EQ(outcome.target, kTarget);
}

TEST_F(AgentTest, MediumThatDoesNotOpenFailsTheOrderAndUndoesTheOthers) {
  UsePlan({{.call = Call::kOpen, .number = 2, .os_error = EACCES}});

  const OrderOutcome outcome =
      agent_->OpenDeviceSet(Order(CAPSTAN_OPEN_REPLACE, {"mem:a", "mem:b"}));

  EXPECT_THAT(outcome.status, HasCode(Code::kPermissionDenied));
  EXPECT_EQ(outcome.status.os_error(), EACCES);
  EXPECT_EQ(outcome.target, "mem:b");
  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
}

TEST_F(AgentTest, SetThatCannotBeCreatedFailsTheOrder) {
  engine_.FailCreate(Error(Code::kUnavailable, "nobody listens"));

  const OrderOutcome outcome = agent_->OpenDeviceSet(Order(CAPSTAN_OPEN_REPLACE));

  EXPECT_THAT(outcome.status, HasCode(Code::kUnavailable));
  EXPECT_EQ(outcome.target, "");
  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
}

TEST_F(AgentTest, RefusesOrdersThatMakeNoSense) {
  EXPECT_THAT(agent_->OpenDeviceSet(Order(CAPSTAN_OPEN_READ, {})).status,
              HasCode(Code::kInvalidArgument));
  DeviceSetOrder order = Order(CAPSTAN_OPEN_REPLACE);
  order.devices[0].device_name = "another";
  EXPECT_THAT(agent_->OpenDeviceSet(order).status, HasCode(Code::kInvalidArgument));
  for (const auto mode : {CAPSTAN_OPEN_READ, CAPSTAN_OPEN_APPEND}) {
    DeviceSetOrder keeping = Order(mode);
    keeping.keep = true;
    EXPECT_THAT(agent_->OpenDeviceSet(keeping).status, HasCode(Code::kInvalidArgument));
    DeviceSetOrder resuming = Order(mode);
    resuming.resume = true;
    EXPECT_THAT(agent_->OpenDeviceSet(resuming).status, HasCode(Code::kInvalidArgument));
  }
}

TEST_F(AgentTest, RefusesASetThatIsOpen) {
  OpenForWriting();

  EXPECT_THAT(agent_->OpenDeviceSet(Order(CAPSTAN_OPEN_REPLACE, {"mem:b"})).status,
              HasCode(Code::kAlreadyExists));
}

TEST_F(AgentTest, WriteErrorReachesTheEngineAndTheReport) {
  UsePlan({{.call = Call::kWrite, .number = 2, .os_error = ENOSPC, .completion_code = 112}});
  OpenForWriting();

  EXPECT_EQ(Write(), CompletionCode::kSuccess);
  EXPECT_EQ(Write(), CompletionCode::kDiskFull);

  const auto loads = agent_->Load();
  ASSERT_EQ(loads.size(), 1U);
  EXPECT_EQ(loads[0].bytes, buffer_.size());
  EXPECT_EQ(loads[0].errors, 1U);
  EXPECT_EQ(loads[0].last_error, "28(No space left on device)");
  EXPECT_EQ(loads[0].status.mode, "memory");
  EXPECT_EQ(loads[0].target, kTarget);
}

TEST_F(AgentTest, RefusedSubmitCompletesWithTheFittingCode) {
  UsePlan({{.call = Call::kSubmit, .number = 1, .os_error = EFBIG},
           {.call = Call::kSubmit, .number = 2, .os_error = EIO}});
  OpenForWriting();

  EXPECT_EQ(Write(), CompletionCode::kFileTooLarge);
  EXPECT_EQ(Write(), CompletionCode::kWriteFault);
}

TEST_F(AgentTest, CommandsThatNoPluginKnowsAreNotSupported) {
  OpenForWriting();

  EXPECT_EQ(Run(CommandCode::kSnapshot), CompletionCode::kNotSupported);
  EXPECT_EQ(Run(CommandCode::kWriteMark), CompletionCode::kNotSupported);
}

TEST_F(AgentTest, CloseWithoutCompleteDiscards) {
  OpenForWriting();
  Write();

  engine_.CloseDevices();

  ASSERT_TRUE(engine_.WaitForClose());
  EXPECT_FALSE(test::MemoryMediumExists(kTarget));
  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
}

// A striped set is whole or nothing: one family that failed takes the other with it.
TEST_F(AgentTest, OneIncompleteDeviceDiscardsTheWholeSet) {
  UsePlan({{.call = Call::kComplete, .number = 2, .os_error = EIO}});
  OpenForWriting({"mem:a", "mem:b"});
  Write(0);
  Write(1);
  EXPECT_EQ(Run(CommandCode::kComplete, 0), CompletionCode::kSuccess);
  EXPECT_NE(Run(CommandCode::kComplete, 1), CompletionCode::kSuccess);

  engine_.CloseDevices();

  ASSERT_TRUE(engine_.WaitForClose());
  EXPECT_FALSE(test::MemoryMediumExists("mem:a"));
  EXPECT_FALSE(test::MemoryMediumExists("mem:b"));
  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
}

TEST_F(AgentTest, AbortByALivingEngineDiscards) {
  OpenForWriting();
  Write();

  engine_.Abort();

  ASSERT_TRUE(engine_.WaitForClose());
  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
}

TEST_F(AgentTest, VanishedEngineLeavesTheConstructionForRecovery) {
  OpenForWriting();
  Write();

  agent_->EngineVanished();

  EXPECT_TRUE(engine_.aborted());
  EXPECT_EQ(test::MemoryConstructionCount(), 1U);
  EXPECT_THAT(plugin_->Recover(kTarget, "token", CAPSTAN_RECOVER_COMMIT), IsOk());
  EXPECT_TRUE(test::MemoryMediumExists(kTarget));
}

TEST_F(AgentTest, WhatIsToBeKeptIsKeptHoweverTheSetEnds) {
  const auto ways = std::vector<std::function<void()>>{
      [&] { engine_.Abort(); },
      [&] { engine_.CloseDevices(); },
      [&] { EXPECT_THAT(agent_->CloseDeviceSet("set"), IsOk()); },
      [&] { agent_->EngineVanished(); },
      [&] { agent_->Stop("a test says so"); },
  };
  for (const auto& end : ways) {
    UsePlan({});
    DeviceSetOrder order = Order(CAPSTAN_OPEN_REPLACE);
    order.keep = true;
    ASSERT_THAT(agent_->OpenDeviceSet(order).status, IsOk());
    engine_.Configure();
    Write();

    end();

    ASSERT_TRUE(engine_.WaitForClose());
    EXPECT_EQ(test::MemoryConstructionCount(), 1U);
    EXPECT_FALSE(test::MemoryMediumExists(kTarget));
    agent_.reset();
    engine_.Renew();
  }
}

TEST_F(AgentTest, WhatIsToBeKeptIsDoneWhereItGotWhole) {
  DeviceSetOrder order = Order(CAPSTAN_OPEN_CREATE);
  order.keep = true;
  ASSERT_THAT(agent_->OpenDeviceSet(order).status, IsOk());
  engine_.Configure();
  Write();
  Run(CommandCode::kComplete);
  engine_.CloseDevices();

  ASSERT_TRUE(engine_.WaitForClose());
  EXPECT_TRUE(test::MemoryMediumExists(kTarget));
  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
}

TEST_F(AgentTest, GoesOnWithWhatWasKept) {
  DeviceSetOrder order = Order(CAPSTAN_OPEN_REPLACE);
  order.keep = true;
  ASSERT_THAT(agent_->OpenDeviceSet(order).status, IsOk());
  engine_.Configure();
  Write();
  engine_.Abort();
  ASSERT_TRUE(engine_.WaitForClose());
  test::ScriptedEngine resuming;
  Agent resumer(*plugin_, resuming.creator());
  const test::MediaBuffer read(buffer_.size());
  const auto size = static_cast<std::uint32_t>(buffer_.size());

  order.resume = true;
  ASSERT_THAT(resumer.OpenDeviceSet(order).status, IsOk());
  resuming.Configure();
  const auto got =
      resuming.Run(0, {.code = CommandCode::kRead, .size = size, .buffer = read.data()});
  const auto put = resuming.Run(
      0, {.code = CommandCode::kWrite, .size = size, .position = size, .buffer = buffer_.data()});
  const auto done = resuming.Run(0, {.code = CommandCode::kComplete});
  resuming.CloseDevices();

  ASSERT_TRUE(resuming.WaitForClose());
  ASSERT_TRUE(got && put && done);
  EXPECT_EQ(got->code, CompletionCode::kSuccess);
  EXPECT_TRUE(std::equal(read.bytes().begin(), read.bytes().end(), buffer_.bytes().begin()));
  EXPECT_EQ(test::MemoryMediumBytes(kTarget).size(), 2 * buffer_.size());
}

TEST_F(AgentTest, NothingToGoOnWithFailsTheOrder) {
  DeviceSetOrder order = Order(CAPSTAN_OPEN_REPLACE);
  order.resume = true;

  const OrderOutcome outcome = agent_->OpenDeviceSet(order);

  EXPECT_EQ(outcome.status.os_error(), ENOENT);
  EXPECT_EQ(outcome.target, kTarget);
}

// Nothing was written, so an order that fails leaves nothing of a new medium, and of what was left
// to be gone on with all.
TEST_F(AgentTest, FailedOrderLeavesWhatItFound) {
  DeviceSetOrder order = Order(CAPSTAN_OPEN_REPLACE);
  order.keep = true;
  engine_.FailCreate(Error(Code::kUnavailable, "nobody listens"));
  EXPECT_THAT(agent_->OpenDeviceSet(order).status, HasCode(Code::kUnavailable));
  EXPECT_EQ(test::MemoryConstructionCount(), 0U);

  ASSERT_THAT(plugin_->Open({.mode = CAPSTAN_OPEN_REPLACE, .target = kTarget, .token = "token"})
                  .value()
                  ->Close(CAPSTAN_OUTCOME_KEEP),
              IsOk());
  order.resume = true;
  for (const bool keep : {true, false}) {
    order.keep = keep;
    EXPECT_THAT(agent_->OpenDeviceSet(order).status, HasCode(Code::kUnavailable));
    EXPECT_EQ(test::MemoryConstructionCount(), 1U);
  }
}

// The device set hears of the engine's death on its own connection.
TEST_F(AgentTest, DeathOfTheEngineLeavesTheConstructionForRecovery) {
  OpenForWriting();
  Write();

  engine_.Die();

  ASSERT_TRUE(engine_.WaitForClose());
  EXPECT_EQ(test::MemoryConstructionCount(), 1U);
}

TEST_F(AgentTest, CloseDeviceSetEndsASetThatNobodyConfigured) {
  ASSERT_THAT(agent_->OpenDeviceSet(Order(CAPSTAN_OPEN_REPLACE)).status, IsOk());

  EXPECT_THAT(agent_->CloseDeviceSet("set"), IsOk());
  EXPECT_THAT(agent_->CloseDeviceSet("set"), IsOk());
  EXPECT_THAT(agent_->CloseDeviceSet("never was"), IsOk());

  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
  EXPECT_EQ(agent_->Load().size(), 1U) << "its last report";
  EXPECT_EQ(agent_->Load().size(), 0U);
}

TEST_F(AgentTest, StopDiscardsAndRefusesNewOrders) {
  OpenForWriting();
  Write();

  agent_->Stop("a test says so");

  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
  EXPECT_THAT(agent_->OpenDeviceSet(Order(CAPSTAN_OPEN_REPLACE)).status,
              HasCode(Code::kUnavailable));
}

// The engine is done with a set when it has closed it; our end closes a moment later.
TEST_F(AgentTest, TargetOfASetThatIsEndingIsWaitedFor) {
  OpenForWriting();
  Write();
  std::jthread ending([&] { engine_.CloseDevices(); });
  DeviceSetOrder next = Order(CAPSTAN_OPEN_REPLACE);
  next.set_name = next.devices[0].device_name = "next";
  next.devices[0].token = "token-2";

  EXPECT_THAT(agent_->OpenDeviceSet(next).status, IsOk());
}

TEST_F(AgentTest, FailedCloseOfAMediumDoesNotKeepTheSetOpen) {
  UsePlan({{.call = Call::kClose, .number = 1, .os_error = EIO}});
  OpenForWriting();
  Write();
  Run(CommandCode::kComplete);

  engine_.CloseDevices();

  EXPECT_TRUE(engine_.WaitForClose());
}

TEST_F(AgentTest, RateIsThatOfTheLastInterval) {
  OpenForWriting();
  agent_->Load();
  Write();

  EXPECT_GT(agent_->Load()[0].bytes_per_second, 0U);
  EXPECT_EQ(agent_->Load()[0].bytes_per_second, 0U);
}

}  // namespace
}  // namespace capstan::agent
