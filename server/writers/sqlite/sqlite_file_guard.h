// SqliteFileGuard: our own descriptor of a database file, kept open for as long as SQLite may hold
// locks on that file in this process.
//
// SQLite locks a database with POSIX record locks. Those belong to the process, not to the
// descriptor, and the kernel drops all of them when the process closes *any* descriptor of the file
// (fcntl(2)). A harmless-looking open, read, close of a database that some connection of this
// process is reading would thus silently hand the file to other processes' writers in the middle of
// a backup. SQLite guards itself against its own closes, but it cannot see ours. Hence the rules:
//
//  1. Nobody in this process opens a database file but SQLite and this class.
//  2. Who wants a connection acquires the guard first and releases it after the connection is
//     closed.
//  3. There is one entry per inode in the process. Its descriptors are closed when the last guard
//     of the inode goes, under the same mutex under which guards are acquired: so no close can come
//     after a later guard's connection took its locks.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <string>

#include <sys/stat.h>

#include "vdi/base/status.h"

namespace capstan::writers {

class SqliteFileGuard {
 public:
  enum class EmptyFile { kRefuse, kAccept };
  // Errors are the operating system's, or say that it is not a file, or that it is empty.
  static Result<SqliteFileGuard> Acquire(const std::string& path,
                                         EmptyFile empty = EmptyFile::kRefuse);
  SqliteFileGuard(SqliteFileGuard&& other) noexcept;
  SqliteFileGuard& operator=(SqliteFileGuard&& other) noexcept;
  ~SqliteFileGuard();

  // For reading only. Valid as long as the guard.
  int fd() const;
  // Another descriptor of the file, for writing; kept as long as the entry.
  Result<int> OpenForWriting(const std::string& path);
  // Does `path` lead to this file now?
  bool IsAt(const std::string& path) const;
  dev_t device() const;
  ino_t inode() const;

 private:
  struct Entry;
  class Registry;
  explicit SqliteFileGuard(Entry* entry) : entry_(entry) {}

  Entry* entry_ = nullptr;  // owned by the registry; null once moved from
};

}  // namespace capstan::writers
