// RestoreCheckpoints: while a restore writes a database, makes now and then durable what is
// written, and then notes in the job's journal which frames that is. In this order: what the
// journal says is there after any crash.
//
// A database that cannot be synced fails the restore, as its end would. A catalog that does not
// take a checkpoint only ends them: the restore goes on, and could be gone on with from the last.
//
// Threads: owns one, from Start to Stop. Note from any, the rest from the job's.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/engine/restart/restored_frames.h"
#include "server/writers/database_writer.h"
#include "vdi/base/guid.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::engine {

class RestoreCheckpoints {
 public:
  struct Parts {
    catalog::Catalog& catalog;
    writers::RestoreSession& session;
    Guid job_guid;
    catalog::JobProgress progress;  // as the restore begins
    std::chrono::milliseconds interval;
    std::uint64_t bytes;  // at least so many lie between two checkpoints
  };
  // The catalog and the session outlive it.
  explicit RestoreCheckpoints(Parts parts) : parts_(parts), progress_(parts.progress) {}
  ~RestoreCheckpoints() { Stop(); }
  RestoreCheckpoints(const RestoreCheckpoints&) = delete;
  RestoreCheckpoints& operator=(const RestoreCheckpoints&) = delete;

  Status Start();
  // Ends the thread; what was noted since the last checkpoint is forgotten.
  void Stop() CAPSTAN_EXCLUDES(mutex_);

  // A frame has been written. The error of a checkpoint that failed.
  Status Note(const RestoredFrame& frame) CAPSTAN_EXCLUDES(mutex_);
  // One more, of all that was noted. REQUIRES: stopped.
  Status SaveRest() CAPSTAN_EXCLUDES(mutex_);

  // Of the last checkpoint, this restore's or that of the one that it goes on with; nothing before.
  std::optional<catalog::JobProgress> saved() const CAPSTAN_EXCLUDES(mutex_);

 private:
  void Work() CAPSTAN_EXCLUDES(mutex_);
  Status Save(const std::vector<RestoredFrame>& frames) CAPSTAN_EXCLUDES(mutex_);

  const Parts parts_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<RestoredFrame> frames_ CAPSTAN_GUARDED_BY(mutex_);  // since the last checkpoint
  std::uint64_t frame_bytes_ CAPSTAN_GUARDED_BY(mutex_) = 0;      // of those
  catalog::JobProgress progress_ CAPSTAN_GUARDED_BY(mutex_);
  Status failure_ CAPSTAN_GUARDED_BY(mutex_);
  bool stopping_ CAPSTAN_GUARDED_BY(mutex_) = false;
  bool off_ CAPSTAN_GUARDED_BY(mutex_) = false;  // there will be no more

  std::jthread thread_;  // last: it uses the rest
};

}  // namespace capstan::engine
