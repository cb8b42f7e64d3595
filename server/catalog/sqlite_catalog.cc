#include "server/catalog/sqlite_catalog.h"

#include <cerrno>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "server/catalog/databases.h"
#include "server/catalog/history.h"
#include "server/catalog/history_import.h"
#include "server/catalog/job_history.h"
#include "server/catalog/journal.h"
#include "server/catalog/known_sets.h"
#include "server/catalog/schema.h"
#include "server/messages/messages.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/unique_fd.h"

namespace capstan::catalog {
namespace {

// Makes the file if there is none, readable for its owner only, and its name durable.
// REQUIRES: the file lock, since closing the descriptor drops the locks that another connection of
// this process might hold on the file.
Status CreateFile(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return OsError(errno, fmt::format("unable to open the catalog '{}'", path))
        .WithHint("check owner and mode of the catalog and of its directory");
  }
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const UniqueFd directory(
      ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0) {
    return OsError(errno, fmt::format("unable to sync the directory of the catalog '{}'", path));
  }
  return OkStatus();
}

Status UseWriteAheadLog(Connection& connection) {
  CAPSTAN_ASSIGN_OR_RETURN(Statement statement, connection.Prepare("PRAGMA journal_mode = WAL"));
  CAPSTAN_RETURN_IF_ERROR(statement.Step().status());
  if (const std::string mode = statement.Text(0); mode != "wal") {
    return Error(Code::kFailedPrecondition,
                 "the catalog '{}' cannot use a write-ahead log (its journal mode stays '{}')",
                 connection.path(), mode)
        .WithHint("put the data directory on a local file system");
  }
  return connection.Execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
}

Status CheckSoundness(Connection& connection) {
  CAPSTAN_ASSIGN_OR_RETURN(Statement statement, connection.Prepare("PRAGMA quick_check(1)"));
  CAPSTAN_RETURN_IF_ERROR(statement.Step().status());
  const std::string verdict = statement.Text(0);
  return verdict == "ok" ? OkStatus() : DamagedError(connection.path(), verdict);
}

}  // namespace

Result<std::unique_ptr<Catalog>> Catalog::Open(const std::string& path) {
  return SqliteCatalog::Open(path);
}

Result<std::unique_ptr<Catalog>> SqliteCatalog::Open(const std::string& path, QueryLimits limits) {
  CAPSTAN_ASSIGN_OR_RETURN(FileLock lock, FileLock::Acquire(path));
  CAPSTAN_RETURN_IF_ERROR(CreateFile(path));
  CAPSTAN_ASSIGN_OR_RETURN(Connection connection,
                           Connection::Open(path, Connection::Mode::kReadWrite));
  CAPSTAN_RETURN_IF_ERROR(CheckSoundness(connection));
  CAPSTAN_RETURN_IF_ERROR(UseWriteAheadLog(connection));
  CAPSTAN_RETURN_IF_ERROR(UpgradeSchema(connection, SchemaSteps()));
  CAPSTAN_RETURN_IF_ERROR(EndAbandonedJobs(connection));
  return std::unique_ptr<Catalog>(
      new SqliteCatalog(std::move(lock), std::move(connection), limits));
}

Status SqliteCatalog::AddDatabase(Database database) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_RETURN_IF_ERROR(InsertDatabase(connection_, database));
  return transaction.Commit();
}

Status SqliteCatalog::RemoveDatabase(std::string_view name) {
  const MutexLock lock(mutex_);
  return DeleteDatabase(connection_, name);
}

Result<Database> SqliteCatalog::FindDatabase(std::string_view name) {
  const MutexLock lock(mutex_);
  return SelectDatabase(connection_, name);
}

Result<std::vector<Database>> SqliteCatalog::ListDatabases() {
  const MutexLock lock(mutex_);
  return SelectDatabases(connection_);
}

Status SqliteCatalog::UpdateDatabase(const Database& database) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_RETURN_IF_ERROR(ChangeDatabase(connection_, database));
  return transaction.Commit();
}

Result<std::vector<KnownSet>> SqliteCatalog::SetsOf(std::string_view database_name) {
  const MutexLock lock(mutex_);
  return SelectSets(connection_, database_name);
}

Result<ChainEnd> SqliteCatalog::FindChainEnd(std::string_view database_name) {
  const MutexLock lock(mutex_);
  return SelectChainEnd(connection_, database_name);
}

