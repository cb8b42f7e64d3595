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
constexpr std::string_view kOtherForms[] = {"BACKUPSETONLY", "CERTIFICATE", "MASTER",
                                            "REWINDONLY",    "SERVICE",     "TRANSACTION"};
constexpr std::string_view kPartialClauses[] = {"FILE", "FILEGROUP", "PAGE",
                                                "READ_WRITE_FILEGROUPS"};

template <std::size_t N>
bool AtOneOf(const TokenStream& tokens, const std::string_view (&words)[N]) {
  return std::any_of(std::begin(words), std::end(words),
                     [&](std::string_view word) { return tokens.AtWord(word); });
}

constexpr std::pair<std::string_view, ChainReach> kReaches[] = {
    {"LATEST_FULL", ChainReach::kFull},
    {"LATEST_DIFF", ChainReach::kDifferential},
    {"LATEST_ALL", ChainReach::kAll},
    {"LATEST", ChainReach::kAll}};

// What RESTORE DATABASE, RESTORE LOG and the queries share.
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
  restore.restart = restore.restart || option.id == OptionId::kRestart;
  restore.snapshot = restore.snapshot || option.id == OptionId::kSnapshot;
  restore.plan_only = restore.plan_only || option.id == OptionId::kPlanOnly;
  switch (option.id) {
    case OptionId::kNoRecovery:
      restore.end = RestoreEnd::kNoRecovery;
      break;
    case OptionId::kStandby:  // its file is for what SQL Server undoes; there is no need of one
                              // here
      restore.end = RestoreEnd::kStandby;
      break;
    case OptionId::kStopAt:
    case OptionId::kStopAtMark:
    case OptionId::kStopBeforeMark:
      restore.stop = option.stop;
      break;
    case OptionId::kMoveDataFiles:
      restore.data_folder = option.target;
      break;
    case OptionId::kMoveLogFiles:
      restore.log_folder = option.target;
      break;
    default:
      break;
  }
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

bool IsPattern(std::string_view name) {
  return name.find_first_of("*?") != std::string_view::npos;
}

// "DEVICE = 'x', ..." or CATALOG, then [SOURCE = 'name'] [LATEST_ALL | ...].
Status ParseSource(TokenStream& tokens, RestoreStatement& restore) {
  if (tokens.AtWord("DATABASE_SNAPSHOT")) {
    return tokens.Fail(tokens.Peek(), UnsupportedFeature("database_snapshot"));
  }
  if (tokens.TakeWord("CATALOG")) {
    restore.from = RestoreFrom::kCatalog;
  } else {
    CAPSTAN_ASSIGN_OR_RETURN(restore.devices, ParseDeviceList(tokens));
  }
  const Token source = tokens.Peek();
  if (tokens.TakeWord("SOURCE")) {
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
    CAPSTAN_ASSIGN_OR_RETURN(restore.source, tokens.ExpectString());
  }
  for (const auto& [word, reach] : kReaches) {
    if (tokens.TakeWord(word)) {
      restore.reach = reach;
      restore.from = restore.from == RestoreFrom::kDevices ? RestoreFrom::kNewest : restore.from;
      break;
    }
  }
  const bool patterns =
      std::any_of(restore.devices.begin(), restore.devices.end(),
                  [](const DeviceClause& device) { return IsPattern(device.name); });
  if (restore.log && patterns) {  // the row of log backups that comes next
    restore.from = RestoreFrom::kNewest;
  }
  if (!restore.source.empty() && restore.from == RestoreFrom::kDevices) {
    return tokens.Fail(
        source,
        SqlError(3032, "source").WithHint("SOURCE goes with FROM CATALOG and with LATEST_ALL"));
  }
  return OkStatus();
}

// 3032 for what says something of one set alone.
Status CheckForChain(TokenStream& tokens, const std::vector<Option>& options,
                     const RestoreStatement& restore) {
  if (restore.from != RestoreFrom::kNewest && restore.from != RestoreFrom::kCatalog) {
    return OkStatus();
  }
  for (const Option& option : options) {
    if (option.id == OptionId::kFile || option.id == OptionId::kSnapshot ||
        option.id == OptionId::kMediaName) {
      return tokens.Fail(option.token,
                         SqlError(3032, ToLower(option.token.text))
                             .WithHint("the sets of a chain are found, wherever they are; leave "
                                       "it out"));
    }
  }
  return OkStatus();
}

// RESTORE DATABASE name WITH RECOVERY.
Result<StatementBody> ParseRecover(TokenStream& tokens, RestoreStatement restore) {
  const Token at = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Option> options, ParseWithOptions(tokens, kRecover));
  const bool says_how = std::any_of(options.begin(), options.end(), [](const Option& option) {
    return option.id == OptionId::kRecovery || option.id == OptionId::kStandby;
  });
  if (!says_how) {
    return tokens.Fail(at, SqlError(3207).WithHint(
                               "add FROM DISK = '...', or WITH RECOVERY to bring a database that "
                               "is being restored into use"));
  }
  restore.from = RestoreFrom::kNothing;
  ApplyTransferOptions(options, restore.transfer);
  for (const Option& option : options) {
    ApplyOption(option, restore);
  }
  return StatementBody(std::move(restore));
}

Result<StatementBody> ParseTransfer(TokenStream& tokens) {
  RestoreStatement restore;
  restore.log = tokens.AtWord("LOG");
  tokens.Next();
  tokens.BeginCommand(CommandName(restore));
  const Token name = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(restore.database, tokens.ExpectName());
  if (AtOneOf(tokens, kPartialClauses)) {
    const Token& clause = tokens.Peek();
    return tokens.Fail(clause, UnsupportedFeature(ToLower(clause.text)));
  }
  if (tokens.AtWord("WITH") || tokens.AtBoundary()) {
    return ParseRecover(tokens, std::move(restore));
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("FROM"));
  const Token first_device = tokens.Peek();
  CAPSTAN_RETURN_IF_ERROR(ParseSource(tokens, restore));
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Option> options,
                           ParseWithOptions(tokens, restore.log ? kRestoreLog : kRestoreDatabase));
  CAPSTAN_RETURN_IF_ERROR(CheckForChain(tokens, options, restore));
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
  if (tokens.AtWord("DATABASE") || tokens.AtWord("LOG")) {
    return ParseTransfer(tokens);
  }
  if (tokens.TakeWord("HELP")) {
    return StatementBody(HelpStatement{.restore = true});
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
