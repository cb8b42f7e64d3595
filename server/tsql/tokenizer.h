// Cuts a batch into tokens: names, strings, numbers, variables and symbols; blanks and comments go.
//
// Pure. Threads: any. Errors: 105 (quote or bracket not closed), 113 (comment not closed), 103
// (name longer than 128 characters), 1038 (empty name), each with its line.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/tsql/parser.h"

namespace capstan::tsql {

enum class TokenKind {
  kWord,        // name or keyword without quotes
  kQuotedName,  // [name] or "name"
  kString,      // 'text' or N'text'
  kNumber,      // 12, 1.5, 1e3
  kBinary,      // 0x1F, with the 0x
  kVariable,    // @name or @@NAME
  kSymbol,      // punctuation, operators, and any character that fits nowhere else
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;       // without quotes and brackets, doubled quotes undone
  std::size_t begin = 0;  // bytes in the batch, half-open
  std::size_t end = 0;
  int line = 1;  // of the first byte, from 1
};

// The last token is always kEnd.
std::variant<std::vector<Token>, ParseError> Tokenize(std::string_view batch);

}  // namespace capstan::tsql
