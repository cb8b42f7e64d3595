// The agents here are shell scripts: each writes its pid, one line a life, into a file.
#include "server/coordinator/agent_supervisor.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "vdi/base/clock.h"

namespace capstan::coordinator {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;
using namespace std::chrono_literals;

bool Eventually(const std::function<bool()>& condition) {
  for (const Deadline deadline = Deadline::After(20s); !deadline.passed();) {
    if (condition()) {
      return true;
    }
    std::this_thread::sleep_for(5ms);  // between two looks at what another process does
  }
  return condition();
}

class AgentSupervisorTest : public ::testing::Test {
 protected:
  // `body` follows the line that writes the pid down.
  void WriteAgent(const std::string& body) {
    config_.agent_program = directory_.Under("agent");
    config_.socket = directory_.Under("capstand.sock");
    std::ofstream(config_.agent_program)
        << "#!/bin/sh\necho $$ \"$@\" >> " << directory_.Under("lives") << "\n"
        << body << "\n";
    ASSERT_EQ(::chmod(config_.agent_program.c_str(), 0755), 0);
  }

  // One per life, in order; the arguments too.
  std::vector<std::string> Lives() const {
    std::ifstream file(directory_.Under("lives"));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
      lines.push_back(line);
    }
    return lines;
  }
  std::vector<pid_t> Pids() const {
    std::vector<pid_t> pids;
    for (const std::string& life : Lives()) {
      pids.push_back(std::stoi(life));
    }
    return pids;
  }
  static bool Exists(pid_t pid) { return ::kill(pid, 0) == 0 || errno != ESRCH; }

  test::TemporaryDirectory directory_;
  ServerConfig config_;
};

TEST_F(AgentSupervisorTest, StartsTheAgentsWithTheirArguments) {
  WriteAgent("exec sleep 60");
  AgentSupervisor supervisor(config_);
  ASSERT_THAT(supervisor.Start(), IsOk());

  ASSERT_TRUE(Eventually([this] { return Lives().size() == 1; }));
  EXPECT_TRUE(Lives()[0].ends_with(" --plugin disk --name disk --server unix:" + config_.socket +
                                   " --max-rate 0 --retry-for 15"))
      << Lives()[0];
}

// Everybody on the machine can read a process's arguments.
TEST_F(AgentSupervisorTest, PassesOptionsWhereOthersCannotReadThem) {
  WriteAgent("printf '%s' \"$CAPSTAN_AGENT_OPTIONS\" > " + directory_.Under("options.new") +
             "\nmv " + directory_.Under("options.new") + " " + directory_.Under("options") +
             "\nexec sleep 60");
  config_.agents = {{.name = "s3",
                     .plugin = "s3",
                     .options = {{"endpoint", "http://x"}, {"secret", "hunter2 = \"3\""}},
                     .max_rate_mb = 40,
                     .retry_for_s = 7}};
  AgentSupervisor supervisor(config_);
  ASSERT_THAT(supervisor.Start(), IsOk());

  const auto options = [this] {
    std::ifstream file(directory_.Under("options"));
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  ASSERT_TRUE(Eventually([&] { return !options().empty(); }));
  EXPECT_EQ(options(), "endpoint=http://x\nsecret=hunter2 = \"3\"\n");
  EXPECT_EQ(Lives()[0].find("hunter2"), std::string::npos) << Lives()[0];
  EXPECT_TRUE(Lives()[0].ends_with(" --max-rate 40 --retry-for 7")) << Lives()[0];
}

TEST_F(AgentSupervisorTest, StartsADeadAgentAgain) {
  WriteAgent("exec sleep 60");
  AgentSupervisor supervisor(config_);
  ASSERT_THAT(supervisor.Start(), IsOk());
  ASSERT_TRUE(Eventually([this] { return Pids().size() == 1; }));

  ASSERT_EQ(::kill(Pids()[0], SIGKILL), 0);

  ASSERT_TRUE(Eventually([this] { return Pids().size() == 2; }));
  EXPECT_FALSE(Exists(Pids()[0])) << "the first one was not reaped";
  EXPECT_TRUE(Exists(Pids()[1]));
}

// A stopped process stands for one that hangs: it notices nothing and takes no SIGTERM.
TEST_F(AgentSupervisorTest, EndsAHungAgentAndStartsItAgain) {
  WriteAgent("exec sleep 60");
  AgentSupervisor supervisor(config_);
  ASSERT_THAT(supervisor.Start(), IsOk());
  ASSERT_TRUE(Eventually([this] { return Pids().size() == 1; }));
  const pid_t hung = Pids()[0];
  ASSERT_EQ(::kill(hung, SIGSTOP), 0);

  supervisor.EndHung("disk", hung);

  ASSERT_TRUE(Eventually([this] { return Pids().size() == 2; }));
  EXPECT_FALSE(Exists(hung));
  EXPECT_TRUE(Exists(Pids()[1]));
}

// The child that is ended last shows that the supervisor has seen the orders before it.
TEST_F(AgentSupervisorTest, EndsNobodyElsesProcess) {
  WriteAgent("exec sleep 60");
  const pid_t foreign = ::fork();
  if (foreign == 0) {
    ::pause();
    ::_exit(0);
  }
  ASSERT_GT(foreign, 0);
  AgentSupervisor supervisor(config_);
  ASSERT_THAT(supervisor.Start(), IsOk());
  ASSERT_TRUE(Eventually([this] { return Pids().size() == 1; }));

  supervisor.EndHung("disk", foreign);
  supervisor.EndHung("another", Pids()[0]);  // a foreign agent with our child's process id
  supervisor.EndHung("disk", 0);             // a process group, to kill(2)
  supervisor.EndHung("disk", -1);            // everybody, to kill(2)
  EXPECT_TRUE(Exists(Pids()[0]));
  supervisor.EndHung("disk", Pids()[0]);
  EXPECT_TRUE(Eventually([this] { return Pids().size() == 2; }));

  EXPECT_EQ(::waitpid(foreign, nullptr, WNOHANG), 0) << "it was ended";
  ::kill(foreign, SIGKILL);
  ::waitpid(foreign, nullptr, 0);
}

TEST_F(AgentSupervisorTest, TellsHowAnAgentEnded) {
  WriteAgent(
      "echo 'E 12:03:04.512 no such drive' >&2\necho 'E 12:03:04.513 HINT: name one' >&2\n"
      "exit 1");
  AgentSupervisor supervisor(config_);
  EXPECT_EQ(supervisor.List()[0].restarts, 0U);
  EXPECT_EQ(supervisor.List()[0].last_exit, "");
  ASSERT_THAT(supervisor.Start(), IsOk());

  ASSERT_TRUE(Eventually([&] { return supervisor.List()[0].restarts == 1; }));
  const AgentProcess process = supervisor.List()[0];
  EXPECT_EQ(process.name, "disk");
  EXPECT_EQ(process.last_exit, "exit 1: no such drive");
  EXPECT_GT(process.last_exit_unix_s, 0);
}

TEST_F(AgentSupervisorTest, TellsASignalFromAHang) {
  WriteAgent("exec sleep 60");
  AgentSupervisor supervisor(config_);
  ASSERT_THAT(supervisor.Start(), IsOk());
  ASSERT_TRUE(Eventually([&] { return Pids().size() == 1 && supervisor.List()[0].pid != 0; }));
  EXPECT_EQ(supervisor.List()[0].pid, Pids()[0]);
  ASSERT_EQ(::kill(Pids()[0], SIGSEGV), 0);
  ASSERT_TRUE(Eventually([&] { return Pids().size() == 2; }));
  EXPECT_EQ(supervisor.List()[0].last_exit, "signal 11 (Segmentation fault)");

  supervisor.EndHung("disk", Pids()[1]);
  ASSERT_TRUE(Eventually([&] { return supervisor.List()[0].restarts == 2; }));
  EXPECT_EQ(supervisor.List()[0].last_exit, "hung: killed");
}

TEST_F(AgentSupervisorTest, OrdersToEndAreIgnoredWhileNothingRuns) {
  WriteAgent("exec sleep 60");
  AgentSupervisor supervisor(config_);
  supervisor.EndHung("disk", ::getpid());
  ASSERT_THAT(supervisor.Start(), IsOk());
  ASSERT_TRUE(Eventually([this] { return Pids().size() == 1; }));
  supervisor.Stop();
  supervisor.EndHung("disk", Pids()[0]);
}

// Four lives need waits of 100, 200 and 400 ms between them.
TEST_F(AgentSupervisorTest, WaitsLongerEachTimeAnAgentDies) {
  WriteAgent("exit 1");
  const auto begin = std::chrono::steady_clock::now();
  AgentSupervisor supervisor(config_);
  ASSERT_THAT(supervisor.Start(), IsOk());

  ASSERT_TRUE(Eventually([this] { return Lives().size() >= 4; }));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 700ms);
}

