// A snapshot of an SQLite database as a test takes one: the frozen files, held in memory, and the
// set's account of them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "tests/support/sqlite_fixture.h"

namespace capstan::test {

// Reads a file in a child process. Whoever opens and closes a database in the process that has it
// frozen drops the locks of that freeze (sqlite_file_guard.h); a program that copies it is another.
inline std::string ReadElsewhere(const std::string& path) {
  const std::string copy = path + ".read-elsewhere";
  RunInChild([&] {
    WriteWhole(copy, ReadWhole(path));
    return 0;
  });
  std::string bytes = ReadWhole(copy);
  std::filesystem::remove(copy);
  return bytes;
}

struct SnapshotFiles {
  std::vector<writers::DatabaseFile> files;
  std::vector<std::string> bytes;

  // Freezes, copies, thaws.
  static Result<SnapshotFiles> Take(writers::DatabaseWriter& writer, const std::string& path) {
    CAPSTAN_ASSIGN_OR_RETURN(auto session, writer.BeginSnapshot(path, "db"));
    CAPSTAN_RETURN_IF_ERROR(session->Freeze({}));
    SnapshotFiles snapshot;
    snapshot.files = session->description().files;
    for (const writers::DatabaseFile& file : snapshot.files) {
      snapshot.bytes.push_back(ReadElsewhere(file.physical_name));
    }
    CAPSTAN_RETURN_IF_ERROR(session->Thaw());
    session->End();
    return snapshot;
  }

  // Where they go if the database goes to `path`.
  std::vector<writers::RestoreTarget> TargetsAt(const std::string& path) const {
    std::vector<writers::RestoreTarget> targets;
    for (const writers::DatabaseFile& file : files) {
      targets.push_back({.file = file, .physical_name = file.type == 'D' ? path : path + "-wal"});
    }
    return targets;
  }

  void PlaceAt(const std::string& path) const {
    for (std::size_t i = 0; i < files.size(); ++i) {
      WriteWhole(files[i].type == 'D' ? path : path + "-wal", bytes[i]);
    }
  }
};

}  // namespace capstan::test
