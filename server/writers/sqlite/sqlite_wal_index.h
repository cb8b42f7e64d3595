// The wal-index (the shared memory beside a WAL), read through SQLite's own mapping of it: how far
// the WAL reaches, how much of it is back in the database file, which page each frame holds.
//
// Valid as long as the connection it was mapped through. Other processes write to it at any time;
// what is read here is input. Threads: one at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/writers/sqlite/sqlite_connection.h"
#include "server/writers/sqlite/sqlite_format.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// The state of the WAL after one commit. Two equal headers mean the same state.
struct WalIndexHeader {
  std::array<std::byte, 48> bytes{};  // as they stand in shared memory

  std::uint32_t page_size = 0;      // bytes
  std::uint32_t page_count = 0;     // of the database
  std::uint32_t last_frame = 0;     // of the last commit, from 1; 0 if the WAL is empty
  std::array<std::byte, 8> salt{};  // that of every valid frame: names the WAL's generation
  WalChecksum frame_checksum;       // of the last frame

  friend bool operator==(const WalIndexHeader& a, const WalIndexHeader& b) {
    return a.bytes == b.bytes;
  }
};

class SqliteWalIndex {
 public:
  // REQUIRES: connection.has_wal()
  static Result<SqliteWalIndex> Map(const SqliteConnection& connection);

  // kUnavailable if a writer is changing it just now: try again.
  Result<WalIndexHeader> ReadHeader() const;
  // The frames up to this one are in the database file, of each page at least the newest that the
  // header named when this was set. So a reader looks at it between two looks at the same header.
  std::uint32_t backfilled() const;

  // How far the readers that hold read lock `number` (1 to 4) look; kReadMarkUnused if there can be
  // none, so that a lock on it holds no checkpointer back.
  static constexpr std::uint32_t kReadMarkUnused = 0xffffffff;
  std::uint32_t read_mark(int number) const;

  // Appends the page number of each frame from `first` to `last`.
  Status ReadPageNumbers(std::uint32_t first, std::uint32_t last,
                         std::vector<std::uint32_t>* pages) const;

 private:
  SqliteWalIndex(sqlite3_file* file, const volatile std::uint32_t* words)
      : file_(file), words_(words) {}

  sqlite3_file* file_;
  const volatile std::uint32_t* words_;  // the first region
};

}  // namespace capstan::writers
