// The journal of jobs: the rows that say what a crash leaves to be finished or undone.
//
// Threads: as the connection. Every function that writes is called inside a transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/catalog/sqlite_connection.h"

namespace capstan::catalog {

// msdb's device_type of a device class ("DISK" is 2); nullopt if there is no such class.
std::optional<std::int64_t> DeviceType(std::string_view device_class);

struct JournalEntry {
  JobRecord job;
  std::optional<std::int64_t> backup_set_id;  // of the prepared history rows
};

// kAlreadyExists if the job is there, kInvalidArgument for an unknown device class.
Status InsertJob(Connection& connection, const JobRecord& job);
// kNotFound if there is no such job.
Result<JournalEntry> FindJob(Connection& connection, const Guid& job_guid);
// In the order in which the jobs began.
Result<std::vector<JobRecord>> ListJobs(Connection& connection);
Status MarkPrepared(Connection& connection, const Guid& job_guid, std::int64_t backup_set_id);
// Takes MarkPrepared back.
Status MarkRunning(Connection& connection, const Guid& job_guid);
// kNotFound, as Catalog says.
Status InsertCheckpoint(Connection& connection, const Guid& job_guid, const JobProgress& progress,
                        std::string_view frames);
Result<std::string> SelectCheckpointFrames(Connection& connection, const Guid& job_guid);
Status MarkKept(Connection& connection, const Guid& job_guid);
// REQUIRES: `to` is in the journal.
Status MoveCheckpoints(Connection& connection, const Guid& from, const Guid& to);
// Nothing happens if there is no such job.
Status DeleteJob(Connection& connection, const Guid& job_guid);

}  // namespace capstan::catalog
