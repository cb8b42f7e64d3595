#include "tools/capstan/commands/list.h"

#include <array>

#include <fmt/format.h>

#include "tools/capstan/agent_view.h"
#include "tools/client/text_width.h"
#include "vdi/base/check.h"

namespace capstan::cli {
namespace {

constexpr std::array kDatabases = std::to_array<ColumnView>({
    {"name", "name"},
    {"source", "source"},
    {"recovery_model_desc", "recovery model"},
    {"state_desc", "state"},
    {"log_desc", "log"},
    {"create_date", "registered"},
});
// In `status`; `list agents` says all of it.
constexpr std::array kAgents = std::to_array<ColumnView>({
    {"agent_name", "agent"},
    {"plugin", "plugin"},
    {"plugin_version", "version"},
    {"device_class", "device class"},
    {"pid", "pid"},
    {"state", "state"},
    {"restarts", "restarts"},
});
constexpr std::array kDeviceSets = std::to_array<ColumnView>({
    {"set_name", "set"},
    {"state", "state"},
    {"client_pid", "client pid"},
    {"device_count", "devices"},
    {"features", "features"},
});
constexpr std::array kLogins = std::to_array<ColumnView>({
    {"name", "login"},
    {"create_date", "added"},
    {"modify_date", "password of"},
});
constexpr std::array kCertificates = std::to_array<ColumnView>({
    {"name", "certificate"},
    {"subject", "subject"},
    {"pvt_key_encryption_type_desc", "private key"},
    {"start_date", "valid from"},
    {"expiry_date", "until"},
    {"thumbprint", "thumbprint"},
});
constexpr std::array kJobHistory = std::to_array<ColumnView>({
    {"started", "started"},
    {"command", "command"},
    {"database_name", "database"},
    {"executed_as", "by"},
    {"status", "status"},
    {"percent_complete", "done", Unit::kPercent},
    {"code", "code"},
    {"description", "description"},
});
constexpr std::array kJobs = std::to_array<ColumnView>({
    {"session_id", "job"},
    {"command", "command"},
    {"database_name", "database"},
    {"status", "status"},
    {"phase", "phase"},
    {"percent_complete", "done", Unit::kPercent},
    {"total_elapsed_time", "elapsed", Unit::kMilliseconds},
    {"estimated_completion_time", "left", Unit::kMilliseconds},
    {"wait_type", "wait"},
    {"start_time", "started"},
});

std::string Braced(const std::string& guid) {
  return guid.starts_with('{') ? guid : "{" + guid + "}";
}

std::string OneLine(const RowReader& row, std::string_view column, std::string_view fallback) {
  const std::string text = Printable(row.Text(column));
  return text.empty() ? std::string(fallback) : text;
}

}  // namespace

std::string ListStatement(ListSubject subject) {
  switch (subject) {
    case ListSubject::kDatabases:
      return "SELECT name, database_id, create_date, source, recovery_model_desc, state_desc, "
             "is_in_standby, log_desc, replica_role_desc, backup_preference_desc, "
             "is_preferred_replica FROM sys.databases ORDER BY name";
    case ListSubject::kAgents:
      return "SELECT agent_name, plugin, plugin_version, plugin_vendor, device_class, schemes, "
             "features, state, pid, attached_at, started_at, started_by, restarts, last_exit, "
             "last_error FROM sys.dm_backup_agents ORDER BY agent_name";
    case ListSubject::kCertificates:
      return "SELECT name, subject, pvt_key_encryption_type_desc, start_date, expiry_date, "
             "thumbprint FROM sys.certificates ORDER BY name";
    case ListSubject::kJobHistory:
      return "SELECT TOP (50) started, command, database_name, executed_as, status, "
             "percent_complete, ended, code, severity, source, description, possible_reasons, "
             "query FROM msdb.dbo.backupjobhistory ORDER BY instance_id DESC";
    case ListSubject::kDevices:
      return "SELECT session_id, job_id, device_name, target, agent, mode, bytes, "
             "current_bytes_per_second, mean_bytes_per_second, in_flight, state, wait, errors, "
             "last_error, medium, stops, medium_time_ms, waits_for, requests, average_latency_ms, "
             "max_latency_ms, throttled_ms, retries "
             "FROM sys.dm_backup_devices ORDER BY session_id, device_name";
    case ListSubject::kDeviceSets:
      return "SELECT set_name, state, client_pid, device_count, features "
             "FROM sys.dm_backup_device_sets ORDER BY set_name";
    case ListSubject::kJobs:
      return "SELECT session_id, start_time, status, command, database_name, percent_complete, "
             "estimated_completion_time, total_elapsed_time, wait_type, phase, statement "
             "FROM sys.dm_exec_requests ORDER BY session_id";
    case ListSubject::kLogins:
      return "SELECT name, create_date, modify_date FROM sys.sql_logins ORDER BY name";
    case ListSubject::kWriters:
      return "SELECT writer_name, writer_id, instance_id, state, state_desc, last_error "
             "FROM sys.dm_backup_writers ORDER BY writer_name";
  }
  CAPSTAN_CHECK(false);
}

std::span<const ColumnView> ListColumns(ListSubject subject) {
  switch (subject) {
    case ListSubject::kDatabases:
      return kDatabases;
    case ListSubject::kCertificates:
      return kCertificates;
    case ListSubject::kJobHistory:
      return kJobHistory;
    case ListSubject::kDeviceSets:
      return kDeviceSets;
    case ListSubject::kJobs:
      return kJobs;
    case ListSubject::kLogins:
      return kLogins;
    case ListSubject::kAgents:
      return kAgents;
    case ListSubject::kDevices:
    case ListSubject::kWriters:
      return {};
  }
  CAPSTAN_CHECK(false);
}

std::string FormatWriters(const ResultSet& writers) {
  std::string text;
  for (const Row& row : writers.rows) {
    const RowReader reader(writers, row);
    text += fmt::format(
        "{}Writer name: '{}'\n"
        "   Writer Id: {}\n"
        "   Writer Instance Id: {}\n"
        "   State: [{}] {}\n"
        "   Last error: {}\n",
        text.empty() ? "" : "\n", OneLine(reader, "writer_name", ""),
        Braced(OneLine(reader, "writer_id", "")), Braced(OneLine(reader, "instance_id", "")),
        OneLine(reader, "state", "?"), OneLine(reader, "state_desc", "Unknown"),
        OneLine(reader, "last_error", "No error"));
  }
  return text;
}

ExitStatus RunList(Session& session, const ListOptions& options) {
  const QueryResult result = Query(session, ListStatement(options.subject));
  if (result.status != ExitStatus::kDone) {
    return result.status;
  }
  const ResultSet& rows = result.result_sets.front();
  if (options.format == OutputFormat::kJson) {
    PrintResultSet(session.console, rows, OutputFormat::kJson);
  } else if (options.subject == ListSubject::kWriters) {
    session.console.Out(FormatWriters(rows));
  } else if (options.subject == ListSubject::kAgents) {
    session.console.Out(FormatAgents(rows));
  } else if (options.subject == ListSubject::kDevices) {
    session.console.Out(FormatDevices(rows));
  } else {
    PrintResultSet(session.console, Laid(rows, ListColumns(options.subject)), OutputFormat::kTable);
  }
  return ExitStatus::kDone;
}

}  // namespace capstan::cli
