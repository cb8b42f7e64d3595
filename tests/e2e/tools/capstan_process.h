// Runs the built `capstan` binary, or another program, and keeps what it printed.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "vdi/base/unique_fd.h"

namespace capstan::test {

struct ProcessResult {
  int exit_status = -1;  // 128 + signal if a signal ended it
  std::string out;
  std::string error;
  std::chrono::milliseconds duration{0};
};

struct ProcessOptions {
  std::string standard_input = {};
  std::vector<std::pair<std::string, std::string>> environment = {};  // on top of our own
  // Standard output and standard error are one terminal of this size; all output is in `out`.
  int terminal_columns = 0;
  int terminal_lines = 0;
};

// A child process. The destructor kills it, with SIGKILL, if it still runs.
class Process {
 public:
  Process(const std::string& program, std::vector<std::string> arguments,
          ProcessOptions options = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // Reads standard output until the text has come; false if it ends or takes 20 s.
  bool WaitForOutput(const std::string& text);
  // Reads all output and waits for the end; a process that takes longer than 60 s is killed.
  ProcessResult Wait();

 private:
  pid_t pid_ = -1;
  UniqueFd out_;
  std::string out_text_;  // what WaitForOutput has read
  UniqueFd error_;        // invalid with a terminal
  std::chrono::steady_clock::time_point started_;
};

// `capstan ARGUMENTS` to its end.
ProcessResult RunCapstan(std::vector<std::string> arguments, ProcessOptions options = {});

}  // namespace capstan::test
