#include "server/writers/sqlite/sqlite_view.h"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/positioned_io.h"

namespace capstan::writers {
namespace {

constexpr int kVerifyTries = 100;

std::string ResolvePath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr),
                                                             &std::free);
  return resolved != nullptr ? std::string(resolved.get()) : path;
}

}  // namespace

Status UnreadableDatabase(const std::string& path, const Status& cause) {
  const std::string text = cause.os_error() != 0 && cause.message().starts_with("open: ")
                               ? OsErrorText(cause.os_error())
                               : std::string(cause.message());
  return SqlError(65005, path, text)
      .WithOsError(cause.os_error())
      .WithHint(std::string(cause.hint()));
}

Result<SqliteView> SqliteView::Open(const std::string& path, const Options& options) {
  if (!path.starts_with('/')) {
    return UnreadableDatabase(path, Error(Code::kInvalidArgument, "its path is not absolute"));
  }
  const std::string resolved = ResolvePath(path);
  auto guard = SqliteFileGuard::Acquire(resolved);
  if (!guard.ok()) {
    return UnreadableDatabase(path, guard.status());
  }
  auto connection =
      SqliteConnection::Open(resolved, SqliteOpenMode::kReadWrite, options.lock_deadline);
  if (!connection.ok()) {
    return UnreadableDatabase(path, connection.status());
  }
  SqliteView view(resolved, *std::move(guard), *std::move(connection));
  if (Status status = view.Begin(options); !status.ok()) {
    return UnreadableDatabase(path, status);
  }
  return view;
}

Status SqliteView::Begin(const Options& options) {
  const bool wal_existed = ::access(connection_.wal_path().c_str(), F_OK) == 0;
  CAPSTAN_RETURN_IF_ERROR(connection_.BeginRead());
  if (connection_.has_moved() || !guard_.IsAt(path_)) {
    return Error(Code::kUnavailable, "another file took its place just now");
  }
  if (connection_.has_wal()) {
    if (!wal_existed) {
      // Leave the directory as we found it: a WAL of ours is nobody's business.
      connection_.TidyUpOnClose();
    }
    CAPSTAN_RETURN_IF_ERROR(BeginWal(options));
  }
  return ReadHeader();
}

Status SqliteView::BeginWal(const Options& options) {
  CAPSTAN_ASSIGN_OR_RETURN(wal_index_, SqliteWalIndex::Map(connection_));
  bool begun = false;
  for (int i = 0; i < options.tries_without_fence && !begun; ++i) {
    CAPSTAN_ASSIGN_OR_RETURN(begun, TryBeginWal());
  }
  if (!begun) {
    // Commits come faster than we can look. Keep them out for the instant.
    CAPSTAN_ASSIGN_OR_RETURN(
        SqliteConnection fence,
        SqliteConnection::Open(path_, SqliteOpenMode::kReadWrite, options.lock_deadline));
    CAPSTAN_RETURN_IF_ERROR(fence.Execute("BEGIN IMMEDIATE"));
    CAPSTAN_ASSIGN_OR_RETURN(begun, TryBeginWal());
    CAPSTAN_RETURN_IF_ERROR(fence.EndTransaction());
  }
  if (!begun) {
    return Error(Code::kUnavailable, "the index of its WAL did not come to rest");
  }
  return OpenWalView();
}

// False if a commit came in between.
Result<bool> SqliteView::TryBeginWal() {
  CAPSTAN_RETURN_IF_ERROR(connection_.EndTransaction());
  const auto before = wal_index_->ReadHeader();
  CAPSTAN_RETURN_IF_ERROR(connection_.BeginRead());
  // Between the two headers: a checkpoint that knows a later commit leaves out what that commit
  // changed again, and counts it as backfilled all the same; and a new WAL counts anew.
  const std::uint32_t backfilled = wal_index_->backfilled();
  const auto after = wal_index_->ReadHeader();
  if (!before.ok() || !after.ok() || !(*before == *after)) {
    return false;
  }
  wal_header_ = *after;
  backfilled_ = backfilled;
  return true;
}

Status SqliteView::OpenWalView() {
  if (backfilled_ >= wal_header_->last_frame) {
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(wal_view_, SqliteWalView::Open(connection_.wal_path(), *wal_index_,
                                                          *wal_header_, backfilled_));
  return OkStatus();
}

Status SqliteView::ReadHeader() {
  CAPSTAN_RETURN_IF_ERROR(ReadOrZero(guard_.fd(), 0, header_bytes_));
  if (wal_view_) {
    CAPSTAN_RETURN_IF_ERROR(wal_view_->Overlay(0, header_bytes_));
  }
  CAPSTAN_ASSIGN_OR_RETURN(header_, ParseSqliteHeader(header_bytes_));
  struct stat info {};
  if (::fstat(guard_.fd(), &info) != 0) {
    return OsError(errno, "fstat");
  }
  // The rules by which SQLite itself finds the number of pages.
  const std::uint64_t pages_in_file =
      (static_cast<std::uint64_t>(info.st_size) + header_.page_size - 1) / header_.page_size;
  std::uint64_t pages = header_.page_count;
  if (pages == 0) {
    pages = wal_header_ && wal_header_->page_count != 0 ? wal_header_->page_count : pages_in_file;
  }
  if (pages == 0 || pages > kSqlitePageCountMax) {
    return Error(Code::kDataLoss, "its header counts {} pages", pages);
  }
  page_count_ = static_cast<std::uint32_t>(pages);
  return OkStatus();
}

Status SqliteView::Read(std::uint64_t offset, std::span<std::byte> target) const {
  Status status = ReadOrZero(guard_.fd(), offset, target);
  if (status.ok() && wal_view_) {
    status = wal_view_->Overlay(offset, target);
  }
  return status.ok() ? OkStatus() : UnreadableDatabase(path_, status);
}

Status SqliteView::Verify() const {
  Status status = connection_.in_transaction()
                      ? (wal_index_ ? VerifyWal() : VerifyRollback())
                      : Error(Code::kInternal, "the read transaction ended by itself");
  return status.ok() ? OkStatus() : UnreadableDatabase(path_, status);
}

Status SqliteView::VerifyWal() const {
  if (wal_view_) {
    CAPSTAN_RETURN_IF_ERROR(wal_view_->Verify());
  }
  // A checkpoint past our mark would have overwritten pages of the view. If the WAL started anew
  // (allowed only when we need nothing of it), its first checkpoint would have. The two numbers
  // cannot be read at one instant, so only a finding that stays is one.
  for (int i = 0; i < kVerifyTries; ++i) {
    const auto now = wal_index_->ReadHeader();
    const bool same_wal = now.ok() && now->salt == wal_header_->salt;
    if (wal_index_->backfilled() <= (same_wal ? wal_header_->last_frame : 0)) {
      return OkStatus();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return Error(Code::kDataLoss, "a checkpoint changed the file during the backup");
}

Status SqliteView::VerifyRollback() const {
  SqliteHeaderBytes now{};
  CAPSTAN_RETURN_IF_ERROR(ReadOrZero(guard_.fd(), 0, now));
  if (now != header_bytes_) {
    return Error(Code::kDataLoss,
                 "a transaction was committed during the backup, in spite of the lock");
  }
  return OkStatus();
}

}  // namespace capstan::writers
