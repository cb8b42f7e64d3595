#include "tools/plugin_check/case.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {
namespace {

// Forks; returns the wait status of the child.
int RunForked(const std::function<void()>& run) {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    Unjudged("unable to start a process: {}", std::strerror(errno));
  }
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() == parent) {
      run();
    }
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kJudgedStatus) {
    ::_exit(kJudgedStatus);
  }
  return status;
}

}  // namespace

OpenWish Case::Wish(const std::string& suffix) const {
  if (sequential()) {
    return {.target = setup_.place};
  }
  const std::string joint = setup_.place.ends_with('/') ? "" : "-";
  return {.target = setup_.place + joint + name_ + suffix};
}

Subject& Case::plugin() {
  if (plugin_ == nullptr) {
    plugin_ = std::make_unique<Subject>(setup_);
  }
  return *plugin_;
}

void Case::In(const std::function<void(Subject&)>& run) const {
  const int status = RunForked([&] {
    Subject subject(setup_);
    run(subject);
  });
  if (WIFSIGNALED(status)) {
    Broken("the process ended by signal {} ({})", WTERMSIG(status),
           ::sigdescr_np(WTERMSIG(status)));
  }
  if (WEXITSTATUS(status) != 0) {
    Broken("the plugin ended the process with status {}", WEXITSTATUS(status));
  }
}

void Case::Dying(const std::function<void(Subject&)>& run) const {
  const int status = RunForked([&] {
    Subject subject(setup_);
    run(subject);
    ::kill(::getpid(), SIGKILL);
  });
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
    Broken("the process ended before it was killed (wait status {:#x})", status);
  }
}

}  // namespace capstan::plugin_check
