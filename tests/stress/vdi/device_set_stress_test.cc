// A whole set under load: senders, completion thread and clients in one process. Shows lost or
// doubled callbacks, leaks of buffers, and races between an abort and everything else.
#include <atomic>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"

namespace capstan::vdi {
namespace {

using test::DeviceSetPair;
using test::HasCode;
using test::IsOk;
using test::Must;

constexpr std::uint32_t kDevices = 2;
constexpr std::uint32_t kBuffers = 16;

// Serves a device until it ends, from two threads: one takes, both complete.
void ServeDevice(ClientDevice& device) {
  for (;;) {
    auto command = device.GetCommand(Deadline::After(std::chrono::seconds(20)));
    if (!command.ok() || !command->has_value()) {
      return;
    }
    const ClientCommand& order = **command;
    if (!device.CompleteCommand(order.id, CompletionCode::kSuccess, order.size, 0).ok()) {
      return;
    }
  }
}

struct Tally {
  DeviceSetPair* pair = nullptr;
  std::atomic<std::uint64_t> called_back{0};
  std::atomic<std::uint64_t> aborted{0};
};

void OnEnd(ServerCommand* command) {
  auto* tally = static_cast<Tally*>(command->completion_context);
  if (command->completion_code == CompletionCode::kOperationAborted) {
    tally->aborted.fetch_add(1);
  }
  Must(tally->pair->engine().FreeBuffer(command->buffer));
  delete command;
  tally->called_back.fetch_add(1);
}

// Sends until the set refuses for good; returns how many were sent.
std::uint64_t SendUntil(DeviceSetPair& pair, std::size_t device, Tally& tally, Deadline end) {
  std::uint64_t sent = 0;
  while (!end.passed()) {
    auto buffer = pair.engine().AllocateBuffer(65536, 0);
    if (!buffer.ok()) {
      if (buffer.status().code() != Code::kResourceExhausted) {
        break;
      }
      std::this_thread::yield();
      continue;
    }
    auto command = std::make_unique<ServerCommand>();
    command->code = CommandCode::kWrite;
    command->size = 512;
    command->buffer = *buffer;
    command->completion_routine = OnEnd;
    command->completion_context = &tally;
    if (!pair.engine_device(device).SendCommand(command.get()).ok()) {
      Must(pair.engine().FreeBuffer(*buffer));
      break;
    }
    [[maybe_unused]] const ServerCommand* in_flight = command.release();  // OnEnd deletes it
    ++sent;
  }
  return sent;
}

// Runs senders and clients; `meddle` runs beside them. Returns how many commands were sent.
template <typename Meddle>
std::uint64_t RunSenders(DeviceSetPair& pair, Tally& tally, Deadline end, Meddle meddle) {
  tally.pair = &pair;
  std::atomic<std::uint64_t> sent{0};
  std::vector<std::jthread> senders;
  for (std::size_t i = 0; i < 2 * kDevices; ++i) {
    senders.emplace_back([&, i] { sent += SendUntil(pair, i % kDevices, tally, end); });
  }
  meddle();
  senders.clear();
  return sent;
}

std::vector<std::jthread> StartClients(DeviceSetPair& pair) {
  std::vector<std::jthread> clients;
  for (std::size_t i = 0; i < kDevices; ++i) {
    clients.emplace_back([&pair, i] { ServeDevice(pair.client_device(i)); });
  }
  return clients;
}

TEST(DeviceSetStress, EveryCommandIsCalledBackOnceAndEveryBufferComesHome) {
  DeviceSetPair pair({.device_count = kDevices});
  pair.Configure(kBuffers);
  pair.OpenAll();
  Tally tally;
  auto clients = StartClients(pair);

  const std::uint64_t sent =
      RunSenders(pair, tally, Deadline::After(std::chrono::seconds(2)), [] {});
  for (std::size_t i = 0; i < kDevices; ++i) {
    while (pair.engine_device(i).in_flight() != 0) {
      std::this_thread::yield();
    }
    EXPECT_THAT(pair.engine_device(i).CloseDevice(), IsOk());
  }
  clients.clear();
  EXPECT_THAT(pair.client().Close(), IsOk());
  while (tally.called_back != sent) {
    std::this_thread::yield();
  }

  EXPECT_GT(sent, 0U);
  EXPECT_EQ(tally.aborted, 0U);
  EXPECT_THAT(pair.engine().Close(), IsOk());
  EXPECT_EQ(tally.called_back, sent);
}

// An abort from either side, at any moment: each command sent is called back exactly once.
TEST(DeviceSetStress, AnAbortAtAnyMomentLosesNoCommand) {
  std::mt19937 random(1);
  const Deadline end = Deadline::After(std::chrono::seconds(4));
  for (int round = 0; round < 100 && !end.passed(); ++round) {
    DeviceSetPair pair({.device_count = kDevices});
    pair.Configure(kBuffers);
    pair.OpenAll();
    Tally tally;
    auto clients = StartClients(pair);
    const std::chrono::microseconds when(random() % 3000);

    const std::uint64_t sent =
        RunSenders(pair, tally, Deadline::After(std::chrono::seconds(20)), [&] {
          std::this_thread::sleep_for(when);  // the moment is the parameter of this round
          if (round % 2 == 0) {
            pair.engine().SignalAbort(Error(Code::kCancelled, "round {}", round));
          } else {
            pair.client().SignalAbort();
          }
        });
    clients.clear();
    ASSERT_THAT(pair.engine().Close(), IsOk());

    ASSERT_EQ(tally.called_back, sent) << "round " << round;
  }
}

}  // namespace
}  // namespace capstan::vdi
