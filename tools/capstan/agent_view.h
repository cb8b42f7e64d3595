// Agents and devices -> blocks of lines that fit a terminal of 80 columns; there is more to say of
// each than a row of a table takes. Pure.
#pragma once

#include <string>

#include "tools/client/response.h"

namespace capstan::cli {

// Rows of sys.dm_backup_agents.
std::string FormatAgents(const ResultSet& agents);
// Rows of sys.dm_backup_devices.
std::string FormatDevices(const ResultSet& devices);

}  // namespace capstan::cli
