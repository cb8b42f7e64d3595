// Registered databases: what they are set to, and how far those that are being restored have come.
//
// Threads: as the connection. Every function that writes is called inside a transaction.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/catalog/sqlite_connection.h"

namespace capstan::catalog {

// 1801. Backups that are in the catalog by now are those of another database.
Status InsertDatabase(Connection& connection, const Database& database);
// 911 as all below.
Status DeleteDatabase(Connection& connection, std::string_view name);
Result<Database> SelectDatabase(Connection& connection, std::string_view name);
Result<std::vector<Database>> SelectDatabases(Connection& connection);
// See Catalog::UpdateDatabase.
Status ChangeDatabase(Connection& connection, const Database& database);
// See RestoreRecord::database.
Status PlaceRestored(Connection& connection, const Database& database);
// The log of the set is the last of its database, which is out of use from now on. Nothing happens
// if there is no such database any more.
Status CloseAfterTail(Connection& connection, std::int64_t backup_set_id);

}  // namespace capstan::catalog
