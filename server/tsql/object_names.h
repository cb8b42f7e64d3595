// The tables that a SELECT may read, and their names on either side: T-SQL's with database and
// schema, and the one in the catalog's SQLite file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace capstan::tsql {

struct CatalogObject {
  std::string_view name;         // "backupset"
  std::string_view sqlite_name;  // "msdb_dbo_backupset"
  std::string_view live_name;    // "sys.databases" if its rows exist only now, otherwise empty
};

// `parts` are the 1..3 parts of the name as written, an omitted one empty (msdb..backupset). The
// database may be left out, and the schema too where it is dbo. Null if there is no such object.
const CatalogObject* FindCatalogObject(const std::vector<std::string>& parts);

}  // namespace capstan::tsql
