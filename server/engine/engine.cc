#include "server/engine/engine.h"

#include <algorithm>
#include <set>

#include "server/engine/backup_job.h"
#include "server/engine/media_inspection.h"
#include "server/engine/restart/interrupted_backup.h"
#include "server/engine/restart/interrupted_restore.h"
#include "server/engine/restore_job.h"
#include "server/engine/roll_forward/recover_job.h"
#include "server/engine/roll_forward/restore_chain.h"
#include "server/engine/sqlserver_verify.h"
#include "server/engine/verify_job.h"
#include "server/engine/worker_group.h"
#include "server/messages/messages.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

// Registers a job for as long as it runs.
class RunningJob {
 public:
  RunningJob(JobRegistry& registry, std::shared_ptr<Job> job)
      : registry_(registry), job_(std::move(job)) {}
  ~RunningJob() { registry_.Finish(job_); }
  RunningJob(const RunningJob&) = delete;
  RunningJob& operator=(const RunningJob&) = delete;
  Job& operator*() { return *job_; }

 private:
  JobRegistry& registry_;
  const std::shared_ptr<Job> job_;
};

// Passes messages on and keeps the completion lines for the error log.
class LoggingObserver final : public JobObserver {
 public:
  LoggingObserver(JobObserver& next, ErrorLog& log, int session_id)
      : next_(next), log_(log), session_id_(session_id) {}
  void OnMessage(int number, const std::string& text) override {
    if (number == 3014) {
      log_.Write(session_id_, text);
    }
    next_.OnMessage(number, text);
  }
  void OnProgress(const JobSnapshot& snapshot) override { next_.OnProgress(snapshot); }

 private:
  JobObserver& next_;
  ErrorLog& log_;
  const int session_id_;
};

JobIdentity IdentityOf(const TransferRequest& transfer, std::string command, std::string database) {
  return {.session_id = transfer.session_id,
          .command = std::move(command),
          .database = std::move(database),
          .statement = transfer.statement};
}

void LogOutcome(ErrorLog& log, int session_id, const std::string& command, const Status& status) {
  if (!status.ok()) {
    log.Write(session_id, fmt::format("Error: {}, {}", status.reason(), status.message()));
    log.Write(session_id, fmt::format("{} failed to complete the command.", command));
  }
}

}  // namespace

void SayPages(const media::BackupSet& set, const std::string& database, JobObserver& observer) {
  for (const media::BackupFile& file : set.files) {
    if (set.kind != media::SetKind::kLog || file.type == 'L') {
      observer.OnMessage(4035, MessageText(4035, PagesOf(file.backup_size_bytes), database,
                                           file.logical_name, set.position));
    }
  }
}

std::string CompletionMessage(const std::string& command, std::uint64_t pages,
                              std::chrono::nanoseconds elapsed) {
  const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(1, elapsed.count()));
  const std::uint64_t elapsed_ms = ns / 1'000'000;
  const double mb = static_cast<double>(pages) * static_cast<double>(kPageBytes) / (1 << 20);
  const auto kb_per_second =
      static_cast<std::uint64_t>(mb * 1000.0 / (static_cast<double>(ns) / 1e9));
  return MessageText(3014, command, pages, elapsed_ms / 1000, elapsed_ms % 1000,
                     kb_per_second / 1000, kb_per_second % 1000);
}

Status Engine::Backup(const BackupRequest& request, JobObserver& observer) {
  const bool log = request.kind == writers::BackupKind::kLog;
  CAPSTAN_ASSIGN_OR_RETURN(
      auto started,
      parts_.jobs.Start(
          IdentityOf(request.transfer, log ? "BACKUP LOG" : "BACKUP DATABASE", request.database)));
  RunningJob job(parts_.jobs, std::move(started));
  LoggingObserver logging(observer, parts_.error_log, request.transfer.session_id);
  CAPSTAN_LOG(kInfo, "backup begin session={} database={} devices={}", request.transfer.session_id,
              request.database, request.transfer.targets.size());
  BackupJob backup(parts_, request, *job, logging);
  Status status = backup.Run();
  if (status.ok()) {
    KeepLogs();
  }
  LogOutcome(parts_.error_log, request.transfer.session_id, "BACKUP", status);
  CAPSTAN_LOG(kInfo, "backup end session={} database={} result={}", request.transfer.session_id,
              request.database, status.ToString());
  return status;
}

