// The parser: a batch of T-SQL text becomes statements. A tokenizer and recursive descent.
//
// Pure: no I/O, no state. Threads: any. Errors are SQL Server's (102, 105, 113, 155, 156, 3031,
// 3205, 3011, 3217, 3250, 3253, 3277, ...) with the line in the batch.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/tsql/statement.h"
#include "vdi/base/status.h"

namespace capstan::tsql {

struct ParseError {
  Status status;
  int line = 1;  // of the offending token, from 1
  // What 3013 says is terminating abnormally ("BACKUP DATABASE"); empty if 3013 does not follow. It
  // follows what BACKUP and RESTORE find wrong with their devices and values. What is wrong with
  // the text alone, conflicts (3031) and unknown combinations (3032) included, stands by itself.
  std::string_view terminated;
};

// As SQL Server does, the whole batch is checked before any of it runs: either all statements or
// the first error.
std::variant<std::vector<Statement>, ParseError> ParseBatch(std::string_view batch);

// Splits a script at lines that hold only GO (in any case, with an optional count and comment), as
// sqlcmd does; a count repeats the batch. GO inside a string, a bracketed name or a comment does
// not split. Lines in errors count from the beginning of each batch. Blank batches are left out. A
// count that would repeat more than 16 MiB in one script is left in its batch, where it is a syntax
// error.
std::vector<std::string> SplitBatches(std::string_view script);

}  // namespace capstan::tsql
