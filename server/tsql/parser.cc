#include "server/tsql/parser.h"

#include <charconv>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/keywords.h"
#include "server/tsql/statement_parsers.h"
#include "server/tsql/token_stream.h"
#include "server/tsql/tokenizer.h"

namespace capstan::tsql {
namespace {

Result<StatementBody> ParseKill(TokenStream& tokens) {
  tokens.Next();
  const Token& number = tokens.Peek();
  KillStatement kill;
  const char* const end = number.text.data() + number.text.size();
  const auto parsed = std::from_chars(number.text.data(), end, kill.session_id);
  if (number.kind != TokenKind::kNumber || parsed.ec != std::errc() || parsed.ptr != end) {
    return tokens.SyntaxError();
  }
  tokens.Next();
  return StatementBody(kill);
}

// A number that is an int, a minus sign included.
Result<int> ParseInt(TokenStream& tokens) {
  const bool negative = tokens.TakeSymbol("-");
  const Token& number = tokens.Peek();
  int value = 0;
  const char* const end = number.text.data() + number.text.size();
  const auto parsed = std::from_chars(number.text.data(), end, value);
  if (number.kind != TokenKind::kNumber || parsed.ec != std::errc() || parsed.ptr != end) {
    return tokens.SyntaxError();
  }
  tokens.Next();
  return negative ? -value : value;
}

// DBCC TRACEON (flag [, ...]) and DBCC TRACEOFF (...).
Result<StatementBody> ParseDbcc(TokenStream& tokens) {
  tokens.Next();
  TraceStatement trace;
  trace.on = tokens.AtWord("TRACEON");
  if (!trace.on && !tokens.AtWord("TRACEOFF")) {
    return tokens.SyntaxError();
  }
  tokens.Next();
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("("));
  do {
    CAPSTAN_ASSIGN_OR_RETURN(const int flag, ParseInt(tokens));
    trace.flags.push_back(flag);
  } while (tokens.TakeSymbol(","));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol(")"));
  return StatementBody(std::move(trace));
}

// PRINT 'text' [+ 'text' ...], also with numbers.
Result<StatementBody> ParsePrint(TokenStream& tokens) {
  tokens.Next();
  PrintStatement print;
  do {
    const TokenKind kind = tokens.Peek().kind;
    if (kind != TokenKind::kString && !(kind == TokenKind::kNumber && print.text.empty())) {
      return tokens.SyntaxError();
    }
    print.text += tokens.Next().text;
  } while (tokens.TakeSymbol("+"));
  return StatementBody(std::move(print));
}

// RECONFIGURE [WITH OVERRIDE]. There is nothing that OVERRIDE would have to allow.
Result<StatementBody> ParseReconfigure(TokenStream& tokens) {
  tokens.Next();
  if (tokens.AtWord("WITH") && tokens.AtWord("OVERRIDE", 1)) {
    tokens.Next();
    tokens.Next();
  }
  return StatementBody(ReconfigureStatement{});
}

Result<StatementBody> ParseStatement(TokenStream& tokens, bool first) {
  if (tokens.AtWord("BACKUP")) {
    return ParseBackup(tokens);
  }
  if (tokens.AtWord("RESTORE")) {
    return ParseRestore(tokens);
  }
  if (tokens.AtWord("SELECT") || tokens.AtWord("WITH")) {
    return ParseSelect(tokens);
  }
  if (tokens.AtWord("KILL")) {
    return ParseKill(tokens);
  }
  if (tokens.AtWord("DBCC")) {
    return ParseDbcc(tokens);
  }
  if (tokens.AtWord("LOGIN", 1) &&
      (tokens.AtWord("CREATE") || tokens.AtWord("ALTER") || tokens.AtWord("DROP"))) {
    return ParseLogin(tokens);
  }
  if (tokens.AtWord("CREDENTIAL", 1) &&
      (tokens.AtWord("CREATE") || tokens.AtWord("ALTER") || tokens.AtWord("DROP"))) {
    return ParseCredential(tokens);
  }
  if (tokens.AtWord("CERTIFICATE", 1) && (tokens.AtWord("CREATE") || tokens.AtWord("DROP"))) {
    const bool create = tokens.AtWord("CREATE");
    tokens.Next();
    return ParseCertificate(tokens, create ? CertificateAction::kCreate : CertificateAction::kDrop);
  }
  if (tokens.AtWord("DATABASE", 1) && (tokens.AtWord("ALTER") || tokens.AtWord("DROP"))) {
    return ParseDatabase(tokens);
  }
  if (tokens.AtWord("RECONFIGURE")) {
    return ParseReconfigure(tokens);
  }
  if (tokens.AtWord("PRINT")) {
    return ParsePrint(tokens);
  }
  if (tokens.AtWord("EXEC") || tokens.AtWord("EXECUTE") || (first && tokens.AtName())) {
    return ParseProcedureCall(tokens);
  }
  return tokens.SyntaxError();
}

// What may be written down of a statement. Of one that holds a password that is its first words, as
// SQL Server does it.
std::string TextForRecords(const StatementBody& body, std::string text) {
  const CredentialStatement* const credential = std::get_if<CredentialStatement>(&body);
  if (credential != nullptr && credential->action != CredentialAction::kDrop) {
    return credential->action == CredentialAction::kCreate ? "CREATE CREDENTIAL *secret*"
                                                           : "ALTER CREDENTIAL *secret*";
  }
  const LoginStatement* const login = std::get_if<LoginStatement>(&body);
  if (login == nullptr || login->action == LoginAction::kDrop) {
    return text;
  }
  return login->action == LoginAction::kCreate ? "CREATE LOGIN *password*"
                                               : "ALTER LOGIN *password*";
}

Result<std::vector<Statement>> ParseStatements(TokenStream& tokens) {
  std::vector<Statement> statements;
  while (true) {
    while (tokens.TakeSymbol(";")) {
    }
    if (tokens.AtEnd()) {
      return statements;
    }
    const Token first = tokens.Peek();
    tokens.BeginCommand("");
    CAPSTAN_ASSIGN_OR_RETURN(StatementBody body, ParseStatement(tokens, statements.empty()));
    if (!tokens.AtBoundary()) {
      return tokens.SyntaxError();
    }
    std::string text = TextForRecords(body, tokens.TextForRecords(first));
    statements.push_back({std::move(body), first.line, std::move(text)});
  }
}

}  // namespace

namespace {

bool IsFollowedBy3013(const Status& status) {
  const int number = status.reason();
  return number >= 3000 && number < 4000 && number != 3031 && number != 3032;
}

}  // namespace

std::variant<std::vector<Statement>, ParseError> ParseBatch(std::string_view batch) {
  std::variant<std::vector<Token>, ParseError> tokens = Tokenize(batch);
  if (auto* error = std::get_if<ParseError>(&tokens)) {
    return std::move(*error);
  }
  TokenStream stream(batch, std::get<std::vector<Token>>(std::move(tokens)));
  Result<std::vector<Statement>> statements = ParseStatements(stream);
  if (!statements.ok()) {
    ParseError error{std::move(statements).status(), stream.error_line(), ""};
    error.terminated = IsFollowedBy3013(error.status) ? stream.command() : "";
    return error;
  }
  return std::move(statements).value();
}

}  // namespace capstan::tsql
