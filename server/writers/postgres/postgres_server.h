// What a running server says of its cluster: where its files are, how large, which role it has.
//
// Plain values, no threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/postgres/postgres_connection.h"
#include "server/writers/postgres/postgres_set.h"

namespace capstan::writers {

struct PostgresServer {
  PostgresSet set;      // without what is of one backup
  std::string version;  // "15.10 (Debian 15.10-1)"
  bool in_recovery = false;
  bool has_standby = false;  // that follows at the moment
  std::int64_t started_unix_s = 0;
  std::vector<std::string> databases;
  std::uint64_t data_bytes = 0;                 // 0 where the role may not ask
  std::vector<std::uint64_t> tablespace_bytes;  // as set.tablespaces
};

// kUnimplemented for a server that is older than 15; kPermissionDenied with what to grant.
Result<PostgresServer> AskServer(PostgresConnection& connection);

// Whether the files at the server's data directory are this very server's: not those of another one
// on this host, with the same paths as one elsewhere. kFailedPrecondition, kPermissionDenied.
Status CheckServerIsHere(const PostgresServer& server, const PostgresConnection& connection);

// The data directory, each tablespace, the log.
DatabaseDescription DescribeServer(const PostgresServer& server, const std::string& logical_name);

}  // namespace capstan::writers
