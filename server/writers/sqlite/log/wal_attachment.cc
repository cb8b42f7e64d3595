#include "server/writers/sqlite/log/wal_attachment.h"

#include <chrono>
#include <ctime>
#include <thread>
#include <utility>

#include <sys/stat.h>

namespace capstan::writers {
namespace {

constexpr std::chrono::milliseconds kHeaderWait{100};
// The kernel stamps files with a clock that moves every 1 to 10 ms, or, if it is asked for the time
// of a file between two changes, with the exact one: never ahead of the exact clock, and less than
// this behind it.
constexpr std::int64_t kStampGrainNs = 20'000'000;

// A connection that has opened the WAL, and no transaction.
Result<SqliteConnection> Connect(const std::string& path, Deadline deadline) {
  CAPSTAN_ASSIGN_OR_RETURN(SqliteConnection connection,
                           SqliteConnection::Open(path, SqliteOpenMode::kReadWrite, deadline));
  CAPSTAN_RETURN_IF_ERROR(connection.BeginRead());
  const bool wal = connection.has_wal();
  CAPSTAN_RETURN_IF_ERROR(connection.EndTransaction());
  if (!wal) {
    return Error(Code::kFailedPrecondition, "the database is not in WAL mode");
  }
  return connection;
}

}  // namespace

WalAttachment::WalAttachment(SqliteFileGuard guard, SqliteConnection pin, SqliteConnection worker,
                             SqliteConnection fence, SqliteWalIndex index, WalFile file)
    : guard_(std::move(guard)),
      pin_connection_(std::move(pin)),
      worker_(std::move(worker)),
      fence_(std::move(fence)),
      index_(index),
      wal_path_(pin_connection_.wal_path()),
      file_(std::move(file)),
      pin_(&pin_connection_, &index_) {}

Result<std::unique_ptr<WalAttachment>> WalAttachment::Open(const std::string& path,
                                                           Deadline deadline) {
  CAPSTAN_ASSIGN_OR_RETURN(SqliteFileGuard guard, SqliteFileGuard::Acquire(path));
  CAPSTAN_ASSIGN_OR_RETURN(SqliteConnection pin, Connect(path, deadline));
  CAPSTAN_ASSIGN_OR_RETURN(SqliteConnection worker, Connect(path, deadline));
  CAPSTAN_ASSIGN_OR_RETURN(SqliteConnection fence, Connect(path, deadline));
  CAPSTAN_ASSIGN_OR_RETURN(const SqliteWalIndex index, SqliteWalIndex::Map(pin));
  CAPSTAN_ASSIGN_OR_RETURN(WalFile file, WalFile::Open(pin.wal_path()));
  if (pin.has_moved() || !guard.IsAt(path)) {
    return Error(Code::kUnavailable, "another file took its place just now");
  }
  std::unique_ptr<WalAttachment> attachment(new WalAttachment(std::move(guard), std::move(pin),
                                                              std::move(worker), std::move(fence),
                                                              index, std::move(file)));
  Status pinned = attachment->pin_.TakeSlot();
  while (!pinned.ok() && !deadline.passed()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    pinned = attachment->pin_.TakeSlot();
  }
  CAPSTAN_RETURN_IF_ERROR(std::move(pinned));
  return attachment;
}

Result<WalIndexHeader> WalAttachment::ReadHeader() const {
  const Deadline deadline = Deadline::After(kHeaderWait);
  auto header = index_.ReadHeader();
  while (!header.ok() && header.status().code() == Code::kUnavailable && !deadline.passed()) {
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    header = index_.ReadHeader();
  }
  return header;
}

void WalAttachment::CheckpointBehindOthers(Deadline deadline) {
  Status locked = pin_connection_.LockCheckpoints();
  while (!locked.ok() && !deadline.passed()) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    locked = pin_connection_.LockCheckpoints();
  }
  if (locked.ok()) {
    pin_connection_.UnlockCheckpoints();
  }
  Checkpoint();
}

Status WalAttachment::LockWrites(Deadline deadline) {
  fence_.SetLockDeadline(deadline);
  return fence_.Execute("BEGIN IMMEDIATE");
}

bool WalAttachment::FileAtRest(bool wait, std::uint64_t* size, std::int64_t* mtime_ns) const {
  struct stat info {};
  timespec now{};
  while (::fstat(guard_.fd(), &info) == 0 && ::clock_gettime(CLOCK_REALTIME, &now) == 0) {
    const std::int64_t mtime =
        std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
    const std::int64_t age = std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec - mtime;
    if (age > kStampGrainNs) {
      *size = static_cast<std::uint64_t>(info.st_size);
      *mtime_ns = mtime;
      return true;
    }
    if (!std::exchange(wait, false) || age < 0) {  // below 0: the clock was set back
      return false;
    }
    std::this_thread::sleep_for(std::chrono::nanoseconds(kStampGrainNs - age + 1'000'000));
  }
  return false;
}

}  // namespace capstan::writers
