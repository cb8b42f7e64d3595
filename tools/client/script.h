// Splits scripts into batches, as sqlcmd does. No I/O.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vdi/base/status.h"

namespace capstan::cli {

struct Batch {
  std::string text;     // without the GO line
  int repetitions = 1;  // "GO 3" runs the batch three times
};

// Collects lines until one of them ends the batch. Threads: one.
class BatchCollector {
 public:
  // Takes one line, its end included. The batch, if the line was a GO that ended one with text.
  std::optional<Batch> Add(std::string_view line);
  // The batch that no GO has ended, if there is one.
  std::optional<Batch> Finish();
  // Forgets the lines of the batch that is not finished.
  void Reset();

  // False inside a string, a quoted name or a block comment, where a line is nothing but text.
  bool at_command() const { return quote_ == 0 && comment_depth_ == 0; }
  // Lines of the batch that is not finished.
  int line_count() const { return line_count_; }

 private:
  void Scan(std::string_view line);
  std::optional<Batch> Take(int repetitions);

  std::string text_;
  int line_count_ = 0;
  char quote_ = 0;         // ' or " or ] while inside one, otherwise 0
  int comment_depth_ = 0;  // T-SQL's block comments nest
};

// Text without a UTF-8 byte order mark. kInvalidArgument: it is UTF-16 or otherwise not UTF-8.
Result<std::string_view> ScriptText(std::string_view script);

// Without the spaces, tabs and line ends around it.
std::string_view Trimmed(std::string_view text);

// Batches end at lines that hold only GO and an optional count, in any case; not inside a string,
// a quoted name or a block comment. Batches of white space are left out. A UTF-8 byte order mark
// is dropped. kInvalidArgument: the script is UTF-16 or otherwise not UTF-8.
Result<std::vector<Batch>> SplitScript(std::string_view script);

}  // namespace capstan::cli
