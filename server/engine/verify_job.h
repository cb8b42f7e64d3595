// VerifyJob: one RESTORE VERIFYONLY. Everything on the media is read and checked: frames, index,
// the chain of blocks, that the families belong together, that together they hold every byte of
// every file, and that they are the backup that the catalog remembers. Nothing is written anywhere,
// but for the history WITH LOADHISTORY.
//
// WITH CHECKSUM the database's own pages are looked at too. SAMPLE reads a part of the frames and
// everything else, but no pages: what one must be, others say. CONTINUE_AFTER_ERROR goes on behind
// damage and reports all of it; otherwise the first ends the job.
//
// Threads: the statement's; OnFrame from the pipeline's workers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/engine/damage_report.h"
#include "server/engine/engine.h"
#include "server/engine/page_recheck.h"
#include "server/engine/restore_pipeline.h"
#include "server/engine/set_sample.h"

namespace capstan::engine {

class VerifyJob final : private FrameSink {
 public:
  VerifyJob(const Engine::Parts& parts, const VerifyRequest& request, Job& job,
            JobObserver& observer)
      : parts_(parts), request_(request), job_(job), observer_(observer) {}

  // 3189 for a set that is damaged, with every place that was found in messages before it, and with
  // where else the backup is in the hint. 3183 for a bad page, 65023 for another set than the
  // catalog remembers.
  Status Run();

 private:
  Status OnSet(const media::BackupSet& set) override;
  Status OnFrame(const media::FrameView& frame) override { return pages_.Take(frame); }

  bool wants_checksums() const { return request_.transfer.checksum.value_or(false); }
  bool sampled() const { return request_.sample_percent < 100; }
  Status VerifyAll();
  Status VerifySample();
  // The families of a sample against one another.
  Status CheckSample(std::vector<SampledFamily> families);
  void ReportCoverage(const std::vector<SampledFamily>& families);
  // Of what was read without an error: its pages, and that it is whole and the right set.
  Status CheckContents();
  // That every byte of every file is there.
  Status CheckComplete() const;

  const Engine::Parts& parts_;
  const VerifyRequest& request_;
  Job& job_;
  JobObserver& observer_;

  std::unique_ptr<OpenSet> set_;
  DamageReport damage_;
  PageRecheck pages_{damage_, request_.continue_after_error};
  media::BackupSet backup_set_;  // final, once it has been read
  std::string digest_;           // SetDigest of its frames, likewise
};

}  // namespace capstan::engine
