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

#include "vdi/base/clock.h"
#include "vdi/base/guid.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// A position in a database's log, defined by its writer; ordered. Printed as numeric(25,0).
struct Lsn {
  std::uint64_t value = 0;
  friend auto operator<=>(const Lsn&, const Lsn&) = default;
};

enum class BackupKind { kFull, kDifferential, kLog };
enum class RecoveryModel { kSimple, kBulkLogged, kFull };

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
};

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

  virtual const DatabaseDescription& description() const = 0;
  virtual Lsn first_lsn() const = 0;
  virtual Lsn last_lsn() const = 0;
  virtual Lsn checkpoint_lsn() const = 0;

  // The next stretch to copy from `volume`, at most `length_max` bytes, in file order; nullopt when
  // the volume is done. From one thread per volume.
  virtual Result<std::optional<Extent>> NextExtent(std::uint32_t volume,
                                                   std::uint32_t length_max) = 0;

  // Reads exactly extent.length == target.size() bytes of the consistent view.
  virtual Status ReadExtent(const Extent& extent, std::span<std::byte> target) = 0;

  // Lets go of the database. Fails if the view turned out not to have been consistent.
  virtual Status End() = 0;
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
};

// A database being built beside the one that it replaces.
class RestoreSession {
 public:
  virtual ~RestoreSession() = default;  // discards what was not committed

  // Any order, no extent twice; `file_index` is that of the targets.
  virtual Status WriteExtent(const Extent& extent, std::span<const std::byte> source) = 0;

  // Makes everything durable, checks that it is a database, swaps it in. On failure the old one is
  // as it was. Error 3101 if somebody has the old one open.
  virtual Status Commit() = 0;
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
};

}  // namespace capstan::writers
