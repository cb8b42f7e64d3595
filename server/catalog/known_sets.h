// The history read back as backup sets: for those who plan a restore, and for the next backup,
// which goes on where the last one ended.
//
// Threads: as the connection.
#pragma once

#include <string_view>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/catalog/sqlite_connection.h"

namespace capstan::catalog {

// See Catalog::SetsOf, Catalog::FindChainEnd.
Result<std::vector<KnownSet>> SelectSets(Connection& connection, std::string_view database_name);
Result<ChainEnd> SelectChainEnd(Connection& connection, std::string_view database_name);
// See Catalog::ExpireSets. Inside a transaction.
Status MarkExpired(Connection& connection, const std::vector<Guid>& backup_set_guids);

}  // namespace capstan::catalog
