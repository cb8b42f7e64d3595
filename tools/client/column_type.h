// The types of columns as the server writes them, taken apart. Pure.
#pragma once

#include <optional>
#include <string_view>

namespace capstan::cli {

// "nvarchar(128)" -> base "nvarchar", size 128; "decimal(10,2)" -> size 10.
struct ColumnType {
  std::string_view base;  // a part of the text that was parsed
  std::optional<int> size;
  bool is_max = false;  // "(max)"
};

ColumnType ParseColumnType(std::string_view type);

// True for T-SQL's numeric types, which stand at the right of their column.
bool IsNumericType(std::string_view type);

}  // namespace capstan::cli