Status SqliteCatalog::ExpireSets(const std::vector<Guid>& backup_set_guids) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_RETURN_IF_ERROR(MarkExpired(connection_, backup_set_guids));
  return transaction.Commit();
}

Status SqliteCatalog::BeginJob(const JobRecord& job) {
  if (job.state != JobState::kRunning) {
    return Error(Code::kInvalidArgument, "job {} cannot begin prepared", job.job_guid.ToString());
  }
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_RETURN_IF_ERROR(InsertJob(connection_, job));
  CAPSTAN_CRASH_POINT("catalog.before_begin");
  CAPSTAN_RETURN_IF_ERROR(transaction.Commit());
  CAPSTAN_CRASH_POINT("catalog.after_begin");
  return OkStatus();
}

Status SqliteCatalog::PrepareBackup(const Guid& job_guid, const media::MediaHeader& header,
                                    const media::BackupSet& set) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_ASSIGN_OR_RETURN(const JournalEntry entry, FindJob(connection_, job_guid));
  if (entry.job.state != JobState::kRunning) {
    return Error(Code::kFailedPrecondition, "job {} is prepared already", job_guid.ToString());
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::int64_t backup_set_id,
                           InsertBackup(connection_, entry.job, header, set));
  CAPSTAN_RETURN_IF_ERROR(MarkPrepared(connection_, job_guid, backup_set_id));
  CAPSTAN_CRASH_POINT("catalog.before_prepare");
  CAPSTAN_RETURN_IF_ERROR(transaction.Commit());
  CAPSTAN_CRASH_POINT("catalog.after_prepare");
  return OkStatus();
}

Status SqliteCatalog::CommitBackup(const Guid& job_guid) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_ASSIGN_OR_RETURN(const JournalEntry entry, FindJob(connection_, job_guid));
  if (!entry.backup_set_id) {
    return Error(Code::kFailedPrecondition, "job {} is not prepared", job_guid.ToString());
  }
  CAPSTAN_RETURN_IF_ERROR(ShowBackup(connection_, entry.job, *entry.backup_set_id));
  CAPSTAN_RETURN_IF_ERROR(CloseAfterTail(connection_, *entry.backup_set_id));
  CAPSTAN_RETURN_IF_ERROR(DeleteJob(connection_, job_guid));
  CAPSTAN_CRASH_POINT("catalog.before_commit");
  CAPSTAN_RETURN_IF_ERROR(transaction.Commit());
  CAPSTAN_CRASH_POINT("catalog.after_commit");
  return OkStatus();
}

Status SqliteCatalog::CommitRestore(const Guid& job_guid, const RestoreRecord& restore) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_ASSIGN_OR_RETURN(const JournalEntry entry, FindJob(connection_, job_guid));
  if (entry.backup_set_id) {
    return Error(Code::kFailedPrecondition, "job {} is a backup", job_guid.ToString());
  }
  if (!restore.backup_set_guid.is_zero()) {
    CAPSTAN_RETURN_IF_ERROR(InsertRestore(connection_, entry.job, restore));
  }
  if (!restore.database.name.empty()) {
    CAPSTAN_RETURN_IF_ERROR(PlaceRestored(connection_, restore.database));
  }
  CAPSTAN_RETURN_IF_ERROR(DeleteJob(connection_, job_guid));
  CAPSTAN_CRASH_POINT("catalog.before_restore_commit");
  CAPSTAN_RETURN_IF_ERROR(transaction.Commit());
  CAPSTAN_CRASH_POINT("catalog.after_restore_commit");
  return OkStatus();
}

Status SqliteCatalog::RevokeBackup(const Guid& job_guid) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_ASSIGN_OR_RETURN(const JournalEntry entry, FindJob(connection_, job_guid));
  CAPSTAN_RETURN_IF_ERROR(MarkRunning(connection_, job_guid));
  if (entry.backup_set_id) {
    CAPSTAN_RETURN_IF_ERROR(RemoveBackup(connection_, *entry.backup_set_id));
  }
  CAPSTAN_RETURN_IF_ERROR(transaction.Commit());
  CAPSTAN_CRASH_POINT("catalog.after_revoke");
  return OkStatus();
}

