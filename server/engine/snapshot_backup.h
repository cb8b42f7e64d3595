// SnapshotBackup: what BACKUP WITH SNAPSHOT sends to its one device, and when the database is
// frozen (VDI specification, "Snapshot backups"):
//
//   Write*  medium, set and files as they are before    the database is in use
//   PrepareToFreeze, if the client asked for it         the client may coordinate several databases
//   freeze, 3197 to the error log
//   Write*  the frozen state: sizes, LSN, time; end of the set
//   Snapshot: the client closes its stream and takes the snapshot
//   thaw, 3198 to the error log
//   Flush and Complete, if the client asked for Complete
//
// From the freeze to the thaw everything runs on one worker, which depends on the client and on the
// database alone: not on the requester, to whom nothing is said meanwhile, and not on the catalog.
// The client's death, a cancel and a device that takes longer than the device timeout abort the
// set, which ends whatever the worker waits for. Threads: the job's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "server/engine/error_log.h"
#include "server/engine/family_stream.h"
#include "server/engine/first_error.h"
#include "server/engine/monitor.h"
#include "server/engine/open_set.h"
#include "server/media/backup_set.h"
#include "server/media/family_writer.h"
#include "server/writers/database_writer.h"

namespace capstan::engine {

class SnapshotBackup {
 public:
  struct Parts {
    Job& job;
    ErrorLog& error_log;
    OpenSet& set;  // of one device
    writers::FreezeSession& database;
    const Timeouts& timeouts;
  };
  SnapshotBackup(Parts parts, std::unique_ptr<media::FamilyWriter> writer);

  // Everything up to the thaw. `set` as it was given to the FamilyWriter; it comes back as it
  // stands at the end of the medium. However this ends, the database is not frozen any more.
  Status Run(media::BackupSet& set);
  // Lets a client that asked for it commit; the others did at the end of Snapshot.
  Status Complete();

 private:
  class QuietObserver final : public JobObserver {
   public:
    void OnMessage(int, const std::string&) override {}
    void OnProgress(const JobSnapshot&) override {}
  };

  Status RunStep(std::function<Status()> step);
  // From the freeze to the thaw.
  Status TakeSnapshot(media::BackupSet& set);
  Status Freeze();
  // With the database frozen.
  Status Describe(media::BackupSet& set);
  Status Thaw();
  // Waits until every write is done.
  Status WaitForWrites();
  // A failure in its best words, as BackupPipeline's.
  Status BestError();

  const Parts parts_;
  QuietObserver quiet_;
  FirstError error_;
  std::atomic<std::uint64_t> bytes_done_{0};
  const std::unique_ptr<FamilyStream> stream_;
  Monitor monitor_;
};

}  // namespace capstan::engine
