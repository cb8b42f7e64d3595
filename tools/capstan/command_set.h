// The commands of one parse of the command line, for the files that define them. CLI11 and its
// exceptions stay in those.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "tools/capstan/commands/commands.h"
#include "tools/capstan/session.h"
#include "vdi/base/status.h"

namespace capstan::cli {

using Action = std::function<ExitStatus(Session&)>;

// Turns what was typed into an action once all of it is known; kInvalidArgument = usage error.
using Planner = std::function<Result<Action>()>;

// CLI11 writes into variables, which the planners share and keep.
struct Commands {
  std::string working_directory;
  std::vector<std::pair<CLI::App*, Planner>> planners;

  void Add(CLI::App* command, Planner planner) {
    planners.emplace_back(command, std::move(planner));
  }
};

// --json
void AddJson(CLI::App* command, OutputFormat& format);
// A command that lists something.
void AddListCommand(CLI::App& parent, Commands& commands, const char* name, const char* help,
                    ListSubject subject);

// backup, restore, verify
void AddTransferCommands(CLI::App& app, Commands& commands);
// certificate, catalog, media
void AddStoreCommands(CLI::App& app, Commands& commands);

}  // namespace capstan::cli
