#include "tools/capstan/row_reader.h"

#include <charconv>
#include <cstdlib>

#include <fmt/format.h>

#include "tools/capstan/units.h"

namespace capstan::cli {
namespace {

std::optional<std::uint64_t> ParseUnsigned(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::string WithUnit(const std::string& text, Unit unit) {
  if (text.empty()) {
    return "-";
  }
  if (unit == Unit::kPercent) {
    return fmt::format("{:.1f} %", std::strtod(text.c_str(), nullptr));
  }
  const std::optional<std::uint64_t> value = ParseUnsigned(text);
  if (!value.has_value()) {
    return text;
  }
  switch (unit) {
    case Unit::kBytes:
      return FormatBytes(*value);
    case Unit::kBytesPerSecond:
      return FormatRate(*value);
    case Unit::kMilliseconds:
      return FormatDuration(*value);
    case Unit::kNone:
    case Unit::kPercent:
      break;
  }
  return text;
}

}  // namespace

std::string RowReader::Text(std::string_view column) const {
  for (std::size_t i = 0; i < result_set_.columns.size() && i < row_.size(); ++i) {
    if (result_set_.columns[i].name == column) {
      return row_[i].value_or("");
    }
  }
  return "";
}

std::optional<std::uint64_t> RowReader::Unsigned(std::string_view column) const {
  return ParseUnsigned(Text(column));
}

ResultSet Laid(const ResultSet& result_set, std::span<const ColumnView> views) {
  ResultSet laid;
  for (const ColumnView& view : views) {
    // Figures with units stand at the right, as numbers do.
    laid.columns.push_back(
        {std::string(view.title), view.unit == Unit::kNone ? "nvarchar" : "decimal"});
  }
  for (const Row& row : result_set.rows) {
    const RowReader reader(result_set, row);
    Row& cells = laid.rows.emplace_back();
    for (const ColumnView& view : views) {
      cells.emplace_back(WithUnit(reader.Text(view.column), view.unit));
    }
  }
  return laid;
}

}  // namespace capstan::cli
