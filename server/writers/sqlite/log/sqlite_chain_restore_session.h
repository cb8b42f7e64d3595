// SqliteChainRestoreSession: a differential or log backup on its way into a database that is being
// restored. What comes is put beside it, in any order; Commit takes it in as a whole, and with
// kRecovery or kStandby puts the database, or a copy, into its place.
//
// Threads: as RestoreSession says.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "server/writers/database_writer.h"
#include "server/writers/sqlite/log/restoring_database.h"
#include "server/writers/sqlite/sqlite_replacement.h"
#include "server/writers/writer_state_tracker.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class SqliteChainRestoreSession final : public RestoreSession {
 public:
  // Error 3117 if there is no database that is being restored; 3136, 4305, 4326 if the set does not
  // fit it.
  static Result<std::unique_ptr<SqliteChainRestoreSession>> Begin(
      const RestoreTarget& target, const RestoreOptions& options,
      std::shared_ptr<WriterStateTracker> tracker, RestoringDatabase::Swap swap);
  ~SqliteChainRestoreSession() override;

  Status WriteExtent(const Extent& extent, std::span<const std::byte> source) override;
  Result<RestoreOutcome> Commit() override;

 private:
  SqliteChainRestoreSession(const RestoreTarget& target, const RestoreOptions& options,
                            RestoringDatabase database, RestoringDatabase::Swap swap)
      : file_(target.file),
        options_(options),
        paths_(target.physical_name, options.job_name),
        database_(std::move(database)),
        swap_(std::move(swap)) {}

  Status CheckFits() const;
  Status CreatePart();
  Result<RestoreOutcome> CommitSteps();
  // What has come, examined.
  Result<RestoringDatabase::Part> ExaminePart() const;

  const DatabaseFile file_;
  RestoreOptions options_;
  const RestorePaths paths_;
  RestoringDatabase database_;
  const RestoringDatabase::Swap swap_;
  std::unique_ptr<WriterActivity> activity_;
  UniqueFd part_;
  std::atomic<std::uint64_t> part_bytes_{0};  // of a differential: records so far
  bool has_part_ = false;
};

// RESTORE DATABASE ... WITH RECOVERY | STANDBY of a database that is being restored.
Result<RestoreOutcome> FinishRestoring(RestoringDatabase database, RestoreEnd end, bool replace,
                                       const RestoringDatabase::Swap& swap);

}  // namespace capstan::writers
