// The real agent process with the real disk plugin, over real device sets; only the coordinator and
// the engine are the test. S2-03: control by stream, payload by shared memory, two processes.
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/fake_coordinator.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "vdi/rendezvous.h"

namespace capstan::test {
namespace {

using vdi::CommandCode;
using vdi::CompletionCode;

constexpr std::uint32_t kBlock = 1U << 20;
constexpr std::uint32_t kBuffers = 4;

Deadline Patience() {
  return Deadline::After(std::chrono::seconds(10));
}

class AgentProcess {
 public:
  explicit AgentProcess(const std::string& server) {
    std::string server_option = "--server=unix:" + server;
    std::string program = CAPSTAN_AGENT;
    std::string quiet = "--log-level=error";
    char* arguments[] = {program.data(), server_option.data(), quiet.data(), nullptr};
    EXPECT_EQ(::posix_spawn(&pid_, CAPSTAN_AGENT, nullptr, nullptr, arguments, environ), 0);
  }
  ~AgentProcess() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  pid_t pid() const { return pid_; }
  // The wait status.
  int End(int signal_number) {
    int status = -1;
    ::kill(pid_, signal_number);
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
};

// One command, and the wait for its end.
class EngineCommand {
 public:
  EngineCommand() {
    command.completion_routine = [](vdi::ServerCommand* done) {
      auto& self = *static_cast<EngineCommand*>(done->completion_context);
      const MutexLock lock(self.mutex_);
      self.completed_ = true;
      self.changed_.NotifyAll();
    };
    command.completion_context = this;
  }

  CompletionCode Run(vdi::ServerDevice& device, CommandCode code) {
    command.code = code;
    {
      const MutexLock lock(mutex_);
      completed_ = false;
    }
    const Status sent = device.SendCommand(&command);
    EXPECT_THAT(sent, IsOk());
    const Deadline deadline = Patience();
    const MutexLock lock(mutex_);
    while (sent.ok() && !completed_) {
      if (!changed_.WaitUntil(mutex_, deadline.when())) {
        ADD_FAILURE() << "command did not complete";
        std::abort();  // the command must not go while it is in flight
      }
    }
    return sent.ok() ? command.completion_code : CompletionCode::kInvalidHandle;
  }

  vdi::ServerCommand command;

 private:
  Mutex mutex_;
  CondVar changed_;
  bool completed_ CAPSTAN_GUARDED_BY(mutex_) = false;
};

class AgentProcessTest : public testing::Test {
 protected:
  AgentProcessTest() {
    vdi::RendezvousOptions options;
    options.path = directory_.Under("vdi.sock");
    rendezvous_ = vdi::Rendezvous::Listen(options).value();
  }

  std::int32_t Order(v1::OpenDeviceSet::Mode mode, bool resume = false) {
    v1::Order order;
    v1::OpenDeviceSet& open = *order.mutable_open_device_set();
    open.set_set_name("set");
    open.set_mode(mode);
    open.set_resume(resume);
    v1::DeviceOrder& device = *open.add_devices();
    device.set_device_name("set");
    device.set_target(target_);
    device.set_token("token");
    const auto result = server_.Run(order);
    EXPECT_TRUE(result.has_value());
    return result ? result->code() : -1;
  }

  // Takes the set that the agent created, and opens its device.
  void OpenSet(std::uint32_t features) {
    auto set = rendezvous_->Open("set", Patience());
    ASSERT_THAT(set, IsOk());
    set_ = std::move(set).value();
    vdi::EngineConfiguration configuration;
    configuration.added_features = features;
    ASSERT_THAT(set_->BeginConfiguration(configuration), IsOk());
    ASSERT_THAT(set_->RequestBuffers(kBlock, 0, kBuffers), IsOk());
    const std::vector<std::string> names = {"set"};
    ASSERT_THAT(set_->EndConfiguration(names), IsOk());
    auto device = set_->OpenDevice("set", Patience());
    ASSERT_THAT(device, IsOk());
    device_ = *device;
    buffer_ = set_->AllocateBuffer(kBlock, 0).value();
  }
  void OpenForWriting() {
    ASSERT_TRUE(server_.WaitForHello());
    ASSERT_EQ(Order(v1::OpenDeviceSet::MODE_REPLACE), 0);
    OpenSet(vdi::feature::kWriteMedia | vdi::feature::kCompleteEnabled);
    EXPECT_EQ(set_->client_pid(), agent_.pid());
  }

