// WriterStateTracker: the state that `list writers` shows, kept by the sessions themselves.
//
// A session holds a WriterActivity from its begin to its end. Of several the one that holds others
// up most is shown: frozen, about to freeze, thawed again, any other backup. Otherwise the outcome
// of the last activity counts: failed until the next success.
// Threads: any.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "server/writers/database_writer.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class WriterStateTracker {
 public:
  WriterState state() const;
  std::string last_error() const;

  // One session more, or less, is in this state.
  void Enter(WriterState state);
  void Leave(WriterState state);
  // The outcome of something that the writer was asked to do.
  void Record(const Status& outcome);

 private:
  mutable Mutex mutex_;
  std::map<WriterState, int> sessions_ CAPSTAN_GUARDED_BY(mutex_);
  bool failed_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::string last_error_ CAPSTAN_GUARDED_BY(mutex_) = "No error";
};

// One session's share of the state. The tracker is shared because a session may outlive its writer.
class WriterActivity {
 public:
  enum class Kind { kBackup, kRestore, kSnapshot };
  WriterActivity(std::shared_ptr<WriterStateTracker> tracker, Kind kind);
  WriterActivity(const WriterActivity&) = delete;
  WriterActivity& operator=(const WriterActivity&) = delete;
  ~WriterActivity();  // without an outcome: the engine gave the session up, which is not our
                      // failure

  // Of a snapshot, which begins as kWaitingForFreeze.
  void MoveTo(WriterState state);
  // Keeps the first failure. Any thread.
  void Fail(const Status& status);
  // Ends the activity; success unless something failed before.
  void Finish(const Status& outcome);

 private:
  const std::shared_ptr<WriterStateTracker> tracker_;
  Mutex mutex_;
  WriterState state_ CAPSTAN_GUARDED_BY(mutex_);  // kStable: it has none to show
  Status failure_ CAPSTAN_GUARDED_BY(mutex_);
  bool finished_ CAPSTAN_GUARDED_BY(mutex_) = false;
};

}  // namespace capstan::writers
