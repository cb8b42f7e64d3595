// AgentLog: the standard error of one agent process, on its way through the server to the server's
// own. What it said last is kept, because that is why it ended.
//
// Threads: one at a time.
#pragma once

#include <string>
#include <string_view>

#include "vdi/base/unique_fd.h"

namespace capstan::coordinator {

class AgentLog {
 public:
  // The end that a new process writes to; invalid if the system has no pipe left, and then the
  // process writes to the server's standard error itself.
  UniqueFd Begin();

  // Readable when there is something to pass on, or at the end; -1 while there is nothing.
  int fd() const { return read_end_.get(); }
  // Passes on what is there. Does not wait for the agent.
  void PassOn();

  // The last line that says something, without the time in front of it; hints do not count.
  const std::string& last_line() const { return last_line_; }

 private:
  void Keep(std::string_view text);

  UniqueFd read_end_;
  std::string begun_;  // of a line
  std::string last_line_;
};

}  // namespace capstan::coordinator
