// SqliteLsnClock: LSNs for databases that have no log sequence of their own.
//
// SQLite's file holds no counter that grows with every commit and survives a reset of the WAL. So:
// the upper 32 bits of an LSN are the generation, the lower 32 bits the last WAL frame
// (rollback-journal mode: 0). The generation of a database whose log is kept is its tracker's, and
// lasts over restarts. Of any other it is the second (since 1970) in which this process first saw
// the present WAL, named by its salt, or, in rollback-journal mode, the present change counter; a
// WAL without frames has no salt, so there the file's time counts as well.
// LSNs of one file never go back: a later generation gets a greater number even within one second
// or when the clock was set back. Two views of the same state have the same LSN while the process
// runs; after a restart of the server the state of a database without a tracker gets a greater
// generation.
//
// Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/writers/database_writer.h"
#include "server/writers/sqlite/log/sqlite_log_keeper.h"
#include "server/writers/sqlite/sqlite_view.h"
#include "vdi/base/mutex.h"

namespace capstan::writers {

struct SqliteLsns {
  Lsn last;        // the state that the view shows
  Lsn checkpoint;  // the state up to which everything is in the database file
};

class SqliteLsnClock {
 public:
  explicit SqliteLsnClock(std::shared_ptr<SqliteLogKeeper> keeper) : keeper_(std::move(keeper)) {}

  // Fails if the log of the database is kept, and the view's place in it cannot be told.
  Result<SqliteLsns> Read(const SqliteView& view);

 private:
  // Of a WAL whose log is kept: the tracker's word.
  Result<std::optional<std::uint64_t>> TrackedGeneration(const SqliteView& view);
  // The generation of `state` of the file at `path`.
  std::uint64_t GenerationOf(const std::string& path, const std::string& state);

  struct Seen {
    std::string state;
    std::uint32_t generation = 0;
  };

  const std::shared_ptr<SqliteLogKeeper> keeper_;
  Mutex mutex_;
  std::map<std::string, Seen> seen_ CAPSTAN_GUARDED_BY(mutex_);  // by path: as many as databases
};

}  // namespace capstan::writers
