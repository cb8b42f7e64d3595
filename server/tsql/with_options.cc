#include "server/tsql/with_options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/date_literal.h"
#include "server/tsql/keywords.h"
#include "server/tsql/lexical.h"
#include "server/tsql/option_clauses.h"

namespace capstan::tsql {

// What follows the option's name.
enum class Argument {
  kNone,
  kNumber,          // = n
  kOptionalNumber,  // [= n]
  kText,            // = 'x'
  kMove,            // 'x' TO 'y' | DATAFILES TO 'y' | LOGFILES TO 'y'
  kDate,            // = 'date'
  kMoment,          // = 'date and time'
  kMark,            // = 'mark' [AFTER 'date and time']
  kPercent,         // = n PERCENT
  kCompression,     // [(ALGORITHM = x [, LEVEL = y])]
  kEncryption,      // (ALGORITHM = x, ...)
  kPassphrase,      // FROM FILE 'x' | FROM ENVIRONMENT 'X'
  kAny,             // whatever T-SQL has there; only for options that are refused anyway
};

struct OptionSpec {
  std::string_view name;
  OptionId id;
  Argument argument;
  unsigned statements;    // those that T-SQL allows it in
  std::uint64_t min = 0;  // of the number
  std::uint64_t max = 0;  // of the number, or of the text's length in characters
};

namespace {

using enum OptionId;

constexpr unsigned kQueries = kLabelOnly | kHeaderOnly | kFileListOnly | kVerifyOnly;
constexpr unsigned kBackups = kBackupDatabase | kBackupLog;
constexpr unsigned kTransfers = kRestoreDatabase | kRestoreLog;
constexpr unsigned kRestores = kTransfers | kRecover | kQueries;
constexpr unsigned kFromDevices = kTransfers | kQueries;
constexpr unsigned kAll = kBackups | kFromDevices;
constexpr unsigned kOfSets = kFromDevices & ~static_cast<unsigned>(kLabelOnly);

constexpr std::uint64_t kNameMax = 128;
constexpr std::uint64_t kDescriptionMax = 255;
constexpr std::uint64_t kPathMax = 4096;
constexpr std::uint64_t kTransferUnit = 65536;
constexpr std::uint64_t kDefaultStatsPercent = 10;
constexpr std::uint64_t kMaxRateMax = 1 << 20;  // MiB/s
constexpr std::uint64_t kRetainDaysMax = 99'999;

// clang-format off
constexpr OptionSpec kOptions[] = {
    // What is carried out.
    {"BLOCKSIZE", kBlockSize, Argument::kNumber, kAll, 512, 65536},
    {"BUFFERCOUNT", kBufferCount, Argument::kNumber, kAll, 1, 2147483647},
    {"CHECKSUM", kChecksum, Argument::kNone, kAll},
    {"COMPRESSION", kCompression, Argument::kCompression, kBackups},
    {"CONTINUE_AFTER_ERROR", kContinueAfterError, Argument::kNone, kBackups | kTransfers | kVerifyOnly},
    {"COPY_ONLY", kCopyOnly, Argument::kNone, kBackups},
    {"DESCRIPTION", kDescription, Argument::kText, kBackups, 0, kDescriptionMax},
    {"DIFFERENTIAL", kDifferential, Argument::kNone, kBackupDatabase},
    {"ENCRYPTION", kEncryption, Argument::kEncryption, kBackups},
    {"EXPIREDATE", kExpireDate, Argument::kDate, kBackups},
    {"FILE", kFile, Argument::kNumber, kOfSets, 1, 65535},
    {"FORMAT", kFormat, Argument::kNone, kBackups},
    {"INIT", kInit, Argument::kNone, kBackups},
    {"LOADHISTORY", kLoadHistory, Argument::kNone, kVerifyOnly},
    {"MAXRATE", kMaxRate, Argument::kNumber, kBackups | kTransfers | kVerifyOnly, 1, kMaxRateMax},
    {"MAXTRANSFERSIZE", kMaxTransferSize, Argument::kNumber, kAll, kTransferUnit, 64 * kTransferUnit},
    {"MEDIADESCRIPTION", kMediaDescription, Argument::kText, kBackups, 0, kDescriptionMax},
    {"MEDIANAME", kMediaName, Argument::kText, kAll, 0, kNameMax},
    {"MEDIAPASSWORD", kMediaPassword, Argument::kText, kFromDevices, 0, kNameMax},
    {"MOVE", kMove, Argument::kMove, kTransfers | kVerifyOnly},
    {"NAME", kName, Argument::kText, kBackups, 0, kNameMax},
    {"NO_CHECKSUM", kNoChecksum, Argument::kNone, kAll},
    {"NO_COMPRESSION", kNoCompression, Argument::kNone, kBackups},
    {"NORECOVERY", kNoRecovery, Argument::kNone, kBackupLog | kTransfers},
    {"NO_TRUNCATE", kNoTruncate, Argument::kNone, kBackupLog},
    {"PASSPHRASE", kPassphrase, Argument::kPassphrase, kTransfers | kVerifyOnly},
    {"PLANONLY", kPlanOnly, Argument::kNone, kTransfers | kRecover},
    {"RECOVERY", kRecovery, Argument::kNone, kTransfers | kRecover},
    {"REPLACE", kReplace, Argument::kNone, kTransfers},
    {"RESTART", kRestart, Argument::kNone, kTransfers | kBackups},
    {"RETAINDAYS", kRetainDays, Argument::kNumber, kBackups, 0, kRetainDaysMax},
    {"SAMPLE", kSample, Argument::kPercent, kVerifyOnly},
    {"SKIP", kSkip, Argument::kNone, kBackups},
    {"SNAPSHOT", kSnapshot, Argument::kNone, kBackupDatabase | kRestoreDatabase},
    {"STANDBY", kStandby, Argument::kText, kTransfers | kRecover, 1, kPathMax},
    {"STATS", kStats, Argument::kOptionalNumber, kAll | kRecover, 1, 100},
    {"STOPAT", kStopAt, Argument::kMoment, kTransfers | kRecover},
    {"STOPATMARK", kStopAtMark, Argument::kMark, kTransfers | kRecover},
    {"STOPBEFOREMARK", kStopBeforeMark, Argument::kMark, kTransfers | kRecover},

    // What needs no doing: the default, or a matter of tapes only.
    {"NOFORMAT", kIgnored, Argument::kNone, kBackups},
    {"NOINIT", kIgnored, Argument::kNone, kBackups},
    {"NOREWIND", kIgnored, Argument::kNone, kAll},
    {"NOSKIP", kIgnored, Argument::kNone, kBackups},
    {"NOUNLOAD", kIgnored, Argument::kNone, kAll},
    {"REWIND", kIgnored, Argument::kNone, kAll},
    {"STOP_ON_ERROR", kIgnored, Argument::kNone, kAll},
    {"UNLOAD", kIgnored, Argument::kNone, kAll},

    // What T-SQL has and Capstan has not.
    {"CREDENTIAL", kUnsupported, Argument::kAny, kAll},
    {"DBNAME", kUnsupported, Argument::kAny, kRestores},
    {"ENABLE_BROKER", kUnsupported, Argument::kAny, kTransfers},
    {"ERROR_BROKER_CONVERSATIONS", kUnsupported, Argument::kAny, kTransfers},
    {"FILESTREAM", kUnsupported, Argument::kAny, kTransfers},
    {"FILE_SNAPSHOT", kUnsupported, Argument::kAny, kBackups},
    {"KEEP_CDC", kUnsupported, Argument::kAny, kTransfers},
    {"KEEP_REPLICATION", kUnsupported, Argument::kAny, kTransfers},
    {"MEDIAPASSWORD", kUnsupported, Argument::kAny, kBackups},
    {"METADATA_ONLY", kUnsupported, Argument::kAny, kAll},
    {"NEW_BROKER", kUnsupported, Argument::kAny, kTransfers},
    {"PARTIAL", kUnsupported, Argument::kAny, kTransfers},
    {"PASSWORD", kUnsupported, Argument::kAny, kAll},
    {"RESTRICTED_USER", kUnsupported, Argument::kAny, kTransfers},
    {"STANDBY", kUnsupported, Argument::kAny, kBackupLog},
};
// clang-format on

constexpr std::pair<std::string_view, std::string_view> kConflicts[] = {
    {"CHECKSUM", "NO_CHECKSUM"},
    {"CHECKSUM", "SNAPSHOT"},  // no page passes through the server
    {"COMPRESSION", "NO_COMPRESSION"},
    {"COMPRESSION", "SNAPSHOT"},
    {"DIFFERENTIAL", "SNAPSHOT"},
    {"ENCRYPTION", "SNAPSHOT"},
    {"FORMAT", "NOFORMAT"},
    {"FORMAT", "NOINIT"},  // FORMAT destroys what NOINIT asks to keep
    {"INIT", "NOINIT"},
    // The log of a database that may be damaged is left as it is, and so is the database.
    {"NORECOVERY", "NO_TRUNCATE"},
    {"NORECOVERY", "RECOVERY"},
    {"NORECOVERY", "STANDBY"},
    {"NOREWIND", "REWIND"},
    {"NOREWIND", "UNLOAD"},
    {"NOSKIP", "SKIP"},
    {"NOUNLOAD", "UNLOAD"},
    {"RECOVERY", "STANDBY"},
    {"CONTINUE_AFTER_ERROR", "STOP_ON_ERROR"},
    {"PLANONLY", "SNAPSHOT"},  // there is no chain of snapshots
    {"SNAPSHOT", "STOPAT"},
    {"SNAPSHOT", "STOPATMARK"},
    {"SNAPSHOT", "STOPBEFOREMARK"},
    {"STOPAT", "STOPATMARK"},
    {"STOPAT", "STOPBEFOREMARK"},
    {"STOPATMARK", "STOPBEFOREMARK"},
};

// The row for this statement if there is one, otherwise one that the same verb has.
const OptionSpec* FindOption(std::string_view name, StatementKind statement) {
  const unsigned verb = (statement & kBackups) != 0 ? kBackups : kRestores;
  const OptionSpec* found = nullptr;
  for (const OptionSpec& spec : kOptions) {
    if (!EqualsIgnoreCase(spec.name, name)) {
      continue;
    }
    if ((spec.statements & statement) != 0) {
      return &spec;
    }
    if ((spec.statements & verb) != 0) {
      found = &spec;
    }
  }
  return found;
}

// Takes "(...)" with everything in it.
Status SkipParenthesized(TokenStream& tokens) {
  int depth = 0;
  do {
    if (tokens.AtEnd()) {
      return tokens.SyntaxError();
    }
    depth += tokens.AtSymbol("(") ? 1 : tokens.AtSymbol(")") ? -1 : 0;
    tokens.Next();
  } while (depth > 0);
  return OkStatus();
}

// Takes "[= value] [(...)] [AFTER 'x']".
Status SkipAnyArgument(TokenStream& tokens) {
  if (tokens.TakeSymbol("=")) {
    const TokenKind kind = tokens.Peek().kind;
    if (kind != TokenKind::kString && kind != TokenKind::kNumber && !tokens.AtName()) {
      return tokens.SyntaxError();
    }
    tokens.Next();
  }
  if (tokens.AtSymbol("(")) {
    CAPSTAN_RETURN_IF_ERROR(SkipParenthesized(tokens));
  }
  if (tokens.TakeWord("AFTER")) {
    CAPSTAN_RETURN_IF_ERROR(tokens.ExpectString().status());
  }
  return OkStatus();
}

// Takes a whole number; `text` keeps it as written, because it may be beyond any range.
Status ParseNumber(TokenStream& tokens, Option& option) {
  const std::string& text = tokens.Peek().text;
  const bool whole = tokens.Peek().kind == TokenKind::kNumber &&
                     std::all_of(text.begin(), text.end(),
                                 [](char c) { return IsDigit(static_cast<unsigned char>(c)); });
  if (!whole) {
    return tokens.SyntaxError();
  }
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), option.number);
  if (parsed.ec != std::errc()) {
    option.number = UINT64_MAX;
  }
  option.text = tokens.Next().text;
  return OkStatus();
}

