// Secondaries: processes that join a configured set (VDI specification, OpenInSecondary). Here they
// are further connections of the one test process; real ones are in tests/stress/vdi.
#include <cstring>
#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"
#include "vdi/client_device_set.h"

namespace capstan::vdi {
namespace {

using test::AwaitedCommand;
using test::DeviceSetPair;
using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::Must;
using test::Patience;

Result<std::unique_ptr<ClientDeviceSet>> Join(DeviceSetPair& pair, std::string_view name = "set") {
  return ClientDeviceSet::OpenInSecondary(pair.path(), name);
}

// Gets, checks the close record, and leaves the device finished.
void ExpectClosed(ClientDevice& device) {
  const auto end = device.GetCommand(Patience());
  ASSERT_THAT(end, IsOk());
  EXPECT_FALSE(end->has_value());
}

TEST(Secondary, JoinsAConfiguredSetAndKnowsItsConfiguration) {
  DeviceSetPair pair({.device_count = 2, .prefix_zone_size = 64});
  pair.Configure();

  const auto joined = Join(pair);

  ASSERT_THAT(joined, IsOk());
  const auto config = (*joined)->GetConfiguration(Deadline::Now());
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->device_count, 2U);
  EXPECT_EQ(config->prefix_zone_size, 64U);
  EXPECT_EQ(config->features, feature::kWriteMedia);
  EXPECT_EQ(config->buffer_area_size,
            Must(pair.client().GetConfiguration(Patience())).buffer_area_size);
}

TEST(Secondary, NeedsASetThatIsConfigured) {
  DeviceSetPair pair;
  for (const char* name : {"Set", "", "nobody"}) {
    const auto joined = Join(pair, name);
    EXPECT_THAT(joined, HasCode(Code::kFailedPrecondition)) << name;
    EXPECT_FALSE(joined.status().hint().empty()) << name;
  }
  EXPECT_THAT(Join(pair), HasCode(Code::kFailedPrecondition));
  pair.Begin();
  const auto early = Join(pair);
  EXPECT_THAT(early, HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(early, MessageHas("Configurable"));
  EXPECT_NE(early.status().hint().find("GetConfiguration"), std::string::npos);
  EXPECT_THAT(Join(pair, std::string(129, 'n')), HasCode(Code::kInvalidArgument));
}

TEST(Secondary, ASetThatWaitsForItsStatementIsNotConfigured) {
  DeviceSetPair pair;
  const auto waiting = Must(ClientDeviceSet::Create(pair.path(), "waiting", {.device_count = 1}));

  EXPECT_THAT(Join(pair, "waiting"), HasCode(Code::kFailedPrecondition));
}

TEST(Secondary, CannotJoinWhatIsOver) {
  DeviceSetPair pair;
  pair.Configure();
  pair.OpenAll();
  Must(pair.engine_device().CloseDevice());
  EXPECT_THAT(Join(pair), HasCode(Code::kFailedPrecondition)) << "terminated";

  DeviceSetPair other;
  other.Configure();
  other.engine().SignalAbort(Error(Code::kCancelled, "the test says so"));
  const auto late = Join(other);
  EXPECT_THAT(late, HasCode(Code::kAborted));
  EXPECT_THAT(late, MessageHas("the test says so"));
}

TEST(Secondary, NeedsAnEngine) {
  EXPECT_THAT(ClientDeviceSet::OpenInSecondary("/nowhere/vdi.sock", "set"),
              HasCode(Code::kUnavailable));
}

// The process model of VDI: the primary opens nothing, each secondary serves a device.
TEST(Secondary, ServesADeviceWhileThePrimaryLooksOn) {
  DeviceSetPair pair({.device_count = 2});
  pair.Configure();
  const auto first = Must(Join(pair));
  const auto second = Must(Join(pair));
  ClientDevice* const devices[] = {Must(first->OpenDevice("set")),
                                   Must(second->OpenDevice("set2"))};
  ServerDevice* const engine[] = {Must(pair.engine().OpenDevice("set", Patience())),
                                  Must(pair.engine().OpenDevice("set2", Patience()))};
  for (std::size_t i = 0; i < 2; ++i) {
    std::byte* const buffer = Must(pair.engine().AllocateBuffer(65536, 0));
    std::memset(buffer, static_cast<int>(i + 1), 512);
    AwaitedCommand write(CommandCode::kWrite, buffer, 512);
    Must(engine[i]->SendCommand(write.get()));
    const auto command = Must(devices[i]->GetCommand(Patience()));
    EXPECT_EQ(command->buffer[511], std::byte(i + 1));
    Must(devices[i]->CompleteCommand(command->id, CompletionCode::kSuccess, 512, 0));
    EXPECT_EQ(write.Await().bytes_transferred, 512U);
  }
  for (std::size_t i = 0; i < 2; ++i) {
    Must(engine[i]->CloseDevice());
    ExpectClosed(*devices[i]);
  }

  EXPECT_THAT(first->Close(), IsOk());
  EXPECT_THAT(second->Close(), IsOk());
  EXPECT_THAT(pair.client().Close(), IsOk());
  EXPECT_THAT(pair.engine().abort_reason(), IsOk());
  EXPECT_THAT(pair.engine().Close(), IsOk());
}

TEST(Secondary, ADeviceGoesToOneProcessOnly) {
  DeviceSetPair pair({.device_count = 2});
  pair.Configure();
  const auto other = Must(Join(pair));
  Must(other->OpenDevice("set"));

  const auto again = pair.client().OpenDevice("set");
  EXPECT_THAT(again, HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(again, MessageHas("open already"));
  EXPECT_THAT(pair.client().OpenDevice("nobody"), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(pair.client().OpenDevice("set2"), IsOk());
  EXPECT_THAT(other->OpenDevice("set2"), HasCode(Code::kAlreadyExists)) << "all are open";
  EXPECT_THAT(pair.client().OpenDevice("set"), HasCode(Code::kAlreadyExists));
}

TEST(Secondary, OfManyThatWantADeviceOneGetsIt) {
  DeviceSetPair pair({.device_count = 4});
  pair.Configure();
  std::vector<std::unique_ptr<ClientDeviceSet>> members;
  for (int i = 0; i < 4; ++i) {
    members.push_back(Must(Join(pair)));
  }
  std::atomic<int> opened{0};
  {
    std::vector<std::jthread> rivals;
    for (const auto& member : members) {
      rivals.emplace_back([&] {
        for (const std::string& name : pair.names()) {
          if (member->OpenDevice(name).ok()) {
            ++opened;
          }
        }
      });
    }
  }
  EXPECT_EQ(opened, 4);
}

TEST(Secondary, AnAbortByAnyoneReachesEveryone) {
  enum class Who { kEngine, kPrimary, kSecondary };
  for (const Who who : {Who::kEngine, Who::kPrimary, Who::kSecondary}) {
    DeviceSetPair pair({.device_count = 2});
    pair.Configure();
    const auto one = Must(Join(pair));
    const auto two = Must(Join(pair));
    ClientDevice* const device = Must(two->OpenDevice("set"));
    ClientDevice* const own = Must(pair.client().OpenDevice("set2"));
    auto waiting =
        std::async(std::launch::async, [&] { return device->GetCommand(Patience()).status(); });
    auto primary =
        std::async(std::launch::async, [&] { return own->GetCommand(Patience()).status(); });

    switch (who) {
      case Who::kEngine:
        pair.engine().SignalAbort(Error(Code::kCancelled, "enough"));
        break;
      case Who::kPrimary:
        pair.client().SignalAbort();
        break;
      case Who::kSecondary:
        one->SignalAbort();
        break;
    }

    EXPECT_THAT(waiting.get(), HasCode(Code::kAborted));
    EXPECT_THAT(primary.get(), HasCode(Code::kAborted));
    EXPECT_THAT(pair.engine().OpenDevice("set2", Patience()), HasCode(Code::kAborted));
    EXPECT_THAT(two->Close(), IsOk());
  }
}

TEST(Secondary, ThatClosesWithADeviceOpenAbortsTheSet) {
  DeviceSetPair pair({.device_count = 2});
  pair.Configure();
  auto other = Must(Join(pair));
  Must(other->OpenDevice("set2"));

  EXPECT_THAT(other->Close(), HasCode(Code::kAlreadyExists));

  EXPECT_THAT(pair.engine().OpenDevice("set", Patience()), HasCode(Code::kAborted));
  EXPECT_THAT(pair.engine().abort_reason(), MessageHas(std::to_string(::getpid())));
}

TEST(Secondary, ThatOnlyLooksOnMayComeAndGo) {
  DeviceSetPair pair;
  pair.Configure();
  pair.OpenAll();
  for (int i = 0; i < 200; ++i) {
    const auto visitor = Must(Join(pair));
    ASSERT_THAT(visitor->OpenDevice("set"), HasCode(Code::kAlreadyExists));
    ASSERT_THAT(visitor->Close(), IsOk());
  }

  AwaitedCommand flush(CommandCode::kFlush);
  ASSERT_THAT(pair.engine_device().SendCommand(flush.get()), IsOk());
  const auto command = Must(pair.client_device().GetCommand(Patience()));
  Must(pair.client_device().CompleteCommand(command->id, CompletionCode::kSuccess, 0, 0));
  EXPECT_EQ(flush.Await().completion_code, CompletionCode::kSuccess);
}

TEST(Secondary, AtLeast64FitBesideThePrimary) {
  DeviceSetPair pair({.device_count = 64});
  pair.Configure();
  std::vector<std::unique_ptr<ClientDeviceSet>> members;
  auto joined = Join(pair);
  for (; joined.ok(); joined = Join(pair)) {
    members.push_back(std::move(joined).value());
  }

  EXPECT_THAT(joined, HasCode(Code::kResourceExhausted));
  EXPECT_EQ(members.size(), 128U);
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_THAT(members[i]->OpenDevice(pair.names()[i]), IsOk());
    EXPECT_THAT(pair.engine().OpenDevice(pair.names()[i], Patience()), IsOk());
  }
  EXPECT_THAT(pair.client().OpenDevice("set"), HasCode(Code::kAlreadyExists));
}

TEST(PrimaryClose, CountsTheDevicesOfEveryProcess) {
  DeviceSetPair pair({.device_count = 2});
  pair.Configure();
  const auto other = Must(Join(pair));
  ClientDevice* const device = Must(other->OpenDevice("set"));

  EXPECT_THAT(pair.client().Close(), HasCode(Code::kAlreadyExists));

  EXPECT_THAT(device->GetCommand(Patience()), HasCode(Code::kAborted));
}

TEST(PrimaryClose, OfASetThatOthersHaveServedToItsEndIsInOrder) {
  DeviceSetPair pair;
  pair.Configure();
  const auto other = Must(Join(pair));
  ClientDevice* const device = Must(other->OpenDevice("set"));
  Must(Must(pair.engine().OpenDevice("set", Patience()))->CloseDevice());
  ExpectClosed(*device);

  EXPECT_THAT(other->OpenDevice("set"), HasCode(Code::kFailedPrecondition))
      << "normally terminated";
  EXPECT_THAT(pair.client().Close(), IsOk());
  EXPECT_THAT(other->GetConfiguration(Deadline::Now()), IsOk());
}

TEST(PrimaryClose, WithoutAnyDeviceOpenEndsTheSetForAll) {
  DeviceSetPair pair;
  pair.Configure();
  const auto other = Must(Join(pair));

  EXPECT_THAT(pair.client().Close(), IsOk());

  while (other->abort_reason().ok()) {
    std::this_thread::yield();
  }
  EXPECT_THAT(other->OpenDevice("set"), HasCode(Code::kAborted));
}

TEST(BufferHandles, NameTheSameBytesInEveryProcess) {
  DeviceSetPair pair;
  pair.Configure();
  pair.OpenAll();
  const auto other = Must(Join(pair));
  std::byte* const buffer = Must(pair.engine().AllocateBuffer(65536, 0));
  AwaitedCommand read(CommandCode::kRead, buffer, 4096);
  Must(pair.engine_device().SendCommand(read.get()));
  const auto command = Must(pair.client_device().GetCommand(Patience()));

  const auto handle = pair.client().GetBufferHandle(command->buffer);
  ASSERT_THAT(handle, IsOk());
  EXPECT_NE(*handle, 0U);
  const auto mapped = other->MapBufferHandle(*handle);
  ASSERT_THAT(mapped, IsOk());
  EXPECT_NE(*mapped, command->buffer) << "an address of its own";
  std::memset(*mapped, 0x3c, 4096);
  Must(pair.client_device().CompleteCommand(command->id, CompletionCode::kSuccess, 4096, 0));

  read.Await();
  EXPECT_EQ(buffer[4095], std::byte{0x3c});
  EXPECT_EQ(Must(pair.client().MapBufferHandle(*handle)), command->buffer);
  EXPECT_EQ(Must(other->GetBufferHandle(*mapped)), *handle);
}

TEST(BufferHandles, AreCheckedBothWays) {
  DeviceSetPair pair;
  EXPECT_THAT(pair.client().GetBufferHandle(nullptr), HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(pair.client().MapBufferHandle(1), HasCode(Code::kFailedPrecondition));
  pair.Configure(/*buffers=*/2);
  auto& client = pair.client();
  std::byte* const data = Must(client.MapBufferHandle(1));
  std::byte foreign{};

  EXPECT_THAT(client.GetBufferHandle(nullptr), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(client.GetBufferHandle(&foreign), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(client.GetBufferHandle(data + 512), HasCode(Code::kInvalidArgument)) << "unaligned";
  EXPECT_THAT(client.GetBufferHandle(data + 2 * DeviceSetPair::kBufferSize),
              HasCode(Code::kInvalidArgument));
  EXPECT_THAT(client.GetBufferHandle(data - 1), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(client.GetBufferHandle(data + DeviceSetPair::kBufferSize), IsOk());
  EXPECT_THAT(client.MapBufferHandle(0), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(client.MapBufferHandle(2), HasCode(Code::kInvalidArgument)) << "unaligned";
  EXPECT_THAT(client.MapBufferHandle(1 + 2 * 128), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(client.MapBufferHandle(1 << 28 | 1), HasCode(Code::kInvalidArgument)) << "no area";
  EXPECT_THAT(client.MapBufferHandle(0xFFFFFFFF), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(client.MapBufferHandle(1 + 128), IsOk());

  Must(client.Close());
  EXPECT_THAT(client.MapBufferHandle(1), HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(client.GetBufferHandle(data), HasCode(Code::kFailedPrecondition));
}

}  // namespace
}  // namespace capstan::vdi
