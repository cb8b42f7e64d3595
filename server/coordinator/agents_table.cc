#include "server/coordinator/agents_table.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "server/catalog/timestamps.h"
#include "vdi/device_types.h"

namespace capstan::coordinator {
namespace {

using Cell = std::optional<std::string>;

Cell OrNull(std::string text) {
  return text.empty() ? Cell() : Cell(std::move(text));
}

Cell Time(std::int64_t unix_s) {
  return unix_s == 0 ? Cell() : Cell(catalog::LocalDateTime(unix_s));
}

// What is known of one name.
struct Known {
  const AgentInfo* attached = nullptr;
  const AgentInfo* gone = nullptr;
  const AgentProcess* process = nullptr;

  const AgentInfo* info() const { return attached != nullptr ? attached : gone; }
};

std::string StateOf(const Known& known, std::int64_t now) {
  if (known.attached != nullptr) {
    return known.attached->state;
  }
  if (known.process == nullptr) {
    return "Gone";
  }
  if (known.process->pid != 0) {
    return "Starting";
  }
  const std::int64_t wait = known.process->restart_unix_s - now;
  return wait > 0 ? fmt::format("Restarting in {} s", wait) : "Restarting";
}

Cell LastExitOf(const Known& known, std::int64_t now) {
  if (known.process != nullptr) {
    const AgentProcess& process = *known.process;
    return process.last_exit.empty()
               ? Cell()
               : Cell(fmt::format("{} ({} s ago)", process.last_exit,
                                  std::max<std::int64_t>(now - process.last_exit_unix_s, 0)));
  }
  return known.attached != nullptr || known.gone == nullptr
             ? Cell()
             : Cell(fmt::format("{} ({} s ago)", known.gone->last_error,
                                std::max<std::int64_t>(now - known.gone->gone_unix_s, 0)));
}

// An agent that somebody else started has no process of ours, also if it has a name of ours.
bool IsOurs(const Known& known) {
  return known.process != nullptr &&
         (known.attached == nullptr || known.attached->pid == known.process->pid);
}

std::vector<Cell> RowOf(const std::string& name, const Known& known, std::int64_t now) {
  const AgentInfo* const info = known.info();
  const bool ours = IsOurs(known);
  const int pid = known.attached != nullptr  ? known.attached->pid
                  : known.process != nullptr ? known.process->pid
                                             : 0;
  std::vector<Cell> row{name};
  row.push_back(info != nullptr ? info->plugin_name : known.process->plugin);
  if (info != nullptr) {
    row.insert(row.end(), {OrNull(info->plugin_version), OrNull(info->plugin_vendor),
                           OrNull(info->device_class),
                           OrNull(fmt::format("{}", fmt::join(info->schemes, ", "))),
                           OrNull(FeatureWords(info->capabilities, info->device_features))});
  } else {
    row.resize(row.size() + 5);
  }
  row.push_back(StateOf(known, now));
  row.push_back(pid == 0 ? Cell() : Cell(fmt::format("{}", pid)));
  row.push_back(Time(known.attached != nullptr ? known.attached->attached_unix_s : 0));
  row.push_back(Time(ours ? known.process->started_unix_s : 0));
  row.push_back(ours ? "server" : "somebody else");
  row.push_back(ours ? Cell(fmt::format("{}", known.process->restarts)) : Cell());
  row.push_back(LastExitOf(known, now));
  row.push_back(known.attached != nullptr ? OrNull(known.attached->last_error) : Cell());
  return row;
}

struct Word {
  std::uint32_t bit;
  std::string_view word;
};
constexpr Word kCapabilities[] = {
    {capability::kRead, "read"},       {capability::kWrite, "write"},
    {capability::kAppend, "append"},   {capability::kUndo, "undo"},
    {capability::kRecover, "recover"}, {capability::kRemove, "remove"},
    {capability::kRetain, "retain"},   {capability::kResume, "resume"},
};
constexpr Word kFeatures[] = {
    {vdi::feature::kRandomAccess, "random access"},
    {vdi::feature::kRemovable, "removable"},
    {vdi::feature::kFileMarks, "file marks"},
};

}  // namespace

std::string FeatureWords(std::uint32_t capabilities, std::uint32_t device_features) {
  std::vector<std::string_view> words;
  for (const Word& one : kCapabilities) {
    if ((capabilities & one.bit) != 0) {
      words.push_back(one.word);
    }
  }
  for (const Word& one : kFeatures) {
    if ((device_features & one.bit) != 0) {
      words.push_back(one.word);
    }
  }
  return fmt::format("{}", fmt::join(words, ", "));
}

catalog::Table AgentsTable(const AgentsNow& now) {
  catalog::Table table;
  table.columns = {{"agent_name", "nvarchar(128)"},
                   {"plugin", "nvarchar(128)"},
                   {"plugin_version", "nvarchar(60)"},
                   {"plugin_vendor", "nvarchar(128)"},
                   {"device_class", "nvarchar(60)"},
                   {"schemes", "nvarchar(128)"},
                   {"features", "nvarchar(256)"},
                   {"state", "nvarchar(60)"},
                   {"pid", "int"},
                   {"attached_at", "datetime"},
                   {"started_at", "datetime"},
                   {"started_by", "nvarchar(60)"},
                   {"restarts", "int"},
                   {"last_exit", "nvarchar(max)"},
                   {"last_error", "nvarchar(max)"}};
  std::map<std::string, Known> agents;
  for (const AgentInfo& agent : now.gone) {
    agents[agent.name].gone = &agent;
  }
  for (const AgentInfo& agent : now.attached) {
    agents[agent.name].attached = &agent;
  }
  for (const AgentProcess& process : now.processes) {
    agents[process.name].process = &process;
  }
  for (const auto& [name, known] : agents) {
    table.rows.push_back(RowOf(name, known, now.unix_s));
  }
  return table;
}

}  // namespace capstan::coordinator