// The arguments that are grammars of their own.
Status ParseClause(TokenStream& tokens, Option& option) {
  switch (option.spec->argument) {
    case Argument::kDate:
    case Argument::kMoment: {
      CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
      CAPSTAN_ASSIGN_OR_RETURN(option.text, tokens.ExpectString());
      return OkStatus();
    }
    case Argument::kMark: {
      CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
      CAPSTAN_ASSIGN_OR_RETURN(option.text, tokens.ExpectString());
      if (tokens.TakeWord("AFTER")) {
        CAPSTAN_ASSIGN_OR_RETURN(option.target, tokens.ExpectString());
      }
      return OkStatus();
    }
    case Argument::kPercent: {
      CAPSTAN_ASSIGN_OR_RETURN(option.percent, ParsePercent(tokens));
      return OkStatus();
    }
    case Argument::kCompression: {
      CAPSTAN_ASSIGN_OR_RETURN(option.compression, ParseCompressionClause(tokens));
      return OkStatus();
    }
    case Argument::kEncryption: {
      CAPSTAN_ASSIGN_OR_RETURN(option.encryption, ParseEncryptionClause(tokens));
      return OkStatus();
    }
    case Argument::kPassphrase: {
      CAPSTAN_ASSIGN_OR_RETURN(option.passphrase, ParsePassphraseSource(tokens));
      return OkStatus();
    }
    default:
      CAPSTAN_CHECK(false);
  }
}

