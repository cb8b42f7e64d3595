#include "server/tsql/option_clauses.h"

#include <charconv>
#include <iterator>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/date_literal.h"
#include "server/tsql/keywords.h"
#include "server/tsql/lexical.h"

namespace capstan::tsql {
namespace {

constexpr std::pair<std::string_view, CompressionAlgorithm> kCompressionAlgorithms[] = {
    {"LZ4", CompressionAlgorithm::kLz4}, {"ZSTD", CompressionAlgorithm::kZstd}};
constexpr std::string_view kForeignCompression[] = {"MS_XPRESS", "QAT_DEFLATE"};
constexpr std::pair<std::string_view, CompressionLevel> kLevels[] = {
    {"HIGH", CompressionLevel::kHigh},
    {"LOW", CompressionLevel::kLow},
    {"MEDIUM", CompressionLevel::kMedium}};
constexpr std::string_view kForeignCiphers[] = {"AES_128", "AES_192", "TRIPLE_DES_3KEY"};

constexpr std::size_t kMarkCharacters = 128;

template <typename Integer>
std::optional<Integer> ParseWhole(std::string_view text, int base) {
  Integer value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, base);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
  return whole ? std::optional(value) : std::nullopt;
}

// 22280792, 0x153FA58, 0/153FA58.
std::optional<std::uint64_t> ParseLsn(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) {
    return ParseWhole<std::uint64_t>(text.substr(2), 16);
  }
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return ParseWhole<std::uint64_t>(text, 10);
  }
  const auto high = ParseWhole<std::uint32_t>(text.substr(0, slash), 16);
  const auto low = ParseWhole<std::uint32_t>(text.substr(slash + 1), 16);
  return high && low ? std::optional((std::uint64_t{*high} << 32) | *low) : std::nullopt;
}

// Takes the word if it is one of the table's; nullptr otherwise.
template <typename Value, std::size_t N>
const Value* TakeOneOf(TokenStream& tokens, const std::pair<std::string_view, Value> (&table)[N]) {
  for (const auto& [word, value] : table) {
    if (tokens.TakeWord(word)) {
      return &value;
    }
  }
  return nullptr;
}

template <std::size_t N>
bool AtOneOf(const TokenStream& tokens, const std::string_view (&words)[N]) {
  for (const std::string_view word : words) {
    if (tokens.AtWord(word)) {
      return true;
    }
  }
  return false;
}

Status NotOurs(TokenStream& tokens, std::string_view what, std::string_view hint) {
  return tokens.Fail(tokens.Peek(), SqlError(3032, ToLower(what)).WithHint(std::string(hint)));
}

Status ParseCompressionAlgorithm(TokenStream& tokens, CompressionClause& clause) {
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
  if (AtOneOf(tokens, kForeignCompression)) {
    return NotOurs(tokens, tokens.Peek().text, "the algorithms are ZSTD and LZ4");
  }
  const auto* algorithm = TakeOneOf(tokens, kCompressionAlgorithms);
  if (algorithm == nullptr || clause.algorithm.has_value()) {
    return tokens.SyntaxError();
  }
  clause.algorithm = *algorithm;
  return OkStatus();
}

Status ParseCompressionLevel(TokenStream& tokens, CompressionClause& clause) {
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
  const auto* level = TakeOneOf(tokens, kLevels);
  if (level == nullptr || clause.level.has_value()) {
    return tokens.SyntaxError();
  }
  clause.level = *level;
  return OkStatus();
}

Status ParseEncryptor(TokenStream& tokens, EncryptionClause& clause) {
  if (tokens.TakeWord("PASSPHRASE")) {
    CAPSTAN_ASSIGN_OR_RETURN(clause.passphrase, ParsePassphraseSource(tokens));
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("SERVER"));
  if (tokens.AtWord("ASYMMETRIC")) {
    return NotOurs(tokens, "asymmetric key",
                   "use SERVER CERTIFICATE = name, or PASSPHRASE FROM FILE 'path'");
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("CERTIFICATE"));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
  CAPSTAN_ASSIGN_OR_RETURN(clause.certificate, tokens.ExpectName());
  return OkStatus();
}

}  // namespace

