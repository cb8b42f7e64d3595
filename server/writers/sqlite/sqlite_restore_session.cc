#include "server/writers/sqlite/sqlite_restore_session.h"

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/positioned_io.h"
#include "server/writers/sqlite/log/log_replay.h"
#include "server/writers/sqlite/log/sqlite_chain_restore_session.h"
#include "server/writers/sqlite/sqlite_connection.h"
#include "server/writers/sqlite/sqlite_format.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

Status Unwritable(const std::string& path, int os_error) {
  return SqlError(65006, path, OsErrorText(os_error)).WithOsError(os_error);
}

Status NotADatabase(const std::string& path, std::string_view cause) {
  return SqlError(65006, path, fmt::format("what was restored is no whole database: {}", cause))
      .WithHint("the database that was there is untouched; verify the backup set, restore another");
}

bool NotSupported(int os_error) {
  return os_error == EOPNOTSUPP || os_error == ENOSYS || os_error == EINVAL;
}

}  // namespace

Result<std::unique_ptr<SqliteRestoreSession>> SqliteRestoreSession::Begin(
    const RestoreTarget& target, const RestoreOptions& options,
    std::shared_ptr<WriterStateTracker> tracker, RestoringDatabase::Swap swap) {
  RestoreOptions resolved = options;
  CAPSTAN_ASSIGN_OR_RETURN(resolved.stop, ResolveStopPoint(options.stop));
  std::unique_ptr<SqliteRestoreSession> session(
      new SqliteRestoreSession(target, resolved, std::move(swap)));
  CAPSTAN_RETURN_IF_ERROR(session->Open());
  session->activity_ =
      std::make_unique<WriterActivity>(std::move(tracker), WriterActivity::Kind::kRestore);
  return session;
}

SqliteRestoreSession::SqliteRestoreSession(const RestoreTarget& target,
                                           const RestoreOptions& options,
                                           RestoringDatabase::Swap swap)
    : file_(target.file),
      options_(options),
      paths_(target.physical_name, options.job_name),
      swap_(std::move(swap)) {}

SqliteRestoreSession::~SqliteRestoreSession() {
  if (has_temporary_) {
    ::unlink(paths_.temporary.c_str());
  }
}

Status SqliteRestoreSession::Open() {
  directory_.Reset(::open(paths_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_.valid()) {
    return Unwritable(paths_.target, errno)
        .WithHint(fmt::format("create the directory '{}', or restore WITH MOVE", paths_.directory));
  }
  // What a database that is being restored will replace is decided when it gets there.
  if (options_.end == RestoreEnd::kRecovery) {
    CAPSTAN_RETURN_IF_ERROR(CheckMayReplace(paths_, file_.logical_name, options_.replace));
  }
  if (options_.resume) {
    CAPSTAN_RETURN_IF_ERROR(OpenTemporary());
  } else {
    CAPSTAN_RETURN_IF_ERROR(CreateTemporary());
    CAPSTAN_RETURN_IF_ERROR(Reserve());
  }
  filled_ = std::make_shared<const FilledFile>(fd_.get(), paths_.temporary);
  output_ =
      std::make_unique<DirectWriteQueue>([](const FilledFile&, const Status& why) { return why; });
  return OkStatus();
}

Status SqliteRestoreSession::CreateTemporary() {
  CAPSTAN_RETURN_IF_ERROR(DiscardLeftovers(paths_));
  fd_.Reset(::open(paths_.temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                   S_IRUSR | S_IWUSR));
  if (!fd_.valid()) {
    return Unwritable(paths_.temporary, errno);
  }
  has_temporary_ = true;
  if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Unwritable(paths_.temporary, errno);
  }
  return OkStatus();
}

Status SqliteRestoreSession::OpenTemporary() {
  CAPSTAN_ASSIGN_OR_RETURN(const bool unfinished, KeepUnfinished(paths_));
  const auto missing = [this](std::string_view why) {
    return Error(Code::kNotFound, "the unfinished database '{}' {}", paths_.temporary, why);
  };
  if (!unfinished) {
    return missing("is not there any more");
  }
  fd_.Reset(::open(paths_.temporary.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!fd_.valid() || ::fstat(fd_.get(), &info) != 0) {
    return Unwritable(paths_.temporary, errno);
  }
  if (!S_ISREG(info.st_mode) || static_cast<std::uint64_t>(info.st_size) != file_.size_bytes) {
    return missing("is not as it was left");
  }
  if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Unwritable(paths_.temporary, errno);
  }
  // What the page cache still holds of it must not be written over what is to come.
  CAPSTAN_RETURN_IF_ERROR(Sync());
  has_temporary_ = true;
  return OkStatus();
}

