#include "server/writers/sqlite/sqlite_mount_session.h"

#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/positioned_io.h"
#include "server/writers/sqlite/log/restoring_database.h"
#include "server/writers/sqlite/sqlite_connection.h"
#include "server/writers/sqlite/sqlite_file_guard.h"
#include "server/writers/sqlite/sqlite_frozen_state.h"
#include "server/writers/sqlite/sqlite_view.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

Status Unusable(const std::string& path, std::string_view cause) {
  return SqlError(65006, path, fmt::format("it is not as the snapshot has it: {}", cause));
}

Status Unwritable(const std::string& path, int os_error) {
  return SqlError(65006, path, OsErrorText(os_error)).WithOsError(os_error);
}

// What stands at the path: a regular file, or an error that says what instead.
Result<struct stat> LookAt(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return Unusable(path, errno == ENOENT ? "nothing was placed there" : OsErrorText(errno));
  }
  if (!S_ISREG(info.st_mode)) {
    return Unusable(path, "it is not a regular file");
  }
  return info;
}

Status CheckSize(const std::string& path, const struct stat& info, std::uint64_t expected) {
  const auto size = static_cast<std::uint64_t>(info.st_size);
  return size == expected
             ? OkStatus()
             : Unusable(path, fmt::format("it has {} bytes instead of {}", size, expected));
}

// The WAL and the rollback journal are nobody's locked files: they may be opened and closed.
UniqueFd OpenCompanion(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
}

}  // namespace

Result<std::unique_ptr<SqliteMountSession>> SqliteMountSession::Begin(
    std::vector<RestoreTarget> targets, const RestoreOptions& options, Parts parts) {
  std::unique_ptr<SqliteMountSession> session(
      new SqliteMountSession(std::move(targets), options, std::move(parts)));
  CAPSTAN_RETURN_IF_ERROR(session->Clear());
  return session;
}

SqliteMountSession::SqliteMountSession(std::vector<RestoreTarget> targets,
                                       const RestoreOptions& options, Parts parts)
    : targets_(std::move(targets)),
      options_(options),
      paths_(database().physical_name, options.job_name),
      released_files_(std::move(parts.released_files)),
      activity_(std::make_unique<WriterActivity>(std::move(parts.tracker),
                                                 WriterActivity::Kind::kRestore)),
      keeper_(std::move(parts.keeper)) {}

SqliteMountSession::~SqliteMountSession() {
  if (committed_) {
    return;
  }
  if (const auto put_back = PutBack(); !put_back.ok()) {
    CAPSTAN_LOG(kError, "the database at path={} could not be put back: {}", paths_.target,
                put_back.status().message());
  }
}

