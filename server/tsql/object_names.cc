#include "server/tsql/object_names.h"

#include "server/tsql/keywords.h"

namespace capstan::tsql {
namespace {

constexpr CatalogObject kHistory[] = {
    {"backupfile", "msdb_dbo_backupfile", ""},
    {"backupjobhistory", "msdb_dbo_backupjobhistory", ""},
    {"backupmediafamily", "msdb_dbo_backupmediafamily", ""},
    {"backupmediaset", "msdb_dbo_backupmediaset", ""},
    {"backupset", "msdb_dbo_backupset", ""},
    {"restorefile", "msdb_dbo_restorefile", ""},
    {"restorehistory", "msdb_dbo_restorehistory", ""},
    {"sysjobhistory", "msdb_dbo_sysjobhistory", ""},
};

constexpr CatalogObject kLive[] = {
    {"certificates", "sys_certificates", "sys.certificates"},
    {"configurations", "sys_configurations", "sys.configurations"},
    {"databases", "sys_databases", "sys.databases"},
    {"dm_backup_agents", "sys_dm_backup_agents", "sys.dm_backup_agents"},
    {"dm_backup_device_sets", "sys_dm_backup_device_sets", "sys.dm_backup_device_sets"},
    {"dm_backup_devices", "sys_dm_backup_devices", "sys.dm_backup_devices"},
    {"dm_backup_writers", "sys_dm_backup_writers", "sys.dm_backup_writers"},
    {"dm_db_log_stats", "sys_dm_db_log_stats", "sys.dm_db_log_stats"},
    {"dm_exec_requests", "sys_dm_exec_requests", "sys.dm_exec_requests"},
    {"servers", "sys_servers", "sys.servers"},
    {"sql_logins", "sys_sql_logins", "sys.sql_logins"},
};

template <std::size_t N>
const CatalogObject* Find(const CatalogObject (&objects)[N], std::string_view name) {
  for (const CatalogObject& object : objects) {
    if (EqualsIgnoreCase(object.name, name)) {
      return &object;
    }
  }
  return nullptr;
}

}  // namespace

const CatalogObject* FindCatalogObject(const std::vector<std::string>& parts) {
  const std::string_view name = parts.back();
  const std::string_view schema =
      parts.size() >= 2 ? std::string_view(parts[parts.size() - 2]) : "";
  const std::string_view database = parts.size() >= 3 ? std::string_view(parts[0]) : "";
  const bool in_msdb = database.empty() || EqualsIgnoreCase(database, "msdb");
  if (EqualsIgnoreCase(schema, "sys")) {
    // Every database has them; these two are the ones that exist here.
    return in_msdb || EqualsIgnoreCase(database, "master") ? Find(kLive, name) : nullptr;
  }
  const bool in_dbo = schema.empty() || EqualsIgnoreCase(schema, "dbo");
  return in_msdb && in_dbo ? Find(kHistory, name) : nullptr;
}

}  // namespace capstan::tsql
