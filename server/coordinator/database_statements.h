// What statements say about databases themselves: sp_attach_db, ALTER DATABASE,
// sp_discover_databases, and the tables sys.databases and sys.dm_db_log_stats.
//
// Threads: any.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/coordinator/drive_map.h"
#include "server/tsql/statement.h"
#include "server/writers/database_writer.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

using WritersByScheme = std::map<std::string, writers::DatabaseWriter*>;
WritersByScheme ByScheme(const std::vector<writers::DatabaseWriter*>& writers);

// What the database counts as: ALTER DATABASE's word, else the writer's.
writers::RecoveryModel EffectiveRecoveryModel(const catalog::Database& database,
                                              const writers::DatabaseDescription& description);
// "SIMPLE", "BULK_LOGGED", "FULL".
std::string_view RecoveryModelName(writers::RecoveryModel model);

// Whether backups are preferred here (S0-21). The writer knows this copy's part in the group and
// not who else is online: where a secondary is preferred, the primary says no.
bool IsPreferredReplica(writers::ReplicaRole role, writers::BackupPreference preference);

// sp_attach_db. 65002 for what is no place of a database, 1801 for a name that is taken.
Status AttachDatabase(catalog::Catalog& catalog, const WritersByScheme& writers,
                      const DriveMap& drives, const tsql::AttachStatement& attach);

// 911 for an unknown database, 65054 for a recovery model that it cannot have. The writers are to
// be told (Engine::KeepLogs) once it is done.
Status AlterDatabase(catalog::Catalog& catalog, const WritersByScheme& writers,
                     const tsql::AlterDatabaseStatement& alter);

// What the writers find on this host and in `folders`; NULL where a database is not registered.
// 3201 for a folder on a drive that is not mapped.
Result<catalog::Table> DiscoverDatabases(catalog::Catalog& catalog, const WritersByScheme& writers,
                                         const DriveMap& drives, std::vector<std::string> folders);

Result<catalog::Table> DatabasesTable(catalog::Catalog& catalog, const WritersByScheme& writers);
Result<catalog::Table> LogStatsTable(catalog::Catalog& catalog, const WritersByScheme& writers);

}  // namespace capstan::coordinator
