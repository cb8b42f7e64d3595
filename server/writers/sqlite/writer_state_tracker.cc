#include "server/writers/sqlite/writer_state_tracker.h"

#include <utility>

namespace capstan::writers {

WriterState WriterStateTracker::state() const {
  MutexLock lock(mutex_);
  if (backups_ > 0) {
    return WriterState::kWaitingForBackupComplete;
  }
  return failed_ ? WriterState::kFailed : WriterState::kStable;
}

std::string WriterStateTracker::last_error() const {
  MutexLock lock(mutex_);
  return last_error_;
}

void WriterStateTracker::BackupBegan() {
  MutexLock lock(mutex_);
  ++backups_;
}

void WriterStateTracker::BackupEnded() {
  MutexLock lock(mutex_);
  --backups_;
}

void WriterStateTracker::Record(const Status& outcome) {
  MutexLock lock(mutex_);
  failed_ = !outcome.ok();
  last_error_ = outcome.ok() ? "No error" : std::string(outcome.message());
}

WriterActivity::WriterActivity(std::shared_ptr<WriterStateTracker> tracker, Kind kind)
    : tracker_(std::move(tracker)), kind_(kind) {
  if (kind_ == Kind::kBackup) {
    tracker_->BackupBegan();
  }
}

WriterActivity::~WriterActivity() {
  MutexLock lock(mutex_);
  if (!finished_ && kind_ == Kind::kBackup) {
    tracker_->BackupEnded();
  }
  if (!finished_ && !failure_.ok()) {
    tracker_->Record(failure_);
  }
}

void WriterActivity::Fail(const Status& status) {
  MutexLock lock(mutex_);
  if (failure_.ok()) {
    failure_ = status;
  }
}

void WriterActivity::Finish(const Status& outcome) {
  MutexLock lock(mutex_);
  if (std::exchange(finished_, true)) {
    return;
  }
  if (kind_ == Kind::kBackup) {
    tracker_->BackupEnded();
  }
  tracker_->Record(failure_.ok() ? outcome : failure_);
}

}  // namespace capstan::writers
