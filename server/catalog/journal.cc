#include "server/catalog/journal.h"

#include <array>
#include <utility>

namespace capstan::catalog {
namespace {

constexpr std::array<std::pair<std::string_view, std::int64_t>, 4> kDeviceTypes = {{
    {"DISK", 2},
    {"TAPE", 5},
    {"VIRTUAL_DEVICE", 7},
    {"URL", 9},
}};

constexpr std::string_view kJobColumns =
    "SELECT job_guid, prepared, statement, database_name, restore_scheme, backup_set_id, "
    "restore_name, kept, restored_set_guid, restored_bytes, total_bytes, restarts "
    "FROM catalog_job";

Status InsertDevices(Connection& connection, const JobRecord& job) {
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement insert,
      connection.Prepare("INSERT INTO catalog_job_device (job_guid, ordinal, device_class, target, "
                         "token, media_family_id, family_number) VALUES (?, ?, ?, ?, ?, ?, ?)"));
  int ordinal = 0;
  for (const JobDevice& device : job.devices) {
    if (!DeviceType(device.device_class)) {
      return Error(Code::kInvalidArgument, "'{}' is not a class of backup devices",
                   device.device_class);
    }
    insert.Bind(job.job_guid.ToString(), ordinal++, device.device_class, device.target,
                device.token, device.media_family_id, device.family_number);
    CAPSTAN_RETURN_IF_ERROR(insert.Step().status());
    insert.Reset();
  }
  return OkStatus();
}

Status ReadDevices(Connection& connection, JobRecord& job) {
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement select,
      connection.Prepare("SELECT device_class, target, token, media_family_id, family_number "
                         "FROM catalog_job_device WHERE job_guid = ? ORDER BY ordinal"));
  select.Bind(job.job_guid.ToString());
  for (;;) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) {
      return OkStatus();
    }
    job.devices.push_back(
        JobDevice{.device_class = select.Text(0),
                  .target = select.Text(1),
                  .token = select.Text(2),
                  .media_family_id = static_cast<std::uint32_t>(select.Integer(3)),
                  .family_number = static_cast<std::uint16_t>(select.Integer(4))});
  }
}

Status ReadRestorePaths(Connection& connection, JobRecord& job) {
  CAPSTAN_ASSIGN_OR_RETURN(Statement select,
                           connection.Prepare("SELECT path FROM catalog_job_restore_path "
                                              "WHERE job_guid = ? ORDER BY ordinal"));
  select.Bind(job.job_guid.ToString());
  for (;;) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) {
      return OkStatus();
    }
    job.restore_paths.push_back(select.Text(0));
  }
}

// kNotFound if the UPDATE just run met no job.
Status CheckFound(const Connection& connection, const Guid& job_guid) {
  return connection.changes() > 0
             ? OkStatus()
             : Error(Code::kNotFound, "the journal has no job {}", job_guid.ToString());
}

// From a row of kJobColumns.
Result<JournalEntry> ReadEntry(Connection& connection, const Statement& row) {
  JournalEntry entry;
  CAPSTAN_ASSIGN_OR_RETURN(entry.job.job_guid, Guid::Parse(row.Text(0)));
  entry.job.state = row.Integer(1) != 0 ? JobState::kPrepared : JobState::kRunning;
  entry.job.statement = row.Text(2);
  entry.job.database_name = row.Text(3);
  entry.job.restore_scheme = row.Text(4);
  if (!row.IsNull(5)) {
    entry.backup_set_id = row.Integer(5);
  }
  entry.job.restore_name = row.Text(6);
  entry.job.kept = row.Integer(7) != 0;
  entry.job.restarts = static_cast<std::uint32_t>(row.Integer(11));
  if (const std::string set_guid = row.Text(8); !set_guid.empty()) {
    JobProgress& progress = entry.job.progress.emplace();
    CAPSTAN_ASSIGN_OR_RETURN(progress.backup_set_guid, Guid::Parse(set_guid));
    progress.done_bytes = static_cast<std::uint64_t>(row.Integer(9));
    progress.total_bytes = static_cast<std::uint64_t>(row.Integer(10));
  }
  CAPSTAN_RETURN_IF_ERROR(ReadDevices(connection, entry.job));
  CAPSTAN_RETURN_IF_ERROR(ReadRestorePaths(connection, entry.job));
  return entry;
}

}  // namespace

std::optional<std::int64_t> DeviceType(std::string_view device_class) {
  for (const auto& [name, type] : kDeviceTypes) {
    if (name == device_class) {
      return type;
    }
  }
  return std::nullopt;
}

