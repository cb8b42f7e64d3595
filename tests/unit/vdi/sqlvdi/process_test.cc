// The library among processes: forks, execs, signals, and the engine's death.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/vdi/sqlvdi/classic_pair.h"

namespace capstan::sqlvdi {
namespace {

// Exit status of a forked child that runs `body`, or 1000 + the signal that ended it.
int StatusOfChild(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::string OutputOf(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"),
                                                             ::pclose);
  std::string text;
  char piece[4096];
  for (std::size_t size = 0; (size = std::fread(piece, 1, sizeof(piece), pipe.get())) > 0;) {
    text.append(piece, size);
  }
  return text;
}

std::set<std::string> Tasks() {
  std::set<std::string> tasks;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    tasks.insert(task.path().filename().string());
  }
  return tasks;
}

// The mask of blocked signals of a thread of this process.
std::uint64_t BlockedSignalsOf(const std::string& task) {
  std::ifstream status("/proc/self/task/" + task + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("SigBlk:")) {
      return std::stoull(line.substr(7), nullptr, 16);
    }
  }
  return 0;
}

// An engine in a process of its own, which configures one set and waits to be killed.
class EngineProcess {
 public:
  explicit EngineProcess(const std::string& path) : pid_(::fork()) {
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const auto rendezvous = test::Must(vdi::Rendezvous::Listen({.path = path}));
      const auto engine = test::Must(rendezvous->Open("set", test::Patience()));
      test::Must(engine->BeginConfiguration({.added_features = vdi::feature::kWriteMedia}));
      test::Must(engine->EndConfiguration(std::vector<std::string>{"set"}));
      if (engine->OpenDevice("set", test::Patience()).ok()) {
        ::pause();
      }
      ::_exit(0);
    }
  }
  ~EngineProcess() { Kill(); }
  EngineProcess(const EngineProcess&) = delete;
  EngineProcess& operator=(const EngineProcess&) = delete;

  void Kill() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = 0;
    }
  }

 private:
  pid_t pid_;
};

// What users saw as "Unexpected termination: x80770004", and no hang.
TEST(ClassicProcess, AKilledEngineIsAnAbort) {
  const test::TemporaryDirectory folder;
  const ScopedEnvironment where("CAPSTAN_VDI", folder.Under("vdi.sock"));
  const ScopedEnvironment on("CAPSTAN_VDI_DIAGNOSTICS", folder.Under("vdi.log"));
  EngineProcess engine(folder.Under("vdi.sock"));
  ClientVirtualDeviceSet set;
  VDConfig config = ClassicPair::OneDevice();
  std::string name = "set";
  const Deadline patience = test::Patience();
  while (set.Create(name.data(), &config) != NOERROR && !patience.passed()) {
    ::usleep(1000);  // until it listens
  }
  ASSERT_EQ(Said(set.GetConfiguration(20, &config)), "NOERROR");
  ClientVirtualDevice* device = nullptr;
  ASSERT_EQ(Said(set.OpenDevice(name.data(), &device)), "NOERROR");

  engine.Kill();

  VDC_Command* command = nullptr;
  EXPECT_EQ(Said(device->GetCommand(20, &command)), "VD_E_ABORT");
  EXPECT_EQ(Said(set.SignalAbort()), "NOERROR");
  EXPECT_EQ(Said(set.Close()), "NOERROR");
  EXPECT_THAT(OutputOf("cat '" + folder.Under("vdi.log") + "'"),
              testing::HasSubstr("the engine is gone"));
}

// popen("sqlcmd ...") comes after Create: what the child inherited would keep the set alive.
TEST(ClassicProcess, AProgramThatIsStartedInheritsNothing) {
  const std::string list = "ls /proc/self/fd; grep -c memfd /proc/self/maps";
  const std::string before = OutputOf(list);
  ClassicPair pair;
  pair.ToActive();

  EXPECT_EQ(OutputOf(list), before);
}

// The engine must see the client's death although a program that it started lives on.
TEST(ClassicProcess, AProgramThatIsStartedDoesNotKeepTheSetAlive) {
  ClassicPair pair;
  pair.ToActive();
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> other(::popen("cat", "w"), ::pclose);

  EXPECT_EQ(Said(pair.set().Close()), "VD_E_OPEN");

  EXPECT_EQ(pair.AwaitAbort().code(), Code::kAborted);
}

TEST(ClassicProcess, AForkedChildLeavesTheParentsSetAlone) {
  ClassicPair pair;
  pair.ToActive();
  test::AwaitedCommand flush(vdi::CommandCode::kFlush);

  const int status = StatusOfChild([&pair] {
    VDC_Command* command = nullptr;
    VDConfig config{};
    const bool refused = pair.device().GetCommand(-1, &command) == VD_E_PROTOCOL &&
                         pair.set().GetConfiguration(-1, &config) == VD_E_PROTOCOL &&
                         pair.set().SignalAbort() == VD_E_PROTOCOL &&
                         pair.set().Close() == VD_E_PROTOCOL;
    delete &pair.device();
    pair.DestroySet();
    return refused ? 0 : 1;
  });

  EXPECT_EQ(status, 0);
  test::Must(pair.engine_device().SendCommand(flush.get()));
  EXPECT_EQ(Said(pair.device().CompleteCommand(pair.Next(), ERROR_SUCCESS, 0, 0)), "NOERROR");
  EXPECT_EQ(flush.Await().completion_code, vdi::CompletionCode::kSuccess);
}

TEST(ClassicProcess, TheUmaskDoesNotMatter) {
  ClassicPair pair;
  const mode_t before = ::umask(0777);
  pair.ToActive();
  ::umask(before);

  EXPECT_EQ(Said(pair.set().SignalAbort()), "NOERROR");
}

TEST(ClassicProcess, NothingLiesInDevShm) {
  ClassicPair pair;
  pair.ToActive();

  const std::string maps = OutputOf("cat /proc/" + std::to_string(::getpid()) + "/maps");

  EXPECT_THAT(maps, testing::HasSubstr("memfd:"));
  EXPECT_THAT(maps, testing::Not(testing::HasSubstr("/dev/shm")));
}

// A vendor's handlers run in the vendor's threads.
TEST(ClassicProcess, TheLibrarysThreadTakesNoSignals) {
  const test::TemporaryDirectory folder;
  const ScopedEnvironment where("CAPSTAN_VDI", folder.Under("vdi.sock"));
  const EngineProcess engine(folder.Under("vdi.sock"));
  std::thread([] {}).join();  // with the first thread a sanitizer starts one of its own
  const std::set<std::string> before = Tasks();
  ClientVirtualDeviceSet set;
  VDConfig config = ClassicPair::OneDevice();
  std::string name = "set";
  const Deadline patience = test::Patience();
  while (set.Create(name.data(), &config) != NOERROR && !patience.passed()) {
    ::usleep(1000);  // until it listens
  }

  std::set<std::string> tasks = Tasks();
  std::erase_if(tasks, [&before](const std::string& task) { return before.count(task) > 0; });

  ASSERT_EQ(tasks.size(), 1U);
  const std::uint64_t blocked = BlockedSignalsOf(*tasks.begin());
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGALRM, SIGUSR1}) {
    EXPECT_NE(blocked & (1ULL << (number - 1)), 0U) << "signal " << number;
  }
  EXPECT_EQ(BlockedSignalsOf(*before.begin()) & (1ULL << (SIGTERM - 1)), 0U)
      << "the program's own thread does as before";
}

}  // namespace
}  // namespace capstan::sqlvdi