Status ParseArgument(TokenStream& tokens, Option& option) {
  switch (option.spec->argument) {
    case Argument::kNone:
      return OkStatus();
    case Argument::kOptionalNumber:
      if (!tokens.AtSymbol("=")) {
        option.number = kDefaultStatsPercent;
        return OkStatus();
      }
      [[fallthrough]];
    case Argument::kNumber:
      CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
      return ParseNumber(tokens, option);
    case Argument::kText: {
      CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
      CAPSTAN_ASSIGN_OR_RETURN(option.text, tokens.ExpectString());
      return OkStatus();
    }
    case Argument::kMove: {
      if (tokens.AtWord("DATAFILES") || tokens.AtWord("LOGFILES")) {
        option.text = ToLower(tokens.Peek().text);
        option.id = option.text == "datafiles" ? kMoveDataFiles : kMoveLogFiles;
        tokens.Next();
      } else {
        CAPSTAN_ASSIGN_OR_RETURN(option.text, tokens.ExpectString());
      }
      CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("TO"));
      CAPSTAN_ASSIGN_OR_RETURN(option.target, tokens.ExpectString());
      return OkStatus();
    }
    case Argument::kAny:
      return SkipAnyArgument(tokens);
    default:
      return ParseClause(tokens, option);
  }
}