Status Engine::Restore(const RestoreRequest& request, JobObserver& observer) {
  CAPSTAN_ASSIGN_OR_RETURN(
      auto started, parts_.jobs.Start(IdentityOf(
                        request.transfer, std::string(RestoreCommand(request)), request.database)));
  RunningJob job(parts_.jobs, std::move(started));
  LoggingObserver logging(observer, parts_.error_log, request.transfer.session_id);
  CAPSTAN_LOG(kInfo, "restore begin session={} database={} devices={}", request.transfer.session_id,
              request.database, request.transfer.targets.size());
  Status status = RestoreJob(parts_, request, *job, logging).Run();
  if (status.ok()) {
    KeepLogs();
  }
  LogOutcome(parts_.error_log, request.transfer.session_id, "RESTORE", status);
  CAPSTAN_LOG(kInfo, "restore end session={} database={} result={}", request.transfer.session_id,
              request.database, status.ToString());
  return status;
}

Status Engine::Recover(const RecoverRequest& request, JobObserver& observer) {
  CAPSTAN_ASSIGN_OR_RETURN(auto started, parts_.jobs.Start({.session_id = request.session_id,
                                                            .command = "RESTORE DATABASE",
                                                            .database = request.database,
                                                            .statement = request.statement}));
  RunningJob job(parts_.jobs, std::move(started));
  LoggingObserver logging(observer, parts_.error_log, request.session_id);
  Status status = RunRecover(parts_, request, *job, logging);
  if (status.ok()) {
    KeepLogs();
  }
  LogOutcome(parts_.error_log, request.session_id, "RESTORE", status);
  CAPSTAN_LOG(kInfo, "recovery end session={} database={} result={}", request.session_id,
              request.database, status.ToString());
  return status;
}

Status Engine::Detach(const std::string& database) {
  CAPSTAN_ASSIGN_OR_RETURN(
      auto started,
      parts_.jobs.Start(
          {.session_id = 0, .command = "DETACH DATABASE", .database = database, .statement = {}}));
  const RunningJob job(parts_.jobs, std::move(started));
  CAPSTAN_ASSIGN_OR_RETURN(const catalog::Database known, parts_.catalog.FindDatabase(database));
  CAPSTAN_RETURN_IF_ERROR(DiscardInterrupted(parts_, database).status());
  CAPSTAN_RETURN_IF_ERROR(DiscardInterruptedBackup(parts_, database).status());
  const auto writer = parts_.writers.find(known.scheme);
  if (known.roll_forward.state != catalog::RollForward::State::kOnline &&
      writer != parts_.writers.end()) {
    CAPSTAN_RETURN_IF_ERROR(writer->second->AbandonRestore(known.location));
  }
  CAPSTAN_RETURN_IF_ERROR(parts_.catalog.RemoveDatabase(database));
  KeepLogs();
  return OkStatus();
}

Result<bool> Engine::GiveUpInterrupted(const std::string& database) {
  CAPSTAN_ASSIGN_OR_RETURN(
      auto started,
      parts_.jobs.Start(
          {.session_id = 0, .command = "DROP DATABASE", .database = database, .statement = {}}));
  const RunningJob job(parts_.jobs, std::move(started));
  return DiscardInterrupted(parts_, database);
}

Status Engine::Verify(const VerifyRequest& request, JobObserver& observer) {
  CAPSTAN_ASSIGN_OR_RETURN(
      auto started, parts_.jobs.Start(IdentityOf(request.transfer, "RESTORE VERIFYONLY", "")));
  RunningJob job(parts_.jobs, std::move(started));
  Status status = VerifyJob(parts_, request, *job, observer).Run();
  // A virtual device is not there a second time.
  if (MayBeSqlServers(status) && request.transfer.device_class != "VIRTUAL_DEVICE") {
    status = VerifySqlServerMedia(parts_, request, *job, observer);
  }
  LogOutcome(parts_.error_log, request.transfer.session_id, "VERIFY DATABASE", status);
  return status;
}

Result<media::MediumListing> Engine::List(const TransferRequest& request) {
  CAPSTAN_ASSIGN_OR_RETURN(auto started,
                           parts_.jobs.Start(IdentityOf(request, "RESTORE HEADERONLY", "")));
  RunningJob job(parts_.jobs, std::move(started));
  return ListMedium(parts_, request, *job);
}

Result<media::MediumMap> Engine::Map(const TransferRequest& request) {
  CAPSTAN_ASSIGN_OR_RETURN(auto started,
                           parts_.jobs.Start(IdentityOf(request, "RESTORE MEDIAMAP", "")));
  RunningJob job(parts_.jobs, std::move(started));
  return MapMedium(parts_, request, *job);
}

