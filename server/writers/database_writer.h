// A writer (VSS's word) knows one kind of database: how to describe it, read it consistently while
// it is in use, and put it back. The engine knows only this interface.
//
// Threads: a DatabaseWriter may be used from any thread. A session belongs to one job; ReadExtent
// and WriteExtent may be called from several threads at once, everything else from one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/writers/chain.h"
#include "vdi/base/clock.h"
#include "vdi/base/guid.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// One file of a database, as FILELISTONLY shows it.
struct DatabaseFile {
  std::uint32_t file_id = 1;  // from 1, unique in the database
  std::string logical_name;
  std::string physical_name;     // absolute path
  char type = 'D';               // D data, L log
  std::uint64_t size_bytes = 0;  // of the consistent view
  std::uint32_t page_size = 0;   // bytes
  std::uint32_t volume = 0;      // index into DatabaseDescription::volumes
  // Of a frozen database: by what its writer recognises this file as it stands. Up to 256 bytes.
  std::string frozen_state;
  // False: a backup hands out parts of the file only (a differential one), or what it hands out is
  // no image of a file (log; many small files in one), so that size_bytes says nothing of gaps.
  bool whole = true;
};

// Which copy of a replicated database this is. A lone primary is one whose secondaries are not
// there at the moment, if it has any.
enum class ReplicaRole { kNone, kPrimary, kLonePrimary, kSecondary };

struct DatabaseDescription {
  std::string writer;   // "sqlite"
  std::string version;  // of the database software, for headers: "3.40.1"
  RecoveryModel recovery_model = RecoveryModel::kSimple;
  std::uint32_t page_size = 0;
  std::int64_t created_unix_s = 0;
  std::vector<DatabaseFile> files;
  // One per file system that holds files of the database, for example its mount point. One reader
  // thread each.
  std::vector<std::string> volumes;
  ReplicaRole role = ReplicaRole::kNone;
  std::vector<std::string> contained;  // of a cluster: the names of its databases
  // Nobody can change it as it stands, so that a full backup has everything there is.
  bool read_only = false;
};

// A database that a writer found without being told of it.
struct DiscoveredDatabase {
  std::string location;  // as Describe takes it
  std::string name;      // one to register it under
  std::string state;     // "running, PostgreSQL 15.10 on port 5432": a clause
};

// A database that this server backs up, of which a writer may have to keep the log.
struct KeptDatabase {
  std::string location;
  std::string name;
  RecoveryModel recovery_model = RecoveryModel::kFull;
  // Where the next log backup begins; nullopt: there was no full backup yet, so no log is needed.
  std::optional<Lsn> log_from;
  // A job is replacing it, or was when it was interrupted: what stands at the location may be
  // neither the database nor whole. What is kept of it stays, and nothing new is opened.
  bool being_replaced = false;
  // A restore or a tail backup WITH NORECOVERY left it so: its log comes from backups now. What is
  // kept of what stands at the location stays until that is replaced, and nothing new is begun.
  bool being_restored = false;
};

// A stretch of one file that a backup copies.
struct Extent {
  std::uint32_t file_index = 0;  // into description().files
  std::uint64_t offset = 0;      // bytes
  std::uint32_t length = 0;      // bytes, more than 0
};

// A page that a database says itself is damaged.
struct PageError {
  std::uint32_t file_id = 1;
  std::uint64_t page = 0;  // as the database software counts
  std::string file;        // its physical name
  std::string cause;       // a clause
};

// Told of each page that is found bad, by any thread. Its error ends what found the page.
using PageErrorHandler = std::function<Status(const PageError&)>;