Status SqliteCatalog::ForgetJob(const Guid& job_guid) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  auto entry = FindJob(connection_, job_guid);
  if (entry.status().code() == Code::kNotFound) {
    return OkStatus();  // forgotten before; whoever cleans up after a crash may come twice
  }
  CAPSTAN_RETURN_IF_ERROR(entry.status());
  CAPSTAN_RETURN_IF_ERROR(DeleteJob(connection_, job_guid));
  if (entry->backup_set_id) {
    CAPSTAN_RETURN_IF_ERROR(RemoveBackup(connection_, *entry->backup_set_id));
  }
  CAPSTAN_CRASH_POINT("catalog.before_forget");
  CAPSTAN_RETURN_IF_ERROR(transaction.Commit());
  CAPSTAN_CRASH_POINT("catalog.after_forget");
  return OkStatus();
}

Result<std::vector<JobRecord>> SqliteCatalog::UnfinishedJobs() {
  const MutexLock lock(mutex_);
  return ListJobs(connection_);
}

Status SqliteCatalog::AddCheckpoint(const Guid& job_guid, const JobProgress& progress,
                                    std::string_view frames) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_RETURN_IF_ERROR(InsertCheckpoint(connection_, job_guid, progress, frames));
  return transaction.Commit();
}

Result<std::string> SqliteCatalog::CheckpointFrames(const Guid& job_guid) {
  const MutexLock lock(mutex_);
  return SelectCheckpointFrames(connection_, job_guid);
}

Status SqliteCatalog::KeepJob(const Guid& job_guid) {
  const MutexLock lock(mutex_);
  return MarkKept(connection_, job_guid);
}

Status SqliteCatalog::ResumeJob(const Guid& kept_guid, const JobRecord& job) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_RETURN_IF_ERROR(FindJob(connection_, kept_guid).status());
  CAPSTAN_RETURN_IF_ERROR(InsertJob(connection_, job));
  CAPSTAN_RETURN_IF_ERROR(MoveCheckpoints(connection_, kept_guid, job.job_guid));
  CAPSTAN_RETURN_IF_ERROR(DeleteJob(connection_, kept_guid));
  CAPSTAN_CRASH_POINT("catalog.before_resume");
  CAPSTAN_RETURN_IF_ERROR(transaction.Commit());
  CAPSTAN_CRASH_POINT("catalog.after_resume");
  return OkStatus();
}

Result<std::vector<ImportCount>> SqliteCatalog::ImportHistory(
    const std::vector<MediumRecord>& media) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_ASSIGN_OR_RETURN(auto counts, ImportMedia(connection_, media));
  CAPSTAN_RETURN_IF_ERROR(transaction.Commit());
  return counts;
}

Result<std::int64_t> SqliteCatalog::BeginJobHistory(const JobHistory& job) {
  const MutexLock lock(mutex_);
  const RelaxedSync relaxed(connection_);
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
  CAPSTAN_ASSIGN_OR_RETURN(const std::int64_t instance_id, InsertJobHistory(connection_, job));
  CAPSTAN_RETURN_IF_ERROR(transaction.Commit());
  return instance_id;
}

Status SqliteCatalog::UpdateJobHistory(std::int64_t instance_id, const JobHistory& job) {
  const MutexLock lock(mutex_);
  if (job.outcome != JobOutcome::kRunning) {
    return ChangeJobHistory(connection_, instance_id, job);
  }
  const RelaxedSync relaxed(connection_);
  return ChangeJobHistory(connection_, instance_id, job);
}

Result<std::map<std::string, std::int64_t>> SqliteCatalog::Options() {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(Statement select,
                           connection_.Prepare("SELECT name, value FROM catalog_option"));
  std::map<std::string, std::int64_t> options;
  for (;;) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) {
      return options;
    }
    options[select.Text(0)] = select.Integer(1);
  }
}

Status SqliteCatalog::SetOption(std::string_view name, std::int64_t value) {
  const MutexLock lock(mutex_);
  return connection_.Run(
      "INSERT INTO catalog_option (name, value) VALUES (?1, ?2) "
      "ON CONFLICT (name) DO UPDATE SET value = ?2",
      name, value);
}

Result<Table> SqliteCatalog::Query(const std::string& select, const std::vector<LiveTable>& live) {
  return RunQuery(path_, select, live, limits_);
}

}  // namespace capstan::catalog
