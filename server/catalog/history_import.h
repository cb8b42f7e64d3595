// History that media tell: rows as if the backups had been made here.
//
// Threads: as the connection. Called inside a transaction.
#pragma once

#include <vector>

#include "server/catalog/catalog.h"
#include "server/catalog/sqlite_connection.h"

namespace capstan::catalog {

// One count per medium. New sets get their ids in the order in which they were finished.
//
// Which of a family's mirrors a medium is does not stand on it, since mirrors are the same to the
// byte: a medium keeps the row that names its place; others take free rows in the order given, then
// rows whose media were not found where they should be. What is left over is a copy, and no row's.
Result<std::vector<ImportCount>> ImportMedia(Connection& connection,
                                             const std::vector<MediumRecord>& media);

}  // namespace capstan::catalog
