// SqliteMountSession: the place of an SQLite database, cleared for the files of a snapshot.
//
// Begin takes the old database as a restore does (sqlite_replacement.h) and sets it aside, locked.
// Whoever has the snapshot then places the database and its WAL. Commit checks that they are the
// files that were frozen, to the last frame, has SQLite recover them, and drops the old database.
// An empty file of the restore's temporary name, locked (flock), tells a running mount from a
// leftover. Threads: one at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/released_files.h"
#include "server/writers/sqlite/log/sqlite_log_keeper.h"
#include "server/writers/sqlite/sqlite_replacement.h"
#include "server/writers/writer_state_tracker.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class SqliteMountSession final : public MountSession {
 public:
  struct Parts {
    std::shared_ptr<WriterStateTracker> tracker;
    std::shared_ptr<ReleasedFiles> released_files;
    std::shared_ptr<SqliteLogKeeper> keeper;
  };
  // `targets` as SqliteWriter::PlanMount returned them. Errors 3101, 3156, 65006.
  static Result<std::unique_ptr<SqliteMountSession>> Begin(std::vector<RestoreTarget> targets,
                                                           const RestoreOptions& options,
                                                           Parts parts);
  ~SqliteMountSession() override;

  Status Commit() override;
  Result<std::string> PutBack() override;

 private:
  SqliteMountSession(std::vector<RestoreTarget> targets, const RestoreOptions& options,
                     Parts parts);

  Status Clear();
  Status CommitSteps();
  // Are these the files that the set describes, and none that SQLite would take for theirs?
  Status CheckDatabaseFile() const;
  Status CheckWalFile() const;
  Status CheckJournal() const;
  // Opens what was placed, as a program would: SQLite recovers the WAL. Then writes it back.
  Status Recover();
  Status SyncPlaced() const;
  void RemoveMarker();

  const RestoreTarget& database() const { return targets_.front(); }
  const RestoreTarget* wal() const { return targets_.size() > 1 ? &targets_[1] : nullptr; }

  const std::vector<RestoreTarget> targets_;  // the database, then its WAL if the set has one
  const RestoreOptions options_;
  const RestorePaths paths_;
  const std::shared_ptr<ReleasedFiles> released_files_;
  std::unique_ptr<WriterActivity> activity_;
  const std::shared_ptr<SqliteLogKeeper> keeper_;
  UniqueFd directory_;
  UniqueFd marker_;
  SqliteLogKeeper::Suspension suspension_;  // longer than the old database is held
  std::optional<SqliteReplacement> replacement_;
  bool committed_ = false;
};

}  // namespace capstan::writers