Result<Option> ParseOption(TokenStream& tokens, StatementKind statement) {
  if (tokens.Peek().kind != TokenKind::kWord) {
    return tokens.SyntaxError();
  }
  Option option;
  option.token = tokens.Peek();
  option.spec = FindOption(option.token.text, statement);
  if (option.spec == nullptr) {
    if (IsReserved(option.token.text)) {
      return tokens.SyntaxError();
    }
    return tokens.Fail(option.token, SqlError(155, Clip(option.token.text, kNameMax),
                                              (statement & kBackups) != 0 ? "BACKUP" : "RESTORE"));
  }
  option.id = option.spec->id;
  tokens.Next();
  CAPSTAN_RETURN_IF_ERROR(ParseArgument(tokens, option));
  return option;
}

Status CheckConflicts(TokenStream& tokens, const std::vector<Option>& options) {
  const auto excludes = [](std::string_view a, std::string_view b) {
    return std::any_of(std::begin(kConflicts), std::end(kConflicts), [&](const auto& pair) {
      return (pair.first == a && pair.second == b) || (pair.first == b && pair.second == a);
    });
  };
  for (auto later = options.begin(); later != options.end(); ++later) {
    const std::string_view name = later->spec->name;
    const auto earlier = std::find_if(options.begin(), later, [&](const Option& option) {
      const bool twice = option.spec == later->spec && option.id == later->id && later->id != kMove;
      return twice || excludes(option.spec->name, name);
    });
    if (earlier != later) {
      return tokens.Fail(later->token, SqlError(3031, ToLower(name), ToLower(earlier->spec->name)));
    }
  }
  return OkStatus();
}

Status CheckSupported(TokenStream& tokens, const std::vector<Option>& options,
                      StatementKind statement) {
  std::string refused;
  const Option* first = nullptr;
  bool only_misplaced = true;
  for (const Option& option : options) {
    const bool misplaced = (option.spec->statements & statement) == 0;
    if (!misplaced && option.id != kUnsupported) {
      continue;
    }
    first = first == nullptr ? &option : first;
    only_misplaced = only_misplaced && misplaced;
    refused += (refused.empty() ? "" : ", ") + ToLower(option.spec->name);
  }
  if (first == nullptr) {
    return OkStatus();
  }
  if (only_misplaced) {
    return tokens.Fail(first->token, SqlError(3032, refused)
                                         .WithHint("T-SQL has this option for other forms of the "
                                                   "statement; leave it out here"));
  }
  return tokens.Fail(first->token, UnsupportedFeature(refused));
}

Status CheckDate(TokenStream& tokens, Option& option) {
  const std::optional<std::int64_t> date = ParseDateLiteral(option.text);
  if (!date.has_value()) {
    return tokens.Fail(option.token,
                       SqlError(3217, option.spec->name)
                           .WithHint("write a date such as '2030-12-31' or '20301231 18:00'"));
  }
  option.unix_s = *date;
  return OkStatus();
}

