#include "tools/client/column_type.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace capstan::cli {

ColumnType ParseColumnType(std::string_view type) {
  const std::size_t open = type.find('(');
  ColumnType result{.base = type.substr(0, open), .size = std::nullopt, .is_max = false};
  if (open == std::string_view::npos) {
    return result;
  }
  const std::string_view argument = type.substr(open + 1);
  result.is_max = argument.starts_with("max") || argument.starts_with("MAX");
  int size = 0;
  const char* const end = argument.data() + argument.size();
  if (std::from_chars(argument.data(), end, size).ec == std::errc() && size > 0) {
    result.size = size;
  }
  return result;
}

bool IsNumericType(std::string_view type) {
  constexpr std::array kNumeric = std::to_array<std::string_view>(
      {"tinyint", "smallint", "int", "bigint", "decimal", "numeric", "float", "real", "money"});
  const std::string_view base = ParseColumnType(type).base;
  return std::find(kNumeric.begin(), kNumeric.end(), base) != kNumeric.end();
}

}  // namespace capstan::cli
