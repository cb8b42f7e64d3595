#include "server/writers/postgres/private_recovery.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/writers/postgres/child_program.h"
#include "server/writers/postgres/wal_format.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

constexpr std::uint32_t kVersion15 = 150'000;
constexpr std::uint32_t kVersion16 = 160'000;
constexpr std::size_t kLinesKept = 6;

constexpr std::array<std::string_view, 3> kWalLevels = {"minimal", "replica", "logical"};

std::string OnOff(bool value) {
  return value ? "on" : "off";
}

// What of a setting file, and of postgresql.auto.conf in the directory, must not count here.
void AddNeutralSettings(std::vector<std::string>* settings) {
  for (const char* const setting : {"listen_addresses=",
                                    "ssl=off",
                                    "bonjour=off",
                                    "external_pid_file=",
                                    "unix_socket_group=",
                                    "unix_socket_permissions=0700",
                                    "port=5432",
                                    "shared_preload_libraries=",
                                    "session_preload_libraries=",
                                    "local_preload_libraries=",
                                    "jit=off",
                                    "autovacuum=off",
                                    "max_logical_replication_workers=0",
                                    "synchronous_standby_names=",
                                    "archive_mode=off",
                                    "archive_command=",
                                    "archive_cleanup_command=",
                                    "recovery_end_command=",
                                    "primary_conninfo=",
                                    "primary_slot_name=",
                                    "restore_command=false",
                                    "hot_standby=off",
                                    "recovery_target=",
                                    "recovery_target_name=",
                                    "recovery_target_time=",
                                    "recovery_target_xid=",
                                    "recovery_min_apply_delay=0",
                                    "recovery_target_action=promote",
                                    "fsync=on",
                                    "full_page_writes=on",
                                    "data_sync_retry=off",
                                    "zero_damaged_pages=off",
                                    "ignore_invalid_pages=off",
                                    "restart_after_crash=off",
                                    "shared_buffers=256MB",
                                    "huge_pages=off",
                                    "superuser_reserved_connections=0",
                                    "max_wal_size=8GB",
                                    "wal_recycle=off",
                                    "logging_collector=off",
                                    "log_destination=stderr",
                                    "log_min_messages=warning",
                                    "log_line_prefix=",
                                    "log_error_verbosity=default",
                                    "lc_messages=C",
                                    "log_checkpoints=on"}) {
    settings->emplace_back(setting);
  }
}

void AddSettingsOfLog(const PgControl& control, std::vector<std::string>* settings) {
  const std::size_t level = std::min<std::size_t>(control.wal_level, kWalLevels.size() - 1);
  settings->push_back(fmt::format("wal_level={}", kWalLevels[level]));
  settings->push_back("wal_log_hints=" + OnOff(control.wal_log_hints));
  settings->push_back(fmt::format("max_connections={}", control.max_connections));
  settings->push_back(fmt::format("max_worker_processes={}", control.max_worker_processes));
  settings->push_back(fmt::format("max_wal_senders={}", control.max_wal_senders));
  settings->push_back(
      fmt::format("max_prepared_transactions={}", control.max_prepared_transactions));
  settings->push_back(
      fmt::format("max_locks_per_transaction={}", control.max_locks_per_transaction));
  settings->push_back("track_commit_timestamp=" + OnOff(control.track_commit_timestamp));
}

void AddTarget(const PrivateRecovery& recovery, std::vector<std::string>* settings) {
  const bool none = recovery.target.kind == RecoveryTarget::Kind::kEndOfLog;
  const bool through = recovery.target.kind == RecoveryTarget::Kind::kThrough;
  settings->push_back("recovery_target_lsn=" +
                      (none ? std::string() : PostgresLsnText(recovery.target.record)));
  settings->push_back("recovery_target_inclusive=" + OnOff(through));
  settings->push_back(fmt::format("recovery_target_timeline={}", recovery.timeline));
}

std::vector<std::string> Arguments(const PrivateRecovery& recovery) {
  const std::string folder = PrivateFolderPath(recovery.data_directory);
  std::vector<std::string> settings = {
      fmt::format("config_file={}/postgresql.conf", folder),
      fmt::format("hba_file={}/pg_hba.conf", folder),
      fmt::format("ident_file={}/pg_ident.conf", folder),
      // From the data directory, where the server works: the whole path may be too long for a
      // socket.
      fmt::format("unix_socket_directories={}", kPrivateFolder),
  };
  AddNeutralSettings(&settings);
  if (recovery.server_version >= kVersion15) {
    settings.emplace_back("log_startup_progress_interval=5s");
    settings.emplace_back("archive_library=");
  }
  if (recovery.server_version < kVersion16) {
    settings.emplace_back("promote_trigger_file=");
  }
  AddSettingsOfLog(recovery.control, &settings);
  AddTarget(recovery, &settings);
  std::vector<std::string> arguments = {"-D", recovery.data_directory};
  for (std::string& setting : settings) {
    arguments.emplace_back("-c");
    arguments.push_back(std::move(setting));
  }
  return arguments;
}

