// The log of a database in memory: changes of pages in the order of their LSNs, and the bytes that
// a log backup of them holds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "server/writers/chain.h"

namespace capstan::test {

inline constexpr std::uint64_t kMemoryPage = 4096;  // bytes

struct MemoryChange {
  std::uint64_t lsn = 0;
  std::int64_t unix_us = 0;
  std::uint32_t file = 0;
  std::uint64_t page = 0;   // from 0
  unsigned char value = 0;  // every byte of the page from now on
  std::string mark;         // not empty: this change bears a name
};

struct MemoryLog {
  std::int64_t end_unix_us = 0;  // nothing was written between the last change and then
  std::vector<MemoryChange> changes;

  std::string Encode() const {
    std::string text = std::to_string(end_unix_us) + '\n';
    for (const MemoryChange& c : changes) {
      text += std::to_string(c.lsn) + ' ' + std::to_string(c.unix_us) + ' ' +
              std::to_string(c.file) + ' ' + std::to_string(c.page) + ' ' +
              std::to_string(c.value) + ' ' + c.mark + '\n';
    }
    return text;
  }
  static MemoryLog Decode(const std::string& text) {
    MemoryLog log;
    const char* at = text.c_str();
    const char* const end = at + text.size();
    char* next = nullptr;
    log.end_unix_us = std::strtoll(at, &next, 10);
    for (at = next + 1; at < end;) {
      MemoryChange c;
      c.lsn = std::strtoull(at, &next, 10);
      c.unix_us = std::strtoll(next, &next, 10);
      c.file = static_cast<std::uint32_t>(std::strtoul(next, &next, 10));
      c.page = std::strtoull(next, &next, 10);
      c.value = static_cast<unsigned char>(std::strtoul(next, &next, 10));
      const char* const name = next + 1;
      const char* const line_end = std::find(name, end, '\n');
      c.mark.assign(name, line_end);
      log.changes.push_back(c);
      at = line_end + 1;
    }
    return log;
  }
};

// How far a restore up to `stop` goes in `log`, which ends at `last`.
struct MemoryStop {
  std::uint64_t end_lsn = 0;  // the first change that is not wanted
  bool missed = false;
};
inline MemoryStop StopIn(const MemoryLog& log, std::uint64_t last, const writers::StopPoint& stop) {
  using Kind = writers::StopPoint::Kind;
  if (stop.kind == Kind::kNone) {
    return {.end_lsn = last};
  }
  for (const MemoryChange& c : log.changes) {
    const bool is_mark =
        stop.kind == Kind::kMark && c.mark == stop.mark && c.unix_us >= stop.unix_us;
    if (is_mark) {
      return {.end_lsn = stop.before ? c.lsn : c.lsn + 1};
    }
    const bool beyond = (stop.kind == Kind::kTime && c.unix_us > stop.unix_us) ||
                        (stop.kind == Kind::kLsn &&
                         (stop.before ? c.lsn >= stop.lsn.value : c.lsn > stop.lsn.value));
    if (beyond) {
      return {.end_lsn = c.lsn};
    }
  }
  const bool reached = (stop.kind == Kind::kTime && log.end_unix_us > stop.unix_us) ||
                       (stop.kind == Kind::kLsn && last > stop.lsn.value);
  return {.end_lsn = last, .missed = !reached};
}

}  // namespace capstan::test
