#include "tools/plugin_check/runner.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace capstan::plugin_check {
namespace {

using Clock = std::chrono::steady_clock;

std::string Missing(const Clause& clause, const Facts& facts) {
  if ((facts.capabilities & clause.capabilities) != clause.capabilities) {
    return "the plugin does not announce that it can";
  }
  if ((facts.device_features & clause.features) != clause.features) {
    return "the plugin's media have no such feature";
  }
  return (facts.device_features & clause.features_without) != 0
             ? "the clause is about other kinds of media"
             : "";
}

// All that is there; the writers may still be.
std::string Drain(int fd) {
  std::string text;
  char piece[4096];
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  for (ssize_t got = 0; (got = ::read(fd, piece, sizeof(piece))) > 0;) {
    text.append(piece, static_cast<std::size_t>(got));
  }
  return text;
}

bool EndsBy(pid_t pid, Clock::time_point when) {
  // glibc 2.36 declares pidfd_open for C only.
  const auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  pollfd wait{.fd = pidfd, .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - Clock::now()).count();
    ready = ::poll(&wait, 1, left > 0 ? static_cast<int>(left) : 0);
  } while (ready < 0 && errno == EINTR);
  ::close(pidfd);
  return ready > 0;
}

}  // namespace

std::chrono::milliseconds Runner::Limit() const {
  // Several waits in a row; --large writes for minutes.
  return std::chrono::seconds(30) + 4 * setup_.patience +
         std::chrono::seconds(setup_.large ? 600 : 0);
}

template <typename Body>
Runner::Outcome Runner::Run(std::chrono::milliseconds limit, const Body& body) {
  int verdicts[2] = {-1, -1};
  const int output = ::memfd_create("output", MFD_CLOEXEC);
  if (output < 0 || ::pipe2(verdicts, O_CLOEXEC) != 0) {
    return {.verdict = fmt::format("uno descriptor is left: {}", std::strerror(errno))};
  }
  std::fflush(nullptr);  // the child must not write it once more
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    ::signal(SIGPIPE, SIG_IGN);  // rule 8: what the agent does
    ::signal(SIGXFSZ, SIG_IGN);
    ::signal(SIGSEGV, SIG_DFL);  // a sanitizer would print, and end the process in its own way
    ::signal(SIGBUS, SIG_DFL);
    ::signal(SIGABRT, SIG_DFL);
    SendVerdictsTo(verdicts[1]);
    body();
    GiveVerdict(Verdict::kKept, "");
  }
  ::close(verdicts[1]);
  if (pid < 0) {
    ::close(verdicts[0]);
    ::close(output);
    return {.verdict = fmt::format("uno process can be started: {}", std::strerror(errno))};
  }
  Outcome outcome;
  outcome.in_time = EndsBy(pid, Clock::now() + limit);
  ::kill(-pid, SIGKILL);  // the plugin may have started others
  ::kill(pid, SIGKILL);
  ::waitpid(pid, &outcome.wait_status, 0);
  outcome.verdict = Drain(verdicts[0]);
  ::lseek(output, 0, SEEK_SET);
  outcome.printed = Drain(output);
  ::close(verdicts[0]);
  ::close(output);
  return outcome;
}

std::optional<Facts> Runner::Learn(std::string* why) {
  int pipe[2] = {-1, -1};
  if (::pipe2(pipe, O_CLOEXEC) != 0) {
    *why = std::strerror(errno);
    return std::nullopt;
  }
  const Outcome outcome = Run(Limit(), [&] {
    Subject subject(setup_);
    const capstan_plugin& plugin = subject.abi();
    Facts facts;
    const auto copy = [](auto& field, const char* text) {
      std::snprintf(field, sizeof(field), "%s", text == nullptr ? "" : text);
    };
    copy(facts.name, plugin.name);
    copy(facts.version, plugin.version);
    copy(facts.device_class, plugin.device_class);
    facts.capabilities = plugin.capabilities;
    facts.device_features = plugin.device_features;
    facts.alignment = plugin.alignment;
    facts.configures = plugin.struct_size >= offsetof(capstan_plugin, device_status) &&
                       plugin.configure != nullptr;
    [[maybe_unused]] const auto sent = ::write(pipe[1], &facts, sizeof(facts));
  });
  Facts facts;
  ::close(pipe[1]);
  const bool told = ::read(pipe[0], &facts, sizeof(facts)) == sizeof(facts);
  ::close(pipe[0]);
  if (!told) {
    *why = outcome.verdict.empty() ? "the process that loaded it ended without a word"
                                   : outcome.verdict.substr(1, outcome.verdict.find('\n') - 1);
    return std::nullopt;
  }
  return facts;
}

void Runner::CleanUp(const Case& test) {
  Run(std::chrono::seconds(30), [&] {
    Subject subject(setup_);
    for (const char* const suffix : {"", "-missing"}) {
      OpenWish wish = test.Wish(suffix);
      for (const char* const token : {"check-1", "check-2"}) {
        wish.token = token;
        capstan_error error{};
        if (subject.Can(CAPSTAN_CAN_RECOVER)) {
          subject.TryRecover(wish, CAPSTAN_RECOVER_DISCARD, &error);
        }
      }
      capstan_error error{};
      if (subject.Can(CAPSTAN_CAN_REMOVE)) {
        subject.TryRemove(wish.target, &error);
      }
    }
  });
}

Finding Runner::Judge(const Clause& clause, const Facts& facts) {
  Finding finding{.clause = &clause};
  if (clause.check == nullptr) {
    finding.verdict = printed_.empty() ? Verdict::kKept : Verdict::kBroken;
    finding.evidence = printed_;
    return finding;
  }
  if (std::string missing = Missing(clause, facts); !missing.empty()) {
    finding.verdict = Verdict::kSkipped;
    finding.evidence = std::move(missing);
    return finding;
  }
  const Clock::time_point begin = Clock::now();
  Case test(setup_, facts, std::string(clause.name));
  CleanUp(test);  // what an earlier run may have left
  const Outcome outcome = Run(Limit(), [&] { clause.check(test); });
  CleanUp(test);
  finding.time = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
  const bool crashed = WIFSIGNALED(outcome.wait_status);
  if (!outcome.verdict.empty()) {
    finding.verdict = static_cast<Verdict>(outcome.verdict.front());
    finding.evidence = outcome.verdict.substr(1, outcome.verdict.find('\n') - 1);
  } else {
    finding.verdict = Verdict::kBroken;
    finding.evidence =
        !outcome.in_time ? fmt::format("it did not end within {} s", Limit().count() / 1000)
        : crashed
            ? fmt::format("the process ended by signal {} ({})", WTERMSIG(outcome.wait_status),
                          ::sigdescr_np(WTERMSIG(outcome.wait_status)))
            : fmt::format("the plugin ended the process with status {}",
                          WEXITSTATUS(outcome.wait_status));
  }
  // What the C library says of a crash is not the plugin's.
  if (!crashed && !outcome.printed.empty() && printed_.empty()) {
    printed_ = fmt::format("'{:.200}' came out during {}",
                           outcome.printed.substr(0, outcome.printed.find('\n')), clause.name);
  }
  return finding;
}

}  // namespace capstan::plugin_check
