// The characters of T-SQL: what may stand in a name, and where quoted text and comments end. Shared
// by the tokenizer and the batch splitter, so that both see the same borders.
//
// Pure functions over UTF-8 text. Threads: any.
#pragma once

#include <cstddef>
#include <string_view>

namespace capstan::tsql {

struct CodePoint {
  char32_t value = 0;      // kInvalidCodePoint where the text is not UTF-8
  std::size_t length = 1;  // bytes; 1 where the text is not UTF-8
};
inline constexpr char32_t kInvalidCodePoint = 0xFFFD;

// REQUIRES: at < text.size()
CodePoint DecodeAt(std::string_view text, std::size_t at);

bool IsSpace(char32_t c);            // includes the no-break space that copied examples carry
bool IsIdentifierStart(char32_t c);  // a letter of any script, '_' or '#'
bool IsIdentifierPart(char32_t c);   // also digits, '@' and '$'
bool IsDigit(char32_t c);            // 0..9

// One past the quote that closes the text opened at `open`; a doubled quote does not close it.
// npos if nothing does. REQUIRES: text[open] is ', " or [
std::size_t EndOfQuoted(std::string_view text, std::size_t open);

// One past the "*/" that closes the comment opened at `open`; comments nest. npos if nothing does.
std::size_t EndOfBlockComment(std::string_view text, std::size_t open);

// The end of the line that holds `at`: the position of its '\n', or the end of the text.
std::size_t EndOfLine(std::string_view text, std::size_t at);

// The first `count` code points of `text`, for messages of bounded length.
std::string_view Clip(std::string_view text, std::size_t count);

// Counts code points; a byte that is not UTF-8 counts as one.
std::size_t CountCodePoints(std::string_view text);

}  // namespace capstan::tsql
