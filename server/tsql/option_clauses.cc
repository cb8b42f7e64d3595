#include "server/tsql/option_clauses.h"

#include <charconv>
#include <iterator>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/keywords.h"

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

}  // namespace capstan::tsql
