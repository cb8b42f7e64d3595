// The process model of VDI with real processes: a primary that opens no device, and secondaries
// that serve one each; all of them end well, or one is killed.
//
// A secondary is this program again, running the disabled test below.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"

namespace capstan::vdi {
namespace {

using test::DeviceSetPair;
using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::Must;
using test::Patience;

constexpr std::uint32_t kDevices = 4;
constexpr std::uint32_t kSize = 512;
constexpr std::uint64_t kCommands = 20000;  // for each device

std::string FromEnvironment(const char* name) {
  const char* const value = std::getenv(name);
  CAPSTAN_CHECK(value != nullptr);
  return value;
}

// Serves its device until the engine closes it. A buffer must hold the number of its command.
Status ServeToTheEnd() {
  CAPSTAN_ASSIGN_OR_RETURN(const auto set, ClientDeviceSet::OpenInSecondary(
                                               FromEnvironment("CAPSTAN_TEST_SOCKET"), "set"));
  CAPSTAN_ASSIGN_OR_RETURN(ClientDevice * device,
                           set->OpenDevice(FromEnvironment("CAPSTAN_TEST_DEVICE")));
  for (std::uint64_t expected = 0;; ++expected) {
    CAPSTAN_ASSIGN_OR_RETURN(const auto command, device->GetCommand(Patience()));
    if (!command) {
      return set->Close();
    }
    std::uint64_t found = 0;
    std::memcpy(&found, command->buffer, sizeof(found));
    const auto handle = set->GetBufferHandle(command->buffer);
    const bool good =
        found == expected && handle.ok() && Must(set->MapBufferHandle(*handle)) == command->buffer;
    CAPSTAN_RETURN_IF_ERROR(device->CompleteCommand(
        command->id, good ? CompletionCode::kSuccess : CompletionCode::kCrc, command->size, 0));
  }
}

TEST(Process, DISABLED_Secondary) {
  std::_Exit(ServeToTheEnd().ok() ? 0 : 1);
}

class Secondary {
 public:
  Secondary(const std::string& socket, const std::string& device) {
    std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    std::string filter = "--gtest_filter=Process.DISABLED_Secondary";
    std::string also = "--gtest_also_run_disabled_tests";
    std::vector<char*> arguments{self.data(), filter.data(), also.data(), nullptr};
    std::string where = "CAPSTAN_TEST_SOCKET=" + socket;
    std::string which = "CAPSTAN_TEST_DEVICE=" + device;
    std::vector<char*> environment{where.data(), which.data(), nullptr};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    CAPSTAN_CHECK(::posix_spawn(&pid_, self.c_str(), &actions, nullptr, arguments.data(),
                                environment.data()) == 0);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  ~Secondary() {
    if (pid_ > 0) {
      Kill();
      AwaitEnd();
    }
  }
  Secondary(const Secondary&) = delete;
  Secondary& operator=(const Secondary&) = delete;

  pid_t pid() const { return pid_; }
  void Kill() const { ::kill(pid_, SIGKILL); }
  // Its status as waitpid says it.
  int AwaitEnd() {
    int status = 0;
    CAPSTAN_CHECK(::waitpid(std::exchange(pid_, -1), &status, 0) > 0);
    return status;
  }

 private:
  pid_t pid_ = -1;
};

// Sends to one device, one command at a time for each of its buffers.
class Sender {
 public:
  Sender(DeviceSetPair& pair, ServerDevice& device) : pair_(pair), device_(device) {}

  // OK when `count` commands have ended well.
  Status Run(std::uint64_t count) {
    for (std::uint64_t number = 0; number < count; ++number) {
      auto buffer = pair_.engine().AllocateBuffer(kSize, 0);
      while (buffer.status().code() == Code::kResourceExhausted) {
        std::this_thread::yield();
        buffer = pair_.engine().AllocateBuffer(kSize, 0);
      }
      CAPSTAN_RETURN_IF_ERROR(buffer.status());
      std::memcpy(*buffer, &number, sizeof(number));
      auto command = std::make_unique<ServerCommand>();
      command->code = CommandCode::kWrite;
      command->size = kSize;
      command->buffer = *buffer;
      command->completion_context = this;
      command->completion_routine = OnEnd;
      CAPSTAN_RETURN_IF_ERROR(device_.SendCommand(command.get()));
      [[maybe_unused]] const ServerCommand* in_flight = command.release();  // OnEnd deletes it
      ++sent;
    }
    while (ended != sent) {
      std::this_thread::yield();
    }
    return failed == 0 ? device_.CloseDevice() : Error(Code::kDataLoss, "{} failed", failed.load());
  }

  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> ended{0};
  std::atomic<std::uint64_t> failed{0};