  CompletionCode Write(std::int64_t position, char fill) {
    EngineCommand write;
    std::memset(buffer_, fill, kBlock);
    write.command.buffer = buffer_;
    write.command.size = kBlock;
    write.command.position = position;
    return write.Run(*device_, CommandCode::kWrite);
  }
  CompletionCode Run(CommandCode code) { return EngineCommand().Run(*device_, code); }

  bool WaitUntilGone(const std::string& path) {
    const Deadline deadline = Patience();
    while (std::filesystem::exists(path) && !deadline.passed()) {
      ::usleep(2000);  // another process removes it; there is nothing to wait on
    }
    return !std::filesystem::exists(path);
  }
  std::string Contents() {
    std::ifstream file(target_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const TemporaryDirectory directory_;
  const std::string target_ = directory_.Under("a.bak");
  const std::string partial_ = directory_.Under(".a.bak.token.capstan-partial");
  std::unique_ptr<vdi::Rendezvous> rendezvous_;
  FakeCoordinator server_{directory_.Under("server.sock"), directory_.Under("vdi.sock")};
  AgentProcess agent_{directory_.Under("server.sock")};
  std::unique_ptr<vdi::ServerDeviceSet> set_;
  vdi::ServerDevice* device_ = nullptr;
  std::byte* buffer_ = nullptr;
};

TEST_F(AgentProcessTest, WritesAFileAndReadsItBack) {
  OpenForWriting();
  EXPECT_EQ(Write(kBlock, 'b'), CompletionCode::kSuccess);
  EXPECT_EQ(Write(0, 'a'), CompletionCode::kSuccess);
  EXPECT_EQ(Run(CommandCode::kFlush), CompletionCode::kSuccess);
  EXPECT_FALSE(std::filesystem::exists(target_));
  EXPECT_EQ(Run(CommandCode::kComplete), CompletionCode::kSuccess);
  EXPECT_THAT(device_->CloseDevice(), IsOk());
  EXPECT_THAT(set_->Close(), IsOk());
  EXPECT_EQ(Contents(), std::string(kBlock, 'a') + std::string(kBlock, 'b'));

  ASSERT_EQ(Order(v1::OpenDeviceSet::MODE_READ), 0);
  OpenSet(vdi::feature::kReadMedia);
  EngineCommand read;
  read.command.buffer = buffer_;
  read.command.size = kBlock;
  read.command.position = kBlock;
  EXPECT_EQ(read.Run(*device_, CommandCode::kRead), CompletionCode::kSuccess);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(buffer_), kBlock), std::string(kBlock, 'b'));
  read.command.position = 2 * kBlock;
  EXPECT_EQ(read.Run(*device_, CommandCode::kRead), CompletionCode::kHandleEof);
  EXPECT_THAT(device_->CloseDevice(), IsOk());
  EXPECT_THAT(set_->Close(), IsOk());
}

TEST_F(AgentProcessTest, ReportsTheDeviceEverySecond) {
  OpenForWriting();
  EXPECT_EQ(Write(0, 'a'), CompletionCode::kSuccess);

  const auto report = server_.WaitForReport();

  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->devices(0).bytes(), kBlock);
  EXPECT_THAT(report->devices(0).mode(), testing::MatchesRegex("(io_uring|pread/pwrite) .*"));
}

TEST_F(AgentProcessTest, EngineThatAbortsLeavesNothing) {
  OpenForWriting();
  EXPECT_EQ(Write(0, 'a'), CompletionCode::kSuccess);
  ASSERT_TRUE(std::filesystem::exists(partial_));

  set_->SignalAbort(Error(Code::kAborted, "a test says so"));

  EXPECT_TRUE(WaitUntilGone(partial_));
  EXPECT_FALSE(std::filesystem::exists(target_));
}

TEST_F(AgentProcessTest, SigtermEndsTheSetAndLeavesNothing) {
  OpenForWriting();
  EXPECT_EQ(Write(0, 'a'), CompletionCode::kSuccess);

  const int status = agent_.End(SIGTERM);

  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_FALSE(std::filesystem::exists(partial_));
  EXPECT_NE(set_->abort_reason().code(), Code::kOk);
}

// A killed agent leaves its partial file; a new one undoes it when told to. S2-11
TEST_F(AgentProcessTest, KilledAgentLeavesWhatRecoverUndoes) {
  OpenForWriting();
  EXPECT_EQ(Write(0, 'a'), CompletionCode::kSuccess);

  agent_.End(SIGKILL);

  EXPECT_TRUE(std::filesystem::exists(partial_));
  EXPECT_FALSE(std::filesystem::exists(target_));
  const AgentProcess successor(directory_.Under("server.sock"));
  ASSERT_TRUE(server_.WaitForHello(2));
  v1::Order recover;
  recover.mutable_recover_media()->set_target(target_);
  recover.mutable_recover_media()->set_token("token");
  recover.mutable_recover_media()->set_action(v1::RecoverMedia::ACTION_DISCARD);
  EXPECT_EQ(server_.Run(recover)->code(), 0);
  EXPECT_FALSE(std::filesystem::exists(partial_));
}

// The same, and a new one goes on with it.
TEST_F(AgentProcessTest, KilledAgentLeavesWhatASuccessorGoesOnWith) {
  OpenForWriting();
  EXPECT_EQ(Write(0, 'a'), CompletionCode::kSuccess);
  EXPECT_EQ(Write(kBlock, 'b'), CompletionCode::kSuccess);
  EXPECT_EQ(Write(2 * kBlock, 'x'), CompletionCode::kSuccess);
  EXPECT_EQ(Run(CommandCode::kFlush), CompletionCode::kSuccess);
  agent_.End(SIGKILL);
  set_.reset();
  const AgentProcess successor(directory_.Under("server.sock"));
  ASSERT_TRUE(server_.WaitForHello(2));

  ASSERT_EQ(Order(v1::OpenDeviceSet::MODE_REPLACE, true), 0);
  OpenSet(vdi::feature::kReadMedia | vdi::feature::kWriteMedia | vdi::feature::kCompleteEnabled);
  EngineCommand read;
  read.command.buffer = buffer_;
  read.command.size = kBlock;
  read.command.position = kBlock;
  EXPECT_EQ(read.Run(*device_, CommandCode::kRead), CompletionCode::kSuccess);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(buffer_), kBlock), std::string(kBlock, 'b'));
  EXPECT_EQ(Write(0, 'c'), CompletionCode::kSuccess);
  EXPECT_EQ(Write(kBlock, 'd'), CompletionCode::kSuccess);
  EXPECT_EQ(Run(CommandCode::kFlush), CompletionCode::kSuccess);
  EXPECT_EQ(Run(CommandCode::kComplete), CompletionCode::kSuccess);
  EXPECT_THAT(device_->CloseDevice(), IsOk());
  EXPECT_THAT(set_->Close(), IsOk());

