#include "server/coordinator/agent_supervisor.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vdi/base/clock.h"
#include "vdi/base/log.h"
#include "vdi/base/mutex.h"
#include "vdi/base/unique_fd.h"

namespace capstan::coordinator {
namespace {

constexpr std::chrono::milliseconds kBackoffMin{100};
constexpr std::chrono::milliseconds kBackoffMax{5'000};
constexpr std::chrono::seconds kLivedLong{30};
constexpr std::chrono::seconds kStopGrace{10};
constexpr int kExecFailed = 127;  // as shells have it

// What runs between fork and exec: calls that are safe there, and nothing else.
[[noreturn]] void BecomeAgent(char* const* arguments, pid_t server) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != server) {
    ::_exit(0);  // the server died before the line above could take effect
  }
  sigset_t none;
  sigemptyset(&none);
  ::signal(SIGPIPE, SIG_DFL);  // ignored signals stay ignored across exec
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);  // no socket of the server's outlives it in a child
  ::execv(arguments[0], arguments);
  ::_exit(kExecFailed);
}

std::string DescribeExit(int status) {
  if (WIFSIGNALED(status)) {
    return fmt::format("killed by signal {} ({})", WTERMSIG(status),
                       ::sigdescr_np(WTERMSIG(status)));
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kExecFailed) {
    return "its program could not be executed";
  }
  return fmt::format("exit status {}", WEXITSTATUS(status));
}

// One configured agent, running or waiting to be started again. Used by the keeper's thread only.
class Child {
 public:
  Child(const AgentConfig& agent, const ServerConfig& config)
      : name_(agent.name),
        arguments_{config.agent_program, "--plugin", agent.plugin,           "--name",
                   agent.name,           "--server", "unix:" + config.socket} {}

  bool running() const { return pid_ > 0; }
  // Readable once the child has ended; -1 while there is none.
  int exit_fd() const { return exit_fd_.get(); }
  Deadline::Clock::time_point start_at() const { return start_at_; }

  void StartIfDue() {
    if (!running() && Deadline::Clock::now() >= start_at_) {
      Start();
    }
  }

  void Signal(int number) const {
    if (running()) {
      ::kill(pid_, number);  // the pid is ours until it is reaped here
    }
  }

  void KillIfHung(const std::string& name, pid_t pid) const {
    if (running() && pid == pid_ && name == name_) {
      CAPSTAN_LOG(kWarning, "agent process hangs name={} pid={}: it is killed", name_, pid_);
      Signal(SIGKILL);
    }
  }

  void ReapIfEnded(bool stopping) {
    int status = 0;
    if (!running() || ::waitpid(pid_, &status, WNOHANG) != pid_) {
      return;
    }
    const bool lived_long = Deadline::Clock::now() - started_at_ >= kLivedLong;
    backoff_ = lived_long ? kBackoffMin : backoff_;
    if (stopping) {
      CAPSTAN_LOG(kInfo, "agent process ended name={} pid={}: {}", name_, pid_,
                  DescribeExit(status));
    } else {
      CAPSTAN_LOG(kWarning, "agent process ended name={} pid={} restart_ms={}: {}", name_, pid_,
                  backoff_.count(), DescribeExit(status));
    }
    pid_ = 0;
    exit_fd_.Reset();
    BackOff();
  }

 private:
  void Start() {
    std::vector<char*> arguments;
    for (std::string& argument : arguments_) {
      arguments.push_back(argument.data());
    }
    arguments.push_back(nullptr);
    const pid_t server = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
      BecomeAgent(arguments.data(), server);
    }
    if (pid < 0) {
      CAPSTAN_LOG(kError, "{}",
                  OsError(errno, fmt::format("unable to start agent '{}'", name_)).message());
      BackOff();
      return;
    }
    pid_ = pid;
    started_at_ = Deadline::Clock::now();
    // glibc 2.36 declares pidfd_open for C only.
    exit_fd_.Reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    CAPSTAN_LOG(kInfo, "agent process begin name={} pid={}", name_, pid);
  }

  void BackOff() {
    start_at_ = Deadline::Clock::now() + backoff_;
    backoff_ = std::min(backoff_ * 2, kBackoffMax);
  }

  const std::string name_;
  std::vector<std::string> arguments_;
  pid_t pid_ = 0;
  UniqueFd exit_fd_;
  std::chrono::milliseconds backoff_ = kBackoffMin;
  Deadline::Clock::time_point started_at_{};
  Deadline::Clock::time_point start_at_{};  // not before
};

}  // namespace

