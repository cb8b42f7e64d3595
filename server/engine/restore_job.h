// RestoreJob: one RESTORE of a set. A new database is built beside the old one; only when every
// frame has been checked and everything is durable does the writer swap them. WITH NORECOVERY it is
// kept for the sets that follow, and the catalog says where it goes on.
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
#include "server/engine/restart/restore_checkpoints.h"
#include "server/engine/restart/restored_frames.h"
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
  // Lets the writer begin. Log that the database has already (a crash came between the writer and
  // the catalog, or there is none in the set) is read to its end all the same, and changes nothing.
  Status BeginSession(const media::BackupSet& set);
  // The new state of the database.
  Result<writers::RestoreOutcome> CommitSession();
  // RESTART: what there is to go on with, before anything is opened.
  Status LookForInterrupted();
  // 3019 unless the interrupted restore was of this set and into these files.
  Status CheckInterrupted(const media::BackupSet& set) const;
  // The job's name for what it is about to touch, which gives up an interrupted restore of the
  // database or takes it over.
  Status BeginJournal();
  // What is there of an interrupted restore: looks at all of it.
  Status TakeUpRestored();
  Status BeginCheckpoints(const media::BackupSet& set);
  // Whether what was built stays; then `failure` says how to go on.
  bool KeepForRestart(Status& failure);
  // 3154, 3159 unless a full backup may be restored over the existing database.
  Status CheckExisting(const media::BackupSet& set) const;
  // 3276, or its counterpart.
  Status CheckSnapshot(const media::BackupSet& set) const;
  // What the writer must know of the set and of the end, a job's temporary names, how long it waits
  // for the old database.
  writers::RestoreOptions OptionsForWriter(const media::BackupSet& set) const;
  // A full backup over a database that is being restored: from here on that one is gone.
  Status GiveUpOldChain();
  // What the catalog shall say of the database.
  catalog::RestoreRecord RecordOf(const writers::RestoreOutcome& outcome) const;
  const catalog::Database* existing() const { return existing_ ? &*existing_ : nullptr; }
  bool is_being_restored() const {
    return existing_ && existing_->roll_forward.state != catalog::RollForward::State::kOnline;
  }

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
  std::optional<catalog::JobRecord> interrupted_;  // what this one goes on with
  RestoredFrames restored_;                        // by that one
  bool is_plain_ = false;         // what is on the medium is what is in the database
  bool begun_anew_ = false;       // what it left is not there any more
  bool transfer_failed_ = false;  // so another try may come further
  bool journal_begun_ = false;
  bool old_chain_given_up_ = false;
  bool stop_missed_ = false;
  bool has_it_already_ = false;
  std::unique_ptr<OpenSet> set_;
  std::unique_ptr<writers::RestoreSession> session_;
  std::unique_ptr<RestoreCheckpoints> checkpoints_;  // of the session
  std::unique_ptr<writers::MountSession> mount_;     // WITH SNAPSHOT, instead of the one before
};

}  // namespace capstan::engine
