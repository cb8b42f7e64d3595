#include "server/writers/writer_state_tracker.h"

#include <utility>

namespace capstan::writers {

WriterState WriterStateTracker::state() const {
  MutexLock lock(mutex_);
  for (const WriterState state :
       {WriterState::kWaitingForThaw, WriterState::kWaitingForFreeze,
        WriterState::kWaitingForPostSnapshot, WriterState::kWaitingForBackupComplete}) {
    if (const auto found = sessions_.find(state); found != sessions_.end() && found->second > 0) {
      return state;
    }
  }
  return failed_ ? WriterState::kFailed : WriterState::kStable;
}

std::string WriterStateTracker::last_error() const {
  MutexLock lock(mutex_);
  return last_error_;
}

void WriterStateTracker::Enter(WriterState state) {
  MutexLock lock(mutex_);
  ++sessions_[state];
}

void WriterStateTracker::Leave(WriterState state) {
  MutexLock lock(mutex_);
  --sessions_[state];
}

void WriterStateTracker::Record(const Status& outcome) {
  MutexLock lock(mutex_);
  failed_ = !outcome.ok();
  last_error_ = outcome.ok() ? "No error" : std::string(outcome.message());
}

WriterActivity::WriterActivity(std::shared_ptr<WriterStateTracker> tracker, Kind kind)
    : tracker_(std::move(tracker)),
      state_(kind == Kind::kBackup     ? WriterState::kWaitingForBackupComplete
             : kind == Kind::kSnapshot ? WriterState::kWaitingForFreeze
                                       : WriterState::kStable) {
  MutexLock lock(mutex_);
  tracker_->Enter(state_);
}

WriterActivity::~WriterActivity() {
  MutexLock lock(mutex_);
  if (!finished_) {
    tracker_->Leave(state_);
  }
  if (!finished_ && !failure_.ok()) {
    tracker_->Record(failure_);
  }
}

void WriterActivity::MoveTo(WriterState state) {
  MutexLock lock(mutex_);
  tracker_->Enter(state);
  tracker_->Leave(std::exchange(state_, state));
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
  tracker_->Leave(state_);
  tracker_->Record(failure_.ok() ? outcome : failure_);
}

}  // namespace capstan::writers