struct BackupOptions {
  BackupKind kind = BackupKind::kFull;
  bool copy_only = false;
  std::optional<DifferentialBase> base;  // of kDifferential
  Lsn log_from;                          // of kLog: where the log backup before it ended
  LogTail tail = LogTail::kNone;         // of kLog
  BackupPreference preference = BackupPreference::kAny;
  // WITH CHECKSUM: set, every page that goes by is verified as far as the database allows, and this
  // is called for each that is found bad, by any thread that reads and by End. Its error is theirs.
  // Empty: pages are copied as they are.
  PageErrorHandler on_page_error;
  bool drop_page_cache_behind = true;  // POSIX_FADV_DONTNEED on what this backup alone brought in
  Deadline lock_deadline = Deadline::Never();  // for any lock the database must grant
};

// A consistent view of a database in use, from BeginBackup until End or destruction.
class BackupSession {
 public:
  virtual ~BackupSession() = default;  // as End; errors are lost

  // The files are all there from the beginning; sizes and `lsns` are final after End.
  virtual const DatabaseDescription& description() const = 0;
  virtual LsnRange lsns() const = 0;
  // The line of history that the database is on. A restore to an earlier point begins a new one.
  virtual Guid recovery_fork() const { return {}; }
  // What the writer must know of this set when it is restored, or measured against: up to 64 KiB,
  // from the beginning on.
  virtual std::string writer_data() const { return {}; }

  // The next stretch to copy from `volume`, at most `length_max` bytes, in file order; nullopt when
  // the volume is done. From one thread per volume.
  virtual Result<std::optional<Extent>> NextExtent(std::uint32_t volume,
                                                   std::uint32_t length_max) = 0;

  // Before the first NextExtent. An interrupted backup of this database has copied `bytes` as
  // `extent`, which may be any bytes whatever. True: the view holds the same now, they count as
  // copied, and no extent to come has any of them. False: all of it will come again. Extents that
  // come begin where none of these was, kept or not; of a file that is `whole`, where none of those
  // was that are kept. Any thread, several at once.
  virtual Result<bool> Keeps(const Extent& /*extent*/, std::span<const std::byte> /*bytes*/) {
    return false;
  }

  // Reads exactly extent.length == target.size() bytes of the consistent view.
  virtual Status ReadExtent(const Extent& extent, std::span<std::byte> target) = 0;

  // Every extent of every volume has been read. True if there is more, known only now (the log that
  // makes the data consistent): it is read as one more volume, number description().volumes.size().
  virtual Result<bool> BeginTail() { return false; }

  // Lets go of the database. Fails if the view turned out not to have been consistent.
  virtual Status End() = 0;

  // The backup is committed: log that only it needed may go, and it may become a base. After a
  // crash this may never be called, so it only hurries what the next Keep says as well.
  virtual void Committed() {}
};

struct FreezeOptions {
  Deadline lock_deadline = Deadline::Never();  // for the lock that keeps writers out
  // Asked several times a second while waiting for that lock; true ends the wait. Empty: never.
  std::function<bool()> cancelled;
};

// A database whose files somebody else copies, or keeps in a snapshot of their volume: prepared,
// then frozen, then thawed. While it is frozen nothing of its files changes; readers go on, writers
// wait. A freeze ends with Thaw, with the session, and with this process, whatever comes first.
//
// Threads: Thaw from any, the rest from one; never two at once.
class FreezeSession {
 public:
  virtual ~FreezeSession() = default;  // thaws

  // Every file that belongs to the snapshot. From Freeze on exactly as they stand; the files
  // themselves are the same before.
  virtual const DatabaseDescription& description() const = 0;
  virtual Lsn last_lsn() const = 0;
  virtual Lsn checkpoint_lsn() const = 0;

  // Keeps everybody from writing, once what is being written is finished. kCancelled.
  virtual Status Freeze(const FreezeOptions& options) = 0;
  // Lets writers go on, in any case. Fails if the files were not at rest all the time.
  virtual Status Thaw() = 0;
  // The snapshot is good and the backup of it over.
  virtual void End() = 0;
};

// Where one file of the set goes.
struct RestoreTarget {
  DatabaseFile file;          // as it stands in the backup set
  std::string physical_name;  // where to put it
};