Status InsertJob(Connection& connection, const JobRecord& job) {
  Status status = connection.Run(
      "INSERT INTO catalog_job (job_guid, prepared, statement, database_name, restore_scheme, "
      "restore_name, restarts) VALUES (?, 0, ?, ?, ?, ?, ?)",
      job.job_guid.ToString(), job.statement, job.database_name, job.restore_scheme,
      job.restore_name, job.restarts);
  if (status.code() == Code::kAlreadyExists) {
    return Error(Code::kAlreadyExists, "job {} has begun already", job.job_guid.ToString());
  }
  CAPSTAN_RETURN_IF_ERROR(std::move(status));
  CAPSTAN_RETURN_IF_ERROR(InsertDevices(connection, job));
  int ordinal = 0;
  for (const std::string& path : job.restore_paths) {
    CAPSTAN_RETURN_IF_ERROR(connection.Run(
        "INSERT INTO catalog_job_restore_path (job_guid, ordinal, path) VALUES (?, ?, ?)",
        job.job_guid.ToString(), ordinal++, path));
  }
  return OkStatus();
}

Result<JournalEntry> FindJob(Connection& connection, const Guid& job_guid) {
  CAPSTAN_ASSIGN_OR_RETURN(Statement select,
                           connection.Prepare(fmt::format("{} WHERE job_guid = ?", kJobColumns)));
  select.Bind(job_guid.ToString());
  CAPSTAN_ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) {
    return Error(Code::kNotFound, "the journal has no job {}", job_guid.ToString());
  }
  return ReadEntry(connection, select);
}

Result<std::vector<JobRecord>> ListJobs(Connection& connection) {
  CAPSTAN_ASSIGN_OR_RETURN(Statement select,
                           connection.Prepare(fmt::format("{} ORDER BY rowid", kJobColumns)));
  std::vector<JobRecord> jobs;
  for (;;) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) {
      return jobs;
    }
    CAPSTAN_ASSIGN_OR_RETURN(JournalEntry entry, ReadEntry(connection, select));
    jobs.push_back(std::move(entry.job));
  }
}

Status MarkPrepared(Connection& connection, const Guid& job_guid, std::int64_t backup_set_id) {
  return connection.Run("UPDATE catalog_job SET prepared = 1, backup_set_id = ? WHERE job_guid = ?",
                        backup_set_id, job_guid.ToString());
}

Status MarkRunning(Connection& connection, const Guid& job_guid) {
  return connection.Run(
      "UPDATE catalog_job SET prepared = 0, backup_set_id = NULL WHERE job_guid = ?",
      job_guid.ToString());
}

Status InsertCheckpoint(Connection& connection, const Guid& job_guid, const JobProgress& progress,
                        std::string_view frames) {
  CAPSTAN_RETURN_IF_ERROR(
      connection.Run("UPDATE catalog_job SET restored_set_guid = ?, restored_bytes = ?, "
                     "total_bytes = ? WHERE job_guid = ?",
                     progress.backup_set_guid.ToString(), progress.done_bytes, progress.total_bytes,
                     job_guid.ToString()));
  CAPSTAN_RETURN_IF_ERROR(CheckFound(connection, job_guid));
  return connection.Run(
      "INSERT INTO catalog_job_checkpoint (job_guid, frames) VALUES (?, CAST(? AS BLOB))",
      job_guid.ToString(), frames);
}

Result<std::string> SelectCheckpointFrames(Connection& connection, const Guid& job_guid) {
  CAPSTAN_ASSIGN_OR_RETURN(Statement select,
                           connection.Prepare("SELECT frames FROM catalog_job_checkpoint "
                                              "WHERE job_guid = ? ORDER BY checkpoint_id"));
  select.Bind(job_guid.ToString());
  std::string frames;
  for (;;) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) {
      return frames;
    }
    frames += select.Text(0);
  }
}

Status MarkKept(Connection& connection, const Guid& job_guid) {
  CAPSTAN_RETURN_IF_ERROR(
      connection.Run("UPDATE catalog_job SET kept = 1 WHERE job_guid = ?", job_guid.ToString()));
  return CheckFound(connection, job_guid);
}

Status MoveCheckpoints(Connection& connection, const Guid& from, const Guid& to) {
  CAPSTAN_RETURN_IF_ERROR(connection.Run(
      "UPDATE catalog_job SET (restored_set_guid, restored_bytes, total_bytes) = "
      "(SELECT restored_set_guid, restored_bytes, total_bytes FROM catalog_job WHERE job_guid = "
      "?1) WHERE job_guid = ?2",
      from.ToString(), to.ToString()));
  return connection.Run("UPDATE catalog_job_checkpoint SET job_guid = ?2 WHERE job_guid = ?1",
                        from.ToString(), to.ToString());
}

Status DeleteJob(Connection& connection, const Guid& job_guid) {
  return connection.Run("DELETE FROM catalog_job WHERE job_guid = ?", job_guid.ToString());
}

}  // namespace capstan::catalog
