#include "server/writers/sqlite/sqlite_replacement.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/released_files.h"
#include "server/writers/sqlite/log/restoring_database.h"
#include "server/writers/sqlite/sqlite_format.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

constexpr std::array<const char*, 2> kReplayedSuffixes = {"-wal", "-journal"};

bool Exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

Status InUse() {
  return SqlError(3101).WithHint("close every program that has the database open, then try again");
}

Status Unwritable(const std::string& path, const Status& cause) {
  return SqlError(65006, path, cause.message())
      .WithOsError(cause.os_error())
      .WithHint(std::string(cause.hint()));
}

Status RemoveIfThere(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return OsError(errno, fmt::format("remove '{}'", path));
  }
  return OkStatus();
}

// Locks that end with the descriptor's entry in the guard, and that conflict with SQLite's locks of
// other processes and of this one alike.
Status LockWholeDatabase(int fd) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = kSqliteLockBytesOffset;
  lock.l_len = kSqliteLockBytesCount;
  if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) {
    return OkStatus();
  }
  return errno == EAGAIN || errno == EACCES ? InUse() : OsError(errno, "lock");
}

// Nobody may be using what is about to be removed. What cannot be opened for writing is not asked.
Status CheckUnused(const std::string& path, std::optional<SqliteFileGuard>& guard) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(guard,
                           SqliteFileGuard::Acquire(path, SqliteFileGuard::EmptyFile::kAccept));
  const auto fd = guard->OpenForWriting(path);
  return fd.ok() ? LockWholeDatabase(*fd) : OkStatus();
}

Status SyncFolder(const std::string& folder) {
  const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd.valid() && ::fsync(fd.get()) == 0 ? OkStatus() : OsError(errno, "sync the directory");
}

// Brings the old file of a mount back, each step of which may be the last before a crash. A WAL
// that was placed must be gone before the old file returns, or it would be replayed into it; a WAL
// of the old file must not be taken for a placed one the next time: hence the second name.
Status UndoMount(const RestorePaths& paths) {
  std::optional<SqliteFileGuard> placed;
  if (Exists(paths.old_file)) {
    CAPSTAN_RETURN_IF_ERROR(CheckUnused(paths.target, placed));
    for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
      CAPSTAN_RETURN_IF_ERROR(RemoveIfThere(paths.target + suffix));
    }
    CAPSTAN_RETURN_IF_ERROR(SyncFolder(paths.directory));
    CAPSTAN_CRASH_POINT("sqlite.mount.placed_removed");
    if (::rename(paths.old_file.c_str(), paths.returning.c_str()) != 0) {
      return OsError(errno, fmt::format("rename '{}'", paths.old_file));
    }
  }
  for (const char* suffix : kReplayedSuffixes) {
    if (::rename((paths.aside + suffix).c_str(), (paths.target + suffix).c_str()) != 0 &&
        errno != ENOENT) {
      return OsError(errno, fmt::format("rename '{}{}'", paths.aside, suffix));
    }
  }
  CAPSTAN_CRASH_POINT("sqlite.mount.returning");
  if (::rename(paths.returning.c_str(), paths.target.c_str()) != 0) {
    return OsError(errno, fmt::format("rename '{}'", paths.returning));
  }
  return SyncFolder(paths.directory);
}

std::string Resolve(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr),
                                                             &std::free);
  return resolved != nullptr ? std::string(resolved.get()) : path;
}

}  // namespace

RestorePaths::RestorePaths(const std::string& physical_name, const std::string& job_name)
    : target(Resolve(physical_name)) {
  const std::size_t slash = target.rfind('/');
  directory = slash == 0 || slash == std::string::npos ? "/" : target.substr(0, slash);
  const std::string leaf = slash == std::string::npos ? target : target.substr(slash + 1);
  const std::string stem =
      fmt::format("{}{}.{}.{}", directory, directory == "/" ? "" : "/", leaf, job_name);
  temporary = stem + ".capstan-restore";
  aside = stem + ".capstan-aside";
  old_file = aside + "-database";
  returning = aside + "-returning";
}

