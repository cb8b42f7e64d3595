// RestoringDatabase: a database that is being restored, beside the place where it will go. It is
// one data file and one state file that names it; whoever else has a database at that place keeps
// it until this one is recovered.
//
// Every step is durable, and decided by one rename of the state file: a crash leaves what was
// before it or what is after it. A differential or log backup is taken into the data file only once
// all of it lies beside it, synced; a crash in the middle is made good by Find, which does it
// again. Threads: one. Processes: one, by a lock (flock) on the data file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "server/writers/database_writer.h"
#include "server/writers/released_files.h"
#include "server/writers/sqlite/log/log_replay.h"
#include "server/writers/sqlite/log/sqlite_log_keeper.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class RestoringDatabase {
 public:
  struct State {
    std::string data;                      // leaf
    Lsn base;                              // of the full backup that it began with
    Lsn redo;                              // everything before this is in it
    std::int64_t time_us = 0;              // when the last of that was committed; 0: not known
    bool replace = false;                  // the database there may be replaced
    std::optional<unsigned> standby_mode;  // a copy of ours is there; the mode to give back
  };
  // What is to be taken into it.
  struct Part {
    BackupKind kind = BackupKind::kLog;
    std::uint64_t bytes = 0;       // of the part's file
    std::uint64_t size_bytes = 0;  // of the database afterwards (differential)
    LogRange range;                // of kLog; of a differential `upto` is its LSN
  };
  struct Swap {
    std::string job_name;
    Deadline lock_deadline = Deadline::Never();
    std::shared_ptr<ReleasedFiles> released_files;
    std::shared_ptr<SqliteLogKeeper> keeper;
  };

  // None if there is none at this place. Finishes what a crash interrupted. kFailedPrecondition if
  // a session is using it.
  static Result<std::optional<RestoringDatabase>> Find(const std::string& physical_name);
  // Makes the file `finished`, which is a whole database, the one that is being restored, in place
  // of any other.
  static Result<RestoringDatabase> Adopt(const std::string& physical_name,
                                         const std::string& finished, State state);
  // Removes it, and what is left of others. OK if there is none.
  static Status Abandon(const std::string& physical_name);
  // Is there a state file whose data file is there too?
  static bool ExistsAt(const std::string& physical_name);

  const State& state() const { return state_; }
  int fd() const { return fd_.get(); }

  // Takes `part_path` in, and what that leaves into use as `end` says. Nothing has changed after an
  // error that came before the first step.
  Status Take(const std::string& part_path, const Part& part);
  // In front of Take for the ends that swap: the database at the target is held from then on. Error
  // 3101, 3156.
  class Hold;
  struct HoldDeleter {
    void operator()(Hold* hold) const;
  };
  using HeldTarget = std::unique_ptr<Hold, HoldDeleter>;
  Result<HeldTarget> HoldTarget(const Swap& swap, bool replace);
  // Puts it into its place; it is not being restored any more.
  Result<RestoreOutcome> Recover(HeldTarget hold);
  // Puts a copy into its place, write-protected.
  Result<RestoreOutcome> MakeStandby(HeldTarget hold);

 private:
  struct Places;
  RestoringDatabase(std::string physical_name, State state, UniqueFd fd)
      : physical_name_(std::move(physical_name)), state_(std::move(state)), fd_(std::move(fd)) {}

  Status Save(const std::optional<Part>& pending) const;
  Status Apply(const Part& part);
  Status CheckIsDatabase(const std::string& path) const;

  std::string physical_name_;
  State state_;
  UniqueFd fd_;
};

// Writes of a differential backup: a file of records {offset, length, bytes}, any order.
inline constexpr std::size_t kDeltaRecordHeaderBytes = 16;

// A new line of history for a file at a place: the same whenever it is asked for.
Guid ForkOf(const std::string& path, std::uint64_t inode);

}  // namespace capstan::writers
