#include "server/tsql/tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/lexical.h"

namespace capstan::tsql {
namespace {

constexpr std::size_t kNameMaxCharacters = 128;
constexpr std::size_t kMessageCharacters = 128;

constexpr std::array kTwoCharacterSymbols =
    std::to_array<std::string_view>({"<>", "!=", "<=", ">=", "!<", "!>", "||"});

class Tokenizer {
 public:
  explicit Tokenizer(std::string_view batch) : batch_(batch) {}

  std::variant<std::vector<Token>, ParseError> Run() {
    while (true) {
      if (Status status = SkipBlanks(); !status.ok()) {
        return ParseError{std::move(status), line_};
      }
      if (at_ >= batch_.size()) {
        Add(TokenKind::kEnd, "", at_);
        return std::move(tokens_);
      }
      if (Status status = TakeToken(); !status.ok()) {
        return ParseError{std::move(status), line_};
      }
    }
  }

 private:
  bool At(std::string_view text) const { return batch_.substr(at_, text.size()) == text; }
  char32_t CharAt(std::size_t at) const {
    return at < batch_.size() ? DecodeAt(batch_, at).value : U'\0';
  }

  void MoveTo(std::size_t end) {
    line_ += static_cast<int>(std::count(batch_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         batch_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    at_ = end;
  }

  void Add(TokenKind kind, std::string text, std::size_t end) {
    tokens_.push_back({kind, std::move(text), at_, end, line_});
    MoveTo(end);
  }

  Status SkipBlanks() {
    while (at_ < batch_.size()) {
      if (At("--")) {
        MoveTo(EndOfLine(batch_, at_));
      } else if (At("/*")) {
        const std::size_t end = EndOfBlockComment(batch_, at_);
        if (end == std::string_view::npos) {
          return SqlError(113);
        }
        MoveTo(end);
      } else if (const CodePoint c = DecodeAt(batch_, at_); IsSpace(c.value)) {
        MoveTo(at_ + c.length);
      } else {
        break;
      }
    }
    return OkStatus();
  }

  Status TakeToken() {
    const char c = batch_[at_];
    if (c == '\'' || c == '"' || c == '[') {
      return TakeQuoted(at_);
    }
    if ((c == 'N' || c == 'n') && CharAt(at_ + 1) == '\'') {
      return TakeQuoted(at_ + 1);
    }
    if (IsDigit(CharAt(at_)) || (c == '.' && IsDigit(CharAt(at_ + 1)))) {
      TakeNumber();
      return OkStatus();
    }
    const char32_t first = CharAt(at_);
    if (first == '@' || IsIdentifierStart(first)) {
      return TakeName(first == '@' ? TokenKind::kVariable : TokenKind::kWord);
    }
    const bool two = std::find(kTwoCharacterSymbols.begin(), kTwoCharacterSymbols.end(),
                               batch_.substr(at_, 2)) != kTwoCharacterSymbols.end();
    const std::size_t length = two ? 2 : DecodeAt(batch_, at_).length;
    // The replacement character keeps messages valid UTF-8 where the batch is not.
    const bool invalid = first == kInvalidCodePoint;
    Add(TokenKind::kSymbol, invalid ? "\uFFFD" : std::string(batch_.substr(at_, length)),
        at_ + length);
    return OkStatus();
  }

  // `open` is the position of the quote; a national string starts one before it.
  Status TakeQuoted(std::size_t open) {
    const std::size_t end = EndOfQuoted(batch_, open);
    if (end == std::string_view::npos) {
      return SqlError(105, Clip(batch_.substr(open + 1), kMessageCharacters));
    }
    const char close = batch_[end - 1];
    std::string text;
    for (std::size_t i = open + 1; i + 1 < end; ++i) {
      text.push_back(batch_[i]);
      i += batch_[i] == close ? 1 : 0;  // the second half of a doubled quote
    }
    if (close == '\'') {
      Add(TokenKind::kString, std::move(text), end);
      return OkStatus();
    }
    if (text.empty()) {
      return SqlError(1038);
    }
    CAPSTAN_RETURN_IF_ERROR(CheckNameLength(text));
    Add(TokenKind::kQuotedName, std::move(text), end);
    return OkStatus();
  }

  Status TakeName(TokenKind kind) {
    std::size_t end = at_;
    while (end < batch_.size() && IsIdentifierPart(CharAt(end))) {
      end += DecodeAt(batch_, end).length;
    }
    std::string text(batch_.substr(at_, end - at_));
    CAPSTAN_RETURN_IF_ERROR(CheckNameLength(text));
    Add(kind, std::move(text), end);
    return OkStatus();
  }

  void TakeNumber() {
    std::size_t end = at_;
    const auto digits = [&] {
      while (IsDigit(CharAt(end))) {
        ++end;
      }
    };
    if (At("0x") || At("0X")) {
      end += 2;
      const std::string_view hex = "0123456789abcdefABCDEF";
      end = std::min(batch_.find_first_not_of(hex, end), batch_.size());
      Add(TokenKind::kBinary, std::string(batch_.substr(at_, end - at_)), end);
      return;
    }
    digits();
    if (CharAt(end) == '.') {
      ++end;
      digits();
    }
    if (CharAt(end) == 'e' || CharAt(end) == 'E') {
      const std::size_t sign = CharAt(end + 1) == '+' || CharAt(end + 1) == '-' ? 1 : 0;
      if (IsDigit(CharAt(end + 1 + sign))) {
        end += 1 + sign;
        digits();
      }
    }
    Add(TokenKind::kNumber, std::string(batch_.substr(at_, end - at_)), end);
  }

  static Status CheckNameLength(std::string_view name) {
    if (CountCodePoints(name) > kNameMaxCharacters) {
      return SqlError(103, "identifier", Clip(name, kMessageCharacters), kNameMaxCharacters);
    }
    return OkStatus();
  }

  const std::string_view batch_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::variant<std::vector<Token>, ParseError> Tokenize(std::string_view batch) {
  return Tokenizer(batch).Run();
}

}  // namespace capstan::tsql