Status MakePrivateFolder(const PrivateRecovery& recovery) {
  CAPSTAN_RETURN_IF_ERROR(RemovePrivateFolder(recovery.data_directory));
  const std::string folder = PrivateFolderPath(recovery.data_directory);
  CAPSTAN_RETURN_IF_ERROR(MakeDirectories(folder, recovery.owner));
  CAPSTAN_RETURN_IF_ERROR(
      WriteFileDurably(folder + "/postgresql.conf", std::string_view(), recovery.owner));
  CAPSTAN_RETURN_IF_ERROR(WriteFileDurably(
      folder + "/pg_hba.conf", std::string_view("local all all reject\n"), recovery.owner));
  return WriteFileDurably(folder + "/pg_ident.conf", std::string_view(), recovery.owner);
}

// What the server said, as far as it matters.
class ServerWords {
 public:
  void Take(const std::string& line) {
    const std::string_view text = line;
    missed_ |= text.find("recovery ended before configured recovery target was reached") !=
               std::string_view::npos;
    ready_ |= text.find("database system is ready to accept connections") != std::string_view::npos;
    const bool grave = text.starts_with("FATAL:") || text.starts_with("PANIC:") ||
                       text.starts_with("ERROR:") || text.starts_with("HINT:") ||
                       text.starts_with("DETAIL:") || text.starts_with("postgres:");
    if (grave && graves_.size() < kLinesKept) {
      graves_.push_back(line);
    }
    if (last_.size() == kLinesKept) {
      last_.pop_front();
    }
    last_.push_back(line);
  }
  bool missed() const { return missed_; }
  bool ready() const { return ready_; }
  std::string Cause() const {
    return graves_.empty() ? fmt::format("{}", fmt::join(last_, "; "))
                           : fmt::format("{}", fmt::join(graves_, "; "));
  }

 private:
  bool missed_ = false;
  bool ready_ = false;
  std::deque<std::string> graves_;  // the first ones that name a failure
  std::deque<std::string> last_;
};

// Until the server and all its processes are gone. It is told to shut down once it is ready.
Result<ServerWords> Attend(ChildProgram* server, std::chrono::seconds silence_limit) {
  ServerWords words;
  bool told = false;
  while (true) {
    auto line = server->ReadLine(Deadline::After(silence_limit));
    if (!line.ok()) {
      return Annotate(std::move(line).status(),
                      fmt::format("the recovery hangs after: {}", words.Cause()));
    }
    if (!line->has_value()) {
      return words;
    }
    CAPSTAN_LOG(kDebug, "recovery pid={} {}", server->pid(), **line);
    words.Take(**line);
    if (words.ready() && !told) {
      server->Signal(SIGINT);  // fast shutdown
      told = true;
    }
  }
}

Result<RecoveryEnd> Run(const PrivateRecovery& recovery) {
  CAPSTAN_ASSIGN_OR_RETURN(const UniqueFd lock, LockPrivateFolder(recovery.data_directory));
  CAPSTAN_ASSIGN_OR_RETURN(const auto server, ChildProgram::Start({.path = recovery.program,
                                                                   .arguments = Arguments(recovery),
                                                                   .owner = recovery.owner,
                                                                   .death_signal = SIGQUIT,
                                                                   .inherited_fd = lock.get()}));
  CAPSTAN_ASSIGN_OR_RETURN(const ServerWords words, Attend(server.get(), recovery.silence_limit));
  CAPSTAN_ASSIGN_OR_RETURN(const int ended, server->Wait(Deadline::After(recovery.silence_limit)));
  if (words.ready() && WIFEXITED(ended) && WEXITSTATUS(ended) == 0) {
    return RecoveryEnd::kPromoted;
  }
  if (words.missed()) {
    return RecoveryEnd::kTargetMissed;
  }
  return Error(Code::kDataLoss, "PostgreSQL could not recover '{}': {}", recovery.data_directory,
               words.Cause());
}

}  // namespace

Result<RecoveryEnd> RunPrivateRecovery(const PrivateRecovery& recovery) {
  CAPSTAN_RETURN_IF_ERROR(MakePrivateFolder(recovery));
  auto end = Run(recovery);
  // It says how the server was started, which is nobody else's way to start it.
  Status status = RemoveFile(recovery.data_directory + "/postmaster.opts");
  if (status.ok()) {
    status = RemovePrivateFolder(recovery.data_directory);
  }
  if (end.ok() && !status.ok()) {
    return status;
  }
  return end;
}

Status RemovePrivateFolder(const std::string& data_directory) {
  const std::string folder = PrivateFolderPath(data_directory);
  if (!PathExists(folder)) {
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(RemoveContents(folder));
  return ::rmdir(folder.c_str()) == 0
             ? OkStatus()
             : OsError(errno, fmt::format("unable to remove '{}'", folder));
}

}  // namespace capstan::writers
