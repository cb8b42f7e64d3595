#include "server/writers/postgres/postgres_writer.h"

#include <utility>

#include "server/messages/messages.h"
#include "server/writers/postgres/abandoned_restore.h"
#include "server/writers/postgres/cluster_recovery.h"
#include "server/writers/postgres/postgres_backup_session.h"
#include "server/writers/postgres/postgres_connection.h"
#include "server/writers/postgres/postgres_discovery.h"
#include "server/writers/postgres/postgres_log_backup.h"
#include "server/writers/postgres/postgres_log_restore.h"
#include "server/writers/postgres/postgres_page_check.h"
#include "server/writers/postgres/postgres_restore_session.h"
#include "server/writers/postgres/postgres_server.h"
#include "server/writers/postgres/replica_choice.h"

namespace capstan::writers {
namespace {

// Names the kind of writer for ever: {8D2F4A61-9C05-4B7E-A1D3-6E0B5F7C2948}.
constexpr Guid kPostgresWriterId = {.bytes = {0x61, 0x4a, 0x2f, 0x8d, 0x05, 0x9c, 0x7e, 0x4b, 0xa1,
                                              0xd3, 0x6e, 0x0b, 0x5f, 0x7c, 0x29, 0x48}};

// Error 65005: "The database 'shop' cannot be read: <cause>."
Status Unreadable(const std::string& logical_name, const Status& cause) {
  if (cause.reason() != 0) {
    return cause;
  }
  return SqlError(65005, logical_name, cause.message())
      .WithOsError(cause.os_error())
      .WithHint(std::string(cause.hint()));
}

Status NoSnapshots() {
  return Error(Code::kUnimplemented, "the PostgreSQL writer does not freeze clusters")
      .WithHint("back the cluster up without SNAPSHOT: it stays in use, whatever its size");
}

}  // namespace

PostgresWriter::PostgresWriter(const LogKeeper::Options& log)
    : instance_id_(Guid::Random()),
      tracker_(std::make_shared<WriterStateTracker>()),
      log_keeper_(std::make_shared<LogKeeper>(log)) {}

WriterInfo PostgresWriter::info() const {
  return {.name = "PostgresWriter",
          .writer_id = kPostgresWriterId,
          .instance_id = instance_id_,
          .state = tracker_->state(),
          .last_error = tracker_->last_error()};
}

Result<DatabaseDescription> PostgresWriter::Describe(const std::string& location,
                                                     const std::string& logical_name) {
  auto connection = PostgresConnection::Connect({.location = location});
  if (!connection.ok()) {
    return Unreadable(logical_name, connection.status());
  }
  const auto server = AskServer(*connection);
  if (!server.ok()) {
    return Unreadable(logical_name, server.status());
  }
  directories_.Remember(location, server->set.data_directory);
  return DescribeServer(*server, logical_name);
}

Result<std::unique_ptr<BackupSession>> PostgresWriter::BeginBackup(const std::string& location,
                                                                   const std::string& logical_name,
                                                                   const BackupOptions& options) {
  auto session = OpenBackup(location, logical_name, options);
  if (!session.ok()) {
    Status status = Unreadable(logical_name, session.status());
    tracker_->Record(status);
    return status;
  }
  return session;
}

Result<std::unique_ptr<BackupSession>> PostgresWriter::OpenBackup(const std::string& location,
                                                                  const std::string& logical_name,
                                                                  const BackupOptions& options) {
  auto activity = std::make_unique<WriterActivity>(tracker_, WriterActivity::Kind::kBackup);
  if (options.kind == BackupKind::kLog) {
    return OpenLogBackup(location, logical_name, options, std::move(activity));
  }
  // From before the backup begins, so that the first log backup finds where it ended.
  std::shared_ptr<void> hold;
  if (options.kind == BackupKind::kFull && !options.copy_only) {
    hold = log_keeper_->Prepare(location, logical_name);
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      PostgresConnection connection,
      PostgresConnection::Connect(
          {.location = location,
           .wanted = ChooseServer(options.preference, options.kind, options.copy_only)}));
  CAPSTAN_ASSIGN_OR_RETURN(
      std::unique_ptr<PostgresBackupSession> session,
      PostgresBackupSession::Begin(
          std::move(connection),
          {.location = location, .logical_name = logical_name, .activity = std::move(activity)},
          options));
  session->Hold(std::move(hold));
  directories_.Remember(location, session->description().files.front().physical_name);
  return std::unique_ptr<BackupSession>(std::move(session));
}

Result<std::unique_ptr<BackupSession>> PostgresWriter::OpenLogBackup(
    const std::string& location, const std::string& logical_name, const BackupOptions& options,
    std::unique_ptr<WriterActivity> activity) {
  PostgresLogBackup::Source source{.logical_name = logical_name, .activity = std::move(activity)};
  // Without a server there is no slot to move; the next Keep does.
  if (!options.copy_only && options.tail == LogTail::kNone) {
    source.on_committed = [keeper = log_keeper_, location, logical_name](Lsn last) {
      keeper->Release(location, logical_name, last);
    };
  }
  const auto explain = [&](Status status) {
    const std::string broken = log_keeper_->BrokenCause(location);
    return status.code() == Code::kOutOfRange && !broken.empty()
               ? Annotate(std::move(status), broken)
               : std::move(status);
  };
  const auto as_session = [&](Result<std::unique_ptr<PostgresLogBackup>> session)
      -> Result<std::unique_ptr<BackupSession>> {
    if (!session.ok()) {
      return explain(std::move(session).status());
    }
    return std::unique_ptr<BackupSession>(*std::move(session));
  };
  if (options.tail == LogTail::kNoTruncate) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string directory, directories_.Find(location));
    return as_session(PostgresLogBackup::BeginOffline(directory, options, std::move(source)));
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      PostgresConnection connection,
      PostgresConnection::Connect(
          {.location = location,
           .wanted = options.tail == LogTail::kNone
                         ? ChooseServer(options.preference, options.kind, options.copy_only)
                         : ServerWanted::kPrimary}));
  if (options.tail == LogTail::kNone) {
    return as_session(
        PostgresLogBackup::BeginRunning(std::move(connection), options, std::move(source)));
  }
  CAPSTAN_ASSIGN_OR_RETURN(const PostgresServer server, AskServer(connection));
  CAPSTAN_RETURN_IF_ERROR(CheckServerIsHere(server, connection));
  directories_.Remember(location, server.set.data_directory);
  return as_session(
      PostgresLogBackup::BeginTailOf(server.set.data_directory, options, std::move(source)));
}

