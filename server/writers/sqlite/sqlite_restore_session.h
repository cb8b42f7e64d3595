// SqliteRestoreSession: builds an SQLite database beside the one that it replaces, checks it, swaps
// it in.
//
// Lives from SqliteWriter::BeginRestore to Commit, or to its destruction, which removes the partial
// file unless it is kept. A lock (flock) on the partial file tells a running restore from a
// leftover. Threads: as RestoreSession says.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "server/writers/database_writer.h"
#include "server/writers/direct_write_queue.h"
#include "server/writers/sqlite/log/restoring_database.h"
#include "server/writers/sqlite/sqlite_replacement.h"
#include "server/writers/writer_state_tracker.h"
#include "vdi/base/mutex.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class SqliteRestoreSession final : public RestoreSession {
 public:
  // Reserves the whole size: error 3257 if it is not there. Error 3156 if a file is in the way and
  // may not be replaced, 65006 for everything else.
  static Result<std::unique_ptr<SqliteRestoreSession>> Begin(
      const RestoreTarget& target, const RestoreOptions& options,
      std::shared_ptr<WriterStateTracker> tracker, RestoringDatabase::Swap swap);
  ~SqliteRestoreSession() override;

  Status WriteExtent(const Extent& extent, std::span<const std::byte> source) override;
  Status Checkpoint() override CAPSTAN_EXCLUDES(mutex_);
  bool Keep() override { return std::exchange(has_temporary_, false); }
  Status ReadBack(const Extent& extent, std::span<std::byte> target) override;
  void Adopt(const Extent& extent) override { written_bytes_ += extent.length; }
  Result<RestoreOutcome> Commit() override;

 private:
  SqliteRestoreSession(const RestoreTarget& target, const RestoreOptions& options,
                       RestoringDatabase::Swap swap);

  Status Open();
  Status CreateTemporary();
  // The unfinished file of an earlier session. Locks it.
  Status OpenTemporary();
  Status Reserve();
  bool Fits(const Extent& extent, std::size_t bytes) const;
  // Around each write.
  void BeginWrite() CAPSTAN_EXCLUDES(mutex_);
  void EndWrite() CAPSTAN_EXCLUDES(mutex_);
  Status InsufficientSpace() const;
  // The error for a write that failed; also the writer's state.
  Status WriteError(const Status& cause);
  // What was handed over is in the file and durable.
  Status FinishWriting();
  Status Sync();
  Status CheckIsDatabase() const;
  Result<RestoreOutcome> CommitSteps();
  // Leaves the finished file beside the old one, to be restored on.
  Result<RestoreOutcome> LeaveRestoring(bool stop_missed);
  // Puts the finished file in the place of the old one.
  Status Replace();

  const DatabaseFile file_;
  const RestoreOptions options_;
  const RestorePaths paths_;
  const RestoringDatabase::Swap swap_;
  std::unique_ptr<WriterActivity> activity_;
  UniqueFd directory_;
  UniqueFd fd_;
  std::shared_ptr<const FilledFile> filled_;  // fd_, until all is written
  std::unique_ptr<DirectWriteQueue> output_;  // into it
  std::atomic<std::uint64_t> written_bytes_{0};
  bool has_temporary_ = false;

  // A checkpoint waits for the writes under way, and new ones for it, until all are in the file.
  Mutex mutex_;
  CondVar changed_;
  int writing_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  bool draining_ CAPSTAN_GUARDED_BY(mutex_) = false;
};

}  // namespace capstan::writers
