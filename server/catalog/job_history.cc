#include "server/catalog/job_history.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "server/catalog/timestamps.h"

namespace capstan::catalog {
namespace {

constexpr int kRowsMax = 10'000;

std::optional<std::string_view> NullIfEmpty(std::string_view text) {
  return text.empty() ? std::nullopt : std::optional(text);
}

// msdb's ways to write times as numbers: 20261121, 93005 for 09:30:05.
std::int64_t DateNumber(std::int64_t unix_s) {
  const std::tm local = fmt::localtime(static_cast<std::time_t>(unix_s));
  return (local.tm_year + 1900LL) * 10'000 + (local.tm_mon + 1) * 100 + local.tm_mday;
}
std::int64_t TimeNumber(std::int64_t unix_s) {
  const std::tm local = fmt::localtime(static_cast<std::time_t>(unix_s));
  return local.tm_hour * 10'000LL + local.tm_min * 100 + local.tm_sec;
}
std::int64_t DurationNumber(std::int64_t seconds) {
  return seconds / 3600 * 10'000 + seconds / 60 % 60 * 100 + seconds % 60;
}

std::string_view StatusText(JobOutcome outcome) {
  switch (outcome) {
    case JobOutcome::kFailed:
      return "Failed";
    case JobOutcome::kSucceeded:
      return "Succeeded";
    case JobOutcome::kCancelled:
      return "Canceled";
    case JobOutcome::kRunning:
      break;
  }
  return "In progress";
}

}  // namespace

Result<std::int64_t> InsertJobHistory(Connection& connection, const JobHistory& job) {
  CAPSTAN_RETURN_IF_ERROR(connection.Run(
      "INSERT INTO catalog_job_history (job_id, step_id, step_name, sql_message_id, sql_severity, "
      "run_status, run_status_desc, run_date, run_time, run_duration, retries_attempted, server, "
      "database_name, executed_as, started, progress_time, percent_complete, query, state) VALUES "
      "(?1, 0, ?2, 0, 0, ?3, ?4, ?5, ?6, 0, 0, ?7, ?8, ?9, ?10, ?10, 0, ?11, 0)",
      job.job_guid.ToString(), job.command, static_cast<int>(job.outcome), StatusText(job.outcome),
      DateNumber(job.start_unix_s), TimeNumber(job.start_unix_s), NullIfEmpty(job.server_name),
      NullIfEmpty(job.database_name), NullIfEmpty(job.user_name), LocalDateTime(job.start_unix_s),
      job.statement));
  const std::int64_t instance_id = connection.last_insert_id();
  CAPSTAN_RETURN_IF_ERROR(connection.Run("DELETE FROM catalog_job_history WHERE instance_id <= ?",
                                         instance_id - kRowsMax));
  return instance_id;
}

Status ChangeJobHistory(Connection& connection, std::int64_t instance_id, const JobHistory& job) {
  const std::int64_t seconds =
      job.end_unix_s == 0 ? 0 : std::max<std::int64_t>(job.end_unix_s - job.start_unix_s, 0);
  return connection.Run(
      "UPDATE catalog_job_history SET job_id = ?2, sql_message_id = ?3, sql_severity = ?4, "
      "state = ?5, message = ?6, run_status = ?7, run_status_desc = ?8, run_duration = ?9, "
      "progress_time = ?10, percent_complete = ?11, ended = ?12, source = ?13, "
      "possible_reasons = ?14 WHERE instance_id = ?1",
      instance_id, job.job_guid.ToString(), job.message_number, job.severity, job.state,
      NullIfEmpty(job.description), static_cast<int>(job.outcome), StatusText(job.outcome),
      DurationNumber(seconds), LocalDateTime(job.progress_unix_s), job.percent_complete,
      LocalDateTime(job.end_unix_s), NullIfEmpty(job.source), NullIfEmpty(job.possible_reasons));
}

Status EndAbandonedJobs(Connection& connection) {
  return connection.Run(
      "UPDATE catalog_job_history SET run_status = ?1, run_status_desc = ?2, ended = "
      "progress_time, "
      "source = 'capstand', message = 'The server ended before the job did.', possible_reasons = "
      "'capstand was killed, or the host went down; its error log of that time may tell why' "
      "WHERE run_status = ?3",
      static_cast<int>(JobOutcome::kFailed), StatusText(JobOutcome::kFailed),
      static_cast<int>(JobOutcome::kRunning));
}

}  // namespace capstan::catalog
