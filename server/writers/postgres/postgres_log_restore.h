// PostgresLogRestore: a log backup on its way into a data directory that is being restored, or into
// the folder from which a standby fetches its log.
//
// The segments are gathered in a folder of their own and come into their place at Commit, so until
// then the directory is as the session before left it. The targets are the files of the set: the
// data directory first. Threads: as RestoreSession says.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/cluster_recovery.h"
#include "server/writers/postgres/postgres_set.h"
#include "server/writers/postgres/restored_place.h"
#include "server/writers/postgres/timeline_history.h"
#include "server/writers/writer_state_tracker.h"
#include "vdi/base/mutex.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class PostgresLogRestore final : public RestoreSession {
 public:
  // Errors 3101, 3117 (nothing is being restored there), 3136 (another cluster), 4305 and 4326 (the
  // log begins too late, or ends too early).
  static Result<std::unique_ptr<PostgresLogRestore>> Begin(
      std::span<const RestoreTarget> targets, const RestoreOptions& options,
      std::shared_ptr<WriterStateTracker> tracker);
  ~PostgresLogRestore() override;

  Status WriteExtent(const Extent& extent, std::span<const std::byte> source) override;
  // Error 4330 if the log is of a line of history that the database is not on.
  Result<RestoreOutcome> Commit() override;

 private:
  PostgresLogRestore(RestoreOptions options, PostgresSet set, ClusterRecovery recovery,
                     UniqueFd lock)
      : options_(std::move(options)),
        set_(std::move(set)),
        recovery_(std::move(recovery)),
        lock_(std::move(lock)) {}

  Status Check() const;
  Status OpenGathered(const std::string& data_directory);
  // The beginning of the segment in which the log that is there ends.
  Status CopyLastSegment();
  Status WritePart(const BundlePart& part) CAPSTAN_EXCLUDES(mutex_);
  Result<RestoreOutcome> CommitSteps();
  Status FillSegments() CAPSTAN_EXCLUDES(mutex_);
  // Reads through what was gathered, as the log's next stretch.
  Status CheckGathered() const;

  const RestoreOptions options_;
  const PostgresSet set_;
  ClusterRecovery recovery_;
  const UniqueFd lock_;
  bool stays_standby_ = false;
  bool committed_ = false;
  std::string gathered_path_;
  std::optional<RestoredPlace> gathered_;
  std::unique_ptr<WriterActivity> activity_;

  Mutex mutex_;
  std::set<std::string> segments_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::writers