struct RestoreOptions {
  bool replace = false;  // an existing database there may be replaced
  std::string
      job_name;  // goes into the names of temporary files, so that leftovers can be recognised
  Deadline lock_deadline = Deadline::Never();
  // As Describe takes it: of the database that is being restored, if it was begun by another set.
  std::string location;
  // Of the set that is restored.
  BackupKind kind = BackupKind::kFull;
  LsnRange lsns;
  std::string writer_data;
  std::string version;  // of the database software that was backed up. Error 3169 if it is no good
  // Goes on with what a session of the same job_name has kept, of the same set: kNotFound if it is
  // not there any more, or not of the same size.
  bool resume = false;
  // How the database is left, and with log, where it ends.
  RestoreEnd end = RestoreEnd::kRecovery;
  StopPoint stop;
};

struct RestoreOutcome {
  Lsn reached;  // the next log record that the database would take
  // The stop point lies behind what has been restored so far: with kRecovery the database was left
  // as kNoRecovery would leave it, for more log.
  bool stop_missed = false;
  Guid recovery_fork;  // on which it goes on, if it was recovered
};

// One set on its way into a database. A full backup is built beside the database that it replaces,
// where the writer can; a differential or log backup is applied to one that an earlier session left
// with kNoRecovery or kStandby.
class RestoreSession {
 public:
  virtual ~RestoreSession() = default;  // discards what was not committed, unless it is kept

  // Any order, no extent twice; `file_index` is that of the targets.
  virtual Status WriteExtent(const Extent& extent, std::span<const std::byte> source) = 0;

  // Makes durable what WriteExtent has returned for, so that a session with RestoreOptions::resume
  // can go on after a crash. From any thread, while WriteExtent goes on in others; it never makes
  // them wait for the disk to sync. kUnimplemented where a restore can only begin anew.
  virtual Status Checkpoint() {
    return Error(Code::kUnimplemented, "a restore of this kind has no checkpoints");
  }
  // The destructor leaves what was written for a session that goes on with it. False: there is
  // nothing to leave. Before Commit, or after it has failed.
  virtual bool Keep() { return false; }
  // Of a session that goes on: what is in the file. Several threads, before the first WriteExtent.
  virtual Status ReadBack(const Extent& /*extent*/, std::span<std::byte> /*target*/) {
    return Error(Code::kUnimplemented, "a restore of this kind cannot be gone on with");
  }
  // What ReadBack gave of `extent` is right: it counts as written.
  virtual void Adopt(const Extent& /*extent*/) {}

  // Makes everything durable and checks that it is a database; with kRecovery, recovers it up to
  // the stop point and swaps it in. On failure the old one is as it was, and one that is being
  // restored as the session before left it. Error 3101 if somebody has the old one open.
  virtual Result<RestoreOutcome> Commit() = 0;
};

// RESTORE WITH CHECKSUM: the pages of a database as they come back from a backup, verified as a
// backup WITH CHECKSUM verifies them, without the database. Memory grows with the number of pages
// alone, by some bytes each.
//
// Threads: Take from any, several at once; the rest from one, when no Take is under way.
class PageCheck {
 public:
  virtual ~PageCheck() = default;

  // Any order, no byte twice; `file_index` is that of the files.
  virtual Status Take(const Extent& extent, std::span<const std::byte> bytes) = 0;
  // These bytes will not come. What should be there is not called bad.
  virtual void Miss(std::uint32_t file_index, std::uint64_t offset, std::uint64_t length) = 0;
  // Everything else has been taken. Bad pages are told of here, or earlier.
  virtual Status Finish() = 0;
};

// A database whose place is cleared for files that somebody else puts there (restore of a
// snapshot). The one that was there is kept aside, closed to everybody, until Commit.
class MountSession {
 public:
  virtual ~MountSession() = default;  // as PutBack

  // The files are there: checks that they are those of the snapshot, recovers the database, makes
  // it durable, and lets the old one go.
  virtual Status Commit() = 0;
  // Puts the old database back over whatever is in its place. Says in a sentence what is there now.
  // Error 3101 if somebody uses what is in its place: then DiscardRestore may try again later.
  virtual Result<std::string> PutBack() = 0;
};

