#include "server/coordinator/agent_supervisor.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
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

#include "server/coordinator/agent_log.h"
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
[[noreturn]] void BecomeAgent(char* const* arguments, char* const* environment, pid_t server,
                              int log) {
  if (log >= 0) {
    ::dup2(log, STDERR_FILENO);
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != server) {
    ::_exit(0);  // the server died before the line above could take effect
  }
  sigset_t none;
  sigemptyset(&none);
  ::signal(SIGPIPE, SIG_DFL);  // ignored signals stay ignored across exec
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);  // no socket of the server's outlives it in a child
  ::execve(arguments[0], arguments, environment);
  ::_exit(kExecFailed);
}

std::string DescribeExit(int status, const std::string& last_words) {
  if (WIFSIGNALED(status)) {
    return fmt::format("signal {} ({})", WTERMSIG(status), ::sigdescr_np(WTERMSIG(status)));
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kExecFailed) {
    return "its program could not be executed";
  }
  return last_words.empty() ? fmt::format("exit {}", WEXITSTATUS(status))
                            : fmt::format("exit {}: {}", WEXITSTATUS(status), last_words);
}

std::int64_t UnixNow() {
  return std::time(nullptr);
}

// Options of a plugin may be secrets. Everybody can read a process's arguments, but only its owner
// the environment it was started with.
std::string OptionsVariable(const AgentConfig& agent) {
  std::string variable = "CAPSTAN_AGENT_OPTIONS=";
  for (const auto& [key, value] : agent.options) {
    variable += fmt::format("{}={}\n", key, value);
  }
  return variable;
}

// One configured agent, running or waiting to be started again. Used by the keeper's thread only.
class Child {
 public:
  Child(const AgentConfig& agent, const ServerConfig& config)
      : process_{.name = agent.name, .plugin = agent.plugin},
        arguments_{config.agent_program,
                   "--plugin",
                   agent.plugin,
                   "--name",
                   agent.name,
                   "--server",
                   "unix:" + config.socket,
                   "--max-rate",
                   fmt::format("{}", agent.max_rate_mb),
                   "--retry-for",
                   fmt::format("{}", agent.retry_for_s.value_or(RetryForDefault(config)))},
        options_(OptionsVariable(agent)) {}

  bool running() const { return pid_ > 0; }
  // Readable once the child has ended; -1 while there is none.
  int exit_fd() const { return exit_fd_.get(); }
  // Readable when it has said something; -1 while it cannot.
  int log_fd() const { return log_.fd(); }
  void PassLogOn() { log_.PassOn(); }
  const AgentProcess& process() const { return process_; }
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

  void KillIfHung(const std::string& name, pid_t pid) {
    if (running() && pid == pid_ && name == process_.name) {
      CAPSTAN_LOG(kWarning, "agent process hangs name={} pid={}: it is killed", process_.name,
                  pid_);
      hung_ = true;
      Signal(SIGKILL);
    }
  }