// May fill in what the value means.
Status CheckValue(TokenStream& tokens, Option& option) {
  const OptionSpec& spec = *option.spec;
  if (spec.argument == Argument::kDate) {
    return CheckDate(tokens, option);
  }
  if (spec.argument == Argument::kMoment || spec.argument == Argument::kMark) {
    const bool mark = spec.argument == Argument::kMark;
    auto stop = mark ? MakeStopMark(option.text, option.target) : MakeStopTime(option.text);
    if (!stop.has_value()) {
      return tokens.Fail(
          option.token,
          SqlError(3217, spec.name)
              .WithHint("write a time such as '2030-12-31 18:00:30.5' or '2030-12-31T18:00:30Z'; "
                        "a mark has a name, or is 'lsn:n'"));
    }
    option.stop = *std::move(stop);
    option.stop.before = spec.id == kStopBeforeMark;
    return OkStatus();
  }
  if (spec.argument == Argument::kPercent && (option.percent <= 0 || option.percent > 100)) {
    return tokens.Fail(option.token, SqlError(3250, fmt::format("{}", option.percent), spec.name)
                                         .WithHint("values above 0 and up to 100 are allowed"));
  }
  const std::size_t characters = CountCodePoints(option.text);
  if (spec.argument == Argument::kText && (characters > spec.max || characters < spec.min)) {
    return tokens.Fail(option.token, SqlError(3217, spec.name)
                                         .WithHint(fmt::format("{} to {} characters are allowed",
                                                               spec.min, spec.max)));
  }
  if (spec.argument == Argument::kMove && (option.text.empty() || option.target.empty())) {
    return tokens.Fail(option.token,
                       SqlError(3217, spec.name).WithHint("name a logical file and its new path"));
  }
  if (spec.argument != Argument::kNumber && spec.argument != Argument::kOptionalNumber) {
    return OkStatus();
  }
  if (option.number < spec.min || option.number > spec.max) {
    return tokens.Fail(option.token, SqlError(3250, Clip(option.text, kNameMax), spec.name)
                                         .WithHint(fmt::format("values from {} to {} are allowed",
                                                               spec.min, spec.max)));
  }
  if (spec.id == kBlockSize && (option.number & (option.number - 1)) != 0) {
    return tokens.Fail(option.token, SqlError(3253));
  }
  if (spec.id == kMaxTransferSize && option.number % kTransferUnit != 0) {
    return tokens.Fail(option.token,
                       SqlError(3217, spec.name).WithHint("use a multiple of 65536 bytes"));
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<Option>> ParseWithOptions(TokenStream& tokens, StatementKind statement) {
  std::vector<Option> options;
  if (!tokens.TakeWord("WITH")) {
    return options;
  }
  do {
    CAPSTAN_ASSIGN_OR_RETURN(Option option, ParseOption(tokens, statement));
    options.push_back(std::move(option));
  } while (tokens.TakeSymbol(","));
  if (!tokens.AtBoundary()) {
    return tokens.SyntaxError();
  }
  CAPSTAN_RETURN_IF_ERROR(CheckConflicts(tokens, options));
  CAPSTAN_RETURN_IF_ERROR(CheckSupported(tokens, options, statement));
  for (Option& option : options) {
    CAPSTAN_RETURN_IF_ERROR(CheckValue(tokens, option));
  }
  return options;
}

void ApplyTransferOptions(const std::vector<Option>& options, TransferOptions& transfer) {
  for (const Option& option : options) {
    const auto number = static_cast<std::uint32_t>(option.number);
    if (option.id == kBufferCount) {
      transfer.buffer_count = number;
    } else if (option.id == kMaxTransferSize) {
      transfer.max_transfer_size = number;
    } else if (option.id == kMaxRate) {
      transfer.max_rate_mb = number;
    } else if (option.id == kBlockSize) {
      transfer.block_size = number;
    } else if (option.id == kStats) {
      transfer.stats_percent = static_cast<int>(option.number);
    } else if (option.id == kChecksum || option.id == kNoChecksum) {
      transfer.checksum = option.id == kChecksum;
    }
  }
}

Status UnsupportedFeature(std::string_view feature) {
  return SqlError(3032, feature)
      .WithHint(fmt::format("this version of Capstan does not support {}", ToUpper(feature)));
}

}  // namespace capstan::tsql
