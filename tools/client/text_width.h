// How many terminal cells a UTF-8 text takes, and texts made to fit a number of cells.
//
// Pure. East Asian wide characters and emoji take two cells, combining marks none; bytes that are
// not UTF-8 count, and print, as one replacement character each. No locale is consulted.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace capstan::cli {

// The text as it may go to a terminal or into a table cell: control characters (line ends, escape
// sequences of a hostile name) become spaces or '?', invalid bytes U+FFFD.
std::string Printable(std::string_view text);

// True if the text is well-formed UTF-8, which is all that the protocol carries.
bool IsUtf8(std::string_view text);
// Bytes at the start of the text that are well-formed.
std::size_t Utf8PrefixSize(std::string_view text);

// Cells that a printable text takes.
int DisplayWidth(std::string_view text);

// Padded with spaces to at least `width` cells.
std::string PadRight(std::string_view text, int width);
std::string PadLeft(std::string_view text, int width);

// The start of a text, at most `width` cells; at least one character, so that a loop over a text
// ends.
std::string TakeCells(std::string_view text, int width);

// At most `width` cells; what does not fit goes from the middle (the end of a path is what tells
// two apart) or from the end, and is marked by an ellipsis.
std::string ShortenMiddle(std::string_view text, int width);
std::string ShortenEnd(std::string_view text, int width);

}  // namespace capstan::cli
