#include "server/writers/postgres/timeline_history.h"

#include <charconv>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "server/writers/postgres/wal_format.h"

namespace capstan::writers {
namespace {

// Timelines are few: one per restore or failover in the life of a cluster.
constexpr std::size_t kTimelinesMax = 100'000;
constexpr std::size_t kHistoryBytesMax = 16U << 20;

struct Switch {
  std::uint32_t timeline = 0;
  Lsn end;
};

bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

// "1 <tab> 0/3000148 <tab> reason". kDataLoss.
Result<Switch> ParseSwitch(std::string_view line) {
  Switch found;
  const char* const end = line.data() + line.size();
  const auto [after, error] = std::from_chars(line.data(), end, found.timeline);
  std::string_view rest = line.substr(static_cast<std::size_t>(after - line.data()));
  while (!rest.empty() && IsBlank(rest.front())) {
    rest.remove_prefix(1);
  }
  std::size_t length = 0;
  while (length < rest.size() && !IsBlank(rest[length])) {
    ++length;
  }
  const auto lsn = ParsePostgresLsn(rest.substr(0, length));
  if (error != std::errc() || !lsn) {
    return Error(Code::kDataLoss, "a timeline's history has the line '{}'", line);
  }
  found.end = *lsn;
  return found;
}

}  // namespace

Result<TimelineHistory> TimelineHistory::Parse(std::uint32_t timeline, std::string_view text) {
  TimelineHistory history;
  Lsn begin;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && IsBlank(line.front())) {
      line.remove_prefix(1);
    }
    if (line.empty() || line.front() == '#') {
      continue;
    }
    CAPSTAN_ASSIGN_OR_RETURN(const Switch next, ParseSwitch(line));
    const bool ordered =
        history.entries_.empty() || next.timeline > history.entries_.back().timeline;
    if (!ordered || next.timeline == 0 || next.timeline >= timeline || next.end < begin ||
        history.entries_.size() >= kTimelinesMax) {
      return Error(Code::kDataLoss, "the history of timeline {} is out of order", timeline);
    }
    history.entries_.push_back({.timeline = next.timeline, .begin = begin});
    begin = next.end;
  }
  history.entries_.push_back({.timeline = timeline, .begin = begin});
  return history;
}

Result<TimelineHistory> TimelineHistory::Read(const std::string& directory,
                                              std::uint32_t timeline) {
  const std::string path = directory + "/" + TimelineHistoryName(timeline);
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (timeline == 1) {
      return TimelineHistory(1);
    }
    return Error(Code::kNotFound, "unable to read the history of timeline {} at '{}'", timeline,
                 path);
  }
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (text.size() > kHistoryBytesMax) {
    return Error(Code::kDataLoss, "'{}' is too large for the history of a timeline", path);
  }
  return Parse(timeline, text);
}

Result<TimelineHistory> TimelineHistory::ReadAny(const std::vector<std::string>& directories,
                                                 std::uint32_t timeline) {
  Result<TimelineHistory> history = Error(Code::kNotFound, "timeline {} has no history", timeline);
  for (const std::string& directory : directories) {
    history = Read(directory, timeline);
    if (history.status().code() != Code::kNotFound) {
      break;
    }
  }
  return history;
}

std::uint32_t TimelineHistory::TimelineAt(Lsn lsn) const {
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (lsn >= entry->begin) {
      return entry->timeline;
    }
  }
  return entries_.front().timeline;
}

std::string TimelineHistoryName(std::uint32_t timeline) {
  return fmt::format("{:08X}.history", timeline);
}

}  // namespace capstan::writers
