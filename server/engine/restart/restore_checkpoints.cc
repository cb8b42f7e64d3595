#include "server/engine/restart/restore_checkpoints.h"

#include <utility>

#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"
#include "vdi/base/thread.h"

namespace capstan::engine {

Status RestoreCheckpoints::Start() {
  CAPSTAN_ASSIGN_OR_RETURN(
      thread_, StartThread("the checkpoints of a restore", [this]() noexcept { Work(); }));
  return OkStatus();
}

void RestoreCheckpoints::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

Status RestoreCheckpoints::Note(const RestoredFrame& frame) {
  MutexLock lock(mutex_);
  if (off_) {
    return failure_;
  }
  frames_.push_back(frame);
  frame_bytes_ += frame.extent.length;
  return OkStatus();
}

void RestoreCheckpoints::Work() {
  while (true) {
    std::vector<RestoredFrame> frames;
    {
      const auto due = std::chrono::steady_clock::now() + parts_.interval;
      MutexLock lock(mutex_);
      while (!stopping_ && changed_.WaitUntil(mutex_, due)) {
      }
      if (stopping_ || off_) {
        return;
      }
      if (frame_bytes_ < parts_.bytes || frames_.empty()) {
        continue;
      }
      frames.swap(frames_);
      frame_bytes_ = 0;
    }
    (void)Save(frames);  // whoever notes the next frame hears of a failure
  }
}

Status RestoreCheckpoints::SaveRest() {
  std::vector<RestoredFrame> frames;
  {
    MutexLock lock(mutex_);
    if (off_ || frames_.empty()) {
      return failure_;
    }
    frames.swap(frames_);
  }
  return Save(frames);
}

Status RestoreCheckpoints::Save(const std::vector<RestoredFrame>& frames) {
  Status status = parts_.session.Checkpoint();
  if (status.ok()) {
    CAPSTAN_CRASH_POINT("restore.checkpoint.written");
    catalog::JobProgress progress;
    {
      MutexLock lock(mutex_);
      progress = progress_;
    }
    for (const RestoredFrame& frame : frames) {
      progress.done_bytes += frame.extent.length;
    }
    Status saved = parts_.catalog.AddCheckpoint(parts_.job_guid, progress, EncodeFrames(frames));
    if (saved.ok()) {
      CAPSTAN_CRASH_POINT("restore.checkpoint.saved");
      MutexLock lock(mutex_);
      progress_ = progress;
      return OkStatus();
    }
    CAPSTAN_LOG(kWarning, "the restore goes on without checkpoints: {}", saved.message());
  }
  MutexLock lock(mutex_);
  off_ = true;
  if (status.code() != Code::kUnimplemented) {
    failure_ = status;
  }
  return status;
}

std::optional<catalog::JobProgress> RestoreCheckpoints::saved() const {
  MutexLock lock(mutex_);
  return progress_.done_bytes > 0 ? std::optional(progress_) : std::nullopt;
}

}  // namespace capstan::engine
