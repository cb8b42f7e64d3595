#include <array>
#include <string_view>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/keywords.h"
#include "server/tsql/statement_parsers.h"
#include "server/tsql/with_options.h"

namespace capstan::tsql {
namespace {

using RecoveryModel = AlterDatabaseStatement::RecoveryModel;
using BackupPreference = AlterDatabaseStatement::BackupPreference;

constexpr std::pair<std::string_view, RecoveryModel> kRecoveryModels[] = {
    {"BULK_LOGGED", RecoveryModel::kBulkLogged},
    {"FULL", RecoveryModel::kFull},
    {"SIMPLE", RecoveryModel::kSimple}};
constexpr std::pair<std::string_view, BackupPreference> kPreferences[] = {
    {"NONE", BackupPreference::kNone},
    {"PRIMARY", BackupPreference::kPrimary},
    {"SECONDARY", BackupPreference::kSecondary},
    {"SECONDARY_ONLY", BackupPreference::kSecondaryOnly}};

template <typename Value, std::size_t N>
Result<Value> ExpectOneOf(TokenStream& tokens,
                          const std::pair<std::string_view, Value> (&table)[N]) {
  for (const auto& [word, value] : table) {
    if (tokens.TakeWord(word)) {
      return value;
    }
  }
  return tokens.SyntaxError();
}

// Behind SET: one option, with what has been set so far.
Status ParseSetting(TokenStream& tokens, AlterDatabaseStatement& alter) {
  const Token at = tokens.Peek();
  if (tokens.TakeWord("RECOVERY")) {
    CAPSTAN_ASSIGN_OR_RETURN(const RecoveryModel model, ExpectOneOf(tokens, kRecoveryModels));
    if (std::exchange(alter.recovery_model, model)) {
      return tokens.Fail(at, SqlError(3031, "recovery", "recovery"));
    }
    return OkStatus();
  }
  if (tokens.TakeWord("BACKUP_PREFERENCE")) {
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
    CAPSTAN_ASSIGN_OR_RETURN(const BackupPreference preference, ExpectOneOf(tokens, kPreferences));
    if (std::exchange(alter.backup_preference, preference)) {
      return tokens.Fail(at, SqlError(3031, "backup_preference", "backup_preference"));
    }
    return OkStatus();
  }
  if (at.kind != TokenKind::kWord) {
    return tokens.SyntaxError();
  }
  return tokens.Fail(at, UnsupportedFeature(ToLower(at.text)));
}

// WITH NO_WAIT | ROLLBACK IMMEDIATE | ROLLBACK AFTER n [SECONDS]: nobody has to be waited for.
Status SkipTermination(TokenStream& tokens) {
  if (!tokens.TakeWord("WITH") || tokens.TakeWord("NO_WAIT")) {
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("ROLLBACK"));
  if (tokens.TakeWord("IMMEDIATE")) {
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("AFTER"));
  if (tokens.Peek().kind != TokenKind::kNumber) {
    return tokens.SyntaxError();
  }
  tokens.Next();
  tokens.TakeWord("SECONDS");
  return OkStatus();
}

Result<StatementBody> ParseAlter(TokenStream& tokens) {
  AlterDatabaseStatement alter;
  CAPSTAN_ASSIGN_OR_RETURN(alter.database, tokens.ExpectName());
  if (!tokens.TakeWord("SET")) {
    const Token& form = tokens.Peek();
    return form.kind == TokenKind::kWord ? tokens.Fail(form, UnsupportedFeature(ToLower(form.text)))
                                         : tokens.SyntaxError();
  }
  do {
    CAPSTAN_RETURN_IF_ERROR(ParseSetting(tokens, alter));
  } while (tokens.TakeSymbol(","));
  CAPSTAN_RETURN_IF_ERROR(SkipTermination(tokens));
  return StatementBody(std::move(alter));
}

Result<StatementBody> ParseDrop(TokenStream& tokens) {
  DropDatabaseStatement drop;
  if (tokens.TakeWord("IF")) {
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("EXISTS"));
    drop.if_exists = true;
  }
  CAPSTAN_ASSIGN_OR_RETURN(drop.database, tokens.ExpectName());
  return StatementBody(std::move(drop));
}

}  // namespace

Result<StatementBody> ParseDatabase(TokenStream& tokens) {
  const bool alter = tokens.AtWord("ALTER");
  tokens.Next();
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("DATABASE"));
  return alter ? ParseAlter(tokens) : ParseDrop(tokens);
}

}  // namespace capstan::tsql
