// A client that takes no commands, and completes by guessed ids what the engine is about to send.
// Its ring is full after a lap; then SendCommand takes the command back while the completion
// thread finds it completed. Exactly one of the two may have it: the completion thread once looked
// at a command that its owner, told that it was not sent, had freed (seen by AddressSanitizer).
#include <atomic>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "tests/fuzz/hostile_client.h"
#include "tests/support/temporary_directory.h"
#include "vdi/base/log.h"
#include "vdi/rendezvous.h"

namespace capstan::vdi {
namespace {

using fuzz::HostileClient;
using test::Must;
using test::Patience;

struct Tally {
  std::atomic<int> called_back{0};
};

// Frees the command in any case: in its routine, or here if it was not sent.
bool SendFlush(ServerDevice& device, Tally& tally) {
  auto command = std::make_unique<ServerCommand>();
  command->code = CommandCode::kFlush;
  command->completion_context = &tally;
  command->completion_routine = [](ServerCommand* ended) {
    static_cast<Tally*>(ended->completion_context)->called_back.fetch_add(1);
    delete ended;
  };
  ServerCommand* const flying = command.release();
  if (device.SendCommand(flying).ok()) {
    return true;
  }
  delete flying;
  return false;
}

TEST(GuessingClient, ACommandTakenBackIsNotTouched) {
  SetLogLevel(LogLevel::kError);  // each round ends in an abort
  const test::TemporaryDirectory folder;
  const auto rendezvous = Must(Rendezvous::Listen({.path = folder.Under("s")}));
  const Deadline end = Deadline::After(std::chrono::seconds(3));
  int rounds = 0;
  for (; !end.passed() && rounds < 200; ++rounds) {
    HostileClient client(folder.Under("s"), "guess", {.device_count = 1});
    const auto set = Must(rendezvous->Open("guess", Patience()));
    Must(set->BeginConfiguration({.added_features = feature::kWriteMedia}));
    Must(set->EndConfiguration(std::vector<std::string>{"guess"}));
    client.Open(0);
    ServerDevice& device = *Must(set->OpenDevice("guess", Patience()));
    Tally tally;
    int sent = 0;

    for (std::uint64_t serial = 1; serial <= kRingCapacity; ++serial) {
      ASSERT_TRUE(SendFlush(device, tally));
      client.CompleteById(serial << 8 | (serial - 1) % kRingCapacity);
      ++sent;
      while (tally.called_back != sent) {
        std::this_thread::yield();
      }
    }
    {
      const std::jthread guesser([&] { client.CompleteById((kRingCapacity + 1ULL) << 8); });
      sent += SendFlush(device, tally) ? 1 : 0;
    }
    [[maybe_unused]] const Status closed = set->Close();
    ASSERT_EQ(tally.called_back, sent) << "round " << rounds;
  }
  EXPECT_GT(rounds, 0);
}

}  // namespace
}  // namespace capstan::vdi
