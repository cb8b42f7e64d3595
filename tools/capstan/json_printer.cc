#include "tools/capstan/json_printer.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

bool IsJsonNumberType(std::string_view type) {
  constexpr std::array kNumbers =
      std::to_array<std::string_view>({"tinyint", "smallint", "int", "bigint", "float", "real"});
  const std::string_view base = type.substr(0, type.find('('));
  return std::find(kNumbers.begin(), kNumbers.end(), base) != kNumbers.end();
}

std::size_t SkipDigits(std::string_view text, std::size_t at) {
  while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0) {
    ++at;
  }
  return at;
}

// JSON's grammar of numbers: no plus sign, no leading zeros, no bare point.
bool IsJsonNumber(std::string_view text) {
  std::size_t at = text.starts_with('-') ? 1 : 0;
  const std::size_t whole = at;
  at = SkipDigits(text, at);
  if (at == whole || (text[whole] == '0' && at - whole > 1)) {
    return false;
  }
  if (at < text.size() && text[at] == '.') {
    const std::size_t fraction = at + 1;
    at = SkipDigits(text, fraction);
    if (at == fraction) {
      return false;
    }
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    at += at < text.size() && (text[at] == '+' || text[at] == '-') ? 1 : 0;
    const std::size_t exponent = at;
    at = SkipDigits(text, exponent);
    if (at == exponent) {
      return false;
    }
  }
  return at == text.size();
}

std::string JsonValue(const std::optional<std::string>& value, std::string_view type) {
  if (!value.has_value()) {
    return "null";
  }
  if (type == "bit" && (*value == "0" || *value == "1")) {
    return *value == "1" ? "true" : "false";
  }
  return IsJsonNumberType(type) && IsJsonNumber(*value) ? *value : JsonString(*value);
}

std::vector<std::string> Keys(const std::vector<Column>& columns) {
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string name =
        columns[i].name.empty() ? fmt::format("column_{}", i + 1) : columns[i].name;
    std::string key = name;
    for (int n = 2; std::find(keys.begin(), keys.end(), key) != keys.end(); ++n) {
      key = fmt::format("{}_{}", name, n);
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

}  // namespace

std::string JsonString(std::string_view text) {
  std::string result = "\"";
  while (!text.empty()) {
    const std::size_t valid = Utf8PrefixSize(text);
    for (const char c : text.substr(0, valid)) {
      if (c == '"' || c == '\\') {
        result += '\\';
        result += c;
      } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
        result += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
      } else {
        result += c;
      }
    }
    text.remove_prefix(valid);
    if (!text.empty()) {
      result += "\\ufffd";
      text.remove_prefix(1);
    }
  }
  return result + "\"";
}

std::string FormatJson(const ResultSet& result_set) {
  const std::vector<std::string> keys = Keys(result_set.columns);
  std::string text = "[";
  for (std::size_t r = 0; r < result_set.rows.size(); ++r) {
    const Row& row = result_set.rows[r];
    text += r == 0 ? "\n  {" : ",\n  {";
    for (std::size_t i = 0; i < keys.size() && i < row.size(); ++i) {
      text += i == 0 ? "" : ", ";
      text += JsonString(keys[i]) + ": " + JsonValue(row[i], result_set.columns[i].type);
    }
    text += '}';
  }
  return text + (result_set.rows.empty() ? "]\n" : "\n]\n");
}

}  // namespace capstan::cli
