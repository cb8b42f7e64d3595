// The verbs of the command line. Each says what it does to the server in statements, prints what
// comes back and returns the exit status of the process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tools/capstan/session.h"
#include "tools/capstan/statements.h"

namespace capstan::cli {

struct ExecOptions {
  std::optional<std::string> statement;  // "-" = standard input
  std::optional<std::string> file;
  OutputFormat format = OutputFormat::kTable;
  bool stop_on_error = false;
};

enum class ListSubject { kDatabases, kAgents, kDevices, kDeviceSets, kJobs, kLogins, kWriters };

struct ListOptions {
  ListSubject subject = ListSubject::kDatabases;
  OutputFormat format = OutputFormat::kTable;
};

struct HistoryOptions {
  std::string database;  // empty = all
  int limit = 20;
  OutputFormat format = OutputFormat::kTable;
};

struct TopOptions {
  bool once = false;
  OutputFormat format = OutputFormat::kTable;
};

struct StatusOptions {
  OutputFormat format = OutputFormat::kTable;
};

struct LoginOptions {
  std::string name;
  std::string password_file;  // "-" = standard input, empty = the terminal is asked, twice
};

ExitStatus RunExec(Session& session, const ExecOptions& options);
ExitStatus RunDatabaseAdd(Session& session, const std::string& name, const std::string& location);
ExitStatus RunDatabaseRemove(Session& session, const std::string& name);
ExitStatus RunLoginAdd(Session& session, const LoginOptions& options);
ExitStatus RunLoginPassword(Session& session, const LoginOptions& options);
ExitStatus RunLoginRemove(Session& session, const std::string& name);
ExitStatus RunBackup(Session& session, const BackupOptions& options);
// `single_file_path`: where the only file of the backup goes; its logical name is looked up.
ExitStatus RunRestore(Session& session, RestoreOptions options,
                      const std::optional<std::string>& single_file_path);
ExitStatus RunVerify(Session& session, const RestoreOptions& options);
ExitStatus RunHistory(Session& session, const HistoryOptions& options);
ExitStatus RunList(Session& session, const ListOptions& options);
ExitStatus RunTop(Session& session, const TopOptions& options);
ExitStatus RunCancel(Session& session, std::int64_t session_id);
ExitStatus RunStatus(Session& session, const StatusOptions& options);

}  // namespace capstan::cli
