// SqliteLsnClock: LSNs for databases that have no log sequence of their own.
//
// SQLite's file holds no counter that grows with every commit and survives a reset of the WAL. So:
// the upper 32 bits of an LSN are the generation, the second (since 1970) in which this process
// first saw the present WAL, named by its salt, or, in rollback-journal mode, the present change
// counter; the lower 32 bits are the last WAL frame (rollback-journal mode: 0). LSNs of one file
// never go back: a later generation gets a greater number even within one second or when the clock
// was set back. Two views of the same state have the same LSN while the process runs; after a
// restart of the server the state gets a new, greater generation.
//
// Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "server/writers/database_writer.h"
#include "server/writers/sqlite/sqlite_view.h"
#include "vdi/base/mutex.h"

namespace capstan::writers {

struct SqliteLsns {
  Lsn last;        // the state that the view shows
  Lsn checkpoint;  // the state up to which everything is in the database file
};

class SqliteLsnClock {
 public:
  SqliteLsns Read(const SqliteView& view);

 private:
  // The generation of `state` of the file at `path`.
  std::uint64_t GenerationOf(const std::string& path, const std::string& state);

  struct Seen {
    std::string state;
    std::uint64_t generation = 0;
  };

  Mutex mutex_;
  std::map<std::string, Seen> seen_ CAPSTAN_GUARDED_BY(mutex_);  // by path: as many as databases
};

}  // namespace capstan::writers
