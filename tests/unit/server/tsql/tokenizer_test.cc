#include "server/tsql/tokenizer.h"

#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::tsql {
namespace {

using test::HasReason;
using test::MessageHas;

std::vector<Token> TokensOf(std::string_view batch) {
  auto tokens = Tokenize(batch);
  if (const auto* error = std::get_if<ParseError>(&tokens)) {
    ADD_FAILURE() << error->status.ToString();
    return {};
  }
  return std::get<std::vector<Token>>(std::move(tokens));
}

// The only token before the end.
Token TokenOf(std::string_view batch) {
  const std::vector<Token> tokens = TokensOf(batch);
  if (tokens.size() != 2) {
    ADD_FAILURE() << batch << " gave " << tokens.size() << " tokens";
    return Token{};
  }
  return tokens[0];
}

ParseError TokenErrorOf(std::string_view batch) {
  auto tokens = Tokenize(batch);
  if (auto* error = std::get_if<ParseError>(&tokens)) {
    return std::move(*error);
  }
  ADD_FAILURE() << "no error: " << batch;
  return ParseError{};
}

TEST(Tokenizer, GivesOnlyTheEndForBlanksAndComments) {
  for (const char* batch :
       {"", " \t\r\n", "-- a", "/* a */", "/* a /* b */ c */", "\u00a0\ufeff"}) {
    EXPECT_EQ(TokensOf(batch).size(), 1U) << batch;
  }
}

TEST(Tokenizer, UndoesQuotes) {
  struct Case {
    const char* batch;
    TokenKind kind;
    const char* text;
  };
  for (const Case& c :
       {Case{"'it''s'", TokenKind::kString, "it's"}, Case{"N'x'", TokenKind::kString, "x"},
        Case{"n'x'", TokenKind::kString, "x"}, Case{"''", TokenKind::kString, ""},
        Case{"''''", TokenKind::kString, "'"}, Case{"'-- /* \"'", TokenKind::kString, "-- /* \""},
        Case{"[a b]", TokenKind::kQuotedName, "a b"}, Case{"[a]]b]", TokenKind::kQuotedName, "a]b"},
        Case{"[a[b]", TokenKind::kQuotedName, "a[b"},
        Case{"\"a\"\"b\"", TokenKind::kQuotedName, "a\"b"},
        Case{"Größe", TokenKind::kWord, "Größe"}, Case{"数据库_1", TokenKind::kWord, "数据库_1"},
        Case{"#t$@x", TokenKind::kWord, "#t$@x"},
        Case{"@@VERSION", TokenKind::kVariable, "@@VERSION"},
        Case{"0x1fG", TokenKind::kBinary, "0x1f"}}) {
    const std::vector<Token> tokens = TokensOf(c.batch);
    EXPECT_EQ(tokens[0].kind, c.kind) << c.batch;
    EXPECT_EQ(tokens[0].text, c.text) << c.batch;
  }
}

TEST(Tokenizer, TakesNumbersWhole) {
  for (const char* number : {"0", "12", "1.5", ".5", "1.", "1e3", "1.5E-3", "2e+10"}) {
    EXPECT_EQ(TokenOf(number).text, number);
    EXPECT_EQ(TokenOf(number).kind, TokenKind::kNumber);
  }
  EXPECT_EQ(TokensOf("1ex")[0].text, "1");
  EXPECT_EQ(TokensOf("1ex")[1].text, "ex");
}

TEST(Tokenizer, CountsLinesAndBytes) {
  const std::vector<Token> tokens = TokensOf("a\n/* x\n y */ 'p\nq'\n  z");

  ASSERT_EQ(tokens.size(), 4U);
  EXPECT_EQ(tokens[0].line, 1);
  EXPECT_EQ(tokens[1].line, 3);
  EXPECT_EQ(tokens[2].line, 5);
  EXPECT_EQ(tokens[2].begin, 21U);
  EXPECT_EQ(tokens[2].end, 22U);
}

TEST(Tokenizer, KeepsTwoCharacterOperatorsTogether) {
  const std::vector<Token> tokens = TokensOf("a<>b!=c<=d>=e!<f!>g||h");

  EXPECT_EQ(tokens.size(), 16U);
  EXPECT_EQ(tokens[1].text, "<>");
  EXPECT_EQ(tokens[13].text, "||");
}

// Quotes that a word processor made are no quotes and no letters.
TEST(Tokenizer, MakesSymbolsOfWhatFitsNowhere) {
  EXPECT_EQ(TokensOf("‘x’")[0].kind, TokenKind::kSymbol);
  EXPECT_EQ(TokensOf("‘x’")[0].text, "‘");
  EXPECT_EQ(TokenOf("\xff").text, "\uFFFD");
  EXPECT_EQ(TokenOf(std::string_view("\0", 1)).kind, TokenKind::kSymbol);
}

TEST(Tokenizer, ReportsWhatIsNotClosedWhereItBegins) {
  const ParseError quote = TokenErrorOf("a\nb 'it''s\nmore");
  EXPECT_THAT(quote.status, HasReason(105));
  EXPECT_EQ(quote.status.message(),
            "Unclosed quotation mark after the character string 'it''s\nmore'.");
  EXPECT_EQ(quote.line, 2);

  EXPECT_THAT(TokenErrorOf("[a]]").status, HasReason(105));
  EXPECT_THAT(TokenErrorOf("\"a").status, HasReason(105));
  EXPECT_THAT(TokenErrorOf("N'").status, HasReason(105));

  const ParseError comment = TokenErrorOf("\n\n/* a /* b */");
  EXPECT_THAT(comment.status, HasReason(113));
  EXPECT_EQ(comment.status.message(), "Missing end comment mark '*/'.");
  EXPECT_EQ(comment.line, 3);
  EXPECT_THAT(TokenErrorOf("/*/").status, HasReason(113));
}

TEST(Tokenizer, LimitsNamesTo128Characters) {
  std::string name;
  for (int i = 0; i < 128; ++i) {
    name += "ä";
  }
  EXPECT_EQ(TokenOf(name).text, name);
  EXPECT_EQ(TokenOf("[" + name + "]").text, name);

  const ParseError error = TokenErrorOf(name + "x");
  EXPECT_THAT(error.status, HasReason(103));
  EXPECT_THAT(error.status, MessageHas("The identifier that starts with 'ä"));
  EXPECT_THAT(error.status, MessageHas("is too long. Maximum length is 128."));
  EXPECT_THAT(TokenErrorOf("[" + name + "x]").status, HasReason(103));
  EXPECT_THAT(TokenErrorOf("@" + name).status, HasReason(103));
}

TEST(Tokenizer, RefusesEmptyNames) {
  EXPECT_THAT(TokenErrorOf("[]").status, HasReason(1038));
  EXPECT_THAT(TokenErrorOf("\"\"").status, HasReason(1038));
}

TEST(Tokenizer, KeepsMessagesShort) {
  EXPECT_LT(TokenErrorOf("'" + std::string(100'000, 'x')).status.message().size(), 300U);
}

}  // namespace
}  // namespace capstan::tsql
