// Rows of history for backups that SQL Server made: what the medium tells, column for column as
// SQL Server's own msdb would have it, and NULL for what it does not tell.
//
// Threads: as the connection. Called inside a transaction.
#pragma once

#include <cstdint>

#include "server/catalog/catalog.h"
#include "server/catalog/sqlite_connection.h"

namespace capstan::catalog {

// Writes the rows of a set and its files, invisible, and returns their backup_set_id.
// kAlreadyExists if the set is recorded.
Result<std::int64_t> InsertSqlServerSet(Connection& connection, std::int64_t media_set_id,
                                        const media::MediaHeader& header, const SqlServerSet& set);

}  // namespace capstan::catalog
