// Runs a piece of a test in a child process, where it may give up rights, lower limits or die.
#pragma once

#include <cstdio>
#include <functional>
#include <string>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace capstan::test {

// A piece of a test in a child process, beside the caller until Await. Start it only while the
// process has one thread.
class ChildProcess {
 public:
  explicit ChildProcess(const std::function<std::string()>& body) {
    int ends[2];
    if (::pipe(ends) != 0) {
      return;
    }
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ends[0]);
      const std::string text = body();
      [[maybe_unused]] const ssize_t written = ::write(ends[1], text.data(), text.size());
      ::_exit(text.empty() ? 0 : 1);
    }
    ::close(ends[1]);
    words_ = ends[0];
  }
  ~ChildProcess() {
    if (pid_ > 0 && !ended_) {
      ::kill(pid_, SIGKILL);
      [[maybe_unused]] const std::string text = Await();
    }
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // "" if `body` returned "", otherwise what it returned, or how the child ended. Once.
  std::string Await() {
    if (pid_ <= 0) {
      return "no child";
    }
    std::string text;
    char buffer[512];
    for (ssize_t size = 0; (size = ::read(words_, buffer, sizeof(buffer))) > 0;) {
      text.append(buffer, static_cast<std::size_t>(size));
    }
    ::close(words_);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    ended_ = true;
    if (WIFSIGNALED(status)) {
      return text + " (ended by signal " + std::to_string(WTERMSIG(status)) + ")";
    }
    return WEXITSTATUS(status) == 0 ? "" : text.empty() ? "ended without a word" : text;
  }

 private:
  pid_t pid_ = -1;
  int words_ = -1;
  bool ended_ = false;
};

// The same, waited for.
inline std::string RunInChild(const std::function<std::string()>& body) {
  return ChildProcess(body).Await();
}

}  // namespace capstan::test
