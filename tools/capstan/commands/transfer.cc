// backup, restore, verify, cancel: what moves data, and what stops it.
#include <algorithm>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fnmatch.h>

#include "tools/capstan/commands/commands.h"
#include "tools/capstan/name_template.h"
#include "tools/capstan/row_reader.h"
#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

constexpr StatementOptions kWithProgress = {.format = OutputFormat::kTable, .with_progress = true};

// The logical name of the only file in the backup; several files cannot go to one path.
Result<std::string> SingleLogicalName(const ResultSet& file_list) {
  std::vector<std::string> names;
  for (const Row& row : file_list.rows) {
    names.push_back(RowReader(file_list, row).Text("LogicalName"));
  }
  if (names.size() == 1 && !names.front().empty()) {
    return names.front();
  }
  return Error(Code::kInvalidArgument, "--to needs a backup of one file; this one has {}: {}",
               names.size(), fmt::join(names, ", "))
      .WithHint("say where each file goes with --move LOGICAL=PATH");
}

std::string TypeName(const BackupOptions& options) {
  return options.log ? "LOG" : options.differential ? "DIFF" : "FULL";
}

bool IsPattern(const std::string& name) {
  return name.find_first_of("*?") != std::string::npos;
}

// What to back up of the server's databases, in their order, and then names that it does not know.
// Of log backups, patterns mean the databases that have a log to back up.
std::vector<std::string> Choose(const std::vector<std::string>& wanted, const ResultSet& known,
                                bool log) {
  std::vector<std::string> chosen;
  for (const Row& row : known.rows) {
    const RowReader reader(known, row);
    const std::string name = reader.Text("name");
    const bool by_name = std::find(wanted.begin(), wanted.end(), name) != wanted.end();
    const bool by_pattern = std::any_of(wanted.begin(), wanted.end(), [&](const std::string& each) {
      return IsPattern(each) && ::fnmatch(each.c_str(), name.c_str(), 0) == 0;
    });
    const bool has_log = reader.Text("recovery_model_desc") != "SIMPLE";
    if (by_name || (by_pattern && (has_log || !log))) {
      chosen.push_back(name);
    }
  }
  for (const std::string& name : wanted) {
    if (!IsPattern(name) && std::find(chosen.begin(), chosen.end(), name) == chosen.end()) {
      chosen.push_back(name);
    }
  }
  return chosen;
}

// Puts values in place of the tags in names of targets. The server is asked for its name only if
// one has a tag.
ExitStatus ExpandTargets(Session& session, BackupOptions& options) {
  std::vector<Target*> targets;
  for (Target& target : options.targets) {
    targets.push_back(&target);
  }
  for (std::vector<Target>& mirror : options.mirrors) {
    for (Target& target : mirror) {
      targets.push_back(&target);
    }
  }
  const bool plain = std::none_of(targets.begin(), targets.end(), [](const Target* target) {
    return target->name.find('{') != std::string::npos ||
           target->name.find('}') != std::string::npos;
  });
  if (plain) {
    return ExitStatus::kDone;
  }
  const QueryResult server = Query(session, "SELECT name FROM sys.servers WHERE server_id = 0");
  if (server.status != ExitStatus::kDone) {
    return server.status;
  }
  const ResultSet& servers = server.result_sets.front();
  const std::tm now = fmt::localtime(std::time(nullptr));
  const NameTags tags{
      .database = options.database,
      .type = TypeName(options) + (options.copy_only ? "_COPY_ONLY" : ""),
      .server = servers.rows.empty() ? "" : RowReader(servers, servers.rows.front()).Text("name"),
      .date = fmt::format("{:%Y%m%d}", now),
      .time = fmt::format("{:%H%M%S}", now)};
  for (Target* const target : targets) {
    target->name = ExpandName(target->name, tags);
  }
  return ExitStatus::kDone;
}

