// Rows of msdb's backup history -> a table or JSON. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/client/response.h"

namespace capstan::cli {

struct HistoryEntry {
  std::string backup_set_id;
  std::string media_set_id;
  std::string database_name;
  std::string type;  // "Full", "Differential", "Log", or the server's letter
  std::string start_date;
  std::string finish_date;
  std::optional<std::uint64_t> size_bytes;
  std::optional<std::uint64_t> duration_ms;       // absent if a date is
  std::optional<std::uint64_t> bytes_per_second;  // absent if the duration is absent or 0
  std::vector<std::string> devices;               // in the order of the families
  std::vector<std::vector<std::string>> mirrors;  // the same of each further mirror
};

// "2026-11-21 09:08:46[.fff]", a T between or a blank, -> milliseconds since 1970.
std::optional<std::int64_t> ParseDateTime(std::string_view text);

// From the result sets of HistoryStatement and HistoryDevicesStatement.
std::vector<HistoryEntry> BuildHistory(const ResultSet& sets, const ResultSet& devices);

ResultSet HistoryTable(const std::vector<HistoryEntry>& entries);
// An array of objects; `devices` is an array of strings, `mirrors` one of such arrays.
std::string HistoryJson(const std::vector<HistoryEntry>& entries);

}  // namespace capstan::cli
