// A requester's SELECT over history and live tables.
//
// Each query has its own read-only connection, so that one cannot wait for another, and sees one
// committed state of the catalog. It can read the public views and its live tables and nothing
// else; time and the size of the result are bounded. Threads: any.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "server/catalog/catalog.h"
#include "vdi/base/status.h"

namespace capstan::catalog {

struct QueryLimits {
  std::chrono::milliseconds time{30'000};
  std::size_t result_bytes = std::size_t{64} << 20;
};

// Errors are SQL Server's where it has one: 208 for a table that is not there or not public, 207
// and 209 for columns, 195 for functions, 102 for syntax, 701 for too large a result;
// kDeadlineExceeded after limits.time.
Result<Table> RunQuery(const std::string& path, const std::string& select,
                       const std::vector<LiveTable>& live, const QueryLimits& limits);

}  // namespace capstan::catalog
