// A client that writes random rubbish into the control area while the engine works. It may lose its
// own set, with a reason; the engine may neither crash nor hang, and another set must not notice.
//
// The seed is printed and CAPSTAN_TEST_SEED replays it (not the interleaving, though).
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
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
using test::Must;
using test::Patience;

constexpr std::uint32_t kDevices = 2;

std::uint64_t Seed() {
  const char* given = std::getenv("CAPSTAN_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("CAPSTAN_TEST_SEED=%" PRIu64 "\n", seed);
  std::fflush(stdout);  // the test may end in a crash
  return seed;
}

// Speaks the protocol by hand and has the control area mapped for itself.
class HostileClient {
 public:
  HostileClient(const std::string& path, const std::string& name)
      : socket_(Must(ConnectSocket(path))) {
    auto request = NewMessage<CreateMessage>();
    request.wishes.device_count = kDevices;
    request.name.Set(name);
    Must(SendMessage(socket_.get(), request));
    auto answer = Must(ReceiveMessage(socket_.get(), Passing::kAcceptFd));
    area_ = std::make_unique<SharedMemory>(
        Must(SharedMemory::Adopt(std::move(answer.passed_fd), ControlAreaSize(kDevices), 4096)));
  }

  ControlHeader& header() { return *reinterpret_cast<ControlHeader*>(area_->data()); }
  DeviceArea& device(std::size_t i) {
    return *reinterpret_cast<DeviceArea*>(area_->data() + sizeof(ControlHeader) +
                                          i * kDeviceAreaSize);
  }
  void OpenAll() {
    for (std::size_t i = 0; i < kDevices; ++i) {
      device(i).client_state.store(kClientOpen);
    }
    WakeIfAsleep(header().engine_sleep);
  }

  // One act of sabotage: a word anywhere, a plausible index, or a completion made up.
  void Strike(std::mt19937_64& random) {
    DeviceArea& victim = device(random() % kDevices);
    switch (random() % 6) {
      case 0: {
        const std::size_t offset = random() % (area_->size() / 8) * 8;
        std::atomic_ref(*reinterpret_cast<std::uint64_t*>(area_->data() + offset))
            .store(random(), std::memory_order_relaxed);
        break;
      }
      case 1:
        victim.completions.posted.count.store(random() % 600);
        break;
      case 2:
        victim.commands.taken.count.store(random() % 600);
        break;
      case 3:
        victim.client_state.store(ClientWord(static_cast<std::uint32_t>(random() % 4),
                                             static_cast<std::uint32_t>(random() % 3)));
        break;
      case 4:
        header().engine_sleep.asleep.store(static_cast<std::uint32_t>(random() % 3));
        break;
      default:
        ForgeCompletion(victim, random);
    }
    WakeIfAsleep(header().engine_sleep);
  }

 private:
  // An id that was seen in the command ring, or nearly; a code and a count that may be wrong.
  static void ForgeCompletion(DeviceArea& victim, std::mt19937_64& random) {
    const std::uint64_t at = victim.completions.posted.count.load();
    auto& slot = victim.completions.slots[at % kRingCapacity];
    const std::uint64_t seen =
        victim.commands.slots[random() % kRingCapacity].words[0].load(std::memory_order_relaxed);
    slot.words[0].store(random() % 8 == 0 ? seen + 1 : seen);
    slot.words[1].store(random());
    const std::uint64_t code = random() % 4 == 0 ? random() & 0xFFFFFFFF : 0;
    const std::uint64_t bytes = random() % 4 == 0 ? random() & 0xFFFFFFFF : 512;
    slot.words[2].store(code | bytes << 32);
    victim.completions.posted.count.store(at + 1);
  }

  UniqueFd socket_;
  std::unique_ptr<SharedMemory> area_;
};

struct Load {
  std::atomic<std::uint64_t> called_back{0};
};

// What an engine does all day; ends when the set refuses, or when `end` passes.
std::uint64_t WorkOn(ServerDeviceSet& set, ServerDevice& device, std::byte* buffer, Load& load,
                     Deadline end) {
  std::uint64_t sent = 0;
  while (!end.passed()) {
    auto* command = new ServerCommand{
        .code = device.in_flight() == 0 && sent % 3 == 0 ? CommandCode::kClearError
                                                         : CommandCode::kWrite,
        .size = 512,
        .buffer = buffer,
        .completion_routine =
            [](ServerCommand* ended) {
              CAPSTAN_CHECK(ended->bytes_transferred <= ended->size);
              static_cast<Load*>(ended->completion_context)->called_back.fetch_add(1);
              delete ended;
            },
        .completion_context = &load};
    const Status status = device.SendCommand(command);
    if (status.ok()) {
      ++sent;
      continue;
    }
    delete command;
    if (status.code() == Code::kAborted || !set.abort_reason().ok()) {
      break;
    }
    std::this_thread::yield();
  }
  return sent;
}

TEST(HostileClient, LosesItsOwnSetAndNothingElse) {
  std::mt19937_64 random(Seed());
  DeviceSetPair good;  // its rendezvous serves the hostile clients, too
  good.Configure();
  good.OpenAll();
  std::byte* const good_buffer = Must(good.engine().AllocateBuffer(65536, 0));
  const Deadline end = Deadline::After(std::chrono::seconds(6));
  int broken = 0;

  for (int round = 0; round < 400 && !end.passed(); ++round) {
    const std::string name = "hostile" + std::to_string(round);
    HostileClient client(good.path(), name);
    const auto set = Must(good.rendezvous().Open(name, Patience()));
    Must(set->BeginConfiguration({.added_features = feature::kWriteMedia, .block_size = 512}));
    Must(set->RequestBuffers(65536, 0, 2));
    Must(set->EndConfiguration(std::vector<std::string>{name, "second"}));
    std::byte* const buffer = Must(set->AllocateBuffer(65536, 0));
    client.OpenAll();
    ServerDevice* const devices[] = {Must(set->OpenDevice(name, Patience())),
                                     Must(set->OpenDevice("second", Patience()))};
    Load load;
    std::atomic<std::uint64_t> sent{0};
    {
      std::vector<std::jthread> workers;
      for (ServerDevice* device : devices) {
        workers.emplace_back([&, device] {
          sent +=
              WorkOn(*set, *device, buffer, load, Deadline::After(std::chrono::milliseconds(30)));
        });
      }
      const int strikes = 1 + static_cast<int>(random() % 100);
      for (int i = 0; i < strikes; ++i) {
        client.Strike(random);
      }
    }
    const Status reason = set->abort_reason();
    if (!reason.ok()) {
      ++broken;
      ASSERT_THAT(reason, HasCode(Code::kDataLoss)) << "round " << round;
    }
    [[maybe_unused]] const Status closed = set->Close();
    ASSERT_EQ(load.called_back, sent) << "round " << round;

    AwaitedCommand write(CommandCode::kWrite, good_buffer, 512);
    Must(good.engine_device().SendCommand(write.get()));
    const auto command = Must(good.client_device().GetCommand(Patience()));
    Must(good.client_device().CompleteCommand(command->id, CompletionCode::kSuccess, 512, 0));
    ASSERT_EQ(write.Await().completion_code, CompletionCode::kSuccess) << "round " << round;
  }

  EXPECT_GT(broken, 0) << "the rubbish was never noticed";
  EXPECT_THAT(good.engine().abort_reason(), IsOk());
}

// Each lie by itself, so that each check is seen to work.
class SingleLie : public testing::Test {
 protected:
  void SetUp() override {
    Must(set_->BeginConfiguration({.added_features = feature::kWriteMedia, .block_size = 512}));
    Must(set_->RequestBuffers(65536, 0, 1));
    Must(set_->EndConfiguration(std::vector<std::string>{"liar", "second"}));
  }
  void OpenAndSend() {
    client_.OpenAll();
    device_ = Must(set_->OpenDevice("liar", Patience()));
    write_ = std::make_unique<AwaitedCommand>(CommandCode::kWrite,
                                              Must(set_->AllocateBuffer(65536, 0)), 512);
    Must(device_->SendCommand(write_->get()));
  }
  std::uint64_t SentId() {
    CommandRecord record{};
    RingConsumer<CommandRecord> ring(client_.device(0).commands);
    CAPSTAN_CHECK(ring.Take(record) == RingResult::kDone);
    return record.id;
  }
  void Post(const CompletionRecord& record) {
    RingProducer<CompletionRecord> ring(client_.device(0).completions);
    CAPSTAN_CHECK(ring.Post(record) == RingResult::kDone);
    WakeIfAsleep(client_.header().engine_sleep);
  }
  void ExpectDataLoss() {
    const Deadline patience = Patience();
    while (set_->abort_reason().ok() && !patience.passed()) {
      std::this_thread::yield();
    }
    EXPECT_THAT(set_->abort_reason(), HasCode(Code::kDataLoss));
    if (write_) {
      EXPECT_EQ(write_->Await().completion_code, CompletionCode::kOperationAborted);
    }
  }

  test::TemporaryDirectory folder_;
  std::unique_ptr<Rendezvous> rendezvous_ = Must(Rendezvous::Listen({.path = folder_.Under("s")}));
  HostileClient client_{folder_.Under("s"), "liar"};
  std::unique_ptr<ServerDeviceSet> set_ = Must(rendezvous_->Open("liar", Patience()));
  ServerDevice* device_ = nullptr;
  std::unique_ptr<AwaitedCommand> write_;
};

TEST_F(SingleLie, AnUnknownIdIsNoticed) {
  OpenAndSend();
  Post({.id = SentId() + kRingCapacity, .position = 0, .code = 0, .bytes = 512, .reserved = 0});
  ExpectDataLoss();
}

TEST_F(SingleLie, IdZeroIsNoticed) {
  OpenAndSend();
  Post({.id = 0, .position = 0, .code = 0, .bytes = 0, .reserved = 0});
  ExpectDataLoss();
}

TEST_F(SingleLie, MoreBytesThanAskedForAreNoticed) {
  OpenAndSend();
  Post({.id = SentId(), .position = 0, .code = 0, .bytes = 513, .reserved = 0});
  ExpectDataLoss();
}

TEST_F(SingleLie, ACodeThatCannotBeIsNoticed) {
  OpenAndSend();
  Post({.id = SentId(), .position = 0, .code = 0x80770004, .bytes = 0, .reserved = 0});
  ExpectDataLoss();
}

TEST_F(SingleLie, ACompletionCountOutOfRangeIsNoticed) {
  OpenAndSend();
  client_.device(0).completions.posted.count = kRingCapacity + 1;
  WakeIfAsleep(client_.header().engine_sleep);
  ExpectDataLoss();
}

TEST_F(SingleLie, AnUnknownStateOfADeviceIsNoticed) {
  client_.device(1).client_state = 7;
  WakeIfAsleep(client_.header().engine_sleep);
  ExpectDataLoss();
}

TEST_F(SingleLie, ALieWithoutAWakeIsNoticedToo) {
  client_.device(1).client_state = 7;
  ExpectDataLoss();
}

}  // namespace
}  // namespace capstan::vdi
