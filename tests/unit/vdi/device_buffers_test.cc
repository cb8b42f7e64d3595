// The buffers of a set through both ends: several sizes, several areas, every process.
#include <cstring>
#include <future>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"
#include "vdi/control_message.h"
#include "vdi/listening_socket.h"
#include "vdi/segment_layout.h"
#include "vdi/shared_memory.h"
#include "vdi/spsc_ring.h"
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

// Writes through `device`, and checks what the client sees of the buffer.
void ExpectWrite(ServerDevice& device, ClientDevice& client, std::byte* buffer, std::uint32_t size,
                 std::uint32_t prefix, std::uint32_t alignment) {
  std::memset(buffer, 0x6b, size);
  AwaitedCommand write(CommandCode::kWrite, buffer, size);
  ASSERT_THAT(device.SendCommand(write.get()), IsOk());
  const auto command = client.GetCommand(Patience());
  ASSERT_THAT(command, IsOk());
  const ClientCommand& order = **command;
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(order.buffer) % alignment, 0U);
  EXPECT_EQ(order.buffer[0], std::byte{0x6b});
  EXPECT_EQ(order.buffer[size - 1], std::byte{0x6b});
  std::memset(order.buffer - prefix, 1, prefix);  // the prefix zone is the client's own
  ASSERT_THAT(client.CompleteCommand(order.id, CompletionCode::kSuccess, size, 0), IsOk());
  EXPECT_EQ(write.Await().bytes_transferred, size);
}

TEST(SetBuffers, RequestsOfDifferentSizesAreSummedIntoOneArea) {
  DeviceSetPair pair({.prefix_zone_size = 100});
  pair.Begin();
  auto& engine = pair.engine();
  Must(engine.RequestBuffers(65536, 0, 2));
  Must(engine.RequestBuffers(512, 0, 3));
  Must(engine.RequestBuffers(65536, 0, 1));
  Must(engine.RequestBuffers(4096, 65536, 1));
  EXPECT_EQ(Must(engine.QueryAvailableBuffers(512, 0)), 0U) << "not yet";
  Must(engine.EndConfiguration(pair.names()));
  Must(pair.client().GetConfiguration(Patience()));
  pair.OpenAll();

  // Data at multiples of 4096, its prefix zone rounded up in front; the strict one at 64 KiB.
  constexpr std::uint64_t kLoose = 3 * (4096 + 65536) + 3 * (4096 + 4096);
  constexpr std::uint64_t kStrictStart = 4 * 65536;
  static_assert(kLoose <= kStrictStart);
  EXPECT_EQ(engine.GetConfiguration().buffer_area_size, kStrictStart + 2 * 65536);
  EXPECT_EQ(Must(engine.QueryAvailableBuffers(65536, 0)), 3U);
  EXPECT_EQ(Must(engine.QueryAvailableBuffers(4096, 0)), 4U);
  EXPECT_EQ(Must(engine.QueryAvailableBuffers(512, 0)), 7U);
  EXPECT_EQ(Must(engine.QueryAvailableBuffers(512, 65536)), 1U);
  EXPECT_EQ(Must(engine.QueryAvailableBuffers(131072, 0)), 0U);

  ExpectWrite(pair.engine_device(), pair.client_device(), Must(engine.AllocateBuffer(65536, 0)),
              65536, 100, 4096);
  ExpectWrite(pair.engine_device(), pair.client_device(), Must(engine.AllocateBuffer(512, 0)), 512,
              100, 4096);
  ExpectWrite(pair.engine_device(), pair.client_device(), Must(engine.AllocateBuffer(512, 65536)),
              4096, 100, 65536);
}

TEST(SetBuffers, ATransferMustFitItsOwnBuffer) {
  DeviceSetPair pair;
  pair.Begin();
  auto& engine = pair.engine();
  Must(engine.RequestBuffers(65536, 0, 1));
  Must(engine.RequestBuffers(512, 0, 1));
  Must(engine.EndConfiguration(pair.names()));
  Must(pair.client().GetConfiguration(Patience()));
  pair.OpenAll();

  AwaitedCommand write(CommandCode::kWrite, Must(engine.AllocateBuffer(512, 0)), 1024);

  EXPECT_THAT(pair.engine_device().SendCommand(write.get()), HasCode(Code::kInvalidArgument));
}

