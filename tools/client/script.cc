#include "tools/client/script.h"

#include <charconv>
#include <utility>

#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

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

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) {
    return "";
  }
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// A doubled quote closes and opens again, which comes to the same.
void BatchCollector::Scan(std::string_view line) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    const std::string_view two = line.substr(i, 2);
    if (quote_ != 0) {
      if (line[i] == quote_) {
        quote_ = 0;
      }
    } else if (two == "/*") {
      ++comment_depth_;
      ++i;
    } else if (comment_depth_ > 0) {
      if (two == "*/") {
        --comment_depth_;
        ++i;
      }
    } else if (two == "--") {
      return;
    } else if (line[i] == '\'' || line[i] == '"') {
      quote_ = line[i];
    } else if (line[i] == '[') {
      quote_ = ']';
    }
  }
}

std::optional<Batch> BatchCollector::Add(std::string_view line) {
  if (at_command()) {
    if (const std::optional<int> repetitions = ParseGo(line)) {
      return Take(*repetitions);
    }
  }
  Scan(line);
  text_ += line;
  ++line_count_;
  return std::nullopt;
}

std::optional<Batch> BatchCollector::Finish() {
  return Take(1);
}

void BatchCollector::Reset() {
  *this = BatchCollector();
}

std::optional<Batch> BatchCollector::Take(int repetitions) {
  Batch batch{std::move(text_), repetitions};
  Reset();
  if (Trimmed(batch.text).empty() || repetitions == 0) {
    return std::nullopt;
  }
  return batch;
}

Result<std::string_view> ScriptText(std::string_view script) {
  if (script.starts_with("\xFF\xFE") || script.starts_with("\xFE\xFF")) {
    return Error(Code::kInvalidArgument, "the script is UTF-16")
        .WithHint("convert it: iconv -f UTF-16 -t UTF-8 FILE > UTF8_FILE");
  }
  if (!IsUtf8(script)) {
    return Error(Code::kInvalidArgument, "the script is not UTF-8")
        .WithHint("convert it, for example: iconv -f WINDOWS-1252 -t UTF-8 FILE > UTF8_FILE");
  }
  if (script.starts_with("\xEF\xBB\xBF")) {
    script.remove_prefix(3);
  }
  return script;
}

Result<std::vector<Batch>> SplitScript(std::string_view script) {
  CAPSTAN_ASSIGN_OR_RETURN(script, ScriptText(script));
  std::vector<Batch> batches;
  BatchCollector collector;
  while (!script.empty()) {
    const std::size_t end = script.find('\n');
    const std::size_t size = end == std::string_view::npos ? script.size() : end + 1;
    if (std::optional<Batch> batch = collector.Add(script.substr(0, size))) {
      batches.push_back(*std::move(batch));
    }
    script.remove_prefix(size);
  }
  if (std::optional<Batch> batch = collector.Finish()) {
    batches.push_back(*std::move(batch));
  }
  return batches;
}

}  // namespace capstan::cli
