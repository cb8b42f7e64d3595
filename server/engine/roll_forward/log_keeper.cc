#include "server/engine/roll_forward/log_keeper.h"

#include <set>
#include <utility>
#include <vector>

#include "vdi/base/log.h"

namespace capstan::engine {

void LogKeeper::Tell() {
  MutexLock lock(mutex_);
  Result<Kept> kept = Read();
  if (!kept.ok()) {
    CAPSTAN_LOG(kError, "writers were not told which logs to keep: {}", kept.status().message());
    return;
  }
  for (const auto& [scheme, writer] : writers_) {
    writer->Keep(std::move((*kept)[scheme]));
  }
}

Result<LogKeeper::Kept> LogKeeper::Read() {
  Kept kept;
  std::set<std::pair<std::string, std::string>> being_replaced;
  CAPSTAN_ASSIGN_OR_RETURN(const auto jobs, catalog_.UnfinishedJobs());
  for (const catalog::JobRecord& job : jobs) {
    if (job.kept) {
      continue;  // what it built lies beside what it was to replace
    }
    for (const std::string& path : job.restore_paths) {
      being_replaced.emplace(job.restore_scheme, path);
    }
  }
  CAPSTAN_ASSIGN_OR_RETURN(const auto databases, catalog_.ListDatabases());
  for (const catalog::Database& database : databases) {
    const auto state = database.roll_forward.state;
    if (state == catalog::RollForward::State::kStandby) {
      continue;  // what stands there has no log of its own
    }
    CAPSTAN_ASSIGN_OR_RETURN(const catalog::ChainEnd chain, catalog_.FindChainEnd(database.name));
    // Where nothing is set and log is wanted, it was FULL when the chain began.
    writers::KeptDatabase entry{
        .location = database.location,
        .name = database.name,
        .recovery_model = database.recovery_model.value_or(writers::RecoveryModel::kFull),
        .log_from = {},
        .being_replaced = being_replaced.contains({database.scheme, database.location}),
        .being_restored = state == catalog::RollForward::State::kRestoring};
    if (chain.log_from && entry.recovery_model != writers::RecoveryModel::kSimple) {
      entry.log_from = writers::Lsn{*chain.log_from};
    }
    kept[database.scheme].push_back(std::move(entry));
  }
  return kept;
}

}  // namespace capstan::engine
