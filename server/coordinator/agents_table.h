// sys.dm_backup_agents: the agents that are attached, those that the server starts, and those that
// were here; one row a name.
//
// Threads: functions without state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/coordinator/agent_directory.h"
#include "server/coordinator/agent_supervisor.h"

namespace capstan::coordinator {

struct AgentsNow {
  std::vector<AgentInfo> attached;
  std::vector<AgentInfo> gone;
  std::vector<AgentProcess> processes;  // that the server keeps running
  std::int64_t unix_s = 0;
};

catalog::Table AgentsTable(const AgentsNow& now);

// "write, read, append, undo, file marks": what a plugin can do and how its media are.
std::string FeatureWords(std::uint32_t capabilities, std::uint32_t device_features);

}  // namespace capstan::coordinator
