#include "server/tsql/lexical.h"

#include <algorithm>

#include "vdi/base/check.h"

namespace capstan::tsql {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// What above ASCII is neither letter, digit nor space: punctuation, arrows, mathematics, drawing,
// pictures, private use. Everything else counts as a letter, as in SQL Server's own collations.
constexpr Range kNotLetters[] = {
    {0x80, 0xA9},     {0xAB, 0xB4},       {0xB6, 0xB9},        {0xBB, 0xBF},     {0xD7, 0xD7},
    {0xF7, 0xF7},     {0x2000, 0x2070},   {0x20A0, 0x20CF},    {0x2190, 0x2BFF}, {0x3000, 0x3004},
    {0x3008, 0x3020}, {0xD800, 0xF8FF},   {0xFE30, 0xFE6F},    {0xFF01, 0xFF0F}, {0xFF1A, 0xFF20},
    {0xFFE0, 0xFFFF}, {0x1F000, 0x1FAFF}, {0xE0000, 0x10FFFF},
};

}  // namespace

CodePoint DecodeAt(std::string_view text, std::size_t at) {
  CAPSTAN_CHECK(at < text.size());
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) {
    return {lead, 1};
  }
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (lead < 0xC2 || lead > 0xF4 || at + length > text.size()) {
    return {kInvalidCodePoint, 1};
  }
  char32_t value = lead & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) {
      return {kInvalidCodePoint, 1};
    }
    value = (value << 6) | (byte(at + i) & 0x3Fu);
  }
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kSmallest[length] || value > 0x10FFFF || surrogate) {
    return {kInvalidCodePoint, 1};
  }
  return {value, length};
}

bool IsSpace(char32_t c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xA0 || (c >= 0x2000 && c <= 0x200B) ||
         c == 0x202F || c == 0x205F || c == 0x3000 || c == 0xFEFF;
}

bool IsDigit(char32_t c) {
  return c >= '0' && c <= '9';
}

bool IsIdentifierStart(char32_t c) {
  if (c < 0x80) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '#';
  }
  return !IsSpace(c) && std::none_of(std::begin(kNotLetters), std::end(kNotLetters),
                                     [c](Range r) { return c >= r.first && c <= r.last; });
}

bool IsIdentifierPart(char32_t c) {
  return IsIdentifierStart(c) || IsDigit(c) || c == '@' || c == '$';
}

std::size_t EndOfQuoted(std::string_view text, std::size_t open) {
  const char close = text[open] == '[' ? ']' : text[open];
  std::size_t at = open + 1;
  while ((at = text.find(close, at)) != std::string_view::npos) {
    if (at + 1 >= text.size() || text[at + 1] != close) {
      return at + 1;
    }
    at += 2;
  }
  return std::string_view::npos;
}

std::size_t EndOfBlockComment(std::string_view text, std::size_t open) {
  std::size_t depth = 1;
  std::size_t at = open + 2;
  while (at + 1 < text.size()) {
    const std::string_view pair = text.substr(at, 2);
    if (pair == "*/") {
      at += 2;
      if (--depth == 0) {
        return at;
      }
    } else if (pair == "/*") {
      at += 2;
      ++depth;
    } else {
      ++at;
    }
  }
  return std::string_view::npos;
}

std::size_t EndOfLine(std::string_view text, std::size_t at) {
  return std::min(text.find('\n', at), text.size());
}

std::string_view Clip(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  for (; at < text.size() && count > 0; --count) {
    at += DecodeAt(text, at).length;
  }
  return text.substr(0, at);
}

std::size_t CountCodePoints(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) {
    at += DecodeAt(text, at).length;
  }
  return count;
}

}  // namespace capstan::tsql
