#include "server/writers/postgres/log_range.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>

#include "server/writers/positioned_io.h"
#include "server/writers/postgres/cluster_place.h"
#include "server/writers/postgres/wal_format.h"
#include "server/writers/postgres/wal_reader.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

Result<std::vector<WalSegment>> ListSegments(const LogPlace& place) {
  std::vector<WalSegment> segments;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(place.directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (const auto segment = ParseWalSegmentName(name, place.segment_size); segment) {
      segments.push_back(*segment);
    }
  }
  if (error) {
    return OsError(error.value(), fmt::format("unable to list the log in '{}'", place.directory));
  }
  return segments;
}

Status NoLog(const LogPlace& place, Lsn first) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<WalSegment> segments, ListSegments(place));
  const auto oldest = std::ranges::min_element(segments, {}, &WalSegment::begin);
  const std::string there =
      oldest == segments.end()
          ? "there is none"
          : fmt::format("the first that is there is at {}", PostgresLsnText(oldest->begin));
  return Error(Code::kOutOfRange, "the log from {} on is not in '{}' any more: {}",
               PostgresLsnText(first), place.directory, there)
      .WithHint("take a full or differential backup; log backups can go on from that");
}

// The file that holds the segment at `begin`: of the newest timeline that had begun by its end.
std::optional<std::string> SegmentFile(const LogPlace& place, const TimelineHistory& history,
                                       Lsn begin) {
  const auto& entries = history.entries();
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (WalSegmentBegin(entry->begin, place.segment_size) > begin) {
      continue;
    }
    std::string name = WalSegmentName(entry->timeline, begin, place.segment_size);
    if (PathExists(place.directory + "/" + name)) {
      return name;
    }
  }
  return std::nullopt;
}

Result<WalReader> OpenReader(const LogPlace& place, const TimelineHistory& history, Lsn first,
                             Lsn limit) {
  return WalReader::Open({.directories = {place.directory},
                          .history = history,
                          .segment_size = place.segment_size,
                          .system_identifier = place.system_identifier,
                          .start = first,
                          .limit = limit});
}

Result<Lsn> ReadToEnd(WalReader reader) {
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<WalRecord> record, reader.Next());
    if (!record) {
      return reader.end();
    }
  }
}

Result<TimelineHistory> HistoryOf(const LogPlace& place, std::uint32_t timeline) {
  return TimelineHistory::Read(place.directory, timeline);
}

}  // namespace

Result<std::vector<WalPiece>> FindLog(const LogPlace& place, const TimelineHistory& history,
                                      Lsn first, Lsn last) {
  std::vector<WalPiece> pieces;
  for (const TimelineHistory::Entry& entry : history.entries()) {
    const std::string name = TimelineHistoryName(entry.timeline);
    std::error_code error;
    const auto size = std::filesystem::file_size(place.directory + "/" + name, error);
    if (!error) {
      pieces.push_back({.name = name, .length = size});
    }
  }
  for (Lsn begin = WalSegmentBegin(first, place.segment_size); begin < last;
       begin.value += place.segment_size) {
    std::optional<std::string> name = SegmentFile(place, history, begin);
    if (!name) {
      return begin <= first ? NoLog(place, first)
                            : Error(Code::kDataLoss, "the log segment at {} is missing in '{}'",
                                    PostgresLsnText(begin), place.directory);
    }
    const std::uint32_t timeline = ParseWalSegmentName(*name, place.segment_size)->timeline;
    // The beginning of a new timeline's first segment is a copy, which must go along.
    const bool from_first = begin < first && timeline == history.TimelineAt(first);
    const std::uint64_t offset = from_first ? first.value - begin.value : 0;
    const std::uint64_t end = std::min<std::uint64_t>(place.segment_size, last.value - begin.value);
    if (offset < end) {  // nothing is new where the range is empty
      pieces.push_back({.name = *std::move(name), .offset = offset, .length = end - offset});
    }
  }
  return pieces;
}

Result<Lsn> LastRecordEnd(const LogPlace& place, const TimelineHistory& history, Lsn first,
                          Lsn written) {
  const Lsn segment = WalSegmentBegin({written.value - 1}, place.segment_size);
  CAPSTAN_ASSIGN_OR_RETURN(WalReader reader,
                           OpenReader(place, history, std::max(first, segment), written));
  Lsn end = written;
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<WalRecord> record, reader.Next());
    if (!record) {
      return std::min(end, written);
    }
    end = record->end;
  }
}

Result<TimelineHistory> NewestHistoryAt(const LogPlace& place, Lsn lsn) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<WalSegment> segments, ListSegments(place));
  const Lsn begin = WalSegmentBegin(lsn, place.segment_size);
  std::set<std::uint32_t, std::greater<>> timelines;
  for (const WalSegment& segment : segments) {
    if (segment.begin == begin) {
      timelines.insert(segment.timeline);
    }
  }
  for (const std::uint32_t timeline : timelines) {
    auto history = HistoryOf(place, timeline);
    if (history.ok() && history->TimelineAt(lsn) == timeline) {
      return history;
    }
  }
  return NoLog(place, lsn);
}

Result<LogEnd> FindLogEnd(const LogPlace& place, Lsn first) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<WalSegment> segments, ListSegments(place));
  std::set<std::uint32_t, std::greater<>> timelines;
  for (const WalSegment& segment : segments) {
    timelines.insert(segment.timeline);
  }
  std::optional<LogEnd> best;
  for (const std::uint32_t timeline : timelines) {
    auto history = HistoryOf(place, timeline);
    if (!history.ok()) {
      continue;
    }
    CAPSTAN_ASSIGN_OR_RETURN(WalReader reader,
                             OpenReader(place, *history, first, {~std::uint64_t{0}}));
    CAPSTAN_ASSIGN_OR_RETURN(const Lsn end, ReadToEnd(std::move(reader)));
    // A newer timeline's log goes on where an older one's was left.
    if (end > first && end > history->entries().back().begin && !best) {
      best = LogEnd{.history = *std::move(history), .end = end};
    }
  }
  if (!best) {
    return NoLog(place, first);
  }
  return *std::move(best);
}

Result<LogPlace> DescribeLogPlace(const std::string& directory) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::uint64_t size = entry->is_regular_file(error) ? entry->file_size(error) : 0;
    const std::string name = entry->path().filename().string();
    if (!IsWalSegmentSize(size)) {
      continue;
    }
    const auto segment = ParseWalSegmentName(name, static_cast<std::uint32_t>(size));
    const UniqueFd fd(::open(entry->path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    std::array<std::byte, kWalLongPageHeaderSize> bytes{};
    if (!segment || !fd.valid() || !ReadFully(fd.get(), 0, bytes).ok()) {
      continue;
    }
    const auto header = ParseWalPageHeader(bytes);
    // A segment that waits for its use has an older one's pages, of the same cluster.
    if (header && header->segment_size == size && header->system_identifier != 0) {
      return LogPlace{.directory = directory,
                      .system_identifier = header->system_identifier,
                      .segment_size = header->segment_size};
    }
  }
  return Error(Code::kNotFound, "there is no log of a cluster in '{}'", directory);
}

}  // namespace capstan::writers