std::string NamesOf(const std::vector<Target>& targets) {
  std::vector<std::string> names;
  for (const Target& target : targets) {
    names.push_back(target.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// Reads the backup that was just made back from each of its copies.
ExitStatus VerifyBackup(Session& session, const BackupOptions& backup) {
  if (backup.targets.front().target_class == TargetClass::kVirtualDevice) {
    session.console.Out("Not verified: only the program behind the virtual device could.\n");
    return ExitStatus::kDone;
  }
  const QueryResult newest =
      Query(session, NewestSetStatement(backup.database, backup.log            ? 'L'
                                                         : backup.differential ? 'I'
                                                                               : 'D'));
  if (newest.status != ExitStatus::kDone) {
    return newest.status;
  }
  const ResultSet& sets = newest.result_sets.front();
  const auto position =
      sets.rows.empty() ? std::nullopt : RowReader(sets, sets.rows.front()).Unsigned("position");
  if (!position.has_value()) {
    return ReportFailure(session.console,
                         Error(Code::kInternal, "the server has no record of the backup"));
  }
  std::vector<std::vector<Target>> copies = backup.mirrors;
  copies.insert(copies.begin(), backup.targets);
  for (const std::vector<Target>& copy : copies) {
    session.console.Out(fmt::format("Verifying file {} on {} (--no-verify leaves this out).\n",
                                    *position, Printable(NamesOf(copy))));
    RestoreOptions restore;
    restore.sources = copy;
    restore.transfer = backup.transfer;
    restore.transfer.checksum.reset();  // whether the set has any was decided when it was made
    restore.passphrase = backup.passphrase;
    restore.continue_after_error = backup.continue_after_error;
    restore.file_number = static_cast<int>(*position);
    const ExitStatus status = RunVerify(session, restore);
    if (status != ExitStatus::kDone) {
      return status;
    }
  }
  return ExitStatus::kDone;
}

}  // namespace

ExitStatus RunBackup(Session& session, BackupOptions options, bool verify) {
  const ExitStatus named = ExpandTargets(session, options);
  if (named != ExitStatus::kDone) {
    return named;
  }
  const ExitStatus status = RunStatement(session, BackupStatement(options), kWithProgress);
  if (status != ExitStatus::kDone || !verify) {
    return status;
  }
  return VerifyBackup(session, options);
}

ExitStatus RunBackups(Session& session, const BackupOptions& options,
                      const std::vector<std::string>& databases, bool verify) {
  if (databases.size() == 1 && !IsPattern(databases.front())) {
    BackupOptions one = options;
    one.database = databases.front();
    return RunBackup(session, std::move(one), verify);
  }
  const QueryResult known =
      Query(session, "SELECT name, recovery_model_desc FROM sys.databases ORDER BY name");
  if (known.status != ExitStatus::kDone) {
    return known.status;
  }
  const std::vector<std::string> chosen = Choose(databases, known.result_sets.front(), options.log);
  if (chosen.empty()) {
    return ReportFailure(session.console, Error(Code::kNotFound, "no database is meant by {}",
                                                fmt::join(databases, ", "))
                                              .WithHint("'capstan database list' lists them"));
  }
  // What all share is begun anew by the first of them only.
  const bool shared = std::any_of(
      options.targets.begin(), options.targets.end(),
      [](const Target& target) { return target.name.find("{database}") == std::string::npos; });
  ExitStatus worst = ExitStatus::kDone;
  for (const std::string& name : chosen) {
    BackupOptions one = options;
    one.database = name;
    if (shared && name != chosen.front()) {
      one.init = false;
      one.format = false;
    }
    const ExitStatus status = RunBackup(session, std::move(one), verify);
    if (status != ExitStatus::kDone && status != ExitStatus::kFailed) {
      return status;
    }
    worst = status == ExitStatus::kDone ? worst : status;
  }
  return worst;
}

ExitStatus RunRestore(Session& session, RestoreOptions options,
                      const std::optional<std::string>& single_file_path,
                      std::vector<ServerMessage>* errors) {
  if (single_file_path.has_value()) {
    const QueryResult files = Query(session, FileListStatement(options));
    if (files.status != ExitStatus::kDone) {
      return files.status;
    }
    const Result<std::string> logical_name = SingleLogicalName(files.result_sets.front());
    if (!logical_name.ok()) {
      return ReportFailure(session.console, logical_name.status());
    }
    options.moves.emplace_back(*logical_name, *single_file_path);
  }
  StatementOptions statement = kWithProgress;
  statement.errors = errors;
  return RunStatement(session, RestoreStatement(options), statement);
}

ExitStatus RunVerify(Session& session, const RestoreOptions& options) {
  return RunStatement(session, VerifyStatement(options), kWithProgress);
}

ExitStatus RunCancel(Session& session, std::int64_t session_id) {
  return RunStatement(session, KillStatement(session_id), {});
}

}  // namespace capstan::cli
