#include "server/engine/job.h"

#include <algorithm>
#include <utility>

#include "server/messages/messages.h"

namespace capstan::engine {

double JobSnapshot::percent_complete() const {
  if (bytes_total == 0) {
    return 0;
  }
  return std::min(100.0,
                  100.0 * static_cast<double>(bytes_done) / static_cast<double>(bytes_total));
}

std::uint64_t JobSnapshot::estimated_remaining_ms() const {
  if (bytes_done == 0 || bytes_total <= bytes_done) {
    return 0;
  }
  const double per_byte = static_cast<double>(elapsed_ms) / static_cast<double>(bytes_done);
  return static_cast<std::uint64_t>(per_byte * static_cast<double>(bytes_total - bytes_done));
}

Job::Job(JobIdentity identity)
    : identity_(std::move(identity)),
      start_unix_ms_(std::chrono::duration_cast<std::chrono::milliseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count()) {}

void Job::SetPhase(std::string_view phase) {
  MutexLock lock(mutex_);
  phase_ = phase;
}

void Job::SetTotal(std::uint64_t bytes_total) {
  MutexLock lock(mutex_);
  bytes_total_ = bytes_total;
}

void Job::Update(std::uint64_t bytes_done, std::vector<DeviceSnapshot> devices) {
  MutexLock lock(mutex_);
  bytes_done_ = bytes_done;
  devices_ = std::move(devices);
}

JobSnapshot Job::Snapshot() const {
  JobSnapshot snapshot;
  snapshot.session_id = identity_.session_id;
  snapshot.job_guid = guid_;
  snapshot.command = identity_.command;
  snapshot.database = identity_.database;
  snapshot.statement = identity_.statement;
  snapshot.start_unix_ms = start_unix_ms_;
  snapshot.elapsed_ms =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                     std::chrono::steady_clock::now() - started_)
                                     .count());
  MutexLock lock(mutex_);
  snapshot.phase = phase_;
  snapshot.bytes_done = bytes_done_;
  snapshot.bytes_total = bytes_total_;
  snapshot.devices = devices_;
  return snapshot;
}

Result<std::shared_ptr<Job>> JobRegistry::Start(JobIdentity identity) {
  MutexLock lock(mutex_);
  if (!identity.database.empty()) {
    for (const auto& job : jobs_) {
      if (job->identity().database == identity.database) {
        return SqlError(3023).WithHint(
            fmt::format("session {} is running {} on '{}'; wait for it, or cancel it with KILL {}",
                        job->identity().session_id, job->identity().command, identity.database,
                        job->identity().session_id));
      }
    }
  }
  jobs_.push_back(std::make_shared<Job>(std::move(identity)));
  return jobs_.back();
}

void JobRegistry::Finish(const std::shared_ptr<Job>& job) {
  MutexLock lock(mutex_);
  std::erase(jobs_, job);
}

std::vector<JobSnapshot> JobRegistry::List() const {
  MutexLock lock(mutex_);
  std::vector<JobSnapshot> list;
  for (const auto& job : jobs_) {
    list.push_back(job->Snapshot());
  }
  return list;
}

bool JobRegistry::Cancel(int session_id) {
  MutexLock lock(mutex_);
  bool found = false;
  for (const auto& job : jobs_) {
    if (job->identity().session_id == session_id) {
      job->Cancel();
      found = true;
    }
  }
  return found;
}

void JobRegistry::CancelAll() {
  MutexLock lock(mutex_);
  for (const auto& job : jobs_) {
    job->Cancel();
  }
}

bool JobRegistry::IsRunning(const Guid& job_guid) const {
  MutexLock lock(mutex_);
  return std::any_of(jobs_.begin(), jobs_.end(),
                     [&](const auto& job) { return job->guid() == job_guid; });
}

}  // namespace capstan::engine
