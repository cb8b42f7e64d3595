#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/device_list.h"
#include "server/tsql/keywords.h"
#include "server/tsql/statement_parsers.h"
#include "server/tsql/with_options.h"

namespace capstan::tsql {
namespace {

struct QueryForm {
  std::string_view word;
  RestoreQuery query;
  StatementKind kind;
};
constexpr QueryForm kQueryForms[] = {
    {"LABELONLY", RestoreQuery::kLabelOnly, kLabelOnly},
    {"HEADERONLY", RestoreQuery::kHeaderOnly, kHeaderOnly},
    {"FILELISTONLY", RestoreQuery::kFileListOnly, kFileListOnly},
    {"VERIFYONLY", RestoreQuery::kVerifyOnly, kVerifyOnly},
    {"MEDIAMAP", RestoreQuery::kMediaMap, kLabelOnly},  // takes what LABELONLY takes
};

// What else T-SQL restores, and what it restores of a database, that is refused as a whole.
constexpr std::string_view kOtherForms[] = {"BACKUPSETONLY", "CERTIFICATE", "LOG",        "MASTER",
                                            "REWINDONLY",    "SERVICE",     "TRANSACTION"};
constexpr std::string_view kPartialClauses[] = {"FILE", "FILEGROUP", "PAGE",
                                                "READ_WRITE_FILEGROUPS"};

template <std::size_t N>
bool AtOneOf(const TokenStream& tokens, const std::string_view (&words)[N]) {
  return std::any_of(std::begin(words), std::end(words),
                     [&](std::string_view word) { return tokens.AtWord(word); });
}

// What RESTORE DATABASE and the queries share.
template <typename RestoreLike>
void ApplySharedOption(const Option& option, RestoreLike& restore) {
  switch (option.id) {
    case OptionId::kFile:
      restore.file_number = static_cast<std::uint16_t>(option.number);
      break;
    case OptionId::kMediaName:
      restore.media_name = option.text;
      break;
    case OptionId::kMediaPassword:
      restore.media_password = option.text;
      break;
    case OptionId::kMove:
      restore.moves.emplace_back(option.text, option.target);
      break;
    case OptionId::kContinueAfterError:
      restore.continue_after_error = true;
      break;
    case OptionId::kPassphrase:
      restore.passphrase = option.passphrase;
      break;
    default:
      break;  // the caller's, or one of ApplyTransferOptions
  }
}

void ApplyOption(const Option& option, RestoreStatement& restore) {
  ApplySharedOption(option, restore);
  restore.replace = restore.replace || option.id == OptionId::kReplace;
  restore.snapshot = restore.snapshot || option.id == OptionId::kSnapshot;
}

void ApplyOption(const Option& option, RestoreQueryStatement& query) {
  ApplySharedOption(option, query);
  query.load_history = query.load_history || option.id == OptionId::kLoadHistory;
  if (option.id == OptionId::kSample) {
    query.sample_percent = option.percent;
  }
}

Result<StatementBody> ParseQuery(TokenStream& tokens, const QueryForm& form) {
  tokens.Next();
  RestoreQueryStatement query;
  query.query = form.query;
  tokens.BeginCommand(CommandName(form.query));
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("FROM"));
  CAPSTAN_ASSIGN_OR_RETURN(query.devices, ParseDeviceList(tokens));
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Option> options, ParseWithOptions(tokens, form.kind));
  ApplyTransferOptions(options, query.transfer);
  for (const Option& option : options) {
    ApplyOption(option, query);
  }
  return StatementBody(std::move(query));
}

Status ExpectDevices(TokenStream& tokens) {
  if (tokens.AtWord("WITH") || tokens.AtBoundary()) {
    const Token at = tokens.Peek();
    return tokens.Fail(at, SqlError(3207).WithHint("add FROM DISK = '...'"));
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("FROM"));
  if (tokens.AtWord("DATABASE_SNAPSHOT")) {
    return tokens.Fail(tokens.Peek(), UnsupportedFeature("database_snapshot"));
  }
  return OkStatus();
}

Result<StatementBody> ParseDatabase(TokenStream& tokens) {
  tokens.Next();
  tokens.BeginCommand("RESTORE DATABASE");
  const Token name = tokens.Peek();
  RestoreStatement restore;
  CAPSTAN_ASSIGN_OR_RETURN(restore.database, tokens.ExpectName());
  if (AtOneOf(tokens, kPartialClauses)) {
    const Token& clause = tokens.Peek();
    return tokens.Fail(clause, UnsupportedFeature(ToLower(clause.text)));
  }
  CAPSTAN_RETURN_IF_ERROR(ExpectDevices(tokens));
  const Token first_device = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(restore.devices, ParseDeviceList(tokens));
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Option> options,
                           ParseWithOptions(tokens, kRestoreDatabase));
  ApplyTransferOptions(options, restore.transfer);
  for (const Option& option : options) {
    ApplyOption(option, restore);
  }
  if (restore.snapshot) {
    CAPSTAN_RETURN_IF_ERROR(CheckSnapshotDevices(tokens, first_device, restore.devices));
    if (EqualsIgnoreCase(restore.database, "master")) {
      return tokens.Fail(name, SqlError(3196));
    }
  }
  return StatementBody(std::move(restore));
}

}  // namespace

Result<StatementBody> ParseRestore(TokenStream& tokens) {
  tokens.Next();
  if (tokens.AtWord("DATABASE")) {
    return ParseDatabase(tokens);
  }
  for (const QueryForm& form : kQueryForms) {
    if (tokens.AtWord(form.word)) {
      return ParseQuery(tokens, form);
    }
  }
  if (AtOneOf(tokens, kOtherForms)) {
    const Token& target = tokens.Peek();
    return tokens.Fail(target, UnsupportedFeature(ToLower(target.text)));
  }
  return tokens.SyntaxError();
}

}  // namespace capstan::tsql
