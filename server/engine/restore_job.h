// RestoreJob: one RESTORE DATABASE. The new database is built beside the old one; only when every
// frame has been checked and everything is durable does the writer swap them.
//
// Threads: the statement's; OnFrame from the pipeline's workers.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/engine.h"
#include "server/engine/page_recheck.h"
#include "server/engine/restore_pipeline.h"

namespace capstan::engine {

// Opens the media that a RESTORE statement names, for reading. `cancelled` as in DeviceSetRequest.
Result<std::unique_ptr<OpenSet>> OpenForReading(const Engine::Parts& parts,
                                                const TransferRequest& transfer,
                                                std::function<bool()> cancelled = {});

class RestoreJob final : private FrameSink {
 public:
  RestoreJob(const Engine::Parts& parts, const RestoreRequest& request, Job& job,
             JobObserver& observer)
      : parts_(parts), request_(request), job_(job), observer_(observer) {}

  Status Run();

 private:
  Status OnSet(const media::BackupSet& set) override;
  Status OnFrame(const media::FrameView& frame) override;

  Status Transfer();
  // After the transfer: 65023 for another set than the catalog remembers, 3183 for a bad page WITH
  // CHECKSUM, 3182 for a set whose database was damaged.
  Status CheckContents(std::string digest);
  // Zeros in the place of what is lost.
  Status SettleDamage();
  void SayDamage();
  // WITH SNAPSHOT, when the description has been read: clears the place of the database and has the
  // client put the files there.
  Status Mount();
  Status Commit();
  // Returns the failure with what the operator finds now.
  Status Undo(Status failure);
  // The job's name for what it is about to touch.
  Status BeginJournal();
  // Where each file of the set goes: MOVE, else where the existing database is, else where it was.
  Result<std::vector<writers::RestoreTarget>> PlanTargets(const media::BackupSet& set) const;
  // 3154, 3156, 3159 unless the statement may write there.
  Status CheckExisting(const media::BackupSet& set) const;
  // 3276, or its counterpart.
  Status CheckSnapshot(const media::BackupSet& set) const;
  // A job's temporary names and how long it waits for the old database.
  writers::RestoreOptions OptionsForWriter() const;
  Status CheckTarget(const writers::RestoreTarget& target) const;

  const Engine::Parts& parts_;
  const RestoreRequest& request_;
  Job& job_;
  JobObserver& observer_;

  std::optional<catalog::Database> existing_;
  writers::DatabaseWriter* writer_ = nullptr;
  std::vector<writers::RestoreTarget> targets_;
  media::BackupSet final_set_;
  DamageReport damage_;
  PageRecheck pages_{damage_, request_.continue_after_error};
  bool journal_begun_ = false;
  std::unique_ptr<OpenSet> set_;
  std::unique_ptr<writers::RestoreSession> session_;
  std::unique_ptr<writers::MountSession> mount_;  // WITH SNAPSHOT, instead of the one before
};

}  // namespace capstan::engine
