// The verbs of the command line. Each says what it does to the server in statements, prints what
// comes back and returns the exit status of the process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/capstan/session.h"
#include "tools/capstan/statements.h"

namespace capstan::cli {

struct ExecOptions {
  std::optional<std::string> statement;  // "-" = standard input
  std::optional<std::string> file;
  OutputFormat format = OutputFormat::kTable;
  bool stop_on_error = false;
};

enum class ListSubject {
  kDatabases,
  kAgents,
  kCertificates,
  kDevices,
  kDeviceSets,
  kJobHistory,
  kJobs,
  kLogins,
  kWriters,
};

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

struct DeviceBenchOptions {
  DeviceBench bench;
  OutputFormat format = OutputFormat::kTable;
};

struct StatusOptions {
  OutputFormat format = OutputFormat::kTable;
};

struct LoginOptions {
  std::string name;
  std::string password_file;  // "-" = standard input, empty = the terminal is asked, twice
};

struct CertificateOptions {
  std::string name;
  std::string subject;              // empty: the name
  std::string file;                 // of the server
  std::string key_file;             // of the server; empty: without the private key
  std::string key_passphrase_file;  // read here; "-" = standard input, empty = no passphrase
};

struct RebuildOptions {
  std::vector<std::string> paths;  // of the server
  OutputFormat format = OutputFormat::kTable;
};

struct MediaShowOptions {
  std::vector<Target> media;
  bool blocks = false;  // every block of a medium, too
  OutputFormat format = OutputFormat::kTable;
};

ExitStatus RunExec(Session& session, const ExecOptions& options);
ExitStatus RunDatabaseAdd(Session& session, const std::string& name, const std::string& location);
ExitStatus RunDatabaseSet(Session& session, const std::string& name, const std::string& recovery,
                          const std::string& preference);
ExitStatus RunDatabaseDiscover(Session& session, const std::vector<std::string>& folders,
                               OutputFormat format);
ExitStatus RunExpire(Session& session, const ExpireOptions& options, OutputFormat format);
ExitStatus RunDatabaseRemove(Session& session, const std::string& name);
ExitStatus RunLoginAdd(Session& session, const LoginOptions& options);
ExitStatus RunLoginPassword(Session& session, const LoginOptions& options);
ExitStatus RunLoginRemove(Session& session, const std::string& name);
// Names of targets are templates (name_template.h). `verify`: reads every copy back when it is
// made.
ExitStatus RunBackup(Session& session, BackupOptions options, bool verify);
// The same for several: names, and patterns with * and ?, which the server's databases answer. One
// that fails does not keep the others from being backed up.
ExitStatus RunBackups(Session& session, const BackupOptions& options,
                      const std::vector<std::string>& databases, bool verify);
// `single_file_path`: where the only file of the backup goes; its logical name is looked up.
// `errors`, if given, also receives the errors of the restore.
ExitStatus RunRestore(Session& session, RestoreOptions options,
                      const std::optional<std::string>& single_file_path,
                      std::vector<ServerMessage>* errors = nullptr);
// The newest full backup set of `database` in the server's history; `options` without sources. A
// copy that cannot be read is replaced by its mirror.
ExitStatus RunRestoreLatest(Session& session, RestoreOptions options, const std::string& database,
                            const std::optional<std::string>& single_file_path);
ExitStatus RunVerify(Session& session, const RestoreOptions& options);
ExitStatus RunHistory(Session& session, const HistoryOptions& options);
ExitStatus RunList(Session& session, const ListOptions& options);
ExitStatus RunTop(Session& session, const TopOptions& options);
ExitStatus RunCancel(Session& session, std::int64_t session_id);
ExitStatus RunCertificateAdd(Session& session, const CertificateOptions& options);
ExitStatus RunCertificateExport(Session& session, const CertificateOptions& options);
ExitStatus RunCertificateRemove(Session& session, const std::string& name);
// kFailed too if a medium could not be read.
ExitStatus RunCatalogRebuild(Session& session, const RebuildOptions& options);
// One statement each; kFailed too if a medium is damaged.
ExitStatus RunMediaShow(Session& session, const MediaShowOptions& options);
ExitStatus RunDeviceBench(Session& session, const DeviceBenchOptions& options);
ExitStatus RunStatus(Session& session, const StatusOptions& options);

}  // namespace capstan::cli
