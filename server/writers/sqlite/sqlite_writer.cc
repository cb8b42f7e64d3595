#include "server/writers/sqlite/sqlite_writer.h"

#include <chrono>
#include <utility>

#include "server/messages/messages.h"
#include "server/writers/sqlite/log/sqlite_chain_restore_session.h"
#include "server/writers/sqlite/sqlite_backup_session.h"
#include "server/writers/sqlite/sqlite_description.h"
#include "server/writers/sqlite/sqlite_freeze_session.h"
#include "server/writers/sqlite/sqlite_mount_session.h"
#include "server/writers/sqlite/sqlite_read_back_check.h"
#include "server/writers/sqlite/sqlite_restore_session.h"
#include "server/writers/sqlite/sqlite_view.h"

namespace capstan::writers {
namespace {

// Names the kind of writer for ever: {5C6A1F0E-3B7D-4E52-9A64-0D1C8B2F7E31}.
constexpr Guid kSqliteWriterId = {.bytes = {0x0e, 0x1f, 0x6a, 0x5c, 0x7d, 0x3b, 0x52, 0x4e, 0x9a,
                                            0x64, 0x0d, 0x1c, 0x8b, 0x2f, 0x7e, 0x31}};

// Long enough for a commit that is under way.
constexpr std::chrono::seconds kDescribeLockWait{5};

// Part of a database: what its pages must be cannot be told without the others. Blocks of log carry
// hashes of their own, which a restore verifies in any case.
class NoPageCheck final : public PageCheck {
 public:
  Status Take(const Extent& /*extent*/, std::span<const std::byte> /*bytes*/) override {
    return OkStatus();
  }
  void Miss(std::uint32_t /*file*/, std::uint64_t /*offset*/, std::uint64_t /*length*/) override {}
  Status Finish() override { return OkStatus(); }
};

Status CheckJobName(const std::string& job_name) {
  if (job_name.empty() || job_name.find('/') != std::string::npos) {
    return Error(Code::kInvalidArgument, "'{}' cannot be part of a file name", job_name);
  }
  return OkStatus();
}

Status CheckPhysicalName(const std::string& physical_name) {
  if (!physical_name.starts_with('/') || physical_name.ends_with('/')) {
    return Error(Code::kInvalidArgument, "'{}' is not the absolute path of a file", physical_name);
  }
  return OkStatus();
}

}  // namespace

SqliteWriter::SqliteWriter(SqliteLogKeeper::Options log)
    : instance_id_(Guid::Random()),
      tracker_(std::make_shared<WriterStateTracker>()),
      released_files_(std::make_shared<ReleasedFiles>()),
      keeper_(std::make_shared<SqliteLogKeeper>(std::move(log))),
      lsn_clock_(std::make_shared<SqliteLsnClock>(keeper_)) {}

WriterInfo SqliteWriter::info() const {
  return {.name = "SqliteWriter",
          .writer_id = kSqliteWriterId,
          .instance_id = instance_id_,
          .state = tracker_->state(),
          .last_error = tracker_->last_error()};
}

Result<DatabaseDescription> SqliteWriter::Describe(const std::string& location,
                                                   const std::string& logical_name) {
  CAPSTAN_ASSIGN_OR_RETURN(
      const SqliteView view,
      SqliteView::Open(location, {.lock_deadline = Deadline::After(kDescribeLockWait)}));
  return DescribeView(view, logical_name);
}

Result<std::unique_ptr<BackupSession>> SqliteWriter::BeginBackup(const std::string& location,
                                                                 const std::string& logical_name,
                                                                 const BackupOptions& options) {
  auto session = OpenBackup(location, logical_name, options);
  if (!session.ok()) {
    tracker_->Record(session.status());
  }
  return session;
}

Result<std::unique_ptr<RestoreSession>> SqliteWriter::BeginRestore(
    std::span<const RestoreTarget> targets, const RestoreOptions& options) {
  if (targets.size() != 1 || targets[0].file.size_bytes == 0) {
    return Error(Code::kInvalidArgument, "an SQLite database is one file that is not empty");
  }
  CAPSTAN_RETURN_IF_ERROR(CheckPhysicalName(targets[0].physical_name));
  CAPSTAN_RETURN_IF_ERROR(CheckJobName(options.job_name));
  auto session = OpenRestore(targets[0], options);
  if (!session.ok()) {
    tracker_->Record(session.status());
  }
  return session;
}

Result<std::unique_ptr<RestoreSession>> SqliteWriter::OpenRestore(const RestoreTarget& target,
                                                                  const RestoreOptions& options) {
  if (options.kind == BackupKind::kFull) {
    CAPSTAN_ASSIGN_OR_RETURN(
        auto session, SqliteRestoreSession::Begin(target, options, tracker_, SwapFor(options)));
    return std::unique_ptr<RestoreSession>(std::move(session));
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      auto session, SqliteChainRestoreSession::Begin(target, options, tracker_, SwapFor(options)));
  return std::unique_ptr<RestoreSession>(std::move(session));
}

RestoringDatabase::Swap SqliteWriter::SwapFor(const RestoreOptions& options) const {
  return {.job_name = options.job_name,
          .lock_deadline = options.lock_deadline,
          .released_files = released_files_,
          .keeper = keeper_};
}

Result<RestoreOutcome> SqliteWriter::Recover(const std::string& location,
                                             const RestoreOptions& options) {
  CAPSTAN_RETURN_IF_ERROR(CheckPhysicalName(location));
  CAPSTAN_ASSIGN_OR_RETURN(std::optional<RestoringDatabase> database,
                           RestoringDatabase::Find(location));
  if (database) {
    return FinishRestoring(*std::move(database), options.end, options.replace, SwapFor(options));
  }
  const std::string path = ResolveDatabasePath(location);
  const auto tracker = keeper_->Find(path);
  if (tracker != nullptr && options.end == RestoreEnd::kRecovery && keeper_->OpenForWriters(path)) {
    // Nothing was restored after its tail was backed up: it is as it was then.
    return RestoreOutcome{.reached = tracker->status().kept.value_or(LsnRange{}).last,
                          .recovery_fork = tracker->fork()};
  }
  return SqlError(3117).WithHint(fmt::format(
      "'{}' is not being restored: restore a full backup WITH NORECOVERY first", location));
}

Status SqliteWriter::AbandonRestore(const std::string& location) {
  CAPSTAN_RETURN_IF_ERROR(CheckPhysicalName(location));
  (void)keeper_->OpenForWriters(ResolveDatabasePath(location));
  return RestoringDatabase::Abandon(location);
}

void SqliteWriter::Keep(std::vector<KeptDatabase> databases) {
  keeper_->Keep(databases);
}

Result<LogStatus> SqliteWriter::DescribeLog(const std::string& location) {
  const auto tracker = keeper_->Find(ResolveDatabasePath(location));
  return tracker != nullptr ? tracker->status() : LogStatus{};
}

Result<std::unique_ptr<PageCheck>> SqliteWriter::BeginPageCheck(std::span<const DatabaseFile> files,
                                                                PageErrorHandler on_page_error) {
  if (files.size() == 1 && !files[0].whole) {
    return std::unique_ptr<PageCheck>(std::make_unique<NoPageCheck>());
  }
  return SqliteReadBackCheck::Begin(files, std::move(on_page_error));
}

Result<std::unique_ptr<FreezeSession>> SqliteWriter::BeginSnapshot(
    const std::string& location, const std::string& logical_name) {
  auto session = SqliteFreezeSession::Begin(location, logical_name,
                                            {.tracker = tracker_, .lsn_clock = lsn_clock_});
  if (!session.ok()) {
    tracker_->Record(session.status());
    return std::move(session).status();
  }
  return std::unique_ptr<FreezeSession>(*std::move(session));
}

Result<std::vector<RestoreTarget>> SqliteWriter::PlanMount(std::vector<RestoreTarget> targets) {
  const bool known = !targets.empty() && targets.size() <= 2 && targets[0].file.type == 'D' &&
                     (targets.size() == 1 || targets[1].file.type == 'L');
  if (!known) {
    return Error(Code::kInvalidArgument, "an SQLite database is one file and its WAL");
  }
  CAPSTAN_RETURN_IF_ERROR(CheckPhysicalName(targets[0].physical_name));
  if (targets.size() == 2) {
    const std::string place = RestorePaths(targets[0].physical_name, "").target + "-wal";
    std::string& wanted = targets[1].physical_name;
    if (!wanted.empty() && wanted != place) {
      return SqlError(3156, targets[1].file.logical_name, wanted)
          .WithHint(fmt::format("SQLite keeps the log of a database beside it: '{}'", place));
    }
    wanted = place;
  }
  return targets;
}

Result<std::unique_ptr<MountSession>> SqliteWriter::BeginMount(
    std::span<const RestoreTarget> targets, const RestoreOptions& options) {
  CAPSTAN_RETURN_IF_ERROR(CheckJobName(options.job_name));
  auto session = SqliteMountSession::Begin(
      {targets.begin(), targets.end()}, options,
      {.tracker = tracker_, .released_files = released_files_, .keeper = keeper_});
  if (!session.ok()) {
    tracker_->Record(session.status());
    return std::move(session).status();
  }
  return std::unique_ptr<MountSession>(*std::move(session));
}

Status SqliteWriter::DiscardRestore(const std::string& physical_name, const std::string& job_name) {
  CAPSTAN_RETURN_IF_ERROR(CheckPhysicalName(physical_name));
  CAPSTAN_RETURN_IF_ERROR(CheckJobName(job_name));
  const auto suspension = keeper_->Suspend(ResolveDatabasePath(physical_name));
  return DiscardLeftovers(RestorePaths(physical_name, job_name));
}

Result<bool> SqliteWriter::KeepRestore(const std::string& physical_name,
                                       const std::string& job_name) {
  CAPSTAN_RETURN_IF_ERROR(CheckPhysicalName(physical_name));
  CAPSTAN_RETURN_IF_ERROR(CheckJobName(job_name));
  const auto suspension = keeper_->Suspend(ResolveDatabasePath(physical_name));
  return KeepUnfinished(RestorePaths(physical_name, job_name));
}

}  // namespace capstan::writers
