// ClusterRecovery: ends a restore as it was asked for: the cluster recovered up to a point, left
// for more log, or made a standby. For the restore sessions and for RESTORE ... WITH RECOVERY by
// itself; may be done again after a crash at any place.
//
// Threads: one. The caller holds the directory's lock (LockDirectory).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/postgres/cluster_place.h"
#include "server/writers/postgres/pg_control.h"
#include "server/writers/postgres/private_recovery.h"
#include "server/writers/postgres/restoring_state.h"
#include "server/writers/postgres/stop_search.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class ClusterRecovery {
 public:
  struct Options {
    std::string data_directory;
    std::string bin_folder;  // where PostgreSQL's programs are; may be empty
    std::chrono::seconds silence_limit{600};
  };
  // What the directory says of itself. Error 3117 if it is not being restored, or not whole.
  static Result<ClusterRecovery> Open(Options options);

  const RestoringState& state() const { return state_; }
  const FileOwner& owner() const { return owner_; }

  // `stop` counts for kRecovery and kStandby. On failure the cluster is as it was, for more log.
  Result<RestoreOutcome> End(RestoreEnd end, const StopPoint& stop);

  // Log has been put there, up to `log_end`.
  Status Advance(Lsn log_end, std::uint32_t timeline);
  // Where there is log, what is newer first.
  std::vector<std::string> LogDirectories() const;
  // A recovery that was interrupted had recovered it.
  Result<bool> IsRecovered() const;
  // A standby becomes a directory that no server starts on, with all its log in pg_wal. Error 3101
  // if a server runs on it.
  Status LeaveStandby();

 private:
  ClusterRecovery(Options options, FileOwner owner, RestoringState state)
      : options_(std::move(options)), owner_(owner), state_(std::move(state)) {}

  Result<RestoreOutcome> Recover(const StopSearchResult& stop);
  Result<RestoreOutcome> MakeStandby(const StopSearchResult& stop);
  Result<StopSearchResult> Find(const StopPoint& stop) const;
  Result<RecoveryEnd> RunServer(const RecoveryTarget& target) const;
  // A recovery that went down after it had recovered, but before we knew.
  Result<RestoreOutcome> FinishRecovered();
  // The cluster is shut down on its new timeline: nothing of ours stays.
  Result<RestoreOutcome> Recovered();
  // Gives the control file PostgreSQL's name, or ours.
  Status ShowControlFile();
  Status HideControlFile();
  Status SetPhase(RestoringState::Phase phase);
  // As between the statements of a restore, whatever a recovery left.
  Status BackToRestoring();

  const std::string& directory() const { return options_.data_directory; }

  Options options_;
  FileOwner owner_;
  RestoringState state_;
};

// ClusterRecovery::End of a directory that nobody else is restoring into.
Result<RestoreOutcome> RecoverDirectory(const std::string& data_directory,
                                        const RestoreOptions& options);

// The control file under whichever name it has.
Result<PgControl> ReadPresentControlFile(const std::string& data_directory);

}  // namespace capstan::writers