  void ReapIfEnded(bool stopping) {
    int status = 0;
    if (!running() || ::waitpid(pid_, &status, WNOHANG) != pid_) {
      return;
    }
    log_.PassOn();  // its last words
    const std::string exit =
        std::exchange(hung_, false) ? "hung: killed" : DescribeExit(status, log_.last_line());
    const bool lived_long = Deadline::Clock::now() - started_at_ >= kLivedLong;
    backoff_ = lived_long ? kBackoffMin : backoff_;
    if (stopping) {
      CAPSTAN_LOG(kInfo, "agent process ended name={} pid={}: {}", process_.name, pid_, exit);
    } else {
      CAPSTAN_LOG(kWarning, "agent process ended name={} pid={} restart_ms={}: {}", process_.name,
                  pid_, backoff_.count(), exit);
    }
    process_.last_exit = exit;
    process_.last_exit_unix_s = UnixNow();
    process_.pid = pid_ = 0;
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
    std::vector<char*> environment = InheritedEnvironment();
    environment.push_back(options_.data());
    environment.push_back(nullptr);
    const UniqueFd log = log_.Begin();
    const pid_t server = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
      BecomeAgent(arguments.data(), environment.data(), server, log.get());
    }
    if (pid < 0) {
      CAPSTAN_LOG(
          kError, "{}",
          OsError(errno, fmt::format("unable to start agent '{}'", process_.name)).message());
      BackOff();
      return;
    }
    process_.pid = pid_ = pid;
    process_.restarts += process_.started_unix_s == 0 ? 0 : 1;
    process_.started_unix_s = UnixNow();
    started_at_ = Deadline::Clock::now();
    // glibc 2.36 declares pidfd_open for C only.
    exit_fd_.Reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    CAPSTAN_LOG(kInfo, "agent process begin name={} pid={}", process_.name, pid);
  }

  static std::vector<char*> InheritedEnvironment() {
    std::vector<char*> environment;
    for (char** entry = ::environ; *entry != nullptr; ++entry) {
      if (!std::string_view(*entry).starts_with("CAPSTAN_AGENT_OPTIONS=")) {
        environment.push_back(*entry);
      }
    }
    return environment;
  }

  void BackOff() {
    start_at_ = Deadline::Clock::now() + backoff_;
    process_.restart_unix_s = UnixNow() + std::chrono::ceil<std::chrono::seconds>(backoff_).count();
    backoff_ = std::min(backoff_ * 2, kBackoffMax);
  }

  AgentProcess process_;
  std::vector<std::string> arguments_;
  std::string options_;  // as an environment variable
  pid_t pid_ = 0;
  bool hung_ = false;  // and was killed for it
  UniqueFd exit_fd_;
  AgentLog log_;
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
    Publish();
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

  std::vector<AgentProcess> List() const {
    MutexLock lock(mutex_);
    return list_;
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
      Publish();
      Wait(next);
      stopping = StopWanted();
      for (Child& child : children_) {
        child.ReapIfEnded(stopping);
      }
    }
    EndAll();
  }

  void Publish() {
    std::vector<AgentProcess> list;
    for (const Child& child : children_) {
      list.push_back(child.process());
    }
    MutexLock lock(mutex_);
    list_ = std::move(list);
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
      for (Child& child : children_) {
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
  void Wait(Deadline::Clock::time_point when) {
    // A child without a pidfd (none was left) is looked at now and then.
    constexpr std::chrono::milliseconds kLook{1'000};
    std::vector<pollfd> fds{{.fd = wake_event_.get(), .events = POLLIN, .revents = 0}};
    for (const Child& child : children_) {
      if (child.exit_fd() >= 0) {
        fds.push_back({.fd = child.exit_fd(), .events = POLLIN, .revents = 0});
      }
      if (child.log_fd() >= 0) {
        fds.push_back({.fd = child.log_fd(), .events = POLLIN, .revents = 0});
      }
    }
    const auto now = Deadline::Clock::now();
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(
        std::clamp<Deadline::Clock::duration>(when - now, Deadline::Clock::duration(0), kLook));
    ::poll(fds.data(), fds.size(), static_cast<int>(wait.count()));
    eventfd_t wakes = 0;
    ::eventfd_read(wake_event_.get(), &wakes);  // non-blocking: there may be none
    for (Child& child : children_) {
      child.PassLogOn();
    }
  }

  const std::string program_;
  std::vector<Child> children_;  // the thread's
  UniqueFd wake_event_;          // written after a change below

  mutable Mutex mutex_;
  bool stopping_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::vector<AgentProcess> list_ CAPSTAN_GUARDED_BY(mutex_);
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

std::vector<AgentProcess> AgentSupervisor::List() const {
  return keeper_->List();
}

void AgentSupervisor::Stop() {
  keeper_->Stop();
}

}  // namespace capstan::coordinator
