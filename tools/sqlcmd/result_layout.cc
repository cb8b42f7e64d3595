#include "tools/sqlcmd/result_layout.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "tools/client/column_type.h"
#include "tools/client/message_text.h"
#include "tools/client/text_width.h"

namespace capstan::sqlcmd {
namespace {

struct TypeWidth {
  std::string_view type;
  int width;  // cells of its longest value
  bool at_right;
};

// ODBC's display sizes, as sqlcmd uses them; date and time stand in 16 cells.
constexpr std::array kFixed = std::to_array<TypeWidth>({
    {"bit", 1, true},
    {"tinyint", 3, true},
    {"smallint", 6, true},
    {"int", 11, true},
    {"bigint", 20, true},
    {"real", 14, true},
    {"float", 24, true},
    {"smallmoney", 12, true},
    {"money", 21, true},
    {"date", 16, true},
    {"time", 16, true},
    {"smalldatetime", 19, true},
    {"datetime", 23, true},
    {"datetime2", 38, true},
    {"datetimeoffset", 45, true},
    {"uniqueidentifier", 36, false},
});
constexpr int kDecimalPrecision = 18;  // of "decimal" without one
constexpr int kSignAndPoint = 2;
constexpr int kBinaryDigits = 2;  // cells of a byte
constexpr int kWidthMax = 8000;   // whatever a type claims

const TypeWidth* FindFixed(std::string_view base) {
  const auto* const found = std::find_if(
      kFixed.begin(), kFixed.end(), [&](const TypeWidth& entry) { return entry.type == base; });
  return found != kFixed.end() ? found : nullptr;
}

// Breaks a line after every `width` characters.
std::string Wrapped(std::string line, int width) {
  if (width <= 0) {
    return line;
  }
  std::string text;
  while (cli::DisplayWidth(line) > width) {
    const std::string head = cli::TakeCells(line, width);
    text += head + '\n';
    line.erase(0, head.size());
  }
  return text + line;
}

std::string WithoutTrailingSpaces(std::string text) {
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

}  // namespace

ResultLayout::ResultLayout(const LayoutOptions& options, const std::vector<cli::Column>& columns)
    : options_(options) {
  columns_.reserve(columns.size());
  for (const cli::Column& column : columns) {
    columns_.push_back(Measure(column));
  }
}

ResultLayout::Column ResultLayout::Measure(const cli::Column& column) const {
  const cli::ColumnType type = cli::ParseColumnType(column.type);
  Column result{
      .name = cli::Printable(column.name), .width = 0, .may_cut = false, .at_right = false};
  if (options_.variable_width == 0) {
    return result;
  }
  if (const TypeWidth* const fixed = FindFixed(type.base)) {
    result.width = fixed->width;
    result.at_right = fixed->at_right;
  } else if (type.base == "decimal" || type.base == "numeric") {
    result.width = std::min(type.size.value_or(kDecimalPrecision), kWidthMax) + kSignAndPoint;
    result.at_right = true;
  } else if (type.is_max || !type.size.has_value()) {
    result.width = options_.variable_width;
    result.may_cut = true;
  } else {
    const int cells = type.base.ends_with("binary") ? kBinaryDigits : 1;
    result.width = std::min(*type.size, kWidthMax) * cells;
    if (options_.fixed_width > 0) {
      result.width = std::min(result.width, options_.fixed_width);
    }
    result.may_cut = true;
  }
  result.width = std::max(result.width, cli::DisplayWidth(result.name));
  return result;
}

std::string ResultLayout::Join(const std::vector<std::string>& cells) const {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    line += i == 0 ? "" : options_.separator;
    line += cells[i];
  }
  return Wrapped(std::move(line), options_.screen_width) + '\n';
}

std::string ResultLayout::Header() const {
  if (options_.header_every < 0 || options_.variable_width == 0) {
    return "";
  }
  std::vector<std::string> names;
  std::vector<std::string> dashes;
  for (const Column& column : columns_) {
    const int name_width = cli::DisplayWidth(column.name);
    const int width = options_.trim ? std::max(1, name_width) : column.width;
    names.push_back(options_.trim ? column.name : cli::PadRight(column.name, width));
    dashes.emplace_back(static_cast<std::size_t>(width), '-');
  }
  return Join(names) + Join(dashes);
}

std::string ResultLayout::Cell(const Column& column,
                               const std::optional<std::string>& value) const {
  std::string text = value.has_value() ? cli::Printable(*value) : "NULL";
  if (column.may_cut && cli::DisplayWidth(text) > column.width) {
    text = cli::TakeCells(text, column.width);
  }
  if (options_.trim) {
    return WithoutTrailingSpaces(std::move(text));
  }
  return column.at_right ? cli::PadLeft(text, column.width) : cli::PadRight(text, column.width);
}

std::string ResultLayout::Line(const cli::Row& row) {
  std::string text;
  const auto every = static_cast<std::size_t>(std::max(options_.header_every, 0));
  if (every > 0 && row_count_ > 0 && row_count_ % every == 0) {
    text = '\n' + Header();
  }
  ++row_count_;
  std::vector<std::string> cells;
  cells.reserve(columns_.size());
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    cells.push_back(Cell(columns_[i], row[i]));
  }
  return text + Join(cells);
}

std::string ResultLayout::Footer() const {
  return cli::FormatRowCount(row_count_);
}

}  // namespace capstan::sqlcmd