class AgentSupervisor::Keeper {
 public:
  explicit Keeper(const ServerConfig& config)
      : program_(config.agent_program), wake_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    for (const AgentConfig& agent : config.agents) {
      children_.emplace_back(agent, config);
    }
  }
  ~Keeper() { Stop(); }

  Status Start() {
    if (::access(program_.c_str(), X_OK) != 0) {
      return OsError(errno, fmt::format("unable to execute the agents' program '{}'", program_))
          .WithHint(
              "agent_program in the configuration names another; start_agents = false "
              "leaves starting agents to somebody else");
    }
    if (!wake_event_.valid()) {
      return Error(Code::kUnavailable, "unable to create the supervisor's event");
    }
    thread_ = std::jthread([this]() noexcept { Run(); });
    return OkStatus();
  }

  void Stop() {
    if (thread_.joinable()) {
      {
        MutexLock lock(mutex_);
        stopping_ = true;
      }
      ::eventfd_write(wake_event_.get(), 1);
      thread_.join();
    }
  }

  void EndHung(const std::string& name, pid_t pid) {
    {
      MutexLock lock(mutex_);
      hung_.emplace_back(name, pid);
    }
    ::eventfd_write(wake_event_.get(), 1);
  }

 private:
  // The thread that the children's lives are tied to.
  void Run() {
    for (bool stopping = false; !stopping;) {
      KillHung();
      Deadline::Clock::time_point next = Deadline::Clock::time_point::max();
      for (Child& child : children_) {
        child.StartIfDue();
        if (!child.running()) {
          next = std::min(next, child.start_at());
        }
      }
      Wait(next);
      stopping = StopWanted();
      for (Child& child : children_) {
        child.ReapIfEnded(stopping);
      }
    }
    EndAll();
  }

  bool StopWanted() {
    MutexLock lock(mutex_);
    return stopping_;
  }

  // On the thread that reaps: a child that is found running here keeps its process id meanwhile.
  void KillHung() {
    std::vector<std::pair<std::string, pid_t>> hung;
    {
      MutexLock lock(mutex_);
      hung.swap(hung_);
    }
    for (const auto& [name, pid] : hung) {
      for (const Child& child : children_) {
        child.KillIfHung(name, pid);
      }
    }
  }

  void EndAll() {
    Deadline deadline = Deadline::After(kStopGrace);
    SignalAll(SIGTERM);
    while (AnyRunning()) {
      Wait(deadline.when());
      for (Child& child : children_) {
        child.ReapIfEnded(/*stopping=*/true);
      }
      if (deadline.passed()) {
        SignalAll(SIGKILL);
        deadline = Deadline::After(kStopGrace);
      }
    }
  }

  void SignalAll(int number) {
    for (const Child& child : children_) {
      child.Signal(number);
    }
  }

  bool AnyRunning() const {
    return std::any_of(children_.begin(), children_.end(),
                       [](const Child& child) { return child.running(); });
  }

  // Until a child has ended, or somebody wants something, or `when`.
  void Wait(Deadline::Clock::time_point when) const {
    // A child without a pidfd (none was left) is looked at now and then.
    constexpr std::chrono::milliseconds kLook{1'000};
    std::vector<pollfd> fds{{.fd = wake_event_.get(), .events = POLLIN, .revents = 0}};
    for (const Child& child : children_) {
      if (child.exit_fd() >= 0) {
        fds.push_back({.fd = child.exit_fd(), .events = POLLIN, .revents = 0});
      }
    }
    const auto now = Deadline::Clock::now();
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(
        std::clamp<Deadline::Clock::duration>(when - now, Deadline::Clock::duration(0), kLook));
    ::poll(fds.data(), fds.size(), static_cast<int>(wait.count()));
    eventfd_t wakes = 0;
    ::eventfd_read(wake_event_.get(), &wakes);  // non-blocking: there may be none
  }

  const std::string program_;
  std::vector<Child> children_;  // the thread's
  UniqueFd wake_event_;          // written after a change below

  Mutex mutex_;
  bool stopping_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::vector<std::pair<std::string, pid_t>> hung_ CAPSTAN_GUARDED_BY(mutex_);

  std::jthread thread_;  // last: joined before the rest goes
};

AgentSupervisor::AgentSupervisor(const ServerConfig& config)
    : keeper_(std::make_unique<Keeper>(config)) {}

AgentSupervisor::~AgentSupervisor() = default;

Status AgentSupervisor::Start() {
  return keeper_->Start();
}

void AgentSupervisor::EndHung(const std::string& name, pid_t pid) {
  keeper_->EndHung(name, pid);
}

void AgentSupervisor::Stop() {
  keeper_->Stop();
}

}  // namespace capstan::coordinator