// VSS_WRITER_STATE, printed as `vssadmin list writers` prints it.
enum class WriterState {
  kStable = 1,
  kWaitingForFreeze = 2,
  kWaitingForThaw = 3,
  kWaitingForPostSnapshot = 4,
  kWaitingForBackupComplete = 5,
  kFailed = 8,
};
std::string_view WriterStateName(WriterState state);

struct WriterInfo {
  std::string name;  // "SqliteWriter"
  Guid writer_id;    // constant of the kind
  Guid instance_id;  // new at every start of the server
  WriterState state = WriterState::kStable;
  std::string last_error;  // "No error"
};

class DatabaseWriter {
 public:
  virtual ~DatabaseWriter() = default;

  virtual std::string_view scheme() const = 0;  // "sqlite", as in sqlite:/path
  virtual WriterInfo info() const = 0;

  // What is at `location` (what follows the scheme). Refuses what is not a database, with the
  // reason. `logical_name` is the name that the database is, or will be, registered under.
  virtual Result<DatabaseDescription> Describe(const std::string& location,
                                               const std::string& logical_name) = 0;

  virtual Result<std::unique_ptr<BackupSession>> BeginBackup(const std::string& location,
                                                             const std::string& logical_name,
                                                             const BackupOptions& options) = 0;

  virtual Result<std::unique_ptr<RestoreSession>> BeginRestore(
      std::span<const RestoreTarget> targets, const RestoreOptions& options) = 0;

  // RESTORE DATABASE ... WITH RECOVERY or STANDBY by itself, of a database at `location` that is
  // being restored. `options` without what it says of a set.
  virtual Result<RestoreOutcome> Recover(const std::string& location,
                                         const RestoreOptions& options);
  // Removes everything of a database that is being restored. Kept: what it was to replace.
  virtual Status AbandonRestore(const std::string& location);

  // All databases of this kind that the server has, at its start and whenever one of them or what
  // is needed of its log has changed. The writer keeps the logs of those that need it, from its
  // own threads, and lets go of all others'.
  virtual void Keep(std::vector<KeptDatabase> databases);
  virtual Result<LogStatus> DescribeLog(const std::string& location);

  // Databases of this kind on this host: running ones, and files in `folders`.
  virtual Result<std::vector<DiscoveredDatabase>> Discover(std::span<const std::string> folders);

  // `files` as they stand in the backup set. kInvalidArgument if they are not those of a database.
  virtual Result<std::unique_ptr<PageCheck>> BeginPageCheck(std::span<const DatabaseFile> files,
                                                            PageErrorHandler on_page_error) = 0;

  virtual Result<std::unique_ptr<FreezeSession>> BeginSnapshot(const std::string& location,
                                                               const std::string& logical_name) = 0;

  // Says where the files go whose physical_name is empty. Error 3156 for a place where the database
  // could not use the file.
  virtual Result<std::vector<RestoreTarget>> PlanMount(std::vector<RestoreTarget> targets) = 0;
  // `targets` as PlanMount returned them. Error 3101 if somebody has the old database open.
  virtual Result<std::unique_ptr<MountSession>> BeginMount(std::span<const RestoreTarget> targets,
                                                           const RestoreOptions& options) = 0;

  // Removes what an interrupted restore of this job name left beside `physical_name`; puts back
  // what an interrupted mount has set aside.
  virtual Status DiscardRestore(const std::string& physical_name, const std::string& job_name) = 0;
  // The same, but leaves what a session with RestoreOptions::resume goes on with. False: nothing of
  // that is known at this file, though it may be at another one; what is left here was removed.
  virtual Result<bool> KeepRestore(const std::string& physical_name, const std::string& job_name) {
    CAPSTAN_RETURN_IF_ERROR(DiscardRestore(physical_name, job_name));
    return false;
  }
};

}  // namespace capstan::writers
