#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/date_literal.h"
#include "server/tsql/keywords.h"
#include "server/tsql/lexical.h"
#include "server/tsql/statement_parsers.h"
#include "server/tsql/with_options.h"

namespace capstan::tsql {
namespace {

constexpr std::size_t kNameCharacters = 128;

// What T-SQL has for certificates and Capstan has not. The folder of the certificates keeps others
// from a private key, not a password.
Status RefuseOthers(TokenStream& tokens) {
  for (const std::string_view word : {"ENCRYPTION", "DECRYPTION"}) {
    if (tokens.AtWord(word) && tokens.AtWord("BY", 1)) {
      return tokens.Fail(
          tokens.Peek(),
          SqlError(3032, ToLower(word) + " by password")
              .WithHint("private keys of the server have no password; leave it out"));
    }
  }
  for (const std::string_view word :
       {"ACTIVE", "ASSEMBLY", "AUTHORIZATION", "BINARY", "EXECUTABLE", "FORMAT"}) {
    if (tokens.AtWord(word)) {
      return tokens.Fail(tokens.Peek(), UnsupportedFeature(ToLower(word)));
    }
  }
  return OkStatus();
}

// Takes "FILE = 'path'".
Result<std::string> ParseFile(TokenStream& tokens) {
  CAPSTAN_RETURN_IF_ERROR(RefuseOthers(tokens));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("FILE"));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
  const Token at = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(std::string path, tokens.ExpectString());
  if (path.empty()) {
    return tokens.Fail(at, SqlError(15208).WithHint("name a file"));
  }
  return path;
}

// Takes "WITH PRIVATE KEY (FILE = 'path' [, ENCRYPTION BY PASSWORD = 'text'])" if it is there; it
// is DECRYPTION where the file is read.
Status ParsePrivateKey(TokenStream& tokens, CertificateStatement& certificate) {
  if (!tokens.AtWord("WITH") || !tokens.AtWord("PRIVATE", 1)) {
    return OkStatus();
  }
  tokens.Next();
  tokens.Next();
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("KEY"));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("("));
  CAPSTAN_ASSIGN_OR_RETURN(certificate.key_file, ParseFile(tokens));
  if (tokens.TakeSymbol(",")) {
    const bool read = certificate.action == CertificateAction::kImport;
    if (!tokens.TakeWord(read ? "DECRYPTION" : "ENCRYPTION")) {
      CAPSTAN_RETURN_IF_ERROR(RefuseOthers(tokens));
      return tokens.SyntaxError();
    }
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("BY"));
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("PASSWORD"));
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
    CAPSTAN_ASSIGN_OR_RETURN(certificate.key_file_passphrase, tokens.ExpectString());
  }
  return tokens.ExpectSymbol(")");
}

// Takes "= 'date'".
Result<std::int64_t> ParseDate(TokenStream& tokens, std::string_view parameter) {
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
  const Token at = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(const std::string text, tokens.ExpectString());
  const std::optional<std::int64_t> date = ParseDateLiteral(text);
  if (!date.has_value()) {
    return tokens.Fail(
        at, SqlError(3217, parameter).WithHint("write a date such as '2030-12-31' or '20301231'"));
  }
  return *date;
}

Status ParseSubject(TokenStream& tokens, CertificateStatement& certificate) {
  CAPSTAN_RETURN_IF_ERROR(RefuseOthers(tokens));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("WITH"));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("SUBJECT"));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
  CAPSTAN_ASSIGN_OR_RETURN(certificate.subject, tokens.ExpectString());
  while (tokens.TakeSymbol(",")) {
    if (tokens.TakeWord("START_DATE")) {
      CAPSTAN_ASSIGN_OR_RETURN(certificate.start_unix_s, ParseDate(tokens, "START_DATE"));
    } else if (tokens.TakeWord("EXPIRY_DATE")) {
      CAPSTAN_ASSIGN_OR_RETURN(certificate.expiry_unix_s, ParseDate(tokens, "EXPIRY_DATE"));
    } else {
      return tokens.SyntaxError();
    }
  }
  return OkStatus();
}

Status ParseBody(TokenStream& tokens, CertificateStatement& certificate) {
  if (certificate.action == CertificateAction::kDrop) {
    return OkStatus();
  }
  if (certificate.action == CertificateAction::kCreate) {
    if (!tokens.TakeWord("FROM")) {
      return ParseSubject(tokens, certificate);
    }
    certificate.action = CertificateAction::kImport;
  } else {
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("TO"));
  }
  CAPSTAN_ASSIGN_OR_RETURN(certificate.file, ParseFile(tokens));
  return ParsePrivateKey(tokens, certificate);
}

}  // namespace

Result<StatementBody> ParseCertificate(TokenStream& tokens, CertificateAction action) {
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("CERTIFICATE"));
  CertificateStatement certificate{.action = action};
  const Token at = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(certificate.name, tokens.ExpectName());
  if (certificate.name.empty()) {
    return tokens.Fail(at, SqlError(1038));
  }
  if (CountCodePoints(certificate.name) > kNameCharacters) {
    return tokens.Fail(
        at, SqlError(103, "identifier", Clip(certificate.name, kNameCharacters), kNameCharacters));
  }
  CAPSTAN_RETURN_IF_ERROR(ParseBody(tokens, certificate));
  return StatementBody(std::move(certificate));
}

}  // namespace capstan::tsql