void Engine::SettleUnfinishedJobs() {
  MutexLock lock(settle_mutex_);
  // A job that ends while this runs takes its record along. So a record counts only if it is there
  // after its job was seen not to run: by then that job will not change it any more.
  std::set<Guid> idle;
  for (const catalog::JobRecord& record : ReadJournal()) {
    if (!parts_.jobs.IsRunning(record.job_guid)) {
      idle.insert(record.job_guid);
    }
  }
  for (const catalog::JobRecord& record : idle.empty() ? Journal() : ReadJournal()) {
    if (idle.contains(record.job_guid)) {
      SettleJob(record);
    }
  }
  KeepLogs();
}

Engine::Journal Engine::ReadJournal() {
  auto unfinished = parts_.catalog.UnfinishedJobs();
  if (!unfinished.ok()) {
    CAPSTAN_LOG(kError, "the job journal cannot be read: {}", unfinished.status().message());
    return {};
  }
  return std::move(unfinished).value();
}

bool Engine::KeepInterruptedBackup(const catalog::JobRecord& record) {
  if (record.kept || !IsInterruptedBackup(record)) {
    return record.kept;
  }
  if (const Status kept = parts_.catalog.KeepJob(record.job_guid); !kept.ok()) {
    CAPSTAN_LOG(kWarning, "interrupted backup {}: {}", record.job_guid.ToString(), kept.message());
    return true;  // later
  }
  const std::string how = HowToGoOnWithBackup(record.database_name, record.progress->done_bytes);
  CAPSTAN_LOG(kWarning, "the backup of '{}' was interrupted; {}", record.database_name, how);
  parts_.error_log.Write(
      0, fmt::format("The backup of '{}' was interrupted; {}.", record.database_name, how));
  return true;
}

bool Engine::KeepInterrupted(const catalog::JobRecord& record) {
  const auto writer = parts_.writers.find(record.restore_scheme);
  if (record.kept || !record.progress || writer == parts_.writers.end()) {
    return record.kept;
  }
  bool is_left = false;  // what of several files goes on together may stand beside one of them
  for (const std::string& path : record.restore_paths) {
    const Result<bool> there = writer->second->KeepRestore(path, record.name());
    if (!there.ok()) {
      CAPSTAN_LOG(kWarning, "interrupted restore {}: {}", record.name(), there.status().message());
      return true;  // later
    }
    is_left = is_left || *there;
  }
  if (!is_left) {
    return false;
  }
  const Status kept = parts_.catalog.KeepJob(record.job_guid);
  const std::string how = HowToGoOn(record.database_name, *record.progress);
  CAPSTAN_LOG(kWarning, "the restore of '{}' was interrupted; {}: {}", record.database_name, how,
              kept.ToString());
  parts_.error_log.Write(
      0, fmt::format("The restore of '{}' was interrupted. {}.", record.database_name, how));
  return true;
}

void Engine::SettleJob(const catalog::JobRecord& record) {
  if (record.restore_paths.empty() ? KeepInterruptedBackup(record) : KeepInterrupted(record)) {
    return;
  }
  // A vendor's own program may have missed its last command: such a set is never called good.
  const bool all_recoverable =
      std::none_of(record.devices.begin(), record.devices.end(),
                   [](const auto& device) { return device.device_class == "VIRTUAL_DEVICE"; });
  const bool commit = record.state == catalog::JobState::kPrepared && all_recoverable;
  const Deadline deadline = Deadline::After(parts_.settings.timeouts.recover);
  for (const auto& device : record.devices) {
    if (device.device_class == "VIRTUAL_DEVICE") {
      continue;  // its owner settled it when the connection ended
    }
    Status settled =
        parts_.devices.Recover(device.device_class, {.name = device.target, .token = device.token},
                               commit ? RecoverAction::kCommit : RecoverAction::kDiscard, deadline);
    if (!settled.ok()) {
      CAPSTAN_LOG(kWarning, "interrupted job {} cannot be settled on '{}' yet: {}",
                  record.job_guid.ToString(), device.target, settled.message());
      return;
    }
  }
  for (const std::string& path : record.restore_paths) {
    const auto writer = parts_.writers.find(record.restore_scheme);
    if (writer == parts_.writers.end()) {
      continue;
    }
    if (Status discarded = writer->second->DiscardRestore(path, record.name()); !discarded.ok()) {
      CAPSTAN_LOG(kWarning, "interrupted restore {}: {}", record.job_guid.ToString(),
                  discarded.message());
      return;
    }
  }
  Status ended = commit ? parts_.catalog.CommitBackup(record.job_guid)
                        : parts_.catalog.ForgetJob(record.job_guid);
  CAPSTAN_LOG(kInfo, "interrupted job {} of '{}' was {}: {}", record.job_guid.ToString(),
              record.database_name, commit ? "finished" : "undone", ended.ToString());
}

}  // namespace capstan::engine
