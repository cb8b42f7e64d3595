// Shorthand for tests of the parser: one statement out, or one error out.
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "server/tsql/parser.h"
#include "server/tsql/statement.h"

namespace capstan::tsql {

// The statements of a batch that must parse.
inline std::vector<Statement> ParseAll(std::string_view batch) {
  auto parsed = ParseBatch(batch);
  if (const auto* error = std::get_if<ParseError>(&parsed)) {
    ADD_FAILURE() << batch << "\n  line " << error->line << ": " << error->status.ToString();
    return {};
  }
  return std::get<std::vector<Statement>>(std::move(parsed));
}

// The only statement of a batch that must parse; a default one after a failure.
template <typename T>
T ParseOne(std::string_view batch) {
  const std::vector<Statement> statements = ParseAll(batch);
  if (statements.size() != 1 || !std::holds_alternative<T>(statements[0].body)) {
    ADD_FAILURE() << batch << "\n  gave " << statements.size() << " statements or another kind";
    return T{};
  }
  return std::get<T>(statements[0].body);
}

// The error of a batch that must not parse.
inline ParseError ErrorOf(std::string_view batch) {
  auto parsed = ParseBatch(batch);
  if (auto* error = std::get_if<ParseError>(&parsed)) {
    EXPECT_FALSE(error->status.ok());
    return std::move(*error);
  }
  ADD_FAILURE() << "parsed: " << batch;
  return ParseError{};
}

// A batch and the error it must give.
struct BadBatch {
  std::string batch;
  int number;
  std::string message;  // what the text must hold
  int line = 1;
};

inline void ExpectError(const BadBatch& bad) {
  SCOPED_TRACE(bad.batch);
  const ParseError error = ErrorOf(bad.batch);
  EXPECT_EQ(error.status.reason(), bad.number) << error.status.ToString();
  EXPECT_NE(error.status.message().find(bad.message), std::string_view::npos)
      << error.status.ToString();
  EXPECT_EQ(error.line, bad.line);
}

}  // namespace capstan::tsql
