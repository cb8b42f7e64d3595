// StopSearch: where in a restored log a stop point lies, found without a server, before anything is
// changed for it.
//
// PostgreSQL itself would find a point that is not there only by replaying everything, and one that
// is too early only by failing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/writers/chain.h"
#include "server/writers/postgres/private_recovery.h"
#include "server/writers/postgres/timeline_history.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// A stretch of log as files.
struct LogStretch {
  std::vector<std::string> directories;
  TimelineHistory history{1};
  std::uint32_t segment_size = 0;
  std::uint64_t system_identifier = 0;
  Lsn begin;
  Lsn end;
};

struct StopSearchResult {
  bool found = false;  // otherwise it lies behind the end of the log
  RecoveryTarget target;
  Lsn stop;  // everything before this is replayed
};

// `consistent`: a stop before it is error 4338, with what is the earliest point. kDataLoss if the
// log does not go to its end.
Result<StopSearchResult> FindStop(const LogStretch& log, const StopPoint& stop, Lsn consistent);

// kDataLoss if there is not valid log all the way.
Status CheckLog(const LogStretch& log);

}  // namespace capstan::writers
