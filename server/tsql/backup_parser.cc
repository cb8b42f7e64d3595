#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "server/tsql/device_list.h"
#include "server/tsql/keywords.h"
#include "server/tsql/statement_parsers.h"
#include "server/tsql/with_options.h"

namespace capstan::tsql {
namespace {

// What else T-SQL backs up.
constexpr std::array kOtherTargets = std::to_array<std::string_view>(
    {"CERTIFICATE", "GROUP", "LOG", "MASTER", "SERVER", "SERVICE", "SYMMETRIC", "TRANSACTION"});
// What may stand between the database's name and TO in T-SQL.
constexpr std::array kFileClauses =
    std::to_array<std::string_view>({"FILE", "FILEGROUP", "PAGE", "READ_WRITE_FILEGROUPS"});

template <std::size_t N>
bool AtOneOf(const TokenStream& tokens, const std::array<std::string_view, N>& words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return tokens.AtWord(word); });
}

void ApplyOption(const Option& option, BackupStatement& backup) {
  switch (option.id) {
    case OptionId::kFormat:
      backup.format = true;
      break;
    case OptionId::kInit:
      backup.init = true;
      break;
    case OptionId::kSkip:
      backup.skip = true;
      break;
    case OptionId::kCopyOnly:
      backup.copy_only = true;
      break;
    case OptionId::kSnapshot:
      backup.snapshot = true;
      break;
    case OptionId::kName:
      backup.name = option.text;
      break;
    case OptionId::kDescription:
      backup.description = option.text;
      break;
    case OptionId::kMediaName:
      backup.media_name = option.text;
      break;
    case OptionId::kMediaDescription:
      backup.media_description = option.text;
      break;
    default:
      break;  // one of ApplyTransferOptions
  }
}

}  // namespace

Result<StatementBody> ParseBackup(TokenStream& tokens) {
  tokens.Next();
  if (AtOneOf(tokens, kOtherTargets)) {
    const Token& target = tokens.Peek();
    return tokens.Fail(target, UnsupportedFeature(ToLower(target.text)));
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("DATABASE"));
  tokens.BeginCommand("BACKUP DATABASE");
  BackupStatement backup;
  CAPSTAN_ASSIGN_OR_RETURN(backup.database, tokens.ExpectName());
  if (AtOneOf(tokens, kFileClauses)) {
    const Token& clause = tokens.Peek();
    return tokens.Fail(clause, UnsupportedFeature(ToLower(clause.text)));
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("TO"));
  const Token first_device = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(backup.devices, ParseDeviceList(tokens));
  if (tokens.AtWord("MIRROR")) {
    return tokens.Fail(tokens.Peek(), UnsupportedFeature("mirror to"));
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Option> options,
                           ParseWithOptions(tokens, kBackupDatabase));
  ApplyTransferOptions(options, backup.transfer);
  for (const Option& option : options) {
    ApplyOption(option, backup);
  }
  if (backup.snapshot) {
    CAPSTAN_RETURN_IF_ERROR(CheckSnapshotDevices(tokens, first_device, backup.devices));
  }
  return StatementBody(std::move(backup));
}

}  // namespace capstan::tsql
