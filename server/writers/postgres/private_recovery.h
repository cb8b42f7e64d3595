// PrivateRecovery: a cluster's own PostgreSQL server, run over its restored data directory by
// nobody but us until it has replayed the log up to a point, taken up work on a new timeline, and
// been shut down cleanly.
//
// It listens on no network, and on a socket in a folder of the owner's alone. Its settings come
// from its command line and from files in that folder, which goes afterwards; those with which the
// log was written come from the control file, so that nothing changes by our running it. Threads:
// the caller's; the server dies with it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "server/writers/chain.h"
#include "server/writers/postgres/cluster_place.h"
#include "server/writers/postgres/pg_control.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// A record of the log, by where it begins.
struct RecoveryTarget {
  enum class Kind { kEndOfLog, kBefore, kThrough };
  Kind kind = Kind::kEndOfLog;
  Lsn record;
};

struct PrivateRecovery {
  std::string program;  // postgres
  std::string data_directory;
  FileOwner owner;
  std::uint32_t server_version = 0;  // as libpq counts
  PgControl control;
  std::uint32_t timeline = 0;  // whose log is replayed
  RecoveryTarget target;
  // A server that says nothing for so long hangs: it speaks of its progress every few seconds.
  std::chrono::seconds silence_limit{600};
};

enum class RecoveryEnd {
  kPromoted,      // on a new timeline, shut down
  kTargetMissed,  // the log ended before; more log may follow
};

// Recovers and shuts down. The directory has the control file, the log and recovery.signal.
// kDataLoss with PostgreSQL's own words if it could not; kDeadlineExceeded. Afterwards, whatever
// happened, no process and nothing of its own is left.
Result<RecoveryEnd> RunPrivateRecovery(const PrivateRecovery& recovery);

// What a run that was killed has left in the directory.
Status RemovePrivateFolder(const std::string& data_directory);

}  // namespace capstan::writers
