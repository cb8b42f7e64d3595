// kill -9 of either end of a device set at moments of chance, under load. The survivor gets its
// error within two seconds and keeps nothing: no descriptor, mapping, thread or socket. (Named
// moments: crash_points_test.cc.)
#include <filesystem>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/busy_engine.h"
#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/victim_process.h"
#include "vdi/rendezvous.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;
using test::Must;
using test::Patience;

constexpr std::chrono::seconds kNoticeMax{2};

// A client dies under an engine that works.
void ClientDies(std::chrono::microseconds kill_after) {
  test::TemporaryDirectory folder;
  const std::string path = folder.Under("s");
  const Holdings before = Holdings::Now();
  {
    const auto rendezvous = Must(Rendezvous::Listen({.path = path}));
    VictimProcess victim({"busy-client", path, "set"}, "");
    const auto set = Must(rendezvous->Open("set", Patience()));
    BusyEngine engine(*set);
    Status outcome;
    std::jthread running([&] { outcome = engine.Run(); });
    std::this_thread::sleep_for(kill_after);  // the moment is what is tested
    victim.Signal(SIGKILL);
    victim.AwaitEnd();
    const Deadline notice = Deadline::After(kNoticeMax);
    running.join();
    while (engine.ended() != engine.sent()) {
      std::this_thread::yield();
    }

    EXPECT_FALSE(notice.passed()) << "the engine noticed too late";
    EXPECT_THAT(outcome, HasCode(Code::kAborted));
    EXPECT_THAT(set->abort_reason(), HasCode(Code::kUnavailable));
    EXPECT_THAT(set->Close(), IsOk());
    EXPECT_THAT(ClientDeviceSet::Create(path, "set", {.device_count = 1}), IsOk())
        << "the name is free again";
  }
  const Holdings after = Holdings::Settled(before);
  EXPECT_TRUE(after == before) << "before: " << before.Text() << "\nafter: " << after.Text();
  EXPECT_FALSE(std::filesystem::exists(path));
}

// An engine dies under a client that works.
void EngineDies(std::chrono::microseconds kill_after) {
  test::TemporaryDirectory folder;
  const std::string path = folder.Under("s");
  const Holdings before = Holdings::Now();
  {
    VictimProcess victim({"busy-engine", path, "set"}, "");
    std::unique_ptr<ClientDeviceSet> set;
    while (!set) {
      auto created = ClientDeviceSet::Create(path, "set", {.device_count = 1});
      if (created.ok()) {
        set = std::move(created).value();
      }
    }
    Status outcome;
    std::jthread serving([&] {
      outcome = set->GetConfiguration(Deadline::Never()).status();  // the death ends it
      auto device = outcome.ok() ? set->OpenDevice("set") : Result<ClientDevice*>(outcome);
      outcome = device.status();
      while (outcome.ok()) {
        const auto command = (*device)->GetCommand(Deadline::Never());  // as above
        outcome = command.status();
        if (outcome.ok()) {
          outcome = (*device)->CompleteCommand((*command)->id, CompletionCode::kSuccess,
                                               (*command)->size, 0);
        }
      }
    });
    std::this_thread::sleep_for(kill_after);  // the moment is what is tested
    victim.Signal(SIGKILL);
    victim.AwaitEnd();
    const Deadline notice = Deadline::After(kNoticeMax);
    serving.join();

    EXPECT_FALSE(notice.passed()) << "the client noticed too late";
    EXPECT_THAT(outcome, HasCode(Code::kAborted));
    EXPECT_THAT(set->GetConfiguration(Deadline::Now()), HasCode(Code::kAborted));
    [[maybe_unused]] const Status closed = set->Close();
    EXPECT_THAT(Rendezvous::Listen({.path = path}), IsOk()) << "the stale socket is replaced";
  }
  const Holdings after = Holdings::Settled(before);
  EXPECT_TRUE(after == before) << "before: " << before.Text() << "\nafter: " << after.Text();
}

std::chrono::microseconds Chance(std::mt19937& random) {
  return std::chrono::microseconds(random() % 30000);
}

TEST(PeerDeath, AClientKilledAtAnyMomentCostsItsSetOnly) {
  std::mt19937 random(1);
  for (int round = 0; round < 10; ++round) {
    ClientDies(Chance(random));
  }
}

TEST(PeerDeath, AnEngineKilledAtAnyMomentEndsEveryWait) {
  std::mt19937 random(2);
  for (int round = 0; round < 10; ++round) {
    EngineDies(Chance(random));
  }
}

}  // namespace
}  // namespace capstan::vdi
