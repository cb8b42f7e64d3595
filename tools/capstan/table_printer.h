// Result set -> aligned columns for people. Pure.
#pragma once

#include <string>

#include "tools/client/response.h"

namespace capstan::cli {

// Header, a line of dashes, one line per row; NULL for what is absent. Every line ends with \n and
// has no trailing spaces.
std::string FormatTable(const ResultSet& result_set);

}  // namespace capstan::cli
