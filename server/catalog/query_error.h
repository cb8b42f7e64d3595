// What SQLite says about a SELECT that it cannot prepare, in SQL Server's words.
#pragma once

#include <string>
#include <string_view>

#include "vdi/base/status.h"

namespace capstan::catalog {

// "msdb_dbo_backupset" -> "msdb.dbo.backupset": a table as the requester wrote it.
std::string RequesterTableName(std::string_view name);

Status PrepareError(std::string_view sqlite_message);

}  // namespace capstan::catalog