TEST(SetBuffers, AFurtherAreaReachesEveryProcess) {
  DeviceSetPair pair({.device_count = 2, .prefix_zone_size = 64});
  pair.Configure(/*buffers=*/1);
  auto& engine = pair.engine();
  const auto early = Must(ClientDeviceSet::OpenInSecondary(pair.path(), "set"));
  ClientDevice* const first = Must(pair.client().OpenDevice("set"));
  ServerDevice* const engine_first = Must(engine.OpenDevice("set", Patience()));
  Must(engine.AllocateBuffer(65536, 0));

  Must(engine.RequestBuffers(512, 65536, 2));

  EXPECT_EQ(Must(engine.QueryAvailableBuffers(512, 0)), 2U);
  std::byte* const buffer = Must(engine.AllocateBuffer(512, 0));
  ExpectWrite(*engine_first, *first, buffer, 512, 64, 65536);

  // Also one that comes later, and maps it by handle.
  const auto late = Must(ClientDeviceSet::OpenInSecondary(pair.path(), "set"));
  ClientDevice* const second = Must(late->OpenDevice("set2"));
  ServerDevice* const engine_second = Must(engine.OpenDevice("set2", Patience()));
  AwaitedCommand write(CommandCode::kWrite, buffer, 512);
  Must(engine_second->SendCommand(write.get()));
  const auto order = Must(second->GetCommand(Patience()));
  const BufferHandle handle = Must(late->GetBufferHandle(order->buffer));
  EXPECT_EQ(handle >> 28, 1U) << "the second area";
  for (ClientDeviceSet* const member : {early.get(), late.get(), &pair.client()}) {
    const std::byte* const mapped = Must(member->MapBufferHandle(handle));
    EXPECT_EQ(mapped[511], std::byte{0x6b});
  }
  Must(second->CompleteCommand(order->id, CompletionCode::kSuccess, 512, 0));
  write.Await();
}

TEST(SetBuffers, ASetWithoutBuffersMayGetThemLater) {
  DeviceSetPair pair;
  pair.Configure(/*buffers=*/0);
  pair.OpenAll();
  auto& engine = pair.engine();
  ASSERT_THAT(engine.AllocateBuffer(512, 0), HasCode(Code::kResourceExhausted));

  Must(engine.RequestBuffers(4096, 0, 1));

  ExpectWrite(pair.engine_device(), pair.client_device(), Must(engine.AllocateBuffer(4096, 0)),
              4096, 0, 4096);
}

TEST(SetBuffers, SixteenAreasAndNoMore) {
  DeviceSetPair pair;
  pair.Configure(/*buffers=*/1);
  pair.OpenAll();
  auto& engine = pair.engine();
  for (int i = 1; i < 16; ++i) {
    ASSERT_THAT(engine.RequestBuffers(512, 0, 1), IsOk()) << i;
  }
  EXPECT_THAT(engine.RequestBuffers(512, 0, 1), HasCode(Code::kResourceExhausted));

  for (int i = 1; i < 16; ++i) {
    ExpectWrite(pair.engine_device(), pair.client_device(), Must(engine.AllocateBuffer(512, 0)),
                512, 0, 4096);
  }
}

TEST(SetBuffers, AllAreasTogetherKeepTheLimitOfTheSet) {
  DeviceSetPair pair({.segment_bytes_max = 4 * DeviceSetPair::kBufferSize});
  pair.Configure(/*buffers=*/3);
  auto& engine = pair.engine();

  EXPECT_THAT(engine.RequestBuffers(65536, 0, 2), HasCode(Code::kResourceExhausted));
  EXPECT_THAT(engine.RequestBuffers(65536, 0, 1), IsOk());
  EXPECT_THAT(engine.RequestBuffers(512, 0, 1), HasCode(Code::kResourceExhausted));
}

