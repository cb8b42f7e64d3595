// Runs a piece of a test in a child process, where it may give up rights, lower limits or die.
#pragma once

#include <cstdio>
#include <functional>
#include <string>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace capstan::test {

// "" if `body` returned "", otherwise what it returned, or how the child ended. Call it only while
// the process has one thread.
inline std::string RunInChild(const std::function<std::string()>& body) {
  int ends[2];
  if (::pipe(ends) != 0) {
    return "no pipe";
  }
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string text = body();
    [[maybe_unused]] const ssize_t written = ::write(ends[1], text.data(), text.size());
    ::_exit(text.empty() ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[512];
  for (ssize_t size = 0; (size = ::read(ends[0], buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    return text + " (ended by signal " + std::to_string(WTERMSIG(status)) + ")";
  }
  return WEXITSTATUS(status) == 0 ? "" : text.empty() ? "ended without a word" : text;
}

}  // namespace capstan::test
