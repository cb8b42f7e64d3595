// kill -9 of either end of a device set, at every named crash point and at moments of chance. The
// survivor gets its error within two seconds and keeps nothing: no descriptor, mapping or socket.
//
// The victim is this program again, running one of the two disabled tests below.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/device_client.h"
#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;
using test::Must;
using test::Patience;

constexpr std::chrono::seconds kNoticeMax{2};
constexpr std::uint32_t kSize = 65536;

std::string PathFromEnvironment() {
  const char* path = std::getenv("CAPSTAN_TEST_SOCKET");
  CAPSTAN_CHECK(path != nullptr);
  return path;
}

// The engine's part: sends writes until the set ends, or `count` of them have ended.
class BusyEngine {
 public:
  explicit BusyEngine(ServerDeviceSet& set) : set_(set) {}

  Status Run(std::uint64_t count) {
    CAPSTAN_RETURN_IF_ERROR(set_.BeginConfiguration({.added_features = feature::kWriteMedia}));
    CAPSTAN_RETURN_IF_ERROR(set_.RequestBuffers(kSize, 0, 4));
    CAPSTAN_RETURN_IF_ERROR(set_.EndConfiguration(std::vector<std::string>{set_.name()}));
    CAPSTAN_ASSIGN_OR_RETURN(ServerDevice * device, set_.OpenDevice(set_.name(), Patience()));
    std::uint64_t sent = 0;
    while (sent < count) {
      auto buffer = set_.AllocateBuffer(kSize, 0);
      if (!buffer.ok() && buffer.status().code() == Code::kResourceExhausted) {
        std::this_thread::yield();
        continue;
      }
      CAPSTAN_RETURN_IF_ERROR(buffer.status());
      auto command = std::make_unique<ServerCommand>();
      command->code = CommandCode::kWrite;
      command->size = kSize;
      command->buffer = *buffer;
      command->completion_context = this;
      command->completion_routine = [](ServerCommand* ended) {
        auto* self = static_cast<BusyEngine*>(ended->completion_context);
        const Status freed = self->set_.FreeBuffer(ended->buffer);
        CAPSTAN_CHECK(freed.ok());
        delete ended;
        ++self->ended_;
      };
      CAPSTAN_RETURN_IF_ERROR(device->SendCommand(command.get()));
      [[maybe_unused]] const ServerCommand* in_flight = command.release();  // until the routine
      ++sent_;
      ++sent;
    }
    return OkStatus();
  }
  std::uint64_t sent() const { return sent_; }
  std::uint64_t ended() const { return ended_; }

 private:
  ServerDeviceSet& set_;
  std::atomic<std::uint64_t> sent_{0};
  std::atomic<std::uint64_t> ended_{0};
};

// --- the victims ---

TEST(Victim, DISABLED_Client) {
  test::MemoryMedia media(1);
  media.set_capacity(SIZE_MAX);
  test::DeviceHandlers handlers;
  handlers.write = [](std::size_t, const ClientCommand& command) {
    return test::Outcome{.code = CompletionCode::kSuccess, .bytes = command.size};
  };
  test::DeviceClient client(PathFromEnvironment(), "set", {.device_count = 1}, handlers);
  [[maybe_unused]] const Status ended = client.Finish();
}

TEST(Victim, DISABLED_Engine) {
  const auto rendezvous = Must(Rendezvous::Listen({.path = PathFromEnvironment()}));
  const auto set = Must(rendezvous->Open("set", Patience()));
  BusyEngine engine(*set);
  [[maybe_unused]] const Status ended = engine.Run(UINT64_MAX);
}

class Victim {
 public:
  Victim(const std::string& role, const std::string& socket, const std::string& crash_point) {
    std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    std::string filter = "--gtest_filter=Victim.DISABLED_" + role;
    std::string also = "--gtest_also_run_disabled_tests";
    std::vector<char*> arguments{self.data(), filter.data(), also.data(), nullptr};
    std::string socket_variable = "CAPSTAN_TEST_SOCKET=" + socket;
    std::string crash_variable = "CAPSTAN_CRASH_AT=" + crash_point;
    std::vector<char*> environment{socket_variable.data(), crash_variable.data(), nullptr};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    const int failed =
        ::posix_spawn(&pid_, self.c_str(), &actions, nullptr, arguments.data(), environment.data());
    ::posix_spawn_file_actions_destroy(&actions);
    CAPSTAN_CHECK(failed == 0);
  }
  ~Victim() {
    if (!reaped_) {
      Kill();
      AwaitDeath();
    }
  }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;

  void Kill() const { ::kill(pid_, SIGKILL); }
  // True if it was SIGKILL that ended it.
  bool AwaitDeath() {
    int status = 0;
    CAPSTAN_CHECK(::waitpid(pid_, &status, 0) == pid_);
    reaped_ = true;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

 private:
  pid_t pid_ = -1;
  bool reaped_ = false;
};

// What this process holds that a set could leave behind.
struct Holdings {
  std::ptrdiff_t descriptors = 0;
  int mappings = 0;
  friend bool operator==(const Holdings&, const Holdings&) = default;
};

Holdings Count() {
  Holdings holdings;
  holdings.descriptors = std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                       std::filesystem::directory_iterator());
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    holdings.mappings += line.find("memfd:capstan") != std::string::npos ? 1 : 0;
  }
  return holdings;
}

