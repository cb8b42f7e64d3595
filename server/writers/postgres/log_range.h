// LogRange: which bytes of which segment files are the log between two positions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/writers/chain.h"
#include "server/writers/postgres/timeline_history.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// A cluster's log as files.
struct LogPlace {
  std::string directory;  // pg_wal
  std::uint64_t system_identifier = 0;
  std::uint32_t segment_size = 0;
};

struct WalPiece {
  std::string name;  // of the file
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// In order, histories of timelines first. kOutOfRange with the first LSN that is there if the
// beginning is not, kDataLoss if something else is missing.
Result<std::vector<WalPiece>> FindLog(const LogPlace& place, const TimelineHistory& history,
                                      Lsn first, Lsn last);

// Where the last record before `written` ends; `written` itself where no record ends in the segment
// before it. A server writes whole pages, so it may have written part of a record.
Result<Lsn> LastRecordEnd(const LogPlace& place, const TimelineHistory& history, Lsn first,
                          Lsn written);

struct LogEnd {
  TimelineHistory history{1};
  Lsn end;
};
// Follows the log from `first` to where it ends, on the newest timeline that came from there. For
// clusters that nobody can ask. kOutOfRange as FindLog.
Result<LogEnd> FindLogEnd(const LogPlace& place, Lsn first);

// The newest timeline that has a file for the segment of `lsn`, and went through it.
Result<TimelineHistory> NewestHistoryAt(const LogPlace& place, Lsn lsn);

// What the first page of a segment in the directory says, for clusters whose control file is gone.
Result<LogPlace> DescribeLogPlace(const std::string& directory);

}  // namespace capstan::writers
