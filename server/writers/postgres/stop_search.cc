#include "server/writers/postgres/stop_search.h"

#include <optional>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "server/messages/messages.h"
#include "server/writers/postgres/wal_format.h"
#include "server/writers/postgres/wal_reader.h"

namespace capstan::writers {
namespace {

Result<WalReader> Open(const LogStretch& log) {
  return WalReader::Open({.directories = log.directories,
                          .history = log.history,
                          .segment_size = log.segment_size,
                          .system_identifier = log.system_identifier,
                          .start = log.begin,
                          .limit = log.end});
}

Status Incomplete(const WalReader& reader, const LogStretch& log) {
  return Error(Code::kDataLoss, "the log from {} to {} is not whole: it ends at {}, since {}",
               PostgresLsnText(log.begin), PostgresLsnText(log.end), PostgresLsnText(reader.end()),
               reader.end_cause())
      .WithHint("verify the backup sets of the log, and restore them again");
}

bool IsWhole(const WalReader& reader, const LogStretch& log) {
  return reader.end() >= log.end || reader.limited();
}

std::string TimeText(std::int64_t unix_us) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(unix_us / 1'000'000));
}

// The record at which to stop, and on which side of it.
std::optional<RecoveryTarget::Kind> StopsAt(const WalRecord& record, const StopPoint& stop) {
  const auto side = stop.before ? RecoveryTarget::Kind::kBefore : RecoveryTarget::Kind::kThrough;
  switch (stop.kind) {
    case StopPoint::Kind::kNone:
      return std::nullopt;
    case StopPoint::Kind::kTime: {
      // As PostgreSQL decides: transactions that were given up have a time as well.
      const bool ends =
          record.kind == WalRecord::Kind::kCommit || record.kind == WalRecord::Kind::kAbort;
      return ends && record.unix_us > stop.unix_us ? std::optional(RecoveryTarget::Kind::kBefore)
                                                   : std::nullopt;
    }
    case StopPoint::Kind::kLsn:
      return record.start >= stop.lsn ? std::optional(side) : std::nullopt;
    case StopPoint::Kind::kMark:
      return record.kind == WalRecord::Kind::kRestorePoint && record.name == stop.mark &&
                     record.unix_us >= stop.unix_us
                 ? std::optional(side)
                 : std::nullopt;
  }
  return std::nullopt;
}

Status TooEarly(const StopSearchResult& result, Lsn consistent,
                std::optional<std::int64_t> consistent_us) {
  const std::string when =
      consistent_us ? fmt::format(", which is {} or a little later", TimeText(*consistent_us)) : "";
  return SqlError(4338).WithHint(
      fmt::format("the point is at {}, and what was restored is consistent from {} on{}: choose a "
                  "later one, or begin with an older full backup",
                  PostgresLsnText(result.stop), PostgresLsnText(consistent), when));
}

}  // namespace

Result<StopSearchResult> FindStop(const LogStretch& log, const StopPoint& stop, Lsn consistent) {
  CAPSTAN_ASSIGN_OR_RETURN(WalReader reader, Open(log));
  StopSearchResult result{.found = stop.kind == StopPoint::Kind::kNone, .stop = log.end};
  std::optional<std::int64_t> consistent_us;  // of the last transaction before that
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<WalRecord> record, reader.Next());
    if (!record) {
      break;
    }
    if (const auto side = StopsAt(*record, stop); side) {
      result = {.found = true,
                .target = {.kind = *side, .record = record->start},
                .stop = *side == RecoveryTarget::Kind::kBefore ? record->start : record->end};
      break;
    }
    if (record->kind == WalRecord::Kind::kCommit && record->start < consistent) {
      consistent_us = record->unix_us;
    }
  }
  if (result.target.kind == RecoveryTarget::Kind::kEndOfLog && !IsWhole(reader, log)) {
    return Incomplete(reader, log);
  }
  // Before the record that would come next: that is the end.
  if (!result.found && stop.kind == StopPoint::Kind::kLsn && stop.before && stop.lsn == log.end) {
    result.found = true;
  }
  if (result.found && result.stop < consistent) {
    return TooEarly(result, consistent, consistent_us);
  }
  return result;
}

Status CheckLog(const LogStretch& log) {
  CAPSTAN_ASSIGN_OR_RETURN(WalReader reader, Open(log));
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<WalRecord> record, reader.Next());
    if (!record) {
      return IsWhole(reader, log) ? OkStatus() : Incomplete(reader, log);
    }
  }
}

}  // namespace capstan::writers