Result<CompressionClause> ParseCompressionClause(TokenStream& tokens) {
  CompressionClause clause;
  if (!tokens.TakeSymbol("(")) {
    return clause;
  }
  do {
    if (tokens.TakeWord("ALGORITHM")) {
      CAPSTAN_RETURN_IF_ERROR(ParseCompressionAlgorithm(tokens, clause));
    } else if (tokens.TakeWord("LEVEL")) {
      CAPSTAN_RETURN_IF_ERROR(ParseCompressionLevel(tokens, clause));
    } else {
      return tokens.SyntaxError();
    }
  } while (tokens.TakeSymbol(","));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol(")"));
  return clause;
}

Result<EncryptionClause> ParseEncryptionClause(TokenStream& tokens) {
  EncryptionClause clause;
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("("));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("ALGORITHM"));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
  if (AtOneOf(tokens, kForeignCiphers)) {
    return NotOurs(tokens, tokens.Peek().text, "the algorithm is AES_256");
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("AES_256"));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol(","));
  CAPSTAN_RETURN_IF_ERROR(ParseEncryptor(tokens, clause));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol(")"));
  return clause;
}

Result<PassphraseClause> ParsePassphraseSource(TokenStream& tokens) {
  if (tokens.AtSymbol("=")) {
    const Token at = tokens.Peek();
    return tokens.Fail(at, SqlError(102, "=").WithHint(
                               "a statement holds no passphrase: write PASSPHRASE FROM FILE "
                               "'path' or PASSPHRASE FROM ENVIRONMENT 'name'"));
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("FROM"));
  PassphraseClause clause;
  if (tokens.TakeWord("ENVIRONMENT")) {
    clause.from = PassphraseClause::From::kEnvironment;
  } else {
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("FILE"));
  }
  const Token at = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(clause.name, tokens.ExpectString());
  if (clause.name.empty()) {
    return tokens.Fail(at, SqlError(3217, "PASSPHRASE").WithHint("name the file or the variable"));
  }
  return clause;
}

Result<double> ParsePercent(TokenStream& tokens) {
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
  const Token& number = tokens.Peek();
  double percent = 0;
  const char* const end = number.text.data() + number.text.size();
  const auto parsed = std::from_chars(number.text.data(), end, percent);
  if (number.kind != TokenKind::kNumber || parsed.ec != std::errc() || parsed.ptr != end) {
    return tokens.SyntaxError();
  }
  tokens.Next();
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("PERCENT"));
  return percent;
}

std::optional<StopClause> MakeStopTime(std::string_view text) {
  const std::optional<std::int64_t> unix_us = ParseMoment(text);
  return unix_us ? std::optional(StopClause{.kind = StopClause::Kind::kTime, .unix_us = *unix_us})
                 : std::nullopt;
}

std::optional<StopClause> MakeStopMark(std::string_view mark, std::string_view after) {
  constexpr std::string_view kLsn = "lsn:";
  StopClause stop{.kind = StopClause::Kind::kMark, .mark = std::string(mark)};
  if (mark.empty() || CountCodePoints(mark) > kMarkCharacters) {
    return std::nullopt;
  }
  if (!after.empty()) {
    const std::optional<std::int64_t> unix_us = ParseMoment(after);
    if (!unix_us) {
      return std::nullopt;
    }
    stop.unix_us = *unix_us;
  }
  if (ToLower(mark.substr(0, kLsn.size())) == kLsn) {
    const std::optional<std::uint64_t> lsn = ParseLsn(mark.substr(kLsn.size()));
    if (!lsn || !after.empty()) {  // a position has no namesakes to choose from
      return std::nullopt;
    }
    stop.kind = StopClause::Kind::kLsn;
    stop.lsn = *lsn;
  }
  return stop;
}

}  // namespace capstan::tsql
