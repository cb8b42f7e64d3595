#include "server/writers/writer_state_tracker.h"

#include <gtest/gtest.h>

namespace capstan::writers {
namespace {

class WriterStateTrackerTest : public testing::Test {
 protected:
  std::unique_ptr<WriterActivity> Begin(WriterActivity::Kind kind) {
    return std::make_unique<WriterActivity>(tracker_, kind);
  }
  const std::shared_ptr<WriterStateTracker> tracker_ = std::make_shared<WriterStateTracker>();
};

TEST_F(WriterStateTrackerTest, BackupWaitsForCompletionUntilTheLastEnds) {
  auto first = Begin(WriterActivity::Kind::kBackup);
  auto second = Begin(WriterActivity::Kind::kBackup);
  EXPECT_EQ(tracker_->state(), WriterState::kWaitingForBackupComplete);

  first->Finish(OkStatus());
  EXPECT_EQ(tracker_->state(), WriterState::kWaitingForBackupComplete);

  second->Finish(OkStatus());
  EXPECT_EQ(tracker_->state(), WriterState::kStable);
}

TEST_F(WriterStateTrackerTest, FailureStaysUntilTheNextSuccess) {
  Begin(WriterActivity::Kind::kRestore)->Finish(Error(Code::kUnavailable, "no luck"));
  EXPECT_EQ(tracker_->state(), WriterState::kFailed);
  EXPECT_EQ(tracker_->last_error(), "no luck");

  Begin(WriterActivity::Kind::kBackup)->Finish(OkStatus());
  EXPECT_EQ(tracker_->state(), WriterState::kStable);
  EXPECT_EQ(tracker_->last_error(), "No error");
}

TEST_F(WriterStateTrackerTest, FirstFailureOfASessionCounts) {
  {
    auto activity = Begin(WriterActivity::Kind::kBackup);
    activity->Fail(Error(Code::kUnavailable, "first"));
    activity->Fail(Error(Code::kUnavailable, "second"));
  }
  EXPECT_EQ(tracker_->state(), WriterState::kFailed);
  EXPECT_EQ(tracker_->last_error(), "first");
}

TEST_F(WriterStateTrackerTest, SessionGivenUpByTheEngineIsNoFailure) {
  Begin(WriterActivity::Kind::kBackup).reset();

  EXPECT_EQ(tracker_->state(), WriterState::kStable);
}

}  // namespace
}  // namespace capstan::writers
