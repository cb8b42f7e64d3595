// The history of jobs: what became of every BACKUP, RESTORE and VERIFYONLY, newest 10,000.
//
// Threads: as the connection.
#pragma once

#include <cstdint>

#include "server/catalog/catalog.h"
#include "server/catalog/sqlite_connection.h"

namespace capstan::catalog {

// The number of the row; the oldest goes when there are too many. REQUIRES: a transaction.
Result<std::int64_t> InsertJobHistory(Connection& connection, const JobHistory& job);
// Nothing happens if the row is gone already.
Status ChangeJobHistory(Connection& connection, std::int64_t instance_id, const JobHistory& job);
// Jobs that still run, as far as the rows know, ended with the server that ran them.
Status EndAbandonedJobs(Connection& connection);

}  // namespace capstan::catalog
