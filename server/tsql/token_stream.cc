#include "server/tsql/token_stream.h"

#include <algorithm>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/keywords.h"
#include "server/tsql/lexical.h"

namespace capstan::tsql {
namespace {

constexpr std::size_t kNearCharacters = 128;

}  // namespace

TokenStream::TokenStream(std::string_view batch, std::vector<Token> tokens)
    : batch_(batch), tokens_(std::move(tokens)) {
  CAPSTAN_CHECK(!tokens_.empty() && tokens_.back().kind == TokenKind::kEnd);
}

const Token& TokenStream::Peek(std::size_t ahead) const {
  return tokens_[std::min(position_ + ahead, tokens_.size() - 1)];
}

const Token& TokenStream::Next() {
  const Token& token = tokens_[position_];
  position_ = std::min(position_ + 1, tokens_.size() - 1);
  return token;
}

bool TokenStream::AtBoundary() const {
  return AtEnd() || AtSymbol(";") ||
         (Peek().kind == TokenKind::kWord && StartsStatement(Peek().text));
}

bool TokenStream::AtWord(std::string_view word, std::size_t ahead) const {
  return Peek(ahead).kind == TokenKind::kWord && EqualsIgnoreCase(Peek(ahead).text, word);
}

bool TokenStream::AtSymbol(std::string_view symbol, std::size_t ahead) const {
  return Peek(ahead).kind == TokenKind::kSymbol && Peek(ahead).text == symbol;
}

bool TokenStream::AtName(std::size_t ahead) const {
  const Token& token = Peek(ahead);
  return token.kind == TokenKind::kQuotedName ||
         (token.kind == TokenKind::kWord && !IsReserved(token.text));
}

bool TokenStream::TakeWord(std::string_view word) {
  const bool there = AtWord(word);
  if (there) {
    Next();
  }
  return there;
}

bool TokenStream::TakeSymbol(std::string_view symbol) {
  const bool there = AtSymbol(symbol);
  if (there) {
    Next();
  }
  return there;
}

Status TokenStream::ExpectWord(std::string_view word) {
  return TakeWord(word) ? OkStatus() : SyntaxError();
}

Status TokenStream::ExpectSymbol(std::string_view symbol) {
  return TakeSymbol(symbol) ? OkStatus() : SyntaxError();
}

Result<std::string> TokenStream::ExpectName() {
  if (!AtName()) {
    return SyntaxError();
  }
  return Next().text;
}

Result<std::string> TokenStream::ExpectString() {
  if (Peek().kind != TokenKind::kString) {
    return SyntaxError();
  }
  return Next().text;
}

Status TokenStream::SyntaxError() {
  if (AtEnd()) {
    const Token& last = tokens_[tokens_.size() < 2 ? 0 : tokens_.size() - 2];
    return Fail(last, SqlError(102, Clip(last.text, kNearCharacters)));
  }
  const Token& token = Peek();
  const bool keyword = token.kind == TokenKind::kWord && IsReserved(token.text);
  return Fail(token, SqlError(keyword ? 156 : 102, Clip(token.text, kNearCharacters)));
}

Status TokenStream::Fail(const Token& at, Status status) {
  error_line_ = at.line;
  return status;
}

std::string TokenStream::TextSince(const Token& first) const {
  const std::size_t end = position_ == 0 ? first.end : tokens_[position_ - 1].end;
  return std::string(batch_.substr(first.begin, end - first.begin));
}

std::string TokenStream::TextForRecords(const Token& first) const {
  std::string text;
  std::size_t copied = first.begin;
  const std::size_t taken = position_;
  for (std::size_t i = 2; i < taken; ++i) {
    const Token& token = tokens_[i];
    const Token& name = tokens_[i - 2];
    const bool is_password = name.begin >= first.begin && name.kind == TokenKind::kWord &&
                             ToUpper(name.text).ends_with("PASSWORD") &&
                             tokens_[i - 1].text == "=" && token.kind == TokenKind::kString;
    if (is_password) {
      text += batch_.substr(copied, token.begin - copied);
      text += "'***'";
      copied = token.end;
    }
  }
  const std::size_t end = taken == 0 ? first.end : tokens_[taken - 1].end;
  text += batch_.substr(copied, end - copied);
  return text;
}

}  // namespace capstan::tsql
