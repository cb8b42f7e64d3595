// One SQLite connection of ours to a database of somebody else's.
//
// Every connection to a user's database must be opened while a SqliteFileGuard of that file is held
// and closed before it is let go (sqlite_file_guard.h says why).
// Errors say only what SQLite or the operating system said; callers put the path in front.
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/writers/sqlite/sqlite_format.h"
#include "vdi/base/clock.h"
#include "vdi/base/status.h"

struct sqlite3;
struct sqlite3_file;

namespace capstan::writers {

enum class SqliteOpenMode {
  kReadWrite,  // falls back to reading only if rights or the mount say so
  kImmutable,  // a file that nobody else knows: no locks, no journal, no WAL
};

class SqliteConnection {
 public:
  // Waits for locks until `lock_deadline`. Never creates a database; never checkpoints or removes a
  // WAL on close unless TidyUpOnClose is called. The file itself is opened, but not yet read.
  static Result<SqliteConnection> Open(const std::string& path, SqliteOpenMode mode,
                                       Deadline lock_deadline);
  SqliteConnection(SqliteConnection&&) noexcept = default;
  SqliteConnection& operator=(SqliteConnection&&) noexcept = default;

  // Codes: kDeadlineExceeded a lock was not granted in time; kDataLoss not a database, or damaged;
  // otherwise by the operating system's error.
  Status Execute(const char* sql);
  // Starts a read transaction: SQLite has the SHARED lock, or a read mark in the WAL, until
  // EndTransaction. Does not parse the schema.
  Status BeginRead();
  Status EndTransaction();
  // The roots of all tables and indexes that the schema has. REQUIRES: in_transaction()
  Result<std::vector<SqliteRoot>> ReadRoots();
  bool in_transaction() const;

  // For what waits for locks from now on.
  void SetLockDeadline(Deadline lock_deadline) { *lock_deadline_ = lock_deadline; }

  // Keeps everybody from copying the WAL into the database: SQLite's checkpoint lock, as its own
  // checkpoints take it. Does not wait: kDeadlineExceeded while somebody else has it. To be
  // unlocked before the connection is closed. REQUIRES: has_wal()
  Status LockCheckpoints();
  void UnlockCheckpoints();

  // One of SQLite's five read locks (0 to 4), shared, without a read transaction. Does not wait:
  // kDeadlineExceeded. To be unlocked before the connection is closed, or runs a transaction.
  // REQUIRES: has_wal(), no transaction
  Status LockReadMark(int number);
  void UnlockReadMark(int number);

  // Lets SQLite do on close what it does for the last connection to a database: checkpoint, and
  // remove WAL and wal-index. For databases whose WAL did not exist before we came.
  void TidyUpOnClose();

  // Writes to the database file behind SQLite's back. REQUIRES: has_exclusive_lock()
  Status OverwriteStart(std::span<const std::byte> bytes);

  // Valid as long as the connection.
  sqlite3_file* main_file() const;
  // Has this connection an open WAL?
  bool has_wal() const;
  std::string wal_path() const;
  std::string journal_path() const;
  // Does the path lead to another file than the one that is open?
  bool has_moved() const;
  bool has_exclusive_lock() const;

 private:
  struct Closer {
    void operator()(sqlite3* database) const;
  };
  SqliteConnection(std::unique_ptr<Deadline> lock_deadline, sqlite3* database);

  std::unique_ptr<Deadline> lock_deadline_;  // on the heap: SQLite's busy handler points to it
  std::unique_ptr<sqlite3, Closer> database_;
};

}  // namespace capstan::writers
