// Job: one BACKUP or RESTORE being carried out, as everybody else sees it.
//
// The thread that runs the statement owns the work; the Job is what it tells the world about it,
// and how the world asks it to stop. Threads: any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vdi/base/guid.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::engine {

// One device of a job at one moment.
struct DeviceSnapshot {
  std::string device_name;  // of the virtual device
  std::string target;       // as the statement named it
  std::string agent;        // empty for a vendor's own virtual device
  std::uint64_t bytes = 0;
  std::uint64_t bytes_per_second_now = 0;
  std::uint64_t bytes_per_second_mean = 0;
  std::uint32_t in_flight = 0;
  std::string state;  // "Opening", "Active", "Flushing", "Complete", "Failed", ...
  std::string wait;   // what it waits for: "reader", "device" or nothing
};

struct JobSnapshot {
  int session_id = 0;
  Guid job_guid;
  std::string command;  // "BACKUP DATABASE"
  std::string database;
  std::string statement;
  std::string phase;
  std::int64_t start_unix_ms = 0;
  std::uint64_t elapsed_ms = 0;
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;  // 0 = unknown
  std::vector<DeviceSnapshot> devices;

  double percent_complete() const;
  // Milliseconds until the end at the mean rate so far; 0 if unknown.
  std::uint64_t estimated_remaining_ms() const;
};

struct JobIdentity {
  int session_id = 0;
  std::string command;
  std::string database;
  std::string statement;
};

class Job {
 public:
  explicit Job(JobIdentity identity);
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  const JobIdentity& identity() const { return identity_; }
  const Guid& guid() const { return guid_; }

  // Asks the job to stop; it ends with 3204 within a second. Idempotent.
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  void SetPhase(std::string_view phase) CAPSTAN_EXCLUDES(mutex_);
  void SetTotal(std::uint64_t bytes_total) CAPSTAN_EXCLUDES(mutex_);
  // Replaces the numbers that change while data moves.
  void Update(std::uint64_t bytes_done, std::vector<DeviceSnapshot> devices)
      CAPSTAN_EXCLUDES(mutex_);

  JobSnapshot Snapshot() const CAPSTAN_EXCLUDES(mutex_);
  std::chrono::steady_clock::time_point started() const { return started_; }

 private:
  // Constant after construction.
  const JobIdentity identity_;
  const Guid guid_ = Guid::Random();
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  const std::int64_t start_unix_ms_;

  std::atomic<bool> cancelled_{false};

  mutable Mutex mutex_;
  std::string phase_ CAPSTAN_GUARDED_BY(mutex_) = "Starting";
  std::uint64_t bytes_done_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::uint64_t bytes_total_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::vector<DeviceSnapshot> devices_ CAPSTAN_GUARDED_BY(mutex_);
};

// What a running job says to whoever started it. Called from the job's thread only.
class JobObserver {
 public:
  virtual ~JobObserver() = default;
  // A message of SQL Server's catalogue that informs (severity 0).
  virtual void OnMessage(int number, const std::string& text) = 0;
  // Now and then while data moves; JobSnapshot is cheap to make, so observers thin it out
  // themselves.
  virtual void OnProgress(const JobSnapshot& snapshot) = 0;
};

// The jobs of a server. Threads: any.
class JobRegistry {
 public:
  // Shared, because listings may still read a job that has just ended.
  // 3023 if another job holds the database, unless `database` is empty.
  Result<std::shared_ptr<Job>> Start(JobIdentity identity) CAPSTAN_EXCLUDES(mutex_);
  void Finish(const std::shared_ptr<Job>& job) CAPSTAN_EXCLUDES(mutex_);

  std::vector<JobSnapshot> List() const CAPSTAN_EXCLUDES(mutex_);
  // Cancels the job of a session; false if it has none.
  bool Cancel(int session_id) CAPSTAN_EXCLUDES(mutex_);
  void CancelAll() CAPSTAN_EXCLUDES(mutex_);
  bool IsRunning(const Guid& job_guid) const CAPSTAN_EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::vector<std::shared_ptr<Job>> jobs_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::engine