SqliteReplacement::SqliteReplacement(RestorePaths paths, int directory_fd)
    : paths_(std::move(paths)), directory_fd_(directory_fd) {}

SqliteReplacement::~SqliteReplacement() {
  if (cleared_) {
    if (Status status = PutOldBack(); !status.ok()) {
      CAPSTAN_LOG(kError, "the old database stays at path={} cause={}", paths_.old_file,
                  status.message());
    }
  } else if (!renamed_) {
    PutBack();
  }
}

Status SqliteReplacement::TakeOver(Deadline lock_deadline) {
  Status status;
  if (Exists(paths_.target)) {
    status = TakeReadable(lock_deadline);
    if (status.code() == Code::kDataLoss) {
      CAPSTAN_LOG(kWarning, "restore replaces a file that is no usable database path={} cause={}",
                  paths_.target, status.message());
      connection_.reset();
      status = TakeUnreadable();
    }
  } else {
    status = SetAside();
  }
  if (status.ok()) {
    CAPSTAN_CRASH_POINT("sqlite.restore.before_directory_sync");
    status = SyncDirectory();
  }
  return status.ok() || status.reason() != 0 ? status : Unwritable(paths_.target, status);
}

// kDataLoss: it is no database, or damaged.
Status SqliteReplacement::TakeReadable(Deadline lock_deadline) {
  CAPSTAN_ASSIGN_OR_RETURN(
      guard_, SqliteFileGuard::Acquire(paths_.target, SqliteFileGuard::EmptyFile::kAccept));
  CAPSTAN_ASSIGN_OR_RETURN(
      connection_,
      SqliteConnection::Open(paths_.target, SqliteOpenMode::kReadWrite, lock_deadline));
  // In exclusive locking mode SQLite keeps the EXCLUSIVE lock from the first transaction on. With a
  // WAL it needs that lock to begin with: it fails while any connection, even an idle one, is
  // there.
  Status status = connection_->Execute("PRAGMA locking_mode=EXCLUSIVE");
  if (status.ok()) {
    status = connection_->Execute("BEGIN EXCLUSIVE");
  }
  if (status.ok()) {
    status = connection_->Execute("COMMIT");
  }
  if (status.code() == Code::kDeadlineExceeded) {
    return InUse();
  }
  CAPSTAN_RETURN_IF_ERROR(std::move(status));
  if (!connection_->has_exclusive_lock()) {
    return Error(Code::kPermissionDenied, "write access to the old database is missing");
  }
  CAPSTAN_CRASH_POINT("sqlite.restore.locked");
  CAPSTAN_RETURN_IF_ERROR(connection_->Execute("PRAGMA wal_checkpoint(TRUNCATE)"));
  CAPSTAN_CRASH_POINT("sqlite.restore.checkpointed");
  struct stat info {};
  if (::stat(connection_->wal_path().c_str(), &info) == 0 && info.st_size != 0) {
    return Error(Code::kUnavailable, "its WAL could not be written back");
  }
  // With the lock held, no journal can be hot, and the WAL is empty: the old file is whole alone.
  CAPSTAN_RETURN_IF_ERROR(RemoveIfThere(paths_.target + "-wal"));
  CAPSTAN_CRASH_POINT("sqlite.restore.wal_removed");
  CAPSTAN_RETURN_IF_ERROR(RemoveIfThere(paths_.target + "-shm"));
  return RemoveIfThere(paths_.target + "-journal");
}

Status SqliteReplacement::TakeUnreadable() {
  CAPSTAN_ASSIGN_OR_RETURN(const int fd, guard_->OpenForWriting(paths_.target));
  CAPSTAN_RETURN_IF_ERROR(LockWholeDatabase(fd));
  return SetAside();
}

