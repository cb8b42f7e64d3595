#include <string_view>

#include <fmt/format.h>

#include "tools/capstan/commands/history.h"
#include "tools/capstan/commands/list.h"
#include "tools/capstan/json_printer.h"
#include "tools/capstan/table_printer.h"

namespace capstan::cli {
namespace {

constexpr int kLastBackups = 5;

struct ServerState {
  ExitStatus status = ExitStatus::kDone;
  std::string version;
  ResultSet agents;
  ResultSet jobs;
  std::vector<HistoryEntry> backups;
};

ServerState QueryState(Session& session) {
  ServerState state;
  QueryResult version = Query(session, "SELECT @@VERSION");
  if (version.status != ExitStatus::kDone) {
    state.status = version.status;
    return state;
  }
  const std::vector<Row>& rows = version.result_sets.front().rows;
  state.version = rows.empty() || rows[0].empty() ? "" : rows[0][0].value_or("");
  QueryResult agents = Query(session, ListStatement(ListSubject::kAgents));
  if (agents.status != ExitStatus::kDone) {
    state.status = agents.status;
    return state;
  }
  state.agents = std::move(agents.result_sets.front());
  QueryResult jobs = Query(session, ListStatement(ListSubject::kJobs));
  if (jobs.status != ExitStatus::kDone) {
    state.status = jobs.status;
    return state;
  }
  state.jobs = std::move(jobs.result_sets.front());
  HistoryResult history = QueryHistory(session, "", kLastBackups);
  state.status = history.status;
  state.backups = std::move(history.entries);
  return state;
}

std::string Section(std::string_view title, const ResultSet& table) {
  if (table.rows.empty()) {
    return fmt::format("\n{}: none\n", title);
  }
  return fmt::format("\n{}:\n{}", title, FormatTable(table));
}

// The first line: SELECT @@VERSION also names the compiler and the operating system.
std::string_view FirstLine(std::string_view text) {
  return text.substr(0, text.find_first_of("\r\n"));
}

}  // namespace

ExitStatus RunStatus(Session& session, const StatusOptions& options) {
  const ServerState state = QueryState(session);
  if (state.status != ExitStatus::kDone) {
    return state.status;
  }
  const std::string& server = session.client.endpoint().written;
  if (options.format == OutputFormat::kJson) {
    session.console.Out(
        fmt::format("{{\"server\": {}, \"reachable\": true, \"version\": {},\n\"agents\": {},\n"
                    "\"jobs\": {},\n\"backups\": {}}}\n",
                    JsonString(server), JsonString(state.version), FormatJson(state.agents),
                    FormatJson(state.jobs), HistoryJson(state.backups)));
    return ExitStatus::kDone;
  }
  session.console.Out(
      fmt::format("Server:  {} (reachable)\nVersion: {}\n{}{}{}", server, FirstLine(state.version),
                  Section("Agents", Laid(state.agents, ListColumns(ListSubject::kAgents))),
                  Section("Running jobs", Laid(state.jobs, ListColumns(ListSubject::kJobs))),
                  Section("Last backups", HistoryTable(state.backups))));
  return ExitStatus::kDone;
}

}  // namespace capstan::cli