  EXPECT_EQ(Contents(), std::string(kBlock, 'c') + std::string(kBlock, 'd'));
  EXPECT_FALSE(std::filesystem::exists(partial_));
  EXPECT_EQ(Order(v1::OpenDeviceSet::MODE_REPLACE, true),
            static_cast<std::int32_t>(Code::kNotFound));
}

TEST_F(AgentProcessTest, MediumThatCannotBeOpenedFailsTheOrder) {
  ASSERT_TRUE(server_.WaitForHello());

  EXPECT_EQ(Order(v1::OpenDeviceSet::MODE_READ), static_cast<std::int32_t>(Code::kNotFound));
}

TEST(AgentCommandLine, PluginThatIsMissingEndsWithOne) {
  const std::string command = std::string(CAPSTAN_AGENT) +
                              " --server unix:/nowhere --plugin nothing --log-level error 2>&1";
  FILE* const output = ::popen(command.c_str(), "r");
  ASSERT_NE(output, nullptr);
  char text[512] = {};
  EXPECT_GT(std::fread(text, 1, sizeof(text) - 1, output), 0U);

  EXPECT_EQ(WEXITSTATUS(::pclose(output)), 1);
  EXPECT_THAT(text, testing::HasSubstr("nothing.so"));
  EXPECT_THAT(text, testing::HasSubstr("HINT: "));
}

}  // namespace
}  // namespace capstan::test
