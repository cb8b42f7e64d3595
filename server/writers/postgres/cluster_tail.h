// The end of a cluster's log, for a backup of it WITH NORECOVERY: the server is stopped, and none
// starts on the directory any more; it is then as after a RESTORE WITH NORECOVERY, and RESTORE
// DATABASE ... WITH RECOVERY brings it back into use.
#pragma once

#include <string>

#include "server/writers/chain.h"
#include "server/writers/postgres/log_range.h"
#include "server/writers/postgres/postgres_set.h"
#include "vdi/base/clock.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// Stops the server that runs on the directory, as pg_ctl's fast mode does: transactions under way
// are rolled back. None runs: fine. kDeadlineExceeded; kFailedPrecondition if it was not shut down
// in good order.
Status StopCluster(const std::string& data_directory, Deadline deadline);

// What a data directory says of its cluster without a server.
Result<PostgresSet> DescribeDirectory(const std::string& data_directory);

// `log_end`: of the log that is in the directory.
Status WithdrawCluster(const PostgresSet& set, const LogEnd& log);
// As before; the server stays stopped.
Status ReinstateCluster(const std::string& data_directory);

}  // namespace capstan::writers
