#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/tsql/keywords.h"
#include "server/tsql/lexical.h"
#include "server/tsql/parser.h"

namespace capstan::tsql {
namespace {

// Beyond this, "GO 1000000" is a way to exhaust memory and no longer a wish to repeat something.
constexpr std::uint64_t kRepeatedBytesMax = 16U << 20;

std::size_t SkipSpaces(std::string_view line, std::size_t at) {
  while (at < line.size() && IsSpace(DecodeAt(line, at).value)) {
    at += DecodeAt(line, at).length;
  }
  return at;
}

// How often the batch before `line` is to run if the line is a separator.
std::optional<std::uint64_t> SeparatorCount(std::string_view line) {
  std::size_t at = SkipSpaces(line, 0);
  if (!EqualsIgnoreCase(line.substr(at, 2), "GO")) {
    return std::nullopt;
  }
  at = SkipSpaces(line, at + 2);
  std::uint64_t count = 1;
  const char* const begin = line.data() + at;
  const auto parsed = std::from_chars(begin, line.data() + line.size(), count);
  if (parsed.ec == std::errc::result_out_of_range) {
    return std::nullopt;
  }
  if (parsed.ec == std::errc()) {
    const bool glued = at > 0 && IsIdentifierPart(static_cast<unsigned char>(line[at - 1]));
    if (glued) {
      return std::nullopt;  // GO5 is a name
    }
    at += static_cast<std::size_t>(parsed.ptr - begin);
  }
  at = SkipSpaces(line, at);
  if (at < line.size() && line.substr(at, 2) != "--") {
    return std::nullopt;
  }
  return count;
}

bool IsBlank(std::string_view text) {
  return SkipSpaces(text, 0) == text.size();
}

class Splitter {
 public:
  explicit Splitter(std::string_view script) : script_(script) {}

  std::vector<std::string> Run() {
    std::size_t begin = 0;
    std::size_t line = 0;
    while (line < script_.size()) {
      const std::size_t end = EndOfLine(script_, line);
      const auto count = SeparatorCount(script_.substr(line, end - line));
      if (count.has_value() && Emit(script_.substr(begin, line - begin), *count)) {
        line = std::min(end + 1, script_.size());
        begin = line;
      } else {
        line = NextLine(line);
      }
    }
    Emit(script_.substr(begin), 1);
    return std::move(batches_);
  }

 private:
  // The next line that begins outside quotes and comments. REQUIRES: `at` is outside them.
  std::size_t NextLine(std::size_t at) const {
    while (at < script_.size()) {
      const std::string_view pair = script_.substr(at, 2);
      const char c = script_[at];
      std::size_t end = at + 1;
      if (c == '\n') {
        return end;
      }
      if (pair == "--") {
        end = EndOfLine(script_, at);
      } else if (pair == "/*") {
        end = EndOfBlockComment(script_, at);
      } else if (c == '\'' || c == '"' || c == '[') {
        end = EndOfQuoted(script_, at);
      }
      at = std::min(end, script_.size());  // what is never closed takes the rest
    }
    return at;
  }

  // False if repeating the batch that often would take too much memory.
  bool Emit(std::string_view batch, std::uint64_t count) {
    if (IsBlank(batch)) {
      return true;
    }
    const std::uint64_t cost = batch.size() + sizeof(std::string);
    const std::uint64_t repeats = count == 0 ? 0 : count - 1;
    if (repeats > (kRepeatedBytesMax - repeated_bytes_) / cost) {
      return false;
    }
    repeated_bytes_ += repeats * cost;
    batches_.insert(batches_.end(), static_cast<std::size_t>(count), std::string(batch));
    return true;
  }

  const std::string_view script_;
  std::vector<std::string> batches_;
  std::uint64_t repeated_bytes_ = 0;
};

}  // namespace

std::vector<std::string> SplitBatches(std::string_view script) {
  return Splitter(script).Run();
}

}  // namespace capstan::tsql
