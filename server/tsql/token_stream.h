// A cursor over the tokens of a batch, and the place where syntax errors get their text and line.
//
// Every Status that leaves a parser function was made by Fail() or SyntaxError(), which remember
// the line; ParseBatch puts both together. Threads: one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "server/tsql/tokenizer.h"
#include "vdi/base/status.h"

namespace capstan::tsql {

class TokenStream {
 public:
  // `tokens` ends in kEnd; `batch` is the text they were cut from and outlives the stream.
  TokenStream(std::string_view batch, std::vector<Token> tokens);

  // The token `ahead` places further on; the end, however far that is.
  const Token& Peek(std::size_t ahead = 0) const;
  // Takes the current token; the end can be taken for ever.
  const Token& Next();
  bool AtEnd() const { return Peek().kind == TokenKind::kEnd; }
  // Whether the statement is over: the end, a semicolon, or a word that starts a statement.
  bool AtBoundary() const;

  // Words match unquoted tokens without regard to case.
  bool AtWord(std::string_view word, std::size_t ahead = 0) const;
  bool AtSymbol(std::string_view symbol, std::size_t ahead = 0) const;
  bool AtName(std::size_t ahead = 0) const;  // [quoted], or a word that is not reserved
  bool TakeWord(std::string_view word);
  bool TakeSymbol(std::string_view symbol);

  Status ExpectWord(std::string_view word);
  Status ExpectSymbol(std::string_view symbol);
  Result<std::string> ExpectName();
  Result<std::string> ExpectString();

  // 102 or 156 near the current token; at the end, 102 near the last one, as SQL Server says it.
  Status SyntaxError();
  // Hands `status` on, and remembers the line of `at`.
  Status Fail(const Token& at, Status status);
  int error_line() const { return error_line_; }

  // Which command is being parsed, in 3013's words; `command` must be a literal. Empty: none that
  // ends with 3013.
  void BeginCommand(std::string_view command) { command_ = command; }
  std::string_view command() const { return command_; }

  // The text from the first byte of `first` to the last byte of the token taken last.
  std::string TextSince(const Token& first) const;
  // The same with every password, which is the string behind PASSWORD = or MEDIAPASSWORD =, as
  // stars.
  std::string TextForRecords(const Token& first) const;

 private:
  const std::string_view batch_;
  const std::vector<Token> tokens_;
  std::size_t position_ = 0;
  int error_line_ = 1;
  std::string_view command_;
};

}  // namespace capstan::tsql
