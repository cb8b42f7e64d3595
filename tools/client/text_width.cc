#include "tools/client/text_width.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace capstan::cli {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view kEllipsis = "\xE2\x80\xA6";     // U+2026

struct Range {
  char32_t first;
  char32_t last;
};

// Unicode 15's East_Asian_Width W and F, in blocks; the gaps inside a block do not print anyway.
constexpr std::array kWide = std::to_array<Range>({
    {0x1100, 0x115F},   {0x231A, 0x231B},   {0x2329, 0x232A},   {0x23E9, 0x23EC},
    {0x23F0, 0x23F0},   {0x23F3, 0x23F3},   {0x25FD, 0x25FE},   {0x2614, 0x2615},
    {0x2648, 0x2653},   {0x267F, 0x267F},   {0x2693, 0x2693},   {0x26A1, 0x26A1},
    {0x26AA, 0x26AB},   {0x26BD, 0x26BE},   {0x26C4, 0x26C5},   {0x26CE, 0x26CE},
    {0x26D4, 0x26D4},   {0x26EA, 0x26EA},   {0x26F2, 0x26F3},   {0x26F5, 0x26F5},
    {0x26FA, 0x26FA},   {0x26FD, 0x26FD},   {0x2705, 0x2705},   {0x270A, 0x270B},
    {0x2728, 0x2728},   {0x274C, 0x274C},   {0x274E, 0x274E},   {0x2753, 0x2755},
    {0x2757, 0x2757},   {0x2795, 0x2797},   {0x27B0, 0x27B0},   {0x27BF, 0x27BF},
    {0x2B1B, 0x2B1C},   {0x2B50, 0x2B50},   {0x2B55, 0x2B55},   {0x2E80, 0x303E},
    {0x3041, 0x4DBF},   {0x4E00, 0xA4CF},   {0xA960, 0xA97C},   {0xAC00, 0xD7A3},
    {0xF900, 0xFAFF},   {0xFE10, 0xFE19},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},
    {0xFFE0, 0xFFE6},   {0x16FE0, 0x18CFF}, {0x1AFF0, 0x1B2FF}, {0x1F004, 0x1F004},
    {0x1F0CF, 0x1F0CF}, {0x1F18E, 0x1F18E}, {0x1F191, 0x1F19A}, {0x1F200, 0x1F265},
    {0x1F300, 0x1F320}, {0x1F32D, 0x1F335}, {0x1F337, 0x1F37C}, {0x1F37E, 0x1F393},
    {0x1F3A0, 0x1F3CA}, {0x1F3CF, 0x1F3D3}, {0x1F3E0, 0x1F3F0}, {0x1F3F4, 0x1F3F4},
    {0x1F3F8, 0x1F43E}, {0x1F440, 0x1F440}, {0x1F442, 0x1F4FC}, {0x1F4FF, 0x1F53D},
    {0x1F54B, 0x1F567}, {0x1F57A, 0x1F57A}, {0x1F595, 0x1F596}, {0x1F5A4, 0x1F5A4},
    {0x1F5FB, 0x1F64F}, {0x1F680, 0x1F6C5}, {0x1F6CC, 0x1F6CC}, {0x1F6D0, 0x1F6DF},
    {0x1F6EB, 0x1F6FC}, {0x1F7E0, 0x1F7F0}, {0x1F90C, 0x1F9FF}, {0x1FA70, 0x1FAFF},
    {0x20000, 0x3FFFD},
});

// Combining marks of the scripts that use them most, joiners and variation selectors.
constexpr std::array kZeroWidth = std::to_array<Range>({
    {0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x0610, 0x061A}, {0x064B, 0x065F},
    {0x06D6, 0x06DC}, {0x093C, 0x093C}, {0x094D, 0x094D}, {0x0E31, 0x0E31}, {0x0E34, 0x0E3A},
    {0x0E47, 0x0E4E}, {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x200B, 0x200F}, {0x20D0, 0x20FF},
    {0x302A, 0x302D}, {0x3099, 0x309A}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0xFEFF, 0xFEFF},
});

template <std::size_t kSize>
bool IsIn(const std::array<Range, kSize>& ranges, char32_t point) {
  const auto range = std::lower_bound(ranges.begin(), ranges.end(), point,
                                      [](const Range& r, char32_t p) { return r.last < p; });
  return range != ranges.end() && range->first <= point;
}

int WidthOf(char32_t point) {
  if (IsIn(kZeroWidth, point)) {
    return 0;
  }
  return IsIn(kWide, point) ? 2 : 1;
}

struct Character {
  char32_t point = 0;
  std::size_t size = 0;  // bytes it takes; 0 = the bytes are not UTF-8
};

