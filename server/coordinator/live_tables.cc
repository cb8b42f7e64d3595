#include "server/coordinator/live_tables.h"

#include <ctime>

#include <fmt/format.h>

#include "server/catalog/timestamps.h"
#include "server/coordinator/agents_table.h"
#include "server/coordinator/database_statements.h"
#include "server/coordinator/server_procedures.h"
#include "server/messages/messages.h"

namespace capstan::coordinator {
namespace {

using Cell = std::optional<std::string>;

template <typename Number>
Cell Num(Number number) {
  return fmt::format("{}", number);
}
Cell OrNull(const std::string& text) {
  return text.empty() ? Cell() : Cell(text);
}

Cell Milliseconds(std::uint64_t microseconds) {
  return fmt::format("{:.3f}", static_cast<double>(microseconds) / 1000);
}

// What only the agent knows of a device: NULL where it has not reported, or does not know.
void AddFigures(const std::optional<DeviceReport>& report, std::vector<Cell>* row) {
  constexpr std::size_t kFigures = 9;
  if (!report) {
    row->resize(row->size() + kFigures);
    return;
  }
  row->push_back(OrNull(report->medium));
  row->push_back(Num(report->stops));
  row->push_back(report->medium_time_us == 0 ? Cell() : Num(report->medium_time_us / 1000));
  row->push_back(OrNull(report->waits_for));
  row->push_back(Num(report->requests));
  row->push_back(report->requests == 0 ? Cell()
                                       : Milliseconds(report->request_time_us / report->requests));
  row->push_back(report->requests == 0 ? Cell() : Milliseconds(report->request_time_max_us));
  row->push_back(Num(report->throttled_us / 1000));
  row->push_back(Num(report->retries));
}

}  // namespace

Result<catalog::LiveTable> LiveTables::Snapshot(const std::string& name) const {
  if (name == "sys.dm_exec_requests") return catalog::LiveTable{name, Requests()};
  if (name == "sys.dm_backup_devices") return catalog::LiveTable{name, Devices()};
  if (name == "sys.dm_backup_agents") return catalog::LiveTable{name, Agents()};
  if (name == "sys.dm_backup_writers") return catalog::LiveTable{name, Writers()};
  if (name == "sys.dm_backup_device_sets") return catalog::LiveTable{name, DeviceSets()};
  if (name == "sys.sql_logins") return catalog::LiveTable{name, Logins()};
  if (name == "sys.servers") {
    return catalog::LiveTable{
        name,
        {{{"server_id", "int"}, {"name", "nvarchar(128)"}, {"product", "nvarchar(128)"}},
         {{"0", sources_.server_name, "Capstan"}}}};
  }
  if (name == "sys.configurations") {
    return catalog::LiveTable{name, sources_.options.Configurations()};
  }
  if (name == "sys.certificates") {
    CAPSTAN_ASSIGN_OR_RETURN(catalog::Table certificates, CertificatesTable(sources_.certificates));
    return catalog::LiveTable{name, std::move(certificates)};
  }
  if (name == "sys.databases") {
    CAPSTAN_ASSIGN_OR_RETURN(catalog::Table databases,
                             DatabasesTable(sources_.catalog, ByScheme(sources_.writers)));
    return catalog::LiveTable{name, std::move(databases)};
  }
  if (name == "sys.dm_db_log_stats") {
    CAPSTAN_ASSIGN_OR_RETURN(catalog::Table logs,
                             LogStatsTable(sources_.catalog, ByScheme(sources_.writers)));
    return catalog::LiveTable{name, std::move(logs)};
  }
  return SqlError(208, name);
}

catalog::Table LiveTables::Requests() const {
  catalog::Table table;
  table.columns = {{"session_id", "smallint"},
                   {"start_time", "datetime"},
                   {"status", "nvarchar(30)"},
                   {"command", "nvarchar(32)"},
                   {"database_name", "nvarchar(128)"},
                   {"percent_complete", "real"},
                   {"estimated_completion_time", "bigint"},
                   {"total_elapsed_time", "int"},
                   {"wait_type", "nvarchar(60)"},
                   {"phase", "nvarchar(60)"},
                   {"statement", "nvarchar(max)"}};
  for (const engine::JobSnapshot& job : sources_.jobs.List()) {
    bool waits_for_devices = false;
    for (const auto& device : job.devices) {
      waits_for_devices = waits_for_devices || device.wait == "device";
    }
    table.rows.push_back(
        {Num(job.session_id), catalog::LocalDateTime(job.start_unix_ms / 1000), "running",
         job.command, OrNull(job.database), fmt::format("{:.2f}", job.percent_complete()),
         Num(job.estimated_remaining_ms()), Num(job.elapsed_ms),
         waits_for_devices ? "BACKUPIO" : "BACKUPBUFFER", job.phase, job.statement});
  }
  return table;
}

catalog::Table LiveTables::Devices() const {
  catalog::Table table;
  table.columns = {{"session_id", "smallint"},
                   {"job_id", "uniqueidentifier"},
                   {"device_name", "nvarchar(128)"},
                   {"target", "nvarchar(260)"},
                   {"agent", "nvarchar(128)"},
                   {"mode", "nvarchar(60)"},
                   {"bytes", "bigint"},
                   {"current_bytes_per_second", "bigint"},
                   {"mean_bytes_per_second", "bigint"},
                   {"in_flight", "int"},
                   {"state", "nvarchar(60)"},
                   {"wait", "nvarchar(60)"},
                   {"errors", "int"},
                   {"last_error", "nvarchar(max)"},
                   {"medium", "nvarchar(64)"},
                   {"stops", "int"},
                   {"medium_time_ms", "bigint"},
                   {"waits_for", "nvarchar(128)"},
                   {"requests", "bigint"},
                   {"average_latency_ms", "float"},
                   {"max_latency_ms", "float"},
                   {"throttled_ms", "bigint"},
                   {"retries", "bigint"}};
  for (const engine::JobSnapshot& job : sources_.jobs.List()) {
    for (const engine::DeviceSnapshot& device : job.devices) {
      const auto report = sources_.agents.FindReport(device.device_name);
      std::vector<Cell> row = {Num(job.session_id),
                               job.job_guid.ToString(),
                               device.device_name,
                               device.target,
                               OrNull(device.agent),
                               report ? OrNull(report->mode) : Cell(),
                               Num(device.bytes),
                               Num(device.bytes_per_second_now),
                               Num(device.bytes_per_second_mean),
                               Num(device.in_flight),
                               device.state,
                               OrNull(device.wait),
                               report ? Num(report->errors) : Cell("0"),
                               report ? OrNull(report->last_error) : Cell()};
      AddFigures(report, &row);
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

catalog::Table LiveTables::Agents() const {
  return AgentsTable({.attached = sources_.agents.List(),
                      .gone = sources_.agents.ListGone(),
                      .processes = sources_.supervisor == nullptr ? std::vector<AgentProcess>()
                                                                  : sources_.supervisor->List(),
                      .unix_s = std::time(nullptr)});
}

catalog::Table LiveTables::Writers() const {
  catalog::Table table;
  table.columns = {{"writer_name", "nvarchar(128)"},    {"writer_id", "uniqueidentifier"},
                   {"instance_id", "uniqueidentifier"}, {"state", "int"},
                   {"state_desc", "nvarchar(60)"},      {"last_error", "nvarchar(max)"}};
  for (writers::DatabaseWriter* writer : sources_.writers) {
    const writers::WriterInfo info = writer->info();
    table.rows.push_back({info.name, info.writer_id.ToString(), info.instance_id.ToString(),
                          Num(static_cast<int>(info.state)),
                          std::string(writers::WriterStateName(info.state)), info.last_error});
  }
  return table;
}

catalog::Table LiveTables::DeviceSets() const {
  catalog::Table table;
  table.columns = {{"set_name", "nvarchar(128)"},
                   {"state", "nvarchar(60)"},
                   {"client_pid", "int"},
                   {"device_count", "int"},
                   {"features", "int"}};
  for (const vdi::DeviceSetInfo& set : sources_.rendezvous.List()) {
    table.rows.push_back(
        {set.name, set.state, Num(set.client_pid), Num(set.device_count), Num(set.features)});
  }
  return table;
}

catalog::Table LiveTables::Logins() const {
  catalog::Table table;
  table.columns = {{"name", "nvarchar(128)"},     {"type", "char(1)"},
                   {"type_desc", "nvarchar(60)"}, {"is_disabled", "bit"},
                   {"create_date", "datetime"},   {"modify_date", "datetime"}};
  for (const LoginInfo& login : sources_.logins.List()) {
    table.rows.push_back({login.name, "S", "SQL_LOGIN", "0",
                          catalog::LocalDateTime(login.created_unix_s),
                          catalog::LocalDateTime(login.modified_unix_s)});
  }
  return table;
}

}  // namespace capstan::coordinator
