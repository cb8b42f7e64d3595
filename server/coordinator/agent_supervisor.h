// AgentSupervisor: starts the agents that the configuration names, and starts them again when they
// die, or when somebody who knows that they hang says so.
//
// A child cannot outlive the server: the kernel kills it when the thread that started it ends
// (PR_SET_PDEATHSIG goes by thread), and that is the supervisor's own, which lives until Stop.
// Restarts wait 100 ms at first, twice as long each time, 5 s at most; an agent that lived for 30 s
// begins anew. Children write to the server's standard output; their standard error passes through
// the supervisor, which keeps the last line for the story of an agent's end.
//
// Threads: Start and Stop from one, EndHung and List from any; owns the one that starts, watches,
// kills and reaps the children.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "server/coordinator/config.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

// An agent's process, or the wait for the next one.
struct AgentProcess {
  std::string name;
  std::string plugin;
  pid_t pid = 0;                    // 0 while none runs
  std::int64_t started_unix_s = 0;  // of the last one; 0 = there was none
  std::int64_t restart_unix_s = 0;  // while none runs
  std::uint32_t restarts = 0;       // since the server started
  std::string last_exit = {};       // "signal 11 (Segmentation fault)", "hung: killed",
                                    // "exit 1: unable to open the drive"; empty = none ended
  std::int64_t last_exit_unix_s = 0;
};

class AgentSupervisor {
 public:
  explicit AgentSupervisor(const ServerConfig& config);
  ~AgentSupervisor();  // stops
  AgentSupervisor(const AgentSupervisor&) = delete;
  AgentSupervisor& operator=(const AgentSupervisor&) = delete;

  // kFailedPrecondition: the agents' program cannot be executed. That a single agent does not come
  // up is logged, not returned: it is tried again.
  Status Start();

  // SIGKILL to the child of that name and process id, which is then started again like any that
  // died. No other process is ever touched: what no running child is called is ignored (an agent
  // that somebody else started, perhaps with process ids of its own). Does not wait.
  void EndHung(const std::string& name, pid_t pid);

  std::vector<AgentProcess> List() const;  // in the order of the configuration; any thread

  // SIGTERM to every child, SIGKILL to those that are still there 10 s later. Returns when all are
  // gone. Idempotent.
  void Stop();

 private:
  class Keeper;
  std::unique_ptr<Keeper> keeper_;
};

}  // namespace capstan::coordinator
