#include "server/engine/roll_forward/recover_job.h"

#include <ctime>
#include <utility>

#include "server/engine/roll_forward/restore_chain.h"
#include "server/messages/messages.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

constexpr int kNothingIsBeingRestored = 3117;

// The writer does it, the catalog remembers it: a crash in between leaves one that the same
// statement finishes.
Result<writers::RestoreOutcome> RecoverAndRemember(const Engine::Parts& parts,
                                                   const RecoverRequest& request, Job& job,
                                                   catalog::Database database) {
  const auto writer = parts.writers.find(database.scheme);
  if (writer == parts.writers.end()) {
    return SqlError(65006, database.name, fmt::format("no writer knows '{}'", database.scheme));
  }
  auto recovered = writer->second->Recover(
      database.location, {.job_name = job.guid().ToString(),
                          .lock_deadline = Deadline::After(parts.settings.timeouts.database),
                          .location = database.location,
                          .end = request.end,
                          .stop = request.stop});
  if (recovered.status().reason() == kNothingIsBeingRestored &&
      writer->second->Describe(database.location, database.name).ok()) {
    recovered = writers::RestoreOutcome();  // a crash came before the catalog heard of it
  }
  CAPSTAN_ASSIGN_OR_RETURN(const writers::RestoreOutcome outcome, std::move(recovered));
  CAPSTAN_CRASH_POINT("engine.recovered");
  catalog::RestoreRecord record;
  record.destination_database = database.name;
  record.user_name = request.user_name;
  record.date_unix_s = std::time(nullptr);
  database.roll_forward = RollForwardAfter(database.roll_forward, nullptr, request.end, outcome);
  record.database = std::move(database);
  CAPSTAN_RETURN_IF_ERROR(parts.catalog.CommitRestore(job.guid(), record));
  return outcome;
}

}  // namespace

Status RunRecover(const Engine::Parts& parts, const RecoverRequest& request, Job& job,
                  JobObserver& observer) {
  CAPSTAN_ASSIGN_OR_RETURN(catalog::Database database,
                           parts.catalog.FindDatabase(request.database));
  CAPSTAN_RETURN_IF_ERROR(CheckRecover(database));
  job.SetPhase("Recovering");
  CAPSTAN_RETURN_IF_ERROR(parts.catalog.BeginJob(
      {.job_guid = job.guid(), .statement = request.statement, .database_name = request.database}));
  const auto outcome = RecoverAndRemember(parts, request, job, std::move(database));
  if (!outcome.ok()) {
    if (Status forgotten = parts.catalog.ForgetJob(job.guid()); !forgotten.ok()) {
      CAPSTAN_LOG(kError, "job {} stays in the journal: {}", job.guid().ToString(),
                  forgotten.message());
    }
    return outcome.status();
  }
  if (outcome->stop_missed) {
    observer.OnMessage(4329, MessageText(4329));
  }
  observer.OnMessage(3014, CompletionMessage("RESTORE DATABASE", 0,
                                             std::chrono::steady_clock::now() - job.started()));
  return OkStatus();
}

}  // namespace capstan::engine