Result<std::unique_ptr<RestoreSession>> PostgresWriter::BeginRestore(
    std::span<const RestoreTarget> targets, const RestoreOptions& options) {
  auto session = OpenRestore(targets, options);
  if (!session.ok()) {
    tracker_->Record(session.status());
  }
  return session;
}

Result<std::unique_ptr<RestoreSession>> PostgresWriter::OpenRestore(
    std::span<const RestoreTarget> targets, const RestoreOptions& options) {
  if (options.kind == BackupKind::kLog) {
    CAPSTAN_ASSIGN_OR_RETURN(std::unique_ptr<PostgresLogRestore> session,
                             PostgresLogRestore::Begin(targets, options, tracker_));
    return std::unique_ptr<RestoreSession>(std::move(session));
  }
  CAPSTAN_ASSIGN_OR_RETURN(std::unique_ptr<PostgresRestoreSession> session,
                           PostgresRestoreSession::Begin(targets, options, tracker_));
  return std::unique_ptr<RestoreSession>(std::move(session));
}

Result<RestoreOutcome> PostgresWriter::Recover(const std::string& location,
                                               const RestoreOptions& options) {
  auto activity = std::make_unique<WriterActivity>(tracker_, WriterActivity::Kind::kRestore);
  CAPSTAN_ASSIGN_OR_RETURN(const std::string directory, directories_.Find(location));
  auto outcome = RecoverDirectory(directory, options);
  activity->Finish(outcome.status());
  return outcome;
}

Status PostgresWriter::AbandonRestore(const std::string& location) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::string directory, directories_.Find(location));
  return AbandonDirectory(directory);
}

void PostgresWriter::Keep(std::vector<KeptDatabase> databases) {
  log_keeper_->Keep(std::move(databases));
}

Result<LogStatus> PostgresWriter::DescribeLog(const std::string& location) {
  return log_keeper_->Describe(location);
}

Result<std::vector<DiscoveredDatabase>> PostgresWriter::Discover(
    std::span<const std::string> folders) {
  return DiscoverClusters(folders);
}

Result<std::unique_ptr<PageCheck>> PostgresWriter::BeginPageCheck(
    std::span<const DatabaseFile> files, PageErrorHandler on_page_error) {
  return PostgresPageCheck::Begin(files, std::move(on_page_error));
}

Result<std::unique_ptr<FreezeSession>> PostgresWriter::BeginSnapshot(
    const std::string& /*location*/, const std::string& /*logical_name*/) {
  return NoSnapshots();
}

Result<std::vector<RestoreTarget>> PostgresWriter::PlanMount(
    std::vector<RestoreTarget> /*targets*/) {
  return NoSnapshots();
}

Result<std::unique_ptr<MountSession>> PostgresWriter::BeginMount(
    std::span<const RestoreTarget> /*targets*/, const RestoreOptions& /*options*/) {
  return NoSnapshots();
}

Status PostgresWriter::DiscardRestore(const std::string& physical_name,
                                      const std::string& job_name) {
  return DiscardDirectory(physical_name, job_name);
}

Result<bool> PostgresWriter::KeepRestore(const std::string& physical_name,
                                         const std::string& job_name) {
  CAPSTAN_ASSIGN_OR_RETURN(const bool kept, KeepDirectory(physical_name, job_name));
  if (!kept) {
    CAPSTAN_RETURN_IF_ERROR(DiscardDirectory(physical_name, job_name));
  }
  return kept;
}

}  // namespace capstan::writers
