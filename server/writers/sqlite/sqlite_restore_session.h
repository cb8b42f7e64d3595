// SqliteRestoreSession: builds an SQLite database beside the one that it replaces, checks it, swaps
// it in.
//
// Lives from SqliteWriter::BeginRestore to Commit, or to its destruction, which removes the partial
// file. A lock (flock) on the partial file tells a running restore from a leftover.
// Threads: as RestoreSession says.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "server/writers/database_writer.h"
#include "server/writers/direct_file_writer.h"
#include "server/writers/released_files.h"
#include "server/writers/sqlite/sqlite_replacement.h"
#include "server/writers/sqlite/writer_state_tracker.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class SqliteRestoreSession final : public RestoreSession {
 public:
  // Reserves the whole size: error 3257 if it is not there. Error 3156 if a file is in the way and
  // may not be replaced, 65006 for everything else.
  static Result<std::unique_ptr<SqliteRestoreSession>> Begin(
      const RestoreTarget& target, const RestoreOptions& options,
      std::shared_ptr<WriterStateTracker> tracker, std::shared_ptr<ReleasedFiles> released_files);
  ~SqliteRestoreSession() override;

  Status WriteExtent(const Extent& extent, std::span<const std::byte> source) override;
  Status Commit() override;

 private:
  SqliteRestoreSession(const RestoreTarget& target, const RestoreOptions& options);

  Status Open();
  Status CreateTemporary();
  Status Reserve();
  Status InsufficientSpace() const;
  // The error for a write that failed; also the writer's state.
  Status WriteError(const Status& cause);
  // What was handed over is in the file and durable.
  Status FinishWriting();
  Status Sync();
  Status CheckIsDatabase() const;
  Status CommitSteps();
  // Puts the finished file in the place of the old one.
  Status Replace();

  const DatabaseFile file_;
  const RestoreOptions options_;
  const RestorePaths paths_;
  std::shared_ptr<ReleasedFiles> released_files_;  // of the writer, which this may outlive
  std::unique_ptr<WriterActivity> activity_;
  UniqueFd directory_;
  UniqueFd fd_;
  std::unique_ptr<DirectFileWriter> output_;  // of fd_, until all is written
  std::atomic<std::uint64_t> written_bytes_{0};
  bool has_temporary_ = false;
};

}  // namespace capstan::writers
