#include <string>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/statement_parsers.h"

namespace capstan::tsql {

Result<StatementBody> ParseCredential(TokenStream& tokens) {
  CredentialStatement credential;
  credential.action = tokens.AtWord("CREATE")  ? CredentialAction::kCreate
                      : tokens.AtWord("ALTER") ? CredentialAction::kAlter
                                               : CredentialAction::kDrop;
  tokens.Next();
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("CREDENTIAL"));
  const Token at = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(credential.name, tokens.ExpectName());
  if (credential.name.empty()) {
    return tokens.Fail(at, SqlError(1038));
  }
  if (credential.action == CredentialAction::kDrop) {
    return StatementBody(std::move(credential));
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("WITH"));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("IDENTITY"));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
  CAPSTAN_ASSIGN_OR_RETURN(credential.identity, tokens.ExpectString());
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol(","));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("SECRET"));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
  CAPSTAN_ASSIGN_OR_RETURN(credential.secret, tokens.ExpectString());
  return StatementBody(std::move(credential));
}

}  // namespace capstan::tsql
