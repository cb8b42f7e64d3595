// What a broken or hostile engine once did to a client, one test per defect that fuzzing found.
#include "tests/fuzz/hostile_engine.h"

#include <atomic>
#include <future>

#include <gtest/gtest.h>

#include "tests/support/process_footprint.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "vdi/client_device_set.h"

namespace capstan::vdi {
namespace {

using fuzz::Forgery;
using fuzz::HostileEngine;
using fuzz::Step;
using test::HasCode;
using test::IsOk;
using test::Must;
using test::Patience;

constexpr std::uint8_t kCloseMessage = 1;  // HostileEngine::Say

class HostileEngineTest : public testing::Test {
 protected:
  void Create(const HostileEngine::Answer& answer = {}) {
    engine_.AwaitCreate(answer);
    set_ = ClientDeviceSet::Create(folder_.Under("s"), "set", {.device_count = 1});
    engine_.Connected();
  }
  // To a client that has opened its device.
  ClientDevice& Open() {
    Create();
    engine_.Configure(1, {});
    Must((*set_)->GetConfiguration(Patience()));
    return *Must((*set_)->OpenDevice("0"));
  }

  test::TemporaryDirectory folder_;
  HostileEngine engine_{folder_.Under("s")};
  Result<std::unique_ptr<ClientDeviceSet>> set_ = Error(Code::kInternal, "not created");
};

// The engine said Close and no more, and its device's ring stayed empty: nobody listened for its
// death any more, so GetCommand waited for ever.
TEST_F(HostileEngineTest, LeavingWithoutClosingADeviceEndsItsWait) {
  ClientDevice& device = Open();
  auto got = std::async(std::launch::async, [&] { return device.GetCommand(Patience()); });

  engine_.Say({.which = kCloseMessage});

  EXPECT_THAT(got.get(), HasCode(Code::kAborted));
}

TEST_F(HostileEngineTest, LeavingBeforeTheConfigurationEndsItsWait) {
  Create();
  auto got = std::async(std::launch::async, [&] { return (*set_)->GetConfiguration(Patience()); });

  engine_.Say({.which = kCloseMessage});

  EXPECT_THAT(got.get(), HasCode(Code::kAborted));
}

// The number of devices was looked up in the segment after its size had been checked: a later lie
// made the client write behind its end.
TEST_F(HostileEngineTest, TheSegmentCannotGrowDevices) {
  Create();
  engine_.area().header().device_count = 64;
  engine_.Configure(64, {});

  EXPECT_THAT((*set_)->GetConfiguration(Patience()), HasCode(Code::kAborted));
  EXPECT_THAT((*set_)->abort_reason(), HasCode(Code::kDataLoss));
}

// Whose a device is was looked up in the segment alone: when the engine reset it, opening the
// device again destroyed the object that another thread was using.
TEST_F(HostileEngineTest, ADeviceThatIsOpenHereCannotBeOpenedAgain) {
  ClientDevice& device = Open();
  engine_.area().device(0).client_state = kClientClosed;

  EXPECT_THAT((*set_)->OpenDevice("0"), HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(device.GetCommand(Deadline::Now()), HasCode(Code::kDeadlineExceeded));
}

// Where there is room for one descriptor, alignment makes room for two: each message with two
// leaked both.
TEST_F(HostileEngineTest, DescriptorsThatNobodyAskedForAreClosed) {
  Create();
  ASSERT_GE(fuzz::StrayDescriptor(), 0);  // opened once, and kept
  const auto before = test::ProcessFootprint::Now();

  for (int i = 0; i < 20; ++i) {
    engine_.Say({.which = 2 * 16 + 2, .where = 0, .value = 0});  // Created, with two of them
  }
  engine_.Say({.which = 0});  // Abort: all before it was read

  EXPECT_THAT((*set_)->GetConfiguration(Patience()), HasCode(Code::kAborted));
  EXPECT_EQ(test::LeakedSince(before), "");
}

// Every page of the buffer area is touched when it is mapped. An area of a terabyte of which the
// engine had reserved nothing took all memory of the machine.
TEST_F(HostileEngineTest, BuffersThatAreNotReservedAreRefused) {
  Create();
  engine_.Configure(1, {.which = 32 * static_cast<int>(Forgery::kSparseGiant) + 4 * 3});

  EXPECT_THAT((*set_)->GetConfiguration(Patience()), HasCode(Code::kAborted));
}

// A refusal with any number is an error, and no more than that.
TEST_F(HostileEngineTest, ARefusalMayHaveAnyCode) {
  Step refusal;
  refusal.value = 0x80000001;
  refusal.where = 0xFFFF;
  Create({.refuse = true, .step = refusal});

  EXPECT_THAT(set_, testing::Not(IsOk()));
  EXPECT_FALSE(set_.status().ToString().empty());
}

}  // namespace
}  // namespace capstan::vdi