Status SqliteReplacement::SetAside() {
  for (const char* suffix : kReplayedSuffixes) {
    const std::string from = paths_.target + suffix;
    const std::string to = paths_.aside + suffix;
    if (::rename(from.c_str(), to.c_str()) == 0) {
      set_aside_.push_back(suffix);
    } else if (errno != ENOENT) {
      return OsError(errno, fmt::format("rename '{}'", from));
    }
    CAPSTAN_CRASH_POINT("sqlite.restore.set_aside");
  }
  return RemoveIfThere(paths_.target + "-shm");
}

void SqliteReplacement::PutBack() {
  for (const std::string& suffix : set_aside_) {
    const std::string from = paths_.aside + suffix;
    if (::rename(from.c_str(), (paths_.target + suffix).c_str()) != 0) {
      CAPSTAN_LOG(kError, "unable to put back path={} errno={}", from, errno);
    }
  }
  set_aside_.clear();
}

void SqliteReplacement::DropAside() {
  for (const std::string& suffix : set_aside_) {
    ::unlink((paths_.aside + suffix).c_str());
  }
  set_aside_.clear();
}

Status SqliteReplacement::CopyOwnership(int fd) const {
  struct stat old {};
  if (!guard_ || ::fstat(guard_->fd(), &old) != 0) {
    return OkStatus();  // nothing to copy from: the new file keeps mode 0600
  }
  if (::fchown(fd, old.st_uid, old.st_gid) != 0 || ::fchmod(fd, old.st_mode & 07777) != 0) {
    return Unwritable(paths_.target, OsError(errno, "give the new file the old one's owner"))
        .WithHint("run the server as the owner of the database, or as root");
  }
  return OkStatus();
}

UniqueFd SqliteReplacement::HoldOldFile() const {
  return guard_ ? ReleasedFiles::Hold(guard_->fd()) : UniqueFd();
}

Status SqliteReplacement::Swap() {
  CAPSTAN_CRASH_POINT("sqlite.restore.before_rename");
  if (Status status = Rename(); !status.ok()) {
    return status;
  }
  renamed_ = true;
  CAPSTAN_CRASH_POINT("sqlite.restore.renamed");
  Status synced = SyncDirectory();
  CAPSTAN_CRASH_POINT("sqlite.restore.rename_synced");
  if (!synced.ok()) {
    return Unwritable(paths_.target, Annotate(synced, "the new database is in place, but"));
  }
  RetireOldFile();
  CAPSTAN_CRASH_POINT("sqlite.restore.retired");
  DropAside();
  return OkStatus();
}

Status SqliteReplacement::Rename() const {
  const char* const from = paths_.temporary.c_str();
  const char* const to = paths_.target.c_str();
  if (guard_) {
    if (!guard_->IsAt(paths_.target)) {
      return Unwritable(paths_.target,
                        Error(Code::kUnavailable, "another file took its place just now"));
    }
    return ::rename(from, to) == 0 ? OkStatus()
                                   : Unwritable(paths_.target, OsError(errno, "rename"));
  }
  // There was no file when we looked; do not overwrite one that came since.
  int result = ::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
  if (result != 0 && errno == EINVAL && !Exists(paths_.target)) {  // not known to this file system
    result = ::rename(from, to);
  }
  return result == 0 ? OkStatus() : Unwritable(paths_.target, OsError(errno, "rename"));
}

// A program that opened the old database and holds no lock just now keeps its descriptor. Left
// alone, it would go on with a file that has no name and share journal and WAL *names* with the new
// database. So the old file stops being a database: such a program is told "not a database". The
// file is left alone if it has another name (a hard link), which may be somebody's copy.
void SqliteReplacement::RetireOldFile() {
  struct stat old {};
  if (!connection_ || ::fstat(guard_->fd(), &old) != 0 || old.st_nlink != 0) {
    return;
  }
  SqliteHeaderBytes start{};
  start.fill(std::byte{0xff});
  if (Status status = connection_->OverwriteStart(start); !status.ok()) {
    CAPSTAN_LOG(kWarning, "unable to retire the replaced file of path={} cause={}", paths_.target,
                status.message());
  }
}

