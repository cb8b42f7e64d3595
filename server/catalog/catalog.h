// The catalog: registered databases, backup history in the shape of msdb, and the journal of jobs
// that makes a backup's commit atomic over several media. Behind an interface, so that a shared one
// in another database can take the place of the embedded SQLite file.
//
// Every change is durable when the call returns. Threads: any.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/media/backup_set.h"
#include "server/media/set_facts.h"
#include "server/writers/chain.h"
#include "vdi/base/guid.h"
#include "vdi/base/status.h"

namespace capstan::catalog {

// What may be restored next onto a database.
struct RollForward {
  enum class State { kOnline, kRestoring, kStandby };
  State state = State::kOnline;
  // The rest unless it is online.
  Guid base_guid;  // the full backup that it began with; null: one was interrupted (4319)
  std::uint64_t redo_lsn = 0;  // it has everything before this
  Guid recovery_fork;          // null: its writer knows none
  // Where its files are, so that no step after the first has to say so.
  struct File {
    std::string logical_name;
    std::string physical_name;
  };
  std::vector<File> files;
};

// A registered database.
struct Database {
  std::int64_t database_id = 0;  // from 5, as user databases in SQL Server
  std::string name;              // unique, compared case-sensitively
  std::string scheme;            // "sqlite"
  std::string location;          // what the writer needs, for example a path
  std::int64_t created_unix_s = 0;
  // ALTER DATABASE ... SET RECOVERY; nullopt: as the writer describes the database.
  std::optional<writers::RecoveryModel> recovery_model;
  writers::BackupPreference backup_preference = writers::BackupPreference::kAny;
  RollForward roll_forward;
};

// A backup set in the history, with what it takes to read it again. Its files are left out.
struct KnownSet {
  media::BackupSet set;
  media::MediaHeader media;  // of its media set, as far as that is the same for all families
  // Where its families were last seen, in their order; mirrors of one beside each other.
  struct Place {
    std::uint16_t family_number = 1;
    std::uint16_t mirror = 0;  // from 0
    std::string device_class;  // "DISK", ...
    std::string target;
  };
  std::vector<Place> places;
  bool expired = false;  // its media were removed (ExpireSets)
};

// Where the next backups of a database go on, as of the last committed one. Backups from before the
// database was registered or restored do not count.
struct ChainEnd {
  std::optional<KnownSet> base;  // what a differential backup is measured against
  // Where the next log backup begins; nullopt: there is no backup yet that log could follow.
  std::optional<std::uint64_t> log_from;
  bool begins_log_chain = true;  // no log backup has followed so far
  Guid recovery_fork;            // of the set that ends at log_from
};

// One device of a job, as far as recovery needs to know it.
struct JobDevice {
  std::string device_class;  // "DISK", "URL", "TAPE"
  std::string target;
  std::string token;  // see RecoverMedia in coordinator.proto
  std::uint32_t media_family_id = 0;
  std::uint16_t family_number = 1;
};

enum class JobState {
  kRunning,   // media under construction are to be discarded after a crash
  kPrepared,  // every family is durable and complete: commit them after a crash
};

// How far a restore was at its last checkpoint; or a backup, once there is enough to go on with.
struct JobProgress {
  Guid backup_set_guid;
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
};

struct JobRecord {
  Guid job_guid;
  JobState state = JobState::kRunning;
  std::string statement;
  std::string database_name;
  std::vector<JobDevice> devices;
  // For restores: the writer's scheme and the files being built, to be discarded after a crash.
  std::string restore_scheme;
  std::vector<std::string> restore_paths;
  // The name by which the writer knows what is being built; empty: the job's GUID. One that goes on
  // with an interrupted restore has the name of the first one.
  std::string restore_name;
  std::optional<JobProgress> progress;
  bool kept = false;  // interrupted; what was built or written stays for WITH RESTART
  // Of a backup: how often it was gone on with before.
  std::uint32_t restarts = 0;

  std::string name() const { return restore_name.empty() ? job_guid.ToString() : restore_name; }
};

struct RestoreRecord {
  std::string destination_database;
  std::string user_name;
  Guid backup_set_guid;  // null: nothing was read (RESTORE ... WITH RECOVERY alone)
  char restore_type = 'D';
  bool replace = false;
  bool recovery = true;
  bool restart = false;
  // The destination from now on, registered if it is not. Name and location are enough where it is:
  // what ALTER DATABASE says of it stays. Empty name: registrations are left alone.
  Database database;
  std::int64_t stop_at_unix_s = 0;  // STOPAT; 0 = none
  std::string stop_mark;            // STOPATMARK, STOPBEFOREMARK
  bool stop_before = false;
  std::int64_t date_unix_s = 0;
  std::vector<std::string> destination_files;
};

// A complete set that SQL Server wrote. REQUIRES: facts.facts.backup_set_guid.
struct SqlServerSet {
  std::uint16_t position = 1;  // on the medium
  media::ForeignSet facts;
};

// One medium as it was found, for LOADHISTORY and for building a lost catalog again.
struct MediumRecord {
  std::string device_class;  // "DISK", ...
  std::string target;        // where it is, as a statement would name it
  media::MediaHeader header;
  std::vector<media::BackupSet> sets;  // the complete ones
  std::vector<SqlServerSet> sqlserver_sets;
};

struct ImportCount {
  int added = 0;  // sets that the catalog did not know
  int known = 0;
};

enum class JobOutcome { kFailed = 0, kSucceeded = 1, kCancelled = 3, kRunning = 4 };

// What is kept of a BACKUP, RESTORE or VERIFYONLY when it is over, and how far a running one is.
struct JobHistory {
  Guid job_guid;
  std::string command;  // "BACKUP DATABASE"
  std::string database_name;
  std::string user_name;
  std::string server_name;
  std::string statement;
  std::int64_t start_unix_s = 0;
  JobOutcome outcome = JobOutcome::kRunning;
  int percent_complete = 0;
  std::int64_t progress_unix_s = 0;  // when it was that far
  std::int64_t end_unix_s = 0;       // 0 while it runs
  int message_number = 0;            // of the error, or of the last message
  int severity = 0;
  int state = 0;
  std::string source;       // which part of the server the error is from
  std::string description;  // the error, or the last message
  std::string possible_reasons;
};

// The result of a query: text as T-SQL prints it, nullopt = NULL.
struct Column {
  std::string name;
  std::string type;  // T-SQL's, for example "nvarchar(128)"
};
struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<std::optional<std::string>>> rows;
};

