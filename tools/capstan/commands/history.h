// Backup history as values, for the commands that show it.
#pragma once

#include <string>
#include <vector>

#include "tools/capstan/commands/commands.h"
#include "tools/capstan/history_view.h"

namespace capstan::cli {

struct HistoryResult {
  ExitStatus status = ExitStatus::kDone;
  std::vector<HistoryEntry> entries;  // newest first; empty unless kDone
};

// The newest `limit` backup sets, of all databases if `database` is empty. Two queries instead of
// one join, so that the limit counts backup sets and not their devices.
HistoryResult QueryHistory(Session& session, const std::string& database, int limit);

}  // namespace capstan::cli
