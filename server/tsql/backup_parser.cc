#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/device_list.h"
#include "server/tsql/keywords.h"
#include "server/tsql/statement_parsers.h"
#include "server/tsql/with_options.h"

namespace capstan::tsql {
namespace {

// What else T-SQL backs up.
constexpr std::array kOtherTargets = std::to_array<std::string_view>(
    {"GROUP", "MASTER", "SERVER", "SERVICE", "SYMMETRIC", "TRANSACTION"});
// What may stand between the database's name and TO in T-SQL.
constexpr std::array kFileClauses =
    std::to_array<std::string_view>({"FILE", "FILEGROUP", "PAGE", "READ_WRITE_FILEGROUPS"});

constexpr std::size_t kMirrorsMax = 3;

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
    case OptionId::kDifferential:
      backup.differential = true;
      break;
    case OptionId::kNoRecovery:
      backup.tail = LogTail::kNoRecovery;
      break;
    case OptionId::kNoTruncate:
      backup.tail = LogTail::kNoTruncate;
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
    case OptionId::kCompression:
      backup.compression = option.compression;
      break;
    case OptionId::kNoCompression:
      backup.compression = CompressionClause{.on = false};
      break;
    case OptionId::kEncryption:
      backup.encryption = option.encryption;
      break;
    case OptionId::kExpireDate:
      backup.expire_date_unix_s = option.unix_s;
      break;
    case OptionId::kRetainDays:
      backup.retain_days = static_cast<int>(option.number);
      break;
    case OptionId::kContinueAfterError:
      backup.continue_after_error = true;
      break;
    case OptionId::kRestart:
      backup.restart = true;
      break;
    default:
      break;  // one of ApplyTransferOptions
  }
}

// Takes every "MIRROR TO device, ...": as many devices each as the first copy has, of its class.
Status ParseMirrors(TokenStream& tokens, BackupStatement& backup) {
  const Token first = tokens.Peek();
  while (tokens.TakeWord("MIRROR")) {
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("TO"));
    CAPSTAN_ASSIGN_OR_RETURN(std::vector<DeviceClause> mirror, ParseDeviceList(tokens));
    backup.mirrors.push_back(std::move(mirror));
  }
  if (backup.mirrors.size() > kMirrorsMax) {
    return tokens.Fail(first, SqlError(3214, kMirrorsMax));
  }
  for (const std::vector<DeviceClause>& mirror : backup.mirrors) {
    if (mirror.front().device_class != backup.devices.front().device_class) {
      return tokens.Fail(first, SqlError(3011));
    }
    if (mirror.size() != backup.devices.size()) {
      return tokens.Fail(first,
                         SqlError(3212, backup.devices.front().name, mirror.front().name)
                             .WithHint("name as many devices behind each MIRROR TO as behind TO"));
    }
  }
  if ((1 + backup.mirrors.size()) * backup.devices.size() > kDevicesMax) {
    return tokens.Fail(first, SqlError(3205, kDevicesMax));
  }
  return OkStatus();
}

// "a, b*" of BACKUP DATABASES [a, b*].
std::vector<std::string> SplitNames(std::string_view list) {
  std::vector<std::string> names;
  while (true) {
    const std::size_t comma = std::min(list.find(','), list.size());
    std::string_view name = list.substr(0, comma);
    const std::size_t begin = name.find_first_not_of(" \t\r\n");
    name = begin == std::string_view::npos ? std::string_view() : name.substr(begin);
    name = name.substr(0, name.find_last_not_of(" \t\r\n") + 1);
    if (!name.empty()) {
      names.emplace_back(name);
    }
    if (comma == list.size()) {
      return names;
    }
    list.remove_prefix(comma + 1);
  }
}

// What is backed up, up to TO: DATABASE name, LOG name, DATABASES [EXCLUDE] [names], LOGS [names].
Status ParseSubject(TokenStream& tokens, BackupStatement& backup) {
  const bool several = tokens.AtWord("DATABASES") || tokens.AtWord("LOGS");
  backup.log = tokens.AtWord("LOG") || tokens.AtWord("LOGS");
  if (!several && !backup.log) {
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("DATABASE"));
  } else {
    tokens.Next();
  }
  tokens.BeginCommand(CommandName(backup));
  backup.exclude = several && tokens.TakeWord("EXCLUDE");
  const Token at = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(std::string name, tokens.ExpectName());
  if (!several) {
    backup.database = std::move(name);
    return OkStatus();
  }
  backup.databases = SplitNames(name);
  return backup.databases.empty() ? tokens.Fail(at, SqlError(1038)) : OkStatus();
}

Status CheckSnapshot(TokenStream& tokens, const Token& first_device,
                     const BackupStatement& backup) {
  if (!backup.snapshot) {
    return OkStatus();
  }
  std::vector<DeviceClause> all = backup.devices;
  for (const std::vector<DeviceClause>& mirror : backup.mirrors) {
    all.insert(all.end(), mirror.begin(), mirror.end());
  }
  return CheckSnapshotDevices(tokens, first_device, all);
}

}  // namespace

Result<StatementBody> ParseBackup(TokenStream& tokens) {
  tokens.Next();
  if (tokens.AtWord("CERTIFICATE")) {
    return ParseCertificate(tokens, CertificateAction::kExport);
  }
  if (tokens.TakeWord("HELP")) {
    return StatementBody(HelpStatement{.restore = false});
  }
  if (AtOneOf(tokens, kOtherTargets)) {
    const Token& target = tokens.Peek();
    return tokens.Fail(target, UnsupportedFeature(ToLower(target.text)));
  }
  BackupStatement backup;
  CAPSTAN_RETURN_IF_ERROR(ParseSubject(tokens, backup));
  if (AtOneOf(tokens, kFileClauses)) {
    const Token& clause = tokens.Peek();
    return tokens.Fail(clause, UnsupportedFeature(ToLower(clause.text)));
  }
  CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("TO"));
  const Token first_device = tokens.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(backup.devices, ParseDeviceList(tokens));
  CAPSTAN_RETURN_IF_ERROR(ParseMirrors(tokens, backup));
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Option> options,
                           ParseWithOptions(tokens, backup.log ? kBackupLog : kBackupDatabase));
  ApplyTransferOptions(options, backup.transfer);
  for (const Option& option : options) {
    ApplyOption(option, backup);
  }
  CAPSTAN_RETURN_IF_ERROR(CheckSnapshot(tokens, first_device, backup));
  return StatementBody(std::move(backup));
}

}  // namespace capstan::tsql