// A table whose rows exist only now (sys.dm_exec_requests, ...), for one query.
struct LiveTable {
  std::string name;  // as SQL names it in the query, for example "sys.dm_exec_requests"
  Table content;
};

class Catalog {
 public:
  // Opens or creates the file; upgrades older schemas; refuses newer ones.
  static Result<std::unique_ptr<Catalog>> Open(const std::string& path);
  virtual ~Catalog() = default;

  // Databases. 1801 if the name is taken, 911 if there is none.
  virtual Status AddDatabase(Database database) = 0;
  virtual Status RemoveDatabase(std::string_view name) = 0;
  virtual Result<Database> FindDatabase(std::string_view name) = 0;
  virtual Result<std::vector<Database>> ListDatabases() = 0;
  // ALTER DATABASE: everything but name, id and date of creation. To SIMPLE: log backups begin anew
  // with the next full or differential one. 911.
  virtual Status UpdateDatabase(const Database& database) = 0;

  // Journal. Begin before the first medium is touched; Prepare when all are durable (this writes
  // the history rows, still invisible); Commit when all are visible (this shows them); Forget when
  // a failed job has been cleaned up.
  virtual Status BeginJob(const JobRecord& job) = 0;
  virtual Status PrepareBackup(const Guid& job_guid, const media::MediaHeader& header,
                               const media::BackupSet& set) = 0;
  // With a tail of the log (set.tail_log) the database is one being restored from now on.
  virtual Status CommitBackup(const Guid& job_guid) = 0;
  // A prepared backup turned out not to be whole on its media: its job is running again, so that
  // after a crash what it began is discarded. Before anything of it is.
  virtual Status RevokeBackup(const Guid& job_guid) = 0;
  virtual Status CommitRestore(const Guid& job_guid, const RestoreRecord& restore) = 0;
  virtual Status ForgetJob(const Guid& job_guid) = 0;
  virtual Result<std::vector<JobRecord>> UnfinishedJobs() = 0;
  // A job has come so far; `frames` are those that were restored since the checkpoint before.
  // kNotFound.
  virtual Status AddCheckpoint(const Guid& job_guid, const JobProgress& progress,
                               std::string_view frames) = 0;
  // Of all checkpoints of a job together.
  virtual Result<std::string> CheckpointFrames(const Guid& job_guid) = 0;
  // A job is over and not complete; it may be gone on with. kNotFound.
  virtual Status KeepJob(const Guid& job_guid) = 0;
  // `job` begins as BeginJob says, with the checkpoints of `kept_guid`, whose place it takes.
  virtual Status ResumeJob(const Guid& kept_guid, const JobRecord& job) = 0;

  // The complete sets of a database that are of ours, by their LSNs: a chain is among them if there
  // is one. Expired ones too. A place is left out once something else was written over it.
  virtual Result<std::vector<KnownSet>> SetsOf(std::string_view database_name) = 0;
  virtual Result<ChainEnd> FindChainEnd(std::string_view database_name) = 0;
  // Their media are gone: the history keeps the rows and says so. All or none; kNotFound.
  virtual Status ExpireSets(const std::vector<Guid>& backup_set_guids) = 0;

  // Adds what the media say as if it had been backed up here, in the order in which it was. Media
  // sets, families and sets that are known stay, but for the place of a medium that was found
  // elsewhere. One count per medium.
  virtual Result<std::vector<ImportCount>> ImportHistory(
      const std::vector<MediumRecord>& media) = 0;

  // The history of jobs, the newest 10,000. Begin returns the number for Update. An update to a job
  // that is over is durable; one to a running job may be lost in a power cut. A job that runs when
  // the server dies counts as failed from the next start on.
  virtual Result<std::int64_t> BeginJobHistory(const JobHistory& job) = 0;
  virtual Status UpdateJobHistory(std::int64_t instance_id, const JobHistory& job) = 0;

  // The server's options that were ever set, by name.
  virtual Result<std::map<std::string, std::int64_t>> Options() = 0;
  virtual Status SetOption(std::string_view name, std::int64_t value) = 0;

  // Runs one SELECT, already translated to SQLite's dialect by tsql, read-only, over the msdb
  // tables (named msdb_dbo_backupset, ...) and the live ones (dots in names become underscores).
  virtual Result<Table> Query(const std::string& select, const std::vector<LiveTable>& live) = 0;
};

}  // namespace capstan::catalog
