// SqliteWriteFence: while it stands, neither a database file nor its WAL is written by anybody.
//
// It consists of locks that SQLite itself takes, so every program that uses SQLite respects them,
// and the kernel drops them with this process, however that ends:
//  - the write lock (BEGIN IMMEDIATE; RESERVED in rollback-journal mode): no commit, no spill of a
//    large transaction, no restart or truncation of the WAL, no change of the journal mode;
//  - in WAL mode also the checkpoint lock: without it any process could still copy frames into the
//    database file (wal_checkpoint(PASSIVE) needs no write lock). A copy of both files would be
//    consistent even then, since each page that a checkpoint writes has its last frame in the WAL,
//    which nobody can restart; but neither would the file stay as it is described, nor could a
//    restored one be recognised.
// The last connection that closes cannot checkpoint either: that takes the database file
// exclusively, and ours has it open. Readers need none of these locks.
//
// Threads: one at a time.
#pragma once

#include <string>

#include "server/writers/database_writer.h"
#include "server/writers/sqlite/sqlite_connection.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class SqliteWriteFence {
 public:
  // Waits until present writers are done. kDeadlineExceeded, kCancelled, or what SQLite says.
  // REQUIRES: a SqliteFileGuard of the file, held for longer than the fence.
  static Result<SqliteWriteFence> Raise(const std::string& path, const FreezeOptions& options);
  SqliteWriteFence(SqliteWriteFence&& other) noexcept;
  SqliteWriteFence& operator=(SqliteWriteFence&&) = delete;
  ~SqliteWriteFence();

  // Lets everybody write again. Idempotent.
  void Lower();

 private:
  explicit SqliteWriteFence(SqliteConnection connection) : connection_(std::move(connection)) {}
  // kDeadlineExceeded: somebody has one of the locks; nothing is held then.
  Status TryRaise();

  SqliteConnection connection_;
  bool wal_ = false;
  bool checkpoints_locked_ = false;
  bool raised_ = false;
};

}  // namespace capstan::writers
