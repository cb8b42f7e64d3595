// WalPin: keeps a WAL from being started anew before it was copied, with two of SQLite's own locks.
// Why nothing can be lost between them: sqlite.md, "Log".
//
//  kSlot   one of the read locks 1 to 4, if possible one that no reader's mark belongs to. Nobody
//  may
//          start the WAL anew; checkpoints go on (all of it, if the mark is unused).
//  kZero   read lock 0. The WAL may be started anew once everything in it is in the database file,
//          and nobody may write to that file: so not a second time, once it has frames.
//
// Threads: one at a time.
#pragma once

#include <optional>

#include "server/writers/sqlite/sqlite_connection.h"
#include "server/writers/sqlite/sqlite_wal_index.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class WalPin {
 public:
  enum class State { kNone, kSlot, kZero };

  // Both outlive this; `connection` runs no transactions while a lock is held.
  WalPin(SqliteConnection* connection, const SqliteWalIndex* index)
      : connection_(connection), index_(index) {}
  ~WalPin() { Release(); }
  WalPin(const WalPin&) = delete;
  WalPin& operator=(const WalPin&) = delete;

  // From kNone or kZero to kSlot, without a moment in between. kDeadlineExceeded: all four are
  // being changed just now; nothing has changed.
  Status TakeSlot();
  // From kSlot to both. kDeadlineExceeded: a checkpoint is writing.
  Status TakeZero();
  // From both to kZero, or back to kSlot.
  void DropSlot();
  void DropZero();
  void Release();

  State state() const { return slot_ ? State::kSlot : zero_ ? State::kZero : State::kNone; }
  // Of kSlot: checkpoints are not held back.
  bool lets_checkpoints_pass() const { return unused_; }

 private:
  SqliteConnection* const connection_;
  const SqliteWalIndex* const index_;
  std::optional<int> slot_;
  bool unused_ = false;
  bool zero_ = false;
};

}  // namespace capstan::writers
