// Result set -> aligned columns for people. Pure.
#pragma once

#include <string>
#include <string_view>

#include "tools/capstan/response.h"

namespace capstan::cli {

// True for T-SQL's numeric types, which stand at the right of their column.
bool IsNumericType(std::string_view type);

// Header, a line of dashes, one line per row; NULL for what is absent. Every line ends with \n and
// has no trailing spaces.
std::string FormatTable(const ResultSet& result_set);

// As sqlcmd ends a result set: "\n(3 rows affected)\n".
std::string FormatRowCount(std::size_t row_count);

}  // namespace capstan::cli
