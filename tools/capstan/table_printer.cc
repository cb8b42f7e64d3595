#include "tools/capstan/table_printer.h"

#include <algorithm>

#include "tools/client/column_type.h"
#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

std::string CellText(const std::optional<std::string>& value) {
  return value.has_value() ? Printable(*value) : "NULL";
}

std::vector<int> ColumnWidths(const ResultSet& result_set) {
  std::vector<int> widths;
  widths.reserve(result_set.columns.size());
  for (const Column& column : result_set.columns) {
    // At least one dash under a column without a name.
    widths.push_back(std::max(1, DisplayWidth(Printable(column.name))));
  }
  for (const Row& row : result_set.rows) {
    for (std::size_t i = 0; i < widths.size() && i < row.size(); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(CellText(row[i])));
    }
  }
  return widths;
}

void AppendLine(std::string& text, std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  text += line;
  text += '\n';
}

}  // namespace

std::string FormatTable(const ResultSet& result_set) {
  const std::vector<int> widths = ColumnWidths(result_set);
  std::string text;
  std::string header;
  std::string dashes;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const std::string_view gap = i == 0 ? "" : " ";
    const Column& column = result_set.columns[i];
    const std::string name = Printable(column.name);
    header += gap;
    header += IsNumericType(column.type) ? PadLeft(name, widths[i]) : PadRight(name, widths[i]);
    dashes += gap;
    dashes += std::string(static_cast<std::size_t>(widths[i]), '-');
  }
  AppendLine(text, std::move(header));
  AppendLine(text, std::move(dashes));
  for (const Row& row : result_set.rows) {
    std::string line;
    for (std::size_t i = 0; i < widths.size() && i < row.size(); ++i) {
      const std::string cell = CellText(row[i]);
      line += i == 0 ? "" : " ";
      line += IsNumericType(result_set.columns[i].type) ? PadLeft(cell, widths[i])
                                                        : PadRight(cell, widths[i]);
    }
    AppendLine(text, std::move(line));
  }
  return text;
}

}  // namespace capstan::cli