Status SqliteMountSession::Clear() {
  directory_.Reset(::open(paths_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_.valid()) {
    return Unwritable(paths_.target, errno)
        .WithHint(fmt::format("create the directory '{}', or restore WITH MOVE", paths_.directory));
  }
  CAPSTAN_RETURN_IF_ERROR(CheckMayReplace(paths_, database().file.logical_name, options_.replace));
  CAPSTAN_RETURN_IF_ERROR(DiscardLeftovers(paths_));
  marker_.Reset(::open(paths_.temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                       S_IRUSR | S_IWUSR));
  if (!marker_.valid() || ::flock(marker_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Unwritable(paths_.temporary, errno);
  }
  suspension_ = keeper_->Suspend(paths_.target);
  replacement_.emplace(paths_, directory_.get());
  CAPSTAN_RETURN_IF_ERROR(replacement_->TakeOver(options_.lock_deadline));
  return replacement_->ClearTarget();
}

Status SqliteMountSession::Commit() {
  if (committed_) {
    return Error(Code::kFailedPrecondition, "the mount of '{}' was committed already",
                 paths_.target);
  }
  Status status = CommitSteps();
  committed_ = !replacement_;
  activity_->Finish(status);
  return status;
}

Status SqliteMountSession::CommitSteps() {
  CAPSTAN_RETURN_IF_ERROR(CheckDatabaseFile());
  CAPSTAN_RETURN_IF_ERROR(CheckWalFile());
  CAPSTAN_RETURN_IF_ERROR(CheckJournal());
  CAPSTAN_RETURN_IF_ERROR(Recover());
  CAPSTAN_RETURN_IF_ERROR(SyncPlaced());
  CAPSTAN_CRASH_POINT("sqlite.mount.checked");
  RemoveMarker();
  UniqueFd old_file = replacement_->HoldOldFile();
  Status status = replacement_->GiveUpOld();
  if (replacement_->holds_old()) {
    return status;
  }
  replacement_.reset();
  released_files_->LetGo(std::move(old_file));  // after all else that we had of it
  struct stat info {};
  suspension_.Replaced(::stat(paths_.target.c_str(), &info) == 0
                           ? ForkOf(paths_.target, info.st_ino)
                           : Guid::Random());
  return status;
}

Status SqliteMountSession::CheckDatabaseFile() const {
  const std::string& path = paths_.target;
  CAPSTAN_ASSIGN_OR_RETURN(const struct stat info, LookAt(path));
  CAPSTAN_RETURN_IF_ERROR(CheckSize(path, info, database().file.size_bytes));
  const auto guard = SqliteFileGuard::Acquire(path);
  if (!guard.ok()) {
    return Unusable(path, guard.status().message());
  }
  const auto state = FrozenStateOfDatabase(guard->fd());
  if (!state.ok() || *state != database().file.frozen_state) {
    return Unusable(path, "its header or its pages are others");
  }
  return OkStatus();
}

Status SqliteMountSession::CheckWalFile() const {
  const std::string path = paths_.target + "-wal";
  struct stat info {};
  const bool there = ::stat(path.c_str(), &info) == 0 && info.st_size > 0;
  if (wal() == nullptr || wal()->file.size_bytes == 0) {
    return there ? Unusable(path, "the snapshot has no such file") : OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(info, LookAt(path));
  CAPSTAN_RETURN_IF_ERROR(CheckSize(path, info, wal()->file.size_bytes));
  const std::string& expected = wal()->file.frozen_state;
  const UniqueFd fd = OpenCompanion(path);
  if (!fd.valid()) {
    return Unusable(path, OsErrorText(errno));
  }
  const auto state = FrozenStateOfWal(fd.get(), wal()->file.page_size, LastFrameOf(expected));
  return state.ok() && *state == expected
             ? OkStatus()
             : Unusable(path, "its header or its last frame is another one");
}

// Nothing was being written when the database was frozen. A journal whose first byte is not zero
// belongs to something else, and would be played back into the database (PRAGMA
// journal_mode=PERSIST leaves one that begins with zeros).
Status SqliteMountSession::CheckJournal() const {
  const std::string path = paths_.target + "-journal";
  const UniqueFd fd = OpenCompanion(path);
  std::array<std::byte, 1> first{};
  if (fd.valid() && ReadFully(fd.get(), 0, first).ok() && first[0] != std::byte{0}) {
    return Unusable(path, "the snapshot has no such file");
  }
  return OkStatus();
}

Status SqliteMountSession::Recover() {
  const std::string& path = paths_.target;
  CAPSTAN_ASSIGN_OR_RETURN(const SqliteFileGuard guard, SqliteFileGuard::Acquire(path));
  {
    const auto view = SqliteView::Open(path, {.lock_deadline = options_.lock_deadline});
    if (!view.ok()) {
      return Unusable(path, view.status().message());
    }
    const std::uint32_t last_frame = wal() != nullptr ? LastFrameOf(wal()->file.frozen_state) : 0;
    // A transaction that was complete in the WAL, but not yet announced, counts after a recovery.
    if (last_frame > 0 && (!view->wal_header() || view->wal_header()->last_frame < last_frame)) {
      return Unusable(path, fmt::format("its WAL is damaged before frame {}", last_frame));
    }
  }
  auto connection =
      SqliteConnection::Open(path, SqliteOpenMode::kReadWrite, options_.lock_deadline);
  Status status = connection.ok() ? connection->BeginRead() : connection.status();
  if (status.ok()) {
    status = connection->EndTransaction();
  }
  if (status.ok() && connection->has_wal()) {
    // Somebody may have it open already; then the WAL stays for them to write back.
    status = connection->Execute("PRAGMA wal_checkpoint(TRUNCATE)");
    connection->TidyUpOnClose();
  }
  if (!status.ok()) {
    return SqlError(65006, path, fmt::format("its recovery failed: {}", status.message()))
        .WithHint(std::string(status.hint()));
  }
  return OkStatus();
}

Status SqliteMountSession::SyncPlaced() const {
  CAPSTAN_ASSIGN_OR_RETURN(const SqliteFileGuard guard, SqliteFileGuard::Acquire(paths_.target));
  const UniqueFd wal_fd = OpenCompanion(paths_.target + "-wal");
  if (::fsync(guard.fd()) != 0 || (wal_fd.valid() && ::fsync(wal_fd.get()) != 0)) {
    return Unwritable(paths_.target, errno);
  }
  // Opened anew: the client may have mounted something over the directory that we began with.
  const UniqueFd directory(::open(paths_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return directory.valid() && ::fsync(directory.get()) == 0 ? OkStatus()
                                                            : Unwritable(paths_.target, errno);
}

Result<std::string> SqliteMountSession::PutBack() {
  if (!replacement_ || committed_) {
    RemoveMarker();
    return std::string();
  }
  const bool held_old = replacement_->holds_old();
  if (Status status = replacement_->PutOldBack(); !status.ok()) {
    return std::move(status).WithHint(fmt::format(
        "what was placed at '{}' is in use; the database that was there is kept as '{}'",
        paths_.target, paths_.old_file));
  }
  replacement_.reset();
  RemoveMarker();
  if (held_old) {
    return fmt::format("the database that was at '{}' is there again, as it was", paths_.target);
  }
  return ::access(paths_.target.c_str(), F_OK) == 0
             ? fmt::format("what was placed at '{}' is still there, and no database of this server",
                           paths_.target)
             : std::string();
}

void SqliteMountSession::RemoveMarker() {
  if (marker_.valid()) {
    ::unlink(paths_.temporary.c_str());
    marker_.Reset();
  }
}

}  // namespace capstan::writers
