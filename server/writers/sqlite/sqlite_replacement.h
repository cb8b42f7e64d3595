// SqliteReplacement: puts a finished file in the place of the database at a path, or of nothing, so
// that a crash at any instant leaves the old one or the new one, each usable.
//
// The danger is what lies beside a database: a WAL or a rollback journal of the old file, replayed
// into the new one, destroys it. Order of events, each durable before the next (restore.md is in
// sqlite.md, section "Restore"):
//  1. take the old database exclusively, so that nobody reads, writes or creates such files;
//  2. bring all of its WAL or journal into the old file, then remove them and sync the directory;
//  3. rename the new file over the old one and sync the directory. From here on nothing at the
//     path is touched any more: others may have opened the new database;
//  4. make the old file, now without a name, useless to those who still have it open, and let go.
// A mount (restore of a snapshot) does the same with the parts turned round: instead of 3 the old
// file is set aside, the new one placed and checked, and the old one dropped.
// If the old file is no database, step 2 sets WAL and journal aside instead, and puts them back if
// step 3 fails.
//
// Threads: one.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/writers/sqlite/sqlite_connection.h"
#include "server/writers/sqlite/sqlite_file_guard.h"
#include "vdi/base/clock.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

// The names that one restore of `job_name` uses beside `target`.
struct RestorePaths {
  RestorePaths(const std::string& physical_name, const std::string& job_name);

  std::string target;     // absolute, symbolic links resolved
  std::string directory;  // of the target
  std::string temporary;  // the new file until it is renamed
  std::string aside;      // + "-wal" or "-journal": what an unreadable database left
  // Of a mount: the old file. `returning` once what was placed has been removed and nothing but the
  // way back is left.
  std::string old_file;
  std::string returning;
};

class SqliteReplacement {
 public:
  SqliteReplacement(RestorePaths paths, int directory_fd);
  // Puts back what was set aside, unless Swap renamed or GiveUpOld gave it up.
  ~SqliteReplacement();
  SqliteReplacement(const SqliteReplacement&) = delete;
  SqliteReplacement& operator=(const SqliteReplacement&) = delete;

  // Steps 1 and 2. Error 3101 if somebody has the old database open.
  Status TakeOver(Deadline lock_deadline);
  // Copies owner and mode of the old file, if there is one.
  Status CopyOwnership(int fd) const;
  // Keeps the old file when this is gone; not valid if there is none (released_files.h).
  UniqueFd HoldOldFile() const;
  // The new file, where it is not the one that the paths name.
  void SetTemporary(std::string path) { paths_.temporary = std::move(path); }
  // Steps 3 and 4. After an error of step 3 the old database is as it was.
  Status Swap();

  // Instead of Swap, for files that somebody else places at the target: takes the target's name
  // away from the old file, which stays locked under another one.
  Status ClearTarget();
  // The placed files are good: the old one goes. The return decides; a crash before it brings the
  // old one back.
  Status GiveUpOld();
  // Removes what was placed at the target and puts the old file back, if there was one. Error 3101
  // if somebody uses what was placed.
  Status PutOldBack();
  // ClearTarget has set an old file aside, and it is there still.
  bool holds_old() const { return cleared_; }

 private:
  Status TakeReadable(Deadline lock_deadline);
  Status TakeUnreadable();
  Status SetAside();
  void PutBack();
  void DropAside();
  Status Rename() const;
  void RetireOldFile();
  Status SyncDirectory() const;

  RestorePaths paths_;
  const int directory_fd_;
  std::optional<SqliteFileGuard> guard_;        // of the old file; closed after the connection
  std::optional<SqliteConnection> connection_;  // holds the old database; none if unreadable
  std::vector<std::string> set_aside_;          // suffixes
  bool renamed_ = false;
  bool cleared_ = false;
};

// 3156 if something stands at the target that may not be replaced.
Status CheckMayReplace(const RestorePaths& paths, const std::string& logical_name, bool replace);

// Removes what a restore that ended without its destructor left behind. Does nothing if there is
// nothing. kFailedPrecondition if that restore is still running.
Status DiscardLeftovers(const RestorePaths& paths);
// The same, but for the unfinished file: true if there is one, which has not been swapped in.
Result<bool> KeepUnfinished(const RestorePaths& paths);

}  // namespace capstan::writers