TEST(SetBuffers, ImpossibleSizesAndAlignmentsAreRefused) {
  DeviceSetPair pair;
  pair.Configure();
  auto& engine = pair.engine();

  EXPECT_THAT(engine.AllocateBuffer(0, 0), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(engine.AllocateBuffer(512, 3000), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(engine.AllocateBuffer(512, 131072), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(engine.AllocateBuffer(65536 + 512, 0), HasCode(Code::kResourceExhausted));
  EXPECT_THAT(engine.QueryAvailableBuffers(512, 3000), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(engine.RequestBuffers(512, 3000, 1), HasCode(Code::kInvalidArgument));
}

TEST(SetBuffers, IsSharedBufferKnowsEveryAddress) {
  DeviceSetPair pair;
  std::byte mine{};
  EXPECT_FALSE(pair.engine().IsSharedBuffer(&mine));
  pair.Configure();
  std::byte* const buffer = Must(pair.engine().AllocateBuffer(65536, 0));

  EXPECT_TRUE(pair.engine().IsSharedBuffer(buffer));
  EXPECT_TRUE(pair.engine().IsSharedBuffer(buffer + 65535));
  EXPECT_FALSE(pair.engine().IsSharedBuffer(&mine));
  EXPECT_FALSE(pair.engine().IsSharedBuffer(nullptr));
  Must(pair.engine().Close());
  EXPECT_FALSE(pair.engine().IsSharedBuffer(buffer));
}

// An engine whose command is there before the descriptor of its buffer's area.
class EarlyCommand : public testing::Test {
 protected:
  void SetUp() override {
    auto created = std::async(std::launch::async, [&] {
      return ClientDeviceSet::Create(folder_.Under("s"), "set", {.device_count = 1});
    });
    pollfd waiting{.fd = socket_.fd(), .events = POLLIN, .revents = 0};
    CAPSTAN_CHECK(::poll(&waiting, 1, 20000) == 1);
    peer_ = UniqueFd(::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    Must(ReceiveMessage(peer_.get(), Passing::kRefuseFd));
    auto* header = new (control_.data()) ControlHeader{};
    header->magic = kSegmentMagic;
    header->version = kSegmentVersion;
    header->header_size = sizeof(ControlHeader);
    header->device_area_size = kDeviceAreaSize;
    header->device_count = 1;
    header->ring_capacity = kRingCapacity;
    auto answer = NewMessage<CreatedMessage>();
    answer.control_size = control_.size();
    Must(SendMessage(peer_.get(), answer, control_.fd()));
    client_ = Must(created.get());
    auto configured = NewMessage<ConfiguredMessage>();
    configured.config = {.device_count = 1, .alignment = 4096};
    configured.names[0].Set("set");
    Must(SendMessage(peer_.get(), configured));
    Must(client_->GetConfiguration(Patience()));
    device_ = Must(client_->OpenDevice("set"));
  }
  void Post(std::uint32_t area, std::uint64_t offset) {
    CommandRecord record{};
    record.id = 1;
    record.code = static_cast<std::int32_t>(CommandCode::kRead);
    record.size = 512;
    record.buffer_area = area;
    record.buffer_offset = offset;
    auto& commands =
        reinterpret_cast<DeviceArea*>(control_.data() + sizeof(ControlHeader))->commands;
    RingProducer<CommandRecord> ring(commands);
    CAPSTAN_CHECK(ring.Post(record) == RingResult::kDone);
  }
  void PassArea(std::uint32_t index, std::uint32_t alignment = 4096) {
    auto message = NewMessage<AreaMessage>();
    message.size = area_.size();
    message.index = index;
    message.alignment = alignment;
    Must(SendMessage(peer_.get(), message, area_.fd()));
  }

  test::TemporaryDirectory folder_;
  ListeningSocket socket_ = Must(ListeningSocket::Bind(folder_.Under("s"), 0600));
  SharedMemory control_ = Must(SharedMemory::Create("control", ControlAreaSize(1), 4096));
  SharedMemory area_ = Must(SharedMemory::Create("area", 4096, 4096));
  UniqueFd peer_;
  std::unique_ptr<ClientDeviceSet> client_;
  ClientDevice* device_ = nullptr;
};

TEST_F(EarlyCommand, WaitsForItsArea) {
  Post(0, 512);
  auto got = std::async(std::launch::async, [&] { return device_->GetCommand(Patience()); });
  EXPECT_EQ(got.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  area_.data()[512] = std::byte{0x21};

  PassArea(0);

  const auto command = got.get();
  ASSERT_THAT(command, IsOk());
  EXPECT_EQ((*command)->buffer[0], std::byte{0x21});
}

TEST_F(EarlyCommand, OfAnAreaThatCannotBeIsRefusedAtOnce) {
  Post(kBufferAreasMax, 0);

  EXPECT_THAT(device_->GetCommand(Patience()), HasCode(Code::kAborted));
  EXPECT_THAT(client_->abort_reason(), MessageHas("area"));
}

TEST_F(EarlyCommand, EndsWithTheEngine) {
  Post(0, 0);
  auto got = std::async(std::launch::async, [&] { return device_->GetCommand(Patience()); });
  EXPECT_EQ(got.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);

  peer_.Reset();

  EXPECT_THAT(got.get(), HasCode(Code::kAborted));
}

TEST_F(EarlyCommand, OutsideItsAreaIsRefused) {
  PassArea(0);
  Post(0, 4096 - 511);

  EXPECT_THAT(device_->GetCommand(Patience()), HasCode(Code::kAborted));
  EXPECT_THAT(client_->abort_reason(), HasCode(Code::kDataLoss));
}

TEST_F(EarlyCommand, AnAreaOutOfTurnEndsTheSet) {
  PassArea(1);

  EXPECT_THAT(device_->GetCommand(Patience()), HasCode(Code::kAborted));
  EXPECT_THAT(client_->abort_reason(), MessageHas("out of turn"));
}

TEST_F(EarlyCommand, AnImpossibleAlignmentEndsTheSet) {
  PassArea(0, 3000);

  EXPECT_THAT(device_->GetCommand(Patience()), HasCode(Code::kAborted));
  EXPECT_THAT(client_->abort_reason(), MessageHas("alignment"));
}

}  // namespace
}  // namespace capstan::vdi
