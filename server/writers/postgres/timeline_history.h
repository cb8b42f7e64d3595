// TimelineHistory: through which timelines a PostgreSQL cluster came to where it is, so that each
// byte of its log is looked for in the right segment file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/writers/chain.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class TimelineHistory {
 public:
  struct Entry {
    std::uint32_t timeline = 1;
    Lsn begin;  // its first LSN; 0 for the first timeline
  };

  // One timeline without ancestors.
  explicit TimelineHistory(std::uint32_t timeline) : entries_{{.timeline = timeline}} {}

  // `text` is what stands in the history file of `timeline`. kDataLoss for what PostgreSQL would
  // not take either.
  static Result<TimelineHistory> Parse(std::uint32_t timeline, std::string_view text);
  // From `directory`/0000000n.history; timeline 1 has none. kNotFound.
  static Result<TimelineHistory> Read(const std::string& directory, std::uint32_t timeline);

  // From the first of these directories that has it.
  static Result<TimelineHistory> ReadAny(const std::vector<std::string>& directories,
                                         std::uint32_t timeline);

  // Oldest first, never empty.
  const std::vector<Entry>& entries() const { return entries_; }
  std::uint32_t timeline() const { return entries_.back().timeline; }
  // That to which the log record at `lsn` belongs.
  std::uint32_t TimelineAt(Lsn lsn) const;

 private:
  TimelineHistory() = default;

  std::vector<Entry> entries_;
};

// "00000002.history"
std::string TimelineHistoryName(std::uint32_t timeline);

}  // namespace capstan::writers