// A client dies under an engine that works. Without a crash point it is killed after `kill_after`.
void ClientDies(const std::string& crash_point, std::chrono::microseconds kill_after) {
  test::TemporaryDirectory folder;
  const std::string path = folder.Under("s");
  const Holdings before = Count();
  {
    const auto rendezvous = Must(Rendezvous::Listen({.path = path}));
    Victim victim("Client", path, crash_point);
    const auto set = Must(rendezvous->Open("set", Patience()));
    BusyEngine engine(*set);
    Status outcome;
    std::jthread running([&] { outcome = engine.Run(UINT64_MAX); });
    if (crash_point.empty()) {
      std::this_thread::sleep_for(kill_after);  // the moment is what is tested
      victim.Kill();
    }
    EXPECT_TRUE(victim.AwaitDeath()) << "it did not reach " << crash_point;
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
  EXPECT_TRUE(Count() == before) << "something was left behind";
  EXPECT_FALSE(std::filesystem::exists(path));
}

// An engine dies under a client that works.
void EngineDies(const std::string& crash_point, std::chrono::microseconds kill_after) {
  test::TemporaryDirectory folder;
  const std::string path = folder.Under("s");
  const Holdings before = Count();
  {
    Victim victim("Engine", path, crash_point);
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
    if (crash_point.empty()) {
      std::this_thread::sleep_for(kill_after);  // the moment is what is tested
      victim.Kill();
    }
    EXPECT_TRUE(victim.AwaitDeath()) << "it did not reach " << crash_point;
    const Deadline notice = Deadline::After(kNoticeMax);
    serving.join();

    EXPECT_FALSE(notice.passed()) << "the client noticed too late";
    EXPECT_THAT(outcome, HasCode(Code::kAborted));
    EXPECT_THAT(set->GetConfiguration(Deadline::Now()), HasCode(Code::kAborted));
    [[maybe_unused]] const Status closed = set->Close();
    EXPECT_THAT(Rendezvous::Listen({.path = path}), IsOk()) << "the stale socket is replaced";
  }
  EXPECT_TRUE(Count() == before) << "something was left behind";
}

std::chrono::microseconds Chance(std::mt19937& random) {
  return std::chrono::microseconds(random() % 30000);
}

#if defined(CAPSTAN_CRASH_POINTS)
TEST(PeerDeath, ASetWhoseClientDiedBeforeAnyStatementIsGone) {
  test::TemporaryDirectory folder;
  const Holdings before = Count();
  {
    const auto rendezvous = Must(Rendezvous::Listen({.path = folder.Under("s")}));
    Victim victim("Client", folder.Under("s"), "vdi.client.after_create");
    EXPECT_TRUE(victim.AwaitDeath());
    const Deadline notice = Deadline::After(kNoticeMax);
    while (!rendezvous->List().empty() && !notice.passed()) {
      std::this_thread::yield();
    }

    EXPECT_TRUE(rendezvous->List().empty());
    EXPECT_THAT(rendezvous->Open("set", Deadline::Now()), HasCode(Code::kNotFound));
  }
  EXPECT_TRUE(Count() == before) << "something was left behind";
}
#endif

TEST(PeerDeath, AClientKilledAtAnyMomentCostsItsSetOnly) {
  std::mt19937 random(1);
  for (int round = 0; round < 10; ++round) {
    ClientDies("", Chance(random));
  }
}

TEST(PeerDeath, AnEngineKilledAtAnyMomentEndsEveryWait) {
  std::mt19937 random(2);
  for (int round = 0; round < 10; ++round) {
    EngineDies("", Chance(random));
  }
}

#if defined(CAPSTAN_CRASH_POINTS)
class ClientCrashPoint : public testing::TestWithParam<const char*> {};
TEST_P(ClientCrashPoint, IsSurvivedByTheEngine) {
  ClientDies(GetParam(), {});
}
INSTANTIATE_TEST_SUITE_P(Points, ClientCrashPoint,
                         testing::Values("vdi.client.after_open_device",
                                         "vdi.client.after_get_command",
                                         "vdi.client.before_complete", "vdi.client.after_complete",
                                         "vdi.client.before_complete:1000"));

class EngineCrashPoint : public testing::TestWithParam<const char*> {};
TEST_P(EngineCrashPoint, IsSurvivedByTheClient) {
  EngineDies(GetParam(), {});
}
INSTANTIATE_TEST_SUITE_P(Points, EngineCrashPoint,
                         testing::Values("vdi.server.after_end_configuration",
                                         "vdi.server.after_send_command",
                                         "vdi.server.before_callback",
                                         "vdi.server.before_callback:1000"));
#endif

}  // namespace
}  // namespace capstan::vdi