// The character at the start of `text`, which is not empty. Refuses overlong forms, surrogates and
// what lies above U+10FFFF.
Character Decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) {
    return {byte(0), 1};
  }
  std::size_t size = 0;
  if ((byte(0) & 0xE0) == 0xC0) {
    size = 2;
  } else if ((byte(0) & 0xF0) == 0xE0) {
    size = 3;
  } else if ((byte(0) & 0xF8) == 0xF0) {
    size = 4;
  }
  if (size == 0 || text.size() < size) {
    return {};
  }
  char32_t point = byte(0) & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) {
      return {};
    }
    point = (point << 6) | (byte(i) & 0x3Fu);
  }
  constexpr std::array<char32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
  if (point < kSmallest[size] || surrogate || point > 0x10FFFF) {
    return {};
  }
  return {point, size};
}

struct Cell {
  std::string_view bytes;
  int width = 1;
};

// The characters of a text with their widths; invalid bytes stand as replacement characters.
std::vector<Cell> CellsOf(std::string_view text) {
  std::vector<Cell> cells;
  while (!text.empty()) {
    const Character character = Decode(text);
    if (character.size == 0) {
      cells.push_back({kReplacement, 1});
      text.remove_prefix(1);
      continue;
    }
    cells.push_back({text.substr(0, character.size), WidthOf(character.point)});
    text.remove_prefix(character.size);
  }
  return cells;
}

int WidthOf(const std::vector<Cell>& cells) {
  int width = 0;
  for (const Cell& cell : cells) {
    width += cell.width;
  }
  return width;
}

// As many leading cells as fit `width`, with the marks that combine with the last one.
std::string Head(const std::vector<Cell>& cells, int width) {
  std::string head;
  for (const Cell& cell : cells) {
    width -= cell.width;
    if (width < 0) {
      break;
    }
    head += cell.bytes;
  }
  return head;
}

std::string Tail(const std::vector<Cell>& cells, int width) {
  std::size_t first = cells.size();
  while (first > 0 && width - cells[first - 1].width >= 0) {
    --first;
    width -= cells[first].width;
  }
  // A combining mark without its letter would land on the ellipsis.
  while (first < cells.size() && cells[first].width == 0) {
    ++first;
  }
  std::string tail;
  for (; first < cells.size(); ++first) {
    tail += cells[first].bytes;
  }
  return tail;
}

std::string Spaces(int count) {
  return std::string(static_cast<std::size_t>(std::max(count, 0)), ' ');
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Character character = Decode(text);
    if (character.size == 0) {
      result += kReplacement;
      text.remove_prefix(1);
      continue;
    }
    const char32_t point = character.point;
    if (point == '\n' || point == '\r' || point == '\t') {
      result += ' ';
    } else if (point < 0x20 || (point >= 0x7F && point < 0xA0)) {
      result += '?';
    } else {
      result += text.substr(0, character.size);
    }
    text.remove_prefix(character.size);
  }
  return result;
}

std::size_t Utf8PrefixSize(std::string_view text) {
  std::size_t size = 0;
  while (size < text.size()) {
    const Character character = Decode(text.substr(size));
    if (character.size == 0) {
      break;
    }
    size += character.size;
  }
  return size;
}

bool IsUtf8(std::string_view text) {
  return Utf8PrefixSize(text) == text.size();
}

int DisplayWidth(std::string_view text) {
  return WidthOf(CellsOf(text));
}

std::string PadRight(std::string_view text, int width) {
  return std::string(text) + Spaces(width - DisplayWidth(text));
}

std::string PadLeft(std::string_view text, int width) {
  return Spaces(width - DisplayWidth(text)) + std::string(text);
}

std::string TakeCells(std::string_view text, int width) {
  const std::vector<Cell> cells = CellsOf(text);
  const std::string head = Head(cells, width);
  return head.empty() && !cells.empty() ? std::string(cells.front().bytes) : head;
}

std::string ShortenMiddle(std::string_view text, int width) {
  const std::vector<Cell> cells = CellsOf(text);
  if (WidthOf(cells) <= width) {
    return std::string(text);
  }
  if (width <= 0) {
    return "";
  }
  const int head = (width - 1) / 2;
  return Head(cells, head) + std::string(kEllipsis) + Tail(cells, width - 1 - head);
}

std::string ShortenEnd(std::string_view text, int width) {
  const std::vector<Cell> cells = CellsOf(text);
  if (WidthOf(cells) <= width) {
    return std::string(text);
  }
  return width <= 0 ? "" : Head(cells, width - 1) + std::string(kEllipsis);
}

}  // namespace capstan::cli
