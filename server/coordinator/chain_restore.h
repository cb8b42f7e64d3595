// ChainRestore: RESTORE DATABASE ... FROM CATALOG, and its kin that find their backup sets by
// themselves. A plan is made, then each step is a RESTORE of its own, as if its statement had been
// written by hand; what turns out to be damaged on the way is planned around, where that is
// possible, and otherwise the refusal says how far the database is and how to go on.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/coordinator/chain_media.h"
#include "server/engine/chain/chain_planner.h"
#include "server/engine/engine.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

// What a chain needs of the engine and of whoever listens.
struct ChainActions {
  std::function<Status(const engine::RestoreRequest&)> restore;
  std::function<Status(const engine::RecoverRequest&)> recover;
  // The database as it is; nullopt: there is none of the name.
  std::function<Result<std::optional<catalog::Database>>()> database;
  std::function<void(int number, const std::string& text)> message;
};

struct ChainRestoreRequest {
  std::string source;  // the database whose backups they are
  // What all steps have in common: database, replace, end, stop, passphrase, options of transfers.
  // Moves are those of the first step.
  engine::RestoreRequest restore;
  engine::ChainReach reach = engine::ChainReach::kAll;
  std::string data_folder, log_folder;  // MOVE DATAFILES TO, MOVE LOGFILES TO
};

class ChainRestore {
 public:
  // All outlive the restore.
  ChainRestore(const std::vector<catalog::KnownSet>& sets, ChainMedia& media,
               const ChainActions& actions);

  // 3117 for log sets onto a database that is not being restored; 65050 if there is no way.
  Status Run(const ChainRestoreRequest& request);
  // PLANONLY. Its table, and a sentence that sums it up as a message. 65050 likewise; 3234.
  Result<catalog::Table> Explain(const ChainRestoreRequest& request);

 private:
  enum class Progress {
    kDone,
    kUnfinished,  // plan again: a set was of no use, or the point lies further on
    kMayGoOn,     // as asked; and if the history has more log, the point may be in that
  };

  // What may be restored next onto the database; nullopt: there is none.
  Result<std::optional<catalog::RollForward>> State() const;
  Result<engine::ChainGoal> GoalOf(const ChainRestoreRequest& request) const;
  Status Refuse(const ChainRestoreRequest& request, const engine::ChainPlan& plan) const;
  Result<engine::RestoreRequest> StepRequest(const ChainRestoreRequest& request,
                                             const catalog::KnownSet& set, bool first, bool last);
  Result<Progress> RunSteps(const ChainRestoreRequest& request, const engine::ChainPlan& plan);
  Status Finish(const ChainRestoreRequest& request) const;
  // Whether there may be another way; the status is what to end with if there is none.
  Status AfterFailure(const ChainRestoreRequest& request, const catalog::KnownSet& set,
                      Status status, bool* again);

  const std::vector<catalog::KnownSet>& sets_;
  ChainMedia& media_;
  const ChainActions& actions_;
  engine::ChainPlanner planner_;
  bool begun_ = false;  // a step of this statement has been done
};

// MOVE DATAFILES TO and MOVE LOGFILES TO as moves of each file that has none of its own.
void AddFolderMoves(const media::BackupSet& set, const std::string& data_folder,
                    const std::string& log_folder,
                    std::vector<std::pair<std::string, std::string>>* moves);

}  // namespace capstan::coordinator