Status SqliteRestoreSession::Reserve() {
  const auto size = static_cast<off_t>(file_.size_bytes);
  int result;
  do {
    result = ::fallocate(fd_.get(), 0, 0, size);
  } while (result != 0 && errno == EINTR);
  if (result == 0) {
    return OkStatus();
  }
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
    return InsufficientSpace().WithOsError(errno);
  }
  if (!NotSupported(errno)) {
    return Unwritable(paths_.target, errno);
  }
  // This file system cannot reserve. Compare with what is free, which may change meanwhile.
  struct statvfs info {};
  if (::fstatvfs(fd_.get(), &info) == 0 && info.f_bavail * info.f_frsize < file_.size_bytes) {
    return InsufficientSpace().WithOsError(ENOSPC);
  }
  return ::ftruncate(fd_.get(), size) == 0 ? OkStatus() : Unwritable(paths_.target, errno);
}

Status SqliteRestoreSession::InsufficientSpace() const {
  struct statvfs info {};
  const std::uint64_t available =
      ::fstatvfs(directory_.get(), &info) == 0 ? info.f_bavail * info.f_frsize : 0;
  return SqlError(3257, paths_.directory, file_.size_bytes, available);
}

bool SqliteRestoreSession::Fits(const Extent& extent, std::size_t bytes) const {
  return output_ != nullptr && extent.file_index == 0 && extent.length == bytes &&
         extent.offset <= file_.size_bytes && extent.length <= file_.size_bytes - extent.offset;
}

void SqliteRestoreSession::BeginWrite() {
  MutexLock lock(mutex_);
  while (draining_) {
    changed_.Wait(mutex_);
  }
  ++writing_;
}

void SqliteRestoreSession::EndWrite() {
  MutexLock lock(mutex_);
  if (--writing_ == 0 && draining_) {
    changed_.NotifyAll();
  }
}

Status SqliteRestoreSession::WriteExtent(const Extent& extent, std::span<const std::byte> source) {
  if (!Fits(extent, source.size())) {
    return Error(Code::kInvalidArgument, "extent of {} bytes at byte {} does not fit",
                 extent.length, extent.offset);
  }
  BeginWrite();
  Status status = output_->Write(filled_, extent.offset, source);
  EndWrite();
  if (!status.ok()) {
    return WriteError(status);
  }
  written_bytes_ += extent.length;
  return OkStatus();
}

Status SqliteRestoreSession::ReadBack(const Extent& extent, std::span<std::byte> target) {
  if (!Fits(extent, target.size())) {
    return Error(Code::kInvalidArgument, "extent of {} bytes at byte {} does not fit",
                 extent.length, extent.offset);
  }
  return ReadFully(fd_.get(), extent.offset, target);
}

Status SqliteRestoreSession::Checkpoint() {
  if (output_ == nullptr) {
    return fd_.valid() ? Sync()  // all has been written, and Commit has failed since
                       : Error(Code::kFailedPrecondition, "the restore of '{}' was committed",
                               paths_.target);
  }
  {
    MutexLock lock(mutex_);
    draining_ = true;
    while (writing_ > 0) {
      changed_.Wait(mutex_);  // ends: each write ends when the disk answers
    }
  }
  Status status = output_->Drain();
  {
    MutexLock lock(mutex_);
    draining_ = false;
    changed_.NotifyAll();
  }
  return status.ok() ? Sync() : status;
}

Status SqliteRestoreSession::WriteError(const Status& cause) {
  Status error = cause.os_error() == ENOSPC || cause.os_error() == EDQUOT
                     ? InsufficientSpace().WithOsError(cause.os_error())
                     : Unwritable(paths_.target, cause.os_error());
  activity_->Fail(error);
  return error;
}

Result<RestoreOutcome> SqliteRestoreSession::Commit() {
  if (!has_temporary_) {
    return Error(Code::kFailedPrecondition, "the restore of '{}' was committed already",
                 paths_.target);
  }
  auto outcome = CommitSteps();
  activity_->Finish(outcome.status());
  return outcome;
}

