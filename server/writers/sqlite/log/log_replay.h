// Log of a backup, applied to a database file that nobody else has.
//
// Examine reads all of it first: a log that is damaged, or not one log, changes nothing. Apply may
// be repeated from the beginning after a crash: it leaves the same file. Threads: one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/writers/chain.h"
#include "vdi/base/status.h"

namespace capstan::writers {

struct LogRange {
  Lsn from;                  // what the database has already
  Lsn upto;                  // the last commit to apply; `from`: none
  std::int64_t time_us = 0;  // when that was committed, or 0
  bool stop_missed = false;  // the stop point lies behind the log
};

// Which part of the log in the file `fd` of `size` bytes comes behind `from` and not behind `stop`.
// kDataLoss: the log is damaged. kFailedPrecondition with reason 4305: it begins too late.
Result<LogRange> ExamineLog(int fd, std::uint64_t size, Lsn from, const StopPoint& stop);

// Writes the pages of the commits of `range` into `database`, in order, and sets its size.
Status ApplyLog(int fd, std::uint64_t size, const LogRange& range, int database);

// kMark "lsn:<number>" or "lsn:<generation>:<frame>" is kLsn; any other mark is refused: SQLite has
// none. Everything else is returned as it is.
Result<StopPoint> ResolveStopPoint(const StopPoint& stop);

// Does `stop` (kTime, kLsn) lie behind a state of this LSN and time (0: not known)?
bool IsBehind(const StopPoint& stop, Lsn lsn, std::int64_t time_us);

// The value of `key` in a writer_data of ours, "key=value;key=value"; empty if it is not there.
std::string KeyOf(const std::string& writer_data, const std::string& key);

}  // namespace capstan::writers
