// VictimProcess: vdi_victim in one of its roles, from start to death.
// Holdings: what a process has that a device set could leave behind in it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vdi/base/check.h"
#include "vdi/base/clock.h"

namespace capstan::vdi {

class VictimProcess {
 public:
  // `crash_point` as in CAPSTAN_CRASH_AT; empty: it dies by Kill only.
  VictimProcess(std::vector<std::string> arguments, const std::string& crash_point) {
    arguments.insert(arguments.begin(), VDI_VICTIM);
    std::vector<char*> pointers;
    for (std::string& argument : arguments) {
      pointers.push_back(argument.data());
    }
    pointers.push_back(nullptr);
    std::string crash_variable = "CAPSTAN_CRASH_AT=" + crash_point;
    std::vector<char*> environment{crash_variable.data(), nullptr};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    // Its words would only be those of a process that lost its peer, or was killed.
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    const int failed =
        ::posix_spawn(&pid_, VDI_VICTIM, &actions, nullptr, pointers.data(), environment.data());
    ::posix_spawn_file_actions_destroy(&actions);
    CAPSTAN_CHECK(failed == 0);
  }
  ~VictimProcess() {
    if (!reaped_) {
      Signal(SIGKILL);
      AwaitEnd();
    }
  }
  VictimProcess(const VictimProcess&) = delete;
  VictimProcess& operator=(const VictimProcess&) = delete;

  int pid() const { return pid_; }
  void Signal(int number) const { ::kill(pid_, number); }
  // Whether it has ended. Reaps it.
  bool ended() {
    if (!reaped_) {
      reaped_ = ::waitpid(pid_, &status_, WNOHANG) == pid_;
    }
    return reaped_;
  }
  void AwaitEnd() {
    if (!reaped_) {
      CAPSTAN_CHECK(::waitpid(pid_, &status_, 0) == pid_);
      reaped_ = true;
    }
  }
  // After its end: whether it was SIGKILL.
  bool was_killed() const { return WIFSIGNALED(status_) && WTERMSIG(status_) == SIGKILL; }
  int exit_status() const { return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1; }

 private:
  pid_t pid_ = -1;
  bool reaped_ = false;
  int status_ = 0;
};

struct Holdings {
  std::multiset<std::string> descriptors;  // what they are open on
  int mappings = 0;                        // of segments
  std::ptrdiff_t threads = 0;

  static Holdings Now() {
    Holdings now;
    std::error_code gone;  // the descriptor that lists the folder is in it, and closed by then
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      const auto target = std::filesystem::read_symlink(entry.path(), gone).string();
      if (!gone && !target.starts_with("/proc/")) {
        const auto number = target.find_first_of("0123456789[");  // of an inode: ever a new one
        now.descriptors.insert(target.starts_with("/") ? target : target.substr(0, number));
      }
    }
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      now.mappings += line.find("memfd:capstan") != std::string::npos ? 1 : 0;
    }
    now.threads = std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                                std::filesystem::directory_iterator());
    return now;
  }
  // What there is once `expected` is there, or after a second, whichever comes first: a thread that
  // was joined, and a connection that was closed by the peer, take a moment to go.
  static Holdings Settled(const Holdings& expected) {
    const Deadline deadline = Deadline::After(std::chrono::seconds(1));
    Holdings now = Now();
    while (now != expected && !deadline.passed()) {
      std::this_thread::yield();
      now = Now();
    }
    return now;
  }
  friend bool operator==(const Holdings&, const Holdings&) = default;
  std::string Text() const {
    std::string text = std::to_string(mappings) + " mappings, " + std::to_string(threads) +
                       " threads, descriptors:";
    for (const std::string& descriptor : descriptors) {
      text += " " + descriptor;
    }
    return text;
  }
};

}  // namespace capstan::vdi
