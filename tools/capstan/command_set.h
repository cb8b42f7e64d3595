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
  struct Planned {
    CLI::App* command;
    Planner planner;
    bool asks_server;
  };
  std::vector<Planned> planners;

  void Add(CLI::App* command, Planner planner) {
    planners.push_back({command, std::move(planner), true});
  }
  // A command that needs no server, and so no password.
  void AddLocal(CLI::App* command, Planner planner) {
    planners.push_back({command, std::move(planner), false});
  }
};

// --json
void AddJson(CLI::App* command, OutputFormat& format);
// A command that lists something.
void AddListCommand(CLI::App& parent, Commands& commands, const char* name, const char* help,
                    ListSubject subject);

// backup, restore, verify
void AddTransferCommands(CLI::App& app, Commands& commands);
// certificate, catalog, media, device
void AddStoreCommands(CLI::App& app, Commands& commands);
// tape
void AddTapeCommands(CLI::App& app, Commands& commands);

}  // namespace capstan::cli
