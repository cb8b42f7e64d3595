#include "tools/capstan/history_view.h"

#include <charconv>
#include <chrono>
#include <map>

#include <fmt/format.h>

#include "tools/capstan/json_printer.h"
#include "tools/capstan/row_reader.h"
#include "tools/capstan/units.h"

namespace capstan::cli {
namespace {

// The number at [at, at + size); nullopt unless all of it is digits.
std::optional<int> Digits(std::string_view text, std::size_t at, std::size_t size) {
  if (text.size() < at + size) {
    return std::nullopt;
  }
  int value = 0;
  const char* const first = text.data() + at;
  const auto [end, error] = std::from_chars(first, first + size, value);
  const bool whole = error == std::errc() && end == first + size && value >= 0;
  return whole ? std::optional(value) : std::nullopt;
}

int Milliseconds(std::string_view fraction) {
  int value = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const bool digit = i < fraction.size() && fraction[i] >= '0' && fraction[i] <= '9';
    value = value * 10 + (digit ? fraction[i] - '0' : 0);
  }
  return value;
}

std::string TypeName(const std::string& letter) {
  if (letter == "D") {
    return "Full";
  }
  if (letter == "I") {
    return "Differential";
  }
  return letter == "L" ? "Log" : letter;
}

HistoryEntry BuildEntry(const RowReader& row) {
  HistoryEntry entry{.backup_set_id = row.Text("backup_set_id"),
                     .media_set_id = row.Text("media_set_id"),
                     .database_name = row.Text("database_name"),
                     .type = TypeName(row.Text("type")),
                     .start_date = row.Text("backup_start_date"),
                     .finish_date = row.Text("backup_finish_date"),
                     .size_bytes = row.Unsigned("backup_size"),
                     .duration_ms = std::nullopt,
                     .bytes_per_second = std::nullopt,
                     .devices = {}};
  const std::optional<std::int64_t> start = ParseDateTime(entry.start_date);
  const std::optional<std::int64_t> finish = ParseDateTime(entry.finish_date);
  if (start.has_value() && finish.has_value() && *finish >= *start) {
    entry.duration_ms = static_cast<std::uint64_t>(*finish - *start);
  }
  if (entry.size_bytes.has_value() && entry.duration_ms.value_or(0) > 0) {
    entry.bytes_per_second = static_cast<std::uint64_t>(
        static_cast<double>(*entry.size_bytes) * 1000 / static_cast<double>(*entry.duration_ms));
  }
  return entry;
}

// Media and catalog know whole seconds only.
std::string DurationCell(const std::optional<std::uint64_t>& duration_ms) {
  if (!duration_ms.has_value()) {
    return "-";
  }
  return *duration_ms == 0 ? "< 1 s" : FormatDuration(*duration_ms);
}

// "a, b mirrored to c, d"
std::string DevicesCell(const HistoryEntry& entry) {
  std::string cell = fmt::format("{}", fmt::join(entry.devices, ", "));
  for (const std::vector<std::string>& mirror : entry.mirrors) {
    cell += fmt::format(" mirrored to {}", fmt::join(mirror, ", "));
  }
  return cell;
}

std::string JsonStrings(const std::vector<std::string>& values) {
  std::vector<std::string> quoted;
  for (const std::string& value : values) {
    quoted.push_back(JsonString(value));
  }
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

std::string JsonNumber(const std::optional<std::uint64_t>& value) {
  return value.has_value() ? std::to_string(*value) : "null";
}

}  // namespace

std::optional<std::int64_t> ParseDateTime(std::string_view text) {
  const std::optional<int> year = Digits(text, 0, 4);
  const std::optional<int> month = Digits(text, 5, 2);
  const std::optional<int> day = Digits(text, 8, 2);
  const std::optional<int> hour = Digits(text, 11, 2);
  const std::optional<int> minute = Digits(text, 14, 2);
  const std::optional<int> second = Digits(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second || text[4] != '-' || text[7] != '-' ||
      (text[10] != ' ' && text[10] != 'T') || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) {
    return std::nullopt;
  }
  const auto days = std::chrono::sys_days(date).time_since_epoch();
  const auto time =
      std::chrono::hours(*hour) + std::chrono::minutes(*minute) + std::chrono::seconds(*second);
  const int milliseconds = text.size() > 20 && text[19] == '.' ? Milliseconds(text.substr(20)) : 0;
  return std::chrono::milliseconds(days + time).count() + milliseconds;
}

std::vector<HistoryEntry> BuildHistory(const ResultSet& sets, const ResultSet& devices) {
  using Mirrors = std::map<std::uint64_t, std::vector<std::string>>;  // by number, from 0
  std::map<std::string, Mirrors> devices_of;                          // by media set
  for (const Row& row : devices.rows) {
    const RowReader reader(devices, row);
    devices_of[reader.Text("media_set_id")][reader.Unsigned("mirror").value_or(0)].push_back(
        reader.Text("physical_device_name"));
  }
  std::vector<HistoryEntry> entries;
  entries.reserve(sets.rows.size());
  for (const Row& row : sets.rows) {
    HistoryEntry& entry = entries.emplace_back(BuildEntry(RowReader(sets, row)));
    const auto found = devices_of.find(entry.media_set_id);
    if (found == devices_of.end()) {
      continue;
    }
    for (const auto& [number, names] : found->second) {
      if (entry.devices.empty()) {
        entry.devices = names;
      } else {
        entry.mirrors.push_back(names);
      }
    }
  }
  return entries;
}

ResultSet HistoryTable(const std::vector<HistoryEntry>& entries) {
  ResultSet table{.columns = {{"finished", "datetime"},
                              {"database", "nvarchar"},
                              {"type", "nvarchar"},
                              {"size", "decimal"},
                              {"duration", "decimal"},
                              {"rate", "decimal"},
                              {"devices", "nvarchar"}},
                  .rows = {}};
  for (const HistoryEntry& entry : entries) {
    table.rows.push_back(
        {entry.finish_date.empty() ? "-" : entry.finish_date, entry.database_name, entry.type,
         entry.size_bytes ? FormatBytes(*entry.size_bytes) : "-", DurationCell(entry.duration_ms),
         entry.bytes_per_second ? FormatRate(*entry.bytes_per_second) : "-", DevicesCell(entry)});
  }
  return table;
}

std::string HistoryJson(const std::vector<HistoryEntry>& entries) {
  std::string text = "[";
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const HistoryEntry& entry = entries[i];
    std::vector<std::string> mirrors;
    for (const std::vector<std::string>& mirror : entry.mirrors) {
      mirrors.push_back(JsonStrings(mirror));
    }
    text += fmt::format(
        "{}\n  {{\"backup_set_id\": {}, \"database\": {}, \"type\": {}, \"started\": {}, "
        "\"finished\": {}, \"size_bytes\": {}, \"duration_ms\": {}, \"bytes_per_second\": {}, "
        "\"devices\": {}, \"mirrors\": [{}]}}",
        i == 0 ? "" : ",", JsonString(entry.backup_set_id), JsonString(entry.database_name),
        JsonString(entry.type), JsonString(entry.start_date), JsonString(entry.finish_date),
        JsonNumber(entry.size_bytes), JsonNumber(entry.duration_ms),
        JsonNumber(entry.bytes_per_second), JsonStrings(entry.devices), fmt::join(mirrors, ", "));
  }
  return text + (entries.empty() ? "]\n" : "\n]\n");
}

}  // namespace capstan::cli