Status SqliteReplacement::ClearTarget() {
  if (guard_) {
    if (!guard_->IsAt(paths_.target)) {
      return Unwritable(paths_.target,
                        Error(Code::kUnavailable, "another file took its place just now"));
    }
    if (::rename(paths_.target.c_str(), paths_.old_file.c_str()) != 0) {
      return Unwritable(paths_.target, OsError(errno, "set it aside"));
    }
    cleared_ = true;
    CAPSTAN_CRASH_POINT("sqlite.mount.cleared");
  } else {
    DropAside();  // a WAL whose database is gone; it must not come to stand beside another one
  }
  Status synced = SyncDirectory();
  return synced.ok() ? OkStatus() : Unwritable(paths_.target, synced);
}

Status SqliteReplacement::GiveUpOld() {
  if (cleared_) {
    if (::unlink(paths_.old_file.c_str()) != 0) {
      return Unwritable(paths_.target, OsError(errno, "remove the old database"));
    }
    cleared_ = false;
    CAPSTAN_CRASH_POINT("sqlite.mount.old_removed");
    RetireOldFile();
  }
  renamed_ = true;  // from here on there is nothing to put back
  DropAside();
  Status synced = SyncDirectory();
  return synced.ok()
             ? OkStatus()
             : Unwritable(paths_.target, Annotate(synced, "the new database is in place, but"));
}

Status SqliteReplacement::PutOldBack() {
  if (!cleared_) {
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(UndoMount(paths_));
  cleared_ = false;
  set_aside_.clear();
  return OkStatus();
}

Status SqliteReplacement::SyncDirectory() const {
  return ::fsync(directory_fd_) == 0 ? OkStatus() : OsError(errno, "sync the directory");
}

Status CheckMayReplace(const RestorePaths& paths, const std::string& logical_name, bool replace) {
  struct stat info {};
  if (::lstat(paths.target.c_str(), &info) != 0) {
    return errno == ENOENT ? OkStatus() : Unwritable(paths.target, OsError(errno, "look"));
  }
  if (S_ISDIR(info.st_mode)) {
    return Unwritable(paths.target, OsError(EISDIR, "replace it"));
  }
  if (S_ISREG(info.st_mode) && replace) {
    return OkStatus();
  }
  return SqlError(3156, logical_name, paths.target)
      .WithHint("a file is there already; restore WITH MOVE to another place, or WITH REPLACE");
}

namespace {

// Everything beside the target is as before the restore, but for the unfinished file. Whether that
// is there.
Result<bool> PutBackLeftovers(const RestorePaths& paths) {
  const UniqueFd fd(::open(paths.temporary.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (fd.valid() && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error(Code::kFailedPrecondition, "the restore that writes '{}' is still running",
                 paths.temporary);
  }
  if (Exists(paths.old_file) || Exists(paths.returning)) {
    CAPSTAN_RETURN_IF_ERROR(UndoMount(paths));
  }
  // The rename is the last use of the temporary name, or of the one that a database has while it is
  // being restored.
  const bool swapped = !fd.valid() && !RestoringDatabase::ExistsAt(paths.target);
  for (const char* suffix : kReplayedSuffixes) {
    const std::string aside = paths.aside + suffix;
    const std::string home = paths.target + suffix;
    if (!swapped && !Exists(home)) {
      ::rename(aside.c_str(), home.c_str());
    }
    CAPSTAN_RETURN_IF_ERROR(RemoveIfThere(aside));
  }
  return fd.valid();
}

}  // namespace

Status DiscardLeftovers(const RestorePaths& paths) {
  CAPSTAN_RETURN_IF_ERROR(PutBackLeftovers(paths).status());
  return RemoveIfThere(paths.temporary);
}

Result<bool> KeepUnfinished(const RestorePaths& paths) {
  CAPSTAN_ASSIGN_OR_RETURN(const bool unfinished, PutBackLeftovers(paths));
  if (!unfinished) {
    CAPSTAN_RETURN_IF_ERROR(RemoveIfThere(paths.temporary));  // nothing that could be opened
  }
  return unfinished;
}

}  // namespace capstan::writers
