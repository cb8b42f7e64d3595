// Rows of RESTORE MEDIAMAP -> a drawing of the medium for people. Pure.
#pragma once

#include <string>

#include "tools/client/response.h"

namespace capstan::cli {

// Whether nothing on the medium is damaged, unfinished or missing.
bool IsSound(const ResultSet& map);

// Title, a bar of the whole medium with a letter per backup set, a table of the sets, and what is
// wrong with what to do about it. Lines have 80 cells, but for long names. `map` is of one medium.
std::string DrawMedium(const ResultSet& map, bool with_blocks);

}  // namespace capstan::cli