TEST_F(AgentSupervisorTest, StopEndsEveryAgent) {
  WriteAgent("exec sleep 60");
  config_.agents = {{"a", "disk"}, {"b", "s3"}};
  AgentSupervisor supervisor(config_);
  ASSERT_THAT(supervisor.Start(), IsOk());
  ASSERT_TRUE(Eventually([this] { return Pids().size() == 2; }));

  const auto begin = std::chrono::steady_clock::now();
  supervisor.Stop();
  supervisor.Stop();

  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
  for (const pid_t pid : Pids()) {
    EXPECT_FALSE(Exists(pid));
  }
}

// The server blocks the signals it waits for; an agent that inherited that could not be stopped.
TEST_F(AgentSupervisorTest, AgentsDoNotInheritBlockedSignals) {
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  WriteAgent("exec sleep 60");
  AgentSupervisor supervisor(config_);
  ASSERT_THAT(supervisor.Start(), IsOk());
  ASSERT_TRUE(Eventually([this] { return Pids().size() == 1; }));

  const auto begin = std::chrono::steady_clock::now();
  supervisor.Stop();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);

  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s) << "it took SIGKILL";
}

TEST_F(AgentSupervisorTest, AProgramThatCannotBeExecutedIsAnError) {
  config_.agent_program = directory_.Under("none");
  AgentSupervisor supervisor(config_);

  const Status status = supervisor.Start();

  EXPECT_THAT(status, HasCode(Code::kNotFound));
  EXPECT_THAT(status, MessageHas("unable to execute the agents' program"));
  EXPECT_FALSE(status.hint().empty());
}

// A killed server must not leave agents that hold media open.
TEST_F(AgentSupervisorTest, AgentsDieWithTheServer) {
  WriteAgent("exec sleep 60");
  const pid_t server = ::fork();
  if (server == 0) {
    AgentSupervisor supervisor(config_);
    const Status started = supervisor.Start();
    ::pause();
    ::_exit(started.ok() ? 0 : 1);
  }
  ASSERT_GT(server, 0);
  const bool began = Eventually([this] { return Pids().size() == 1; });

  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);

  ASSERT_TRUE(began);
  // Dead, or a zombie that whoever adopted it has yet to reap.
  EXPECT_TRUE(Eventually([this] {
    std::ifstream status("/proc/" + std::to_string(Pids()[0]) + "/status");
    const std::string text((std::istreambuf_iterator<char>(status)), {});
    return text.empty() || text.find("State:\tZ") != std::string::npos;
  }));
}

}  // namespace
}  // namespace capstan::coordinator
