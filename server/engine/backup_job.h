// BackupJob: one BACKUP, of a database or its log, from request to catalog row. The order of its
// steps is the commit protocol of the design: nothing is visible before everything is durable, and
// what has become durable can always be rolled forward.
//
// Its session holds the log that the set needs to be gone on from until the job goes, by when the
// writer must have been told to keep it. Threads: the statement's.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/engine/backup_pipeline.h"
#include "server/engine/engine.h"
#include "server/engine/restart/interrupted_backup.h"
#include "server/engine/roll_forward/backup_chain.h"
#include "server/engine/snapshot_backup.h"
#include "server/media/media_plan.h"

namespace capstan::engine {

class BackupJob {
 public:
  BackupJob(const Engine::Parts& parts, const BackupRequest& request, Job& job,
            JobObserver& observer)
      : parts_(parts), request_(request), job_(job), observer_(observer) {}

  Status Run();

 private:
  Status Prepare();  // finds database and writer, plans buffers
  Status PlanChain(const writers::DatabaseDescription& description);
  Status PlanMedia();  // looks at the media and decides what becomes of them
  Status PlanForm();   // how frames are coded, and the key
  // WITH RESTART: what there is to go on with. What nobody will go on with is given up.
  Status LookForInterrupted();
  // Opens the media of the interrupted backup, or begins anew if they are not what it left.
  Status OpenInterrupted();
  Status BeginJournal();
  Status OpenDevices();
  Status CheckMedia();
  Status Transfer();      // until prepared in the catalog
  Status TransferData();  // view, pipeline
  Status MakePipeline();
  Status TransferSnapshot();  // freeze, description, snapshot, thaw
  Status Commit();
  // After a failure: nothing of the new media stays, and the journal forgets the job; unless they
  // are kept for RESTART, which the failure then says.
  void Undo(Status& failure);

  // Nothing: the media are those that the interrupted backup left, and this one fits them.
  Result<std::optional<std::string>> WhyNotThese();
  std::optional<std::string> WhyNotThis(const media::MediaHeader& header,
                                        const media::BackupSet& set, std::size_t family) const;
  bool HasFilesOfInterrupted() const;
  // Gives up what the interrupted backup wrote and says why.
  Status BeginAnew(std::string_view why);
  void NoteProgress(std::uint64_t bytes);
  bool KeepForRestart(Status& failure);

  media::BackupSet DescribeSet(const writers::DatabaseDescription& description,
                               const writers::LsnRange& lsns) const;
  Result<std::vector<std::unique_ptr<media::FamilyWriter>>> MakeFamilies(
      const media::BackupSet& set);
  // What is known of the set only when all of it has been read.
  void TakeOutcome();
  void ReportCompletion();
  void ReportGap();
  // Any thread that reads. 3043, unless the job goes on after errors.
  Status OnPageError(const writers::PageError& error);

  const Engine::Parts& parts_;
  const BackupRequest& request_;
  Job& job_;
  JobObserver& observer_;

  catalog::Database database_;
  writers::DatabaseWriter* writer_ = nullptr;
  BackupChain chain_;
  BufferPlan plan_;
  std::uint64_t size_estimate_ = 0;
  SetCoding coding_;
  media::MediaPlan media_plan_;
  catalog::JobRecord journal_;
  bool journal_begun_ = false;
  bool media_touched_ = true;  // an agent may have begun media
  bool prepared_ = false;
  // Of a full backup: what it writes may be gone on with, from as many bytes on as make that worth
  // it; so says the journal then.
  bool can_be_kept_ = false;
  bool worth_keeping_ = false;
  std::optional<catalog::JobRecord> interrupted_;  // what this one goes on with
  // As it would be without that: going on takes devices, key and headers of the other.
  struct Plan {
    std::vector<catalog::JobDevice> devices;
    SetCoding coding;
    media::MediaPlan media;
  };
  Plan plan_anew_;
  // What its families say: what is in front of their frames has to take the same room.
  std::vector<FamilyHead> heads_;
  std::int64_t start_unix_us_ = 0;  // before the database was asked for its state
  media::BackupSet final_set_;
  std::atomic<std::uint64_t> page_errors_{0};  // that the job went on after
  std::unique_ptr<OpenSet> set_;
  std::unique_ptr<writers::BackupSession> session_;
  // Of an encrypted set, one per family.
  std::vector<std::unique_ptr<KeyAuthenticator>> authenticators_;
  std::unique_ptr<BackupPipeline> pipeline_;  // uses what is before, so goes first
  // WITH SNAPSHOT, instead of the two before.
  std::unique_ptr<writers::FreezeSession> freeze_;
  std::unique_ptr<SnapshotBackup> snapshot_;  // uses set_ and freeze_
};

}  // namespace capstan::engine