Result<RestoreOutcome> SqliteRestoreSession::CommitSteps() {
  if (written_bytes_ != file_.size_bytes) {
    return NotADatabase(paths_.target, fmt::format("{} of {} bytes were written",
                                                   written_bytes_.load(), file_.size_bytes));
  }
  CAPSTAN_RETURN_IF_ERROR(FinishWriting());
  CAPSTAN_RETURN_IF_ERROR(CheckIsDatabase());
  const std::int64_t time_us =
      std::strtoll(KeyOf(options_.writer_data, "time").c_str(), nullptr, 10);
  const bool missed = IsBehind(options_.stop, options_.lsns.last, time_us);
  if (missed || options_.end != RestoreEnd::kRecovery) {
    return LeaveRestoring(missed);
  }
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) {
    return Unwritable(paths_.temporary, errno);
  }
  CAPSTAN_CRASH_POINT("sqlite.restore.checked");
  CAPSTAN_RETURN_IF_ERROR(CheckMayReplace(paths_, file_.logical_name, options_.replace));
  auto suspension = swap_.keeper->Suspend(paths_.target);
  CAPSTAN_RETURN_IF_ERROR(Replace());
  const RestoreOutcome outcome{.reached = options_.lsns.last,
                               .recovery_fork = ForkOf(paths_.target, info.st_ino)};
  suspension.Replaced(outcome.recovery_fork);
  if (Status status = RestoringDatabase::Abandon(paths_.target); !status.ok()) {
    CAPSTAN_LOG(kWarning, "left behind path={} {}", paths_.target, status.message());
  }
  return outcome;
}

Result<RestoreOutcome> SqliteRestoreSession::LeaveRestoring(bool stop_missed) {
  fd_.Reset();
  RestoringDatabase::State state{.base = options_.lsns.checkpoint, .redo = options_.lsns.last};
  state.time_us = std::strtoll(KeyOf(options_.writer_data, "time").c_str(), nullptr, 10);
  state.replace = options_.replace;
  auto database = RestoringDatabase::Adopt(paths_.target, paths_.temporary, std::move(state));
  has_temporary_ = ::access(paths_.temporary.c_str(), F_OK) == 0;
  CAPSTAN_RETURN_IF_ERROR(database.status());
  if (!stop_missed && options_.end == RestoreEnd::kStandby) {
    return FinishRestoring(*std::move(database), RestoreEnd::kStandby, options_.replace, swap_);
  }
  return RestoreOutcome{.reached = options_.lsns.last, .stop_missed = stop_missed};
}

Status SqliteRestoreSession::Replace() {
  std::optional<SqliteReplacement> replacement(std::in_place, paths_, directory_.get());
  CAPSTAN_RETURN_IF_ERROR(replacement->TakeOver(options_.lock_deadline));
  CAPSTAN_RETURN_IF_ERROR(replacement->CopyOwnership(fd_.get()));
  CAPSTAN_RETURN_IF_ERROR(Sync());
  // Closed before the file becomes a database that others may open: a close after that would drop
  // the locks of this process's connections to it (sqlite_file_guard.h).
  fd_.Reset();
  UniqueFd old_file = replacement->HoldOldFile();
  Status status = replacement->Swap();
  if (::access(paths_.temporary.c_str(), F_OK) != 0) {
    has_temporary_ = false;  // it has its final name
  }
  replacement.reset();
  swap_.released_files->LetGo(std::move(old_file));  // after all else that we had of it
  return status;
}

Status SqliteRestoreSession::FinishWriting() {
  if (output_ != nullptr) {
    if (Status status = output_->Drain(); !status.ok()) {
      return WriteError(status);
    }
    output_.reset();
    filled_.reset();
  }
  return Sync();
}

Status SqliteRestoreSession::Sync() {
  return ::fsync(fd_.get()) == 0 ? OkStatus() : Unwritable(paths_.target, errno);
}

Status SqliteRestoreSession::CheckIsDatabase() const {
  SqliteHeaderBytes bytes{};
  Status status = ReadFully(fd_.get(), 0, bytes);
  if (!status.ok()) {
    return NotADatabase(paths_.target, status.message());
  }
  const auto header = ParseSqliteHeader(bytes);
  if (!header.ok()) {
    return NotADatabase(paths_.target, header.status().message());
  }
  if (header->page_count != 0 &&
      std::uint64_t{header->page_count} * header->page_size != file_.size_bytes) {
    return NotADatabase(paths_.target,
                        fmt::format("its header counts {} pages of {} bytes, its size is {} bytes",
                                    header->page_count, header->page_size, file_.size_bytes));
  }
  auto connection =
      SqliteConnection::Open(paths_.temporary, SqliteOpenMode::kImmutable, Deadline::Now());
  status = connection.ok() ? connection->BeginRead() : connection.status();
  return status.ok() ? OkStatus() : NotADatabase(paths_.target, status.message());
}

}  // namespace capstan::writers
