#include "server/coordinator/live_tables.h"

#include <fmt/format.h>

#include "server/catalog/timestamps.h"
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
    CAPSTAN_ASSIGN_OR_RETURN(catalog::Table databases, Databases());
    return catalog::LiveTable{name, std::move(databases)};
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
                   {"last_error", "nvarchar(max)"}};
  for (const engine::JobSnapshot& job : sources_.jobs.List()) {
    for (const engine::DeviceSnapshot& device : job.devices) {
      const auto report = sources_.agents.FindReport(device.device_name);
      table.rows.push_back(
          {Num(job.session_id), job.job_guid.ToString(), device.device_name, device.target,
           OrNull(device.agent), report ? OrNull(report->mode) : Cell(), Num(device.bytes),
           Num(device.bytes_per_second_now), Num(device.bytes_per_second_mean),
           Num(device.in_flight), device.state, OrNull(device.wait),
           report ? Num(report->errors) : Cell("0"), report ? OrNull(report->last_error) : Cell()});
    }
  }
  return table;
}

catalog::Table LiveTables::Agents() const {
  catalog::Table table;
  table.columns = {{"agent_name", "nvarchar(128)"},
                   {"plugin", "nvarchar(128)"},
                   {"plugin_version", "nvarchar(60)"},
                   {"device_class", "nvarchar(60)"},
                   {"pid", "int"},
                   {"attached_at", "datetime"},
                   {"state", "nvarchar(60)"},
                   {"last_error", "nvarchar(max)"}};
  for (const AgentInfo& agent : sources_.agents.List()) {
    table.rows.push_back({agent.name, agent.plugin_name, agent.plugin_version, agent.device_class,
                          Num(agent.pid), catalog::LocalDateTime(agent.attached_unix_s),
                          agent.state, OrNull(agent.last_error)});
  }
  return table;
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

Result<catalog::Table> LiveTables::Databases() const {
  catalog::Table table;
  table.columns = {{"name", "nvarchar(128)"},
                   {"database_id", "int"},
                   {"create_date", "datetime"},
                   {"source", "nvarchar(260)"},
                   {"recovery_model_desc", "nvarchar(60)"},
                   {"state_desc", "nvarchar(60)"}};
  CAPSTAN_ASSIGN_OR_RETURN(const auto databases, sources_.catalog.ListDatabases());
  for (const catalog::Database& database : databases) {
    Cell model;
    std::string state = "UNKNOWN_WRITER";
    for (writers::DatabaseWriter* writer : sources_.writers) {
      if (writer->scheme() != database.scheme) {
        continue;
      }
      const auto description = writer->Describe(database.location, database.name);
      state = description.ok() ? "ONLINE" : "RECOVERY_PENDING";
      if (description.ok()) {
        model = description->recovery_model == writers::RecoveryModel::kFull ? "FULL" : "SIMPLE";
      }
    }
    table.rows.push_back({database.name, Num(database.database_id),
                          catalog::LocalDateTime(database.created_unix_s),
                          fmt::format("{}:{}", database.scheme, database.location), model, state});
  }
  return table;
}

}  // namespace capstan::coordinator
