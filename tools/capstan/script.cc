#include "tools/capstan/script.h"

#include <charconv>
#include <optional>

#include "tools/capstan/text_width.h"

namespace capstan::cli {
namespace {

// What the scanner is inside of at the end of a line.
struct Context {
  char quote = 0;         // ' or " or ] while inside one, otherwise 0
  int comment_depth = 0;  // T-SQL's block comments nest

  bool plain() const { return quote == 0 && comment_depth == 0; }
};

// The context after `line`. A doubled quote closes and opens again, which comes to the same.
void Scan(std::string_view line, Context& context) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    const std::string_view two = line.substr(i, 2);
    if (context.quote != 0) {
      if (line[i] == context.quote) {
        context.quote = 0;
      }
    } else if (two == "/*") {
      ++context.comment_depth;
      ++i;
    } else if (context.comment_depth > 0) {
      if (two == "*/") {
        --context.comment_depth;
        ++i;
      }
    } else if (two == "--") {
      return;
    } else if (line[i] == '\'' || line[i] == '"') {
      context.quote = line[i];
    } else if (line[i] == '[') {
      context.quote = ']';
    }
  }
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) {
    return "";
  }
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// The count of a GO line, or nullopt if the line is something else.
std::optional<int> ParseGo(std::string_view line) {
  const std::string_view text = Trimmed(line);
  if (text.size() < 2 || (text[0] | 0x20) != 'g' || (text[1] | 0x20) != 'o') {
    return std::nullopt;
  }
  if (text.size() == 2) {
    return 1;
  }
  const std::string_view count_text = Trimmed(text.substr(2));
  int count = 0;
  const auto [end, error] =
      std::from_chars(count_text.data(), count_text.data() + count_text.size(), count);
  const bool separated = text[2] == ' ' || text[2] == '\t';
  const bool whole = end == count_text.data() + count_text.size();
  if (!separated || error != std::errc() || !whole || count < 0) {
    return std::nullopt;
  }
  return count;
}

}  // namespace

Result<std::vector<Batch>> SplitScript(std::string_view script) {
  if (script.starts_with("\xFF\xFE") || script.starts_with("\xFE\xFF")) {
    return Error(Code::kInvalidArgument, "the script is UTF-16")
        .WithHint("convert it: iconv -f UTF-16 -t UTF-8 FILE | capstan exec -");
  }
  if (!IsUtf8(script)) {
    return Error(Code::kInvalidArgument, "the script is not UTF-8")
        .WithHint("convert it, for example: iconv -f WINDOWS-1252 -t UTF-8 FILE | capstan exec -");
  }
  if (script.starts_with("\xEF\xBB\xBF")) {
    script.remove_prefix(3);
  }
  std::vector<Batch> batches;
  std::string text;
  Context context;
  const auto finish = [&](int repetitions) {
    if (!Trimmed(text).empty() && repetitions > 0) {
      batches.push_back({text, repetitions});
    }
    text.clear();
  };
  while (!script.empty()) {
    const std::size_t size =
        script.find('\n') == std::string_view::npos ? script.size() : script.find('\n') + 1;
    const std::string_view line = script.substr(0, size);
    script.remove_prefix(size);
    if (const std::optional<int> go = ParseGo(line); go.has_value() && context.plain()) {
      finish(*go);
      continue;
    }
    Scan(line, context);
    text += line;
  }
  finish(1);
  return batches;
}

}  // namespace capstan::cli