 private:
  static void OnEnd(ServerCommand* command) {
    auto* const self = static_cast<Sender*>(command->completion_context);
    self->failed += command->completion_code == CompletionCode::kSuccess ? 0 : 1;
    Must(self->pair_.engine().FreeBuffer(command->buffer));
    delete command;
    ++self->ended;
  }

  DeviceSetPair& pair_;
  ServerDevice& device_;
};

class SecondaryProcesses : public testing::Test {
 protected:
  void Start(std::uint64_t count) {
    pair_.Configure(/*buffers=*/16);
    for (const std::string& name : pair_.names()) {
      secondaries_.push_back(std::make_unique<Secondary>(pair_.path(), name));
    }
    for (const std::string& name : pair_.names()) {
      senders_.push_back(
          std::make_unique<Sender>(pair_, *Must(pair_.engine().OpenDevice(name, Patience()))));
    }
    outcomes_.resize(kDevices);
    for (std::size_t i = 0; i < kDevices; ++i) {
      threads_.emplace_back([this, i, count] { outcomes_[i] = senders_[i]->Run(count); });
    }
  }

  DeviceSetPair pair_{{.device_count = kDevices}};
  std::vector<std::unique_ptr<Secondary>> secondaries_;
  std::vector<std::unique_ptr<Sender>> senders_;
  std::vector<Status> outcomes_;
  std::vector<std::jthread> threads_;
};

TEST_F(SecondaryProcesses, ServeADeviceEachWhileThePrimaryLooksOn) {
  Start(kCommands);
  threads_.clear();
  for (std::size_t i = 0; i < kDevices; ++i) {
    EXPECT_THAT(outcomes_[i], IsOk());
    EXPECT_EQ(secondaries_[i]->AwaitEnd(), 0) << "it closed in good order";
  }

  EXPECT_THAT(pair_.client().Close(), IsOk());
  EXPECT_THAT(pair_.engine().abort_reason(), IsOk());
  EXPECT_THAT(pair_.engine().Close(), IsOk());
}

TEST_F(SecondaryProcesses, OneThatIsKilledEndsTheSetForAllAndIsNamed) {
  Start(UINT64_MAX);
  while (senders_[2]->ended < 100) {
    std::this_thread::yield();
  }
  const std::string pid = std::to_string(secondaries_[2]->pid());

  secondaries_[2]->Kill();

  threads_.clear();
  for (const Status& outcome : outcomes_) {
    EXPECT_THAT(outcome, HasCode(Code::kAborted));
  }
  EXPECT_THAT(pair_.engine().abort_reason(), HasCode(Code::kUnavailable));
  EXPECT_THAT(pair_.engine().abort_reason(), MessageHas(pid));
  EXPECT_THAT(pair_.engine().abort_reason(), MessageHas("'set3'"));
  while (pair_.client().abort_reason().ok()) {
    std::this_thread::yield();  // the news is on its way
  }
  EXPECT_THAT(pair_.client().Close(), IsOk());
  for (std::size_t i = 0; i < kDevices; ++i) {
    const int status = secondaries_[i]->AwaitEnd();
    EXPECT_TRUE(i == 2 ? WIFSIGNALED(status) : WEXITSTATUS(status) == 1) << i;
  }
  EXPECT_THAT(pair_.engine().Close(), IsOk());
  for (const auto& sender : senders_) {
    EXPECT_EQ(sender->ended, sender->sent) << "each is called back once";
  }
}

}  // namespace
}  // namespace capstan::vdi
