#include "server/writers/sqlite/sqlite_freeze_session.h"

#include <cerrno>
#include <chrono>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/writers/sqlite/sqlite_description.h"
#include "server/writers/sqlite/sqlite_frozen_state.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

// Long enough for a commit that is under way.
constexpr std::chrono::seconds kPrepareLockWait{5};

// Closing this descriptor later is harmless: SQLite keeps no locks on the WAL itself.
UniqueFd OpenWal(const std::string& path) {
  return UniqueFd(::open((path + "-wal").c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
}

}  // namespace

Result<std::unique_ptr<SqliteFreezeSession>> SqliteFreezeSession::Begin(
    const std::string& location, const std::string& logical_name, Parts parts) {
  CAPSTAN_ASSIGN_OR_RETURN(
      SqliteView view,
      SqliteView::Open(location, {.lock_deadline = Deadline::After(kPrepareLockWait)}));
  auto guard = SqliteFileGuard::Acquire(view.path());
  if (!guard.ok()) {
    return UnreadableDatabase(location, guard.status());
  }
  std::unique_ptr<SqliteFreezeSession> session(
      new SqliteFreezeSession(logical_name, view.path(), *std::move(guard), std::move(parts)));
  session->view_ = std::move(view);
  Status described = session->Describe(/*frozen=*/false);
  session->view_.reset();
  if (!described.ok()) {
    return UnreadableDatabase(location, described);
  }
  return session;
}

SqliteFreezeSession::SqliteFreezeSession(std::string logical_name, std::string path,
                                         SqliteFileGuard guard, Parts parts)
    : logical_name_(std::move(logical_name)),
      lsn_clock_(std::move(parts.lsn_clock)),
      path_(std::move(path)),
      guard_(std::move(guard)),
      activity_(std::make_unique<WriterActivity>(std::move(parts.tracker),
                                                 WriterActivity::Kind::kSnapshot)) {}

SqliteFreezeSession::~SqliteFreezeSession() = default;

Status SqliteFreezeSession::Freeze(const FreezeOptions& options) {
  Status status = RaiseFence(options);
  if (status.ok()) {
    activity_->MoveTo(WriterState::kWaitingForThaw);
    return status;
  }
  view_.reset();
  fence_.reset();
  if (status.code() == Code::kCancelled) {
    return status;
  }
  if (status.reason() == 0) {
    status = UnreadableDatabase(path_, status);
  }
  activity_->Fail(status);
  return status;
}

Status SqliteFreezeSession::RaiseFence(const FreezeOptions& options) {
  // Most of what is to be written is written now, while nobody has to wait for it.
  CAPSTAN_RETURN_IF_ERROR(SyncFiles());
  CAPSTAN_ASSIGN_OR_RETURN(SqliteWriteFence fence, SqliteWriteFence::Raise(path_, options));
  fence_.emplace(std::move(fence));
  CAPSTAN_ASSIGN_OR_RETURN(SqliteView view,
                           SqliteView::Open(path_, {.lock_deadline = options.lock_deadline}));
  view_ = std::move(view);
  if (view_->inode() != guard_.inode() || view_->device() != guard_.device()) {
    return Error(Code::kUnavailable, "another file took its place just now");
  }
  CAPSTAN_RETURN_IF_ERROR(SyncFiles());
  const std::size_t file_count = description_.files.size();
  CAPSTAN_RETURN_IF_ERROR(Describe(/*frozen=*/true));
  if (description_.files.size() != file_count) {
    return Error(Code::kUnavailable, "its journal mode was changed just now");
  }
  return OkStatus();
}

Status SqliteFreezeSession::Describe(bool frozen) {
  description_ = DescribeView(*view_, logical_name_);
  CAPSTAN_ASSIGN_OR_RETURN(lsns_, lsn_clock_->Read(*view_));
  DatabaseFile& database = description_.files.front();
  struct stat info {};
  if (::fstat(guard_.fd(), &info) != 0) {
    return OsError(errno, "fstat");
  }
  database.size_bytes = static_cast<std::uint64_t>(info.st_size);
  if (frozen) {
    CAPSTAN_ASSIGN_OR_RETURN(database.frozen_state, FrozenStateOfDatabase(guard_.fd()));
  }
  if (!view_->wal_header()) {
    return OkStatus();
  }
  DatabaseFile wal = database;
  wal.file_id = 2;
  wal.logical_name = logical_name_ + "_log";
  wal.physical_name = path_ + "-wal";
  wal.type = 'L';
  wal.frozen_state.clear();
  CAPSTAN_RETURN_IF_ERROR(DescribeWal(wal, frozen));
  description_.files.push_back(std::move(wal));
  return OkStatus();
}

Status SqliteFreezeSession::DescribeWal(DatabaseFile& wal, bool frozen) const {
  const UniqueFd fd = OpenWal(path_);
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return OsError(errno, "open its WAL");
  }
  wal.size_bytes = static_cast<std::uint64_t>(info.st_size);
  if (frozen) {
    CAPSTAN_ASSIGN_OR_RETURN(wal.frozen_state, FrozenStateOfWal(fd.get(), wal.page_size,
                                                                view_->wal_header()->last_frame));
  }
  return OkStatus();
}

Status SqliteFreezeSession::SyncFiles() const {
  if (::fdatasync(guard_.fd()) != 0) {
    return OsError(errno, "sync it");
  }
  const UniqueFd wal = OpenWal(path_);
  if (wal.valid() && ::fdatasync(wal.get()) != 0) {
    return OsError(errno, "sync its WAL");
  }
  return OkStatus();
}

Status SqliteFreezeSession::Thaw() {
  if (!fence_) {
    return OkStatus();
  }
  Status status = view_->Verify();
  fence_->Lower();
  view_.reset();
  fence_.reset();
  activity_->MoveTo(WriterState::kWaitingForPostSnapshot);
  if (!status.ok()) {
    activity_->Fail(status);
  }
  return status;
}

void SqliteFreezeSession::End() {
  activity_->Finish(OkStatus());
}

}  // namespace capstan::writers
