// Splits a script into batches, as sqlcmd does. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vdi/base/status.h"

namespace capstan::cli {

struct Batch {
  std::string text;     // without the GO line
  int repetitions = 1;  // "GO 3" runs the batch three times
};

// Batches end at lines that hold only GO and an optional count, in any case; not inside a string,
// a quoted name or a block comment. Batches of white space are left out. A UTF-8 byte order mark
// is dropped. kInvalidArgument: the script is UTF-16 or otherwise not UTF-8.
Result<std::vector<Batch>> SplitScript(std::string_view script);

}  // namespace capstan::cli
