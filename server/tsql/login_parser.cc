#include <string>
#include <string_view>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/keywords.h"
#include "server/tsql/lexical.h"
#include "server/tsql/statement_parsers.h"

namespace capstan::tsql {
namespace {

constexpr std::size_t kNameCharacters = 128;

// What SQL Server knows and Capstan does not. Naming it beats a syntax error.
Status NotSupported(TokenStream& tokens, std::string_view option) {
  return tokens.Fail(
      tokens.Peek(),
      SqlError(3032, ToUpper(option)).WithHint("write CREATE LOGIN name WITH PASSWORD = '...'"));
}

Result<std::string> ParseLoginName(TokenStream& tokens) {
  const Token at = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(std::string name, tokens.ExpectName());
  if (name.empty()) {
    return tokens.Fail(at, SqlError(1038));
  }
  if (CountCodePoints(name) > kNameCharacters) {
    return tokens.Fail(at,
                       SqlError(103, "identifier", Clip(name, kNameCharacters), kNameCharacters));
  }
  return name;
}

// CHECK_POLICY = OFF and CHECK_EXPIRATION = OFF say what is the case here anyway.
Status ParseLoginOptions(TokenStream& tokens) {
  while (tokens.TakeSymbol(",")) {
    const bool known = tokens.AtWord("CHECK_POLICY") || tokens.AtWord("CHECK_EXPIRATION");
    if (!known || !tokens.AtWord("OFF", 2)) {
      return NotSupported(tokens, tokens.Peek().text);
    }
    tokens.Next();
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
    tokens.Next();
  }
  return OkStatus();
}

}  // namespace

Result<StatementBody> ParseLogin(TokenStream& tokens) {
  LoginStatement login;
  login.action = tokens.AtWord("CREATE")  ? LoginAction::kCreate
                 : tokens.AtWord("ALTER") ? LoginAction::kAlter
                                          : LoginAction::kDrop;
  tokens.Next();
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("LOGIN"));
  CAPSTAN_ASSIGN_OR_RETURN(login.name, ParseLoginName(tokens));
  if (login.action == LoginAction::kDrop) {
    return StatementBody(std::move(login));
  }
  for (const std::string_view word : {"FROM", "ENABLE", "DISABLE", "ADD"}) {
    if (tokens.AtWord(word)) {
      return NotSupported(tokens, word);
    }
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("WITH"));
  if (!tokens.AtWord("PASSWORD")) {
    return tokens.AtSymbol("=", 1) ? NotSupported(tokens, tokens.Peek().text)
                                   : tokens.SyntaxError();
  }
  tokens.Next();
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
  CAPSTAN_ASSIGN_OR_RETURN(login.password, tokens.ExpectString());
  for (const std::string_view word : {"HASHED", "MUST_CHANGE", "OLD_PASSWORD"}) {
    if (tokens.AtWord(word)) {
      return NotSupported(tokens, word);
    }
  }
  CAPSTAN_RETURN_IF_ERROR(ParseLoginOptions(tokens));
  return StatementBody(std::move(login));
}

}  // namespace capstan::tsql
