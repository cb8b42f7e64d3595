// Result set -> JSON for programs. Pure.
//
// Whole and floating numbers are JSON numbers, bit is true or false, NULL is null. decimal and
// numeric (LSNs) are strings, because JSON readers keep 53 bits of a number.
#pragma once

#include <string>
#include <string_view>

#include "tools/client/response.h"

namespace capstan::cli {

// The text as a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD.
std::string JsonString(std::string_view text);

// An array with one object per row, keys in column order; every object is on its own line.
// A column without a name is "column_N" (from 1), a repeated name gets "_2", "_3", ...
std::string FormatJson(const ResultSet& result_set);

}  // namespace capstan::cli
