#include "server/writers/sqlite/sqlite_write_fence.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include <unistd.h>

#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

// How long one try for the write lock lasts; between two tries checkpoints may run. Short, since
// SQLite waits longer from look to look, and a program that commits without a pause leaves little
// room between two of its locks.
constexpr std::chrono::milliseconds kTry{10};
constexpr std::chrono::milliseconds kPause{1};

}  // namespace

Result<SqliteWriteFence> SqliteWriteFence::Raise(const std::string& path,
                                                 const FreezeOptions& options) {
  CAPSTAN_ASSIGN_OR_RETURN(
      SqliteConnection connection,
      SqliteConnection::Open(path, SqliteOpenMode::kReadWrite, options.lock_deadline));
  SqliteWriteFence fence(std::move(connection));
  if (::access(fence.connection_.wal_path().c_str(), F_OK) != 0) {
    fence.connection_.TidyUpOnClose();  // a WAL that only we brought is nobody's business
  }
  while (true) {
    const Deadline slice = Deadline::After(kTry);
    fence.connection_.SetLockDeadline(
        slice.when() < options.lock_deadline.when() ? slice : options.lock_deadline);
    Status status = fence.TryRaise();
    if (status.ok()) {
      return fence;
    }
    if (status.code() != Code::kDeadlineExceeded || options.lock_deadline.passed()) {
      return status;
    }
    if (options.cancelled && options.cancelled()) {
      return Error(Code::kCancelled, "cancelled while waiting for the write lock");
    }
    std::this_thread::sleep_for(kPause);
  }
}

SqliteWriteFence::SqliteWriteFence(SqliteWriteFence&& other) noexcept
    : connection_(std::move(other.connection_)),
      wal_(other.wal_),
      checkpoints_locked_(std::exchange(other.checkpoints_locked_, false)),
      raised_(std::exchange(other.raised_, false)) {}

SqliteWriteFence::~SqliteWriteFence() {
  Lower();
}

// The checkpoint lock first: a checkpoint that restarts the WAL takes the two in this order as
// well, so neither waits for the other.
Status SqliteWriteFence::TryRaise() {
  Status status = connection_.BeginRead();  // opens the WAL, if there is one
  if (!status.ok()) {
    return status;
  }
  wal_ = connection_.has_wal();
  status = connection_.EndTransaction();
  if (status.ok() && wal_) {
    status = connection_.LockCheckpoints();
    checkpoints_locked_ = status.ok();
  }
  if (status.ok()) {
    status = connection_.Execute("BEGIN IMMEDIATE");
    raised_ = status.ok();
  }
  if (status.ok() && connection_.has_wal() != wal_) {
    status = Error(Code::kDeadlineExceeded, "its journal mode is being changed");
  }
  if (!status.ok()) {
    Lower();
  }
  return status;
}

void SqliteWriteFence::Lower() {
  if (std::exchange(raised_, false)) {
    // Nothing was written, so there is nothing that could fail to be undone.
    if (Status ended = connection_.EndTransaction(); !ended.ok()) {
      CAPSTAN_LOG(kError, "end of a freeze: {}", ended.message());
    }
  }
  if (std::exchange(checkpoints_locked_, false)) {
    connection_.UnlockCheckpoints();
  }
}

}  // namespace capstan::writers
