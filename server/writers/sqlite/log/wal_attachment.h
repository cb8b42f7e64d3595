// WalAttachment: what a log tracker has open of a database in WAL mode: the guard of its file, the
// connections that hold locks, the WAL and its index.
//
// The pin holds a slot when Open returns: from that instant on no frame can be lost. Threads: one
// at a time.
#pragma once

#include <memory>
#include <string>

#include "server/writers/sqlite/log/wal_file.h"
#include "server/writers/sqlite/log/wal_pin.h"
#include "server/writers/sqlite/sqlite_connection.h"
#include "server/writers/sqlite/sqlite_file_guard.h"
#include "server/writers/sqlite/sqlite_wal_index.h"
#include "vdi/base/clock.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class WalAttachment {
 public:
  // kFailedPrecondition: the database is not in WAL mode. Otherwise what SQLite or the system says.
  static Result<std::unique_ptr<WalAttachment>> Open(const std::string& path, Deadline deadline);
  WalAttachment(const WalAttachment&) = delete;
  WalAttachment& operator=(const WalAttachment&) = delete;

  WalPin& pin() { return pin_; }
  WalFile& file() { return file_; }
  const SqliteFileGuard& guard() const { return guard_; }
  const std::string& wal_path() const { return wal_path_; }

  // Waits, at most 100 ms, until nobody is writing it.
  Result<WalIndexHeader> ReadHeader() const;
  std::uint32_t backfilled() const { return index_.backfilled(); }
  // The journal mode may have been changed by others only while we were not attached.
  bool has_wal() const { return pin_connection_.has_wal(); }

  // Copies what can be copied from the WAL into the database, without waiting for anybody.
  void Checkpoint() { (void)worker_.Execute("PRAGMA wal_checkpoint(PASSIVE)"); }
  // The same, but if somebody else is at it just now, waits until that is over.
  void CheckpointBehindOthers(Deadline deadline);
  // The write lock, for as short as possible; waits at most `deadline` for it.
  Status LockWrites(Deadline deadline);
  void UnlockWrites() { (void)fence_.EndTransaction(); }

  // If nobody else has the database open when this goes, the WAL goes as well. Left behind, the
  // next to come and go would write it into the file once more, and that could not be told from a
  // commit.
  void TidyUpOnClose() { pin_connection_.TidyUpOnClose(); }

  // All of the WAL up to `frame` is in the file, the file cannot change as long as the pin is
  // kZero: its size and the time of its last change, once that lies far enough back to be told from
  // a later one (waits up to 25 ms if `wait`). False if it does not.
  bool FileAtRest(bool wait, std::uint64_t* size, std::int64_t* mtime_ns) const;

 private:
  WalAttachment(SqliteFileGuard guard, SqliteConnection pin, SqliteConnection worker,
                SqliteConnection fence, SqliteWalIndex index, WalFile file);

  // In this order: connections go before the guard.
  SqliteFileGuard guard_;
  SqliteConnection pin_connection_;
  SqliteConnection worker_;
  SqliteConnection fence_;
  SqliteWalIndex index_;
  const std::string wal_path_;
  WalFile file_;
  WalPin pin_;
};

}  // namespace capstan::writers
