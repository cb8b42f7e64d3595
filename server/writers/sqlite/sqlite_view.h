// SqliteView: a consistent view of a database in use, held open without blocking its writers (WAL
// mode) or with them waiting at their commit (rollback-journal mode). How and why: sqlite.md.
//
// Threads: Read from several at once, the rest from one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "server/writers/sqlite/sqlite_connection.h"
#include "server/writers/sqlite/sqlite_file_guard.h"
#include "server/writers/sqlite/sqlite_format.h"
#include "server/writers/sqlite/sqlite_wal_index.h"
#include "server/writers/sqlite/sqlite_wal_view.h"
#include "vdi/base/clock.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class SqliteView {
 public:
  struct Options {
    Deadline lock_deadline = Deadline::Never();
    // So many commits may come in between before the next try keeps them out.
    int tries_without_fence = 32;
  };
  // Error 65005 with the reason if there is no database that can be read.
  static Result<SqliteView> Open(const std::string& path, const Options& options);

  const std::string& path() const { return path_; }  // absolute, symbolic links resolved
  const SqliteHeader& header() const { return header_; }
  std::uint64_t size_bytes() const { return std::uint64_t{page_count_} * header_.page_size; }
  int fd() const { return guard_.fd(); }
  dev_t device() const { return guard_.device(); }
  ino_t inode() const { return guard_.inode(); }
  // Of WAL mode only.
  const std::optional<WalIndexHeader>& wal_header() const { return wal_header_; }
  std::uint32_t backfilled() const { return backfilled_; }

  // REQUIRES: offset + target.size() <= size_bytes()
  Status Read(std::uint64_t offset, std::span<std::byte> target) const;

  // The roots of all tables and indexes.
  Result<std::vector<SqliteRoot>> ReadRoots() { return connection_.ReadRoots(); }

  // Error 65005 if what was read may not have been one state of the database.
  Status Verify() const;

 private:
  SqliteView(std::string path, SqliteFileGuard guard, SqliteConnection connection)
      : path_(std::move(path)), guard_(std::move(guard)), connection_(std::move(connection)) {}

  Status Begin(const Options& options);
  Status BeginWal(const Options& options);
  Result<bool> TryBeginWal();
  Status OpenWalView();
  Status ReadHeader();
  Status VerifyWal() const;
  Status VerifyRollback() const;

  std::string path_;
  // In this order: the connection goes first, then the guard closes its descriptor.
  SqliteFileGuard guard_;
  SqliteConnection connection_;

  SqliteHeaderBytes header_bytes_{};
  SqliteHeader header_;
  std::uint32_t page_count_ = 0;
  std::optional<SqliteWalIndex> wal_index_;
  std::optional<WalIndexHeader> wal_header_;
  std::uint32_t backfilled_ = 0;
  std::optional<SqliteWalView> wal_view_;  // none if everything is in the database file
};

// Error 65005: "The database '/path' cannot be read: <cause>."
Status UnreadableDatabase(const std::string& path, const Status& cause);

}  // namespace capstan::writers
