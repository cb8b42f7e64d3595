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
  kMove,            // 'x' TO 'y'
  kDate,            // = 'date'
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
constexpr unsigned kRestores = kRestoreDatabase | kQueries;
constexpr unsigned kAll = kBackupDatabase | kRestores;
constexpr unsigned kOfSets = kRestores & ~static_cast<unsigned>(kLabelOnly);

constexpr std::uint64_t kNameMax = 128;
constexpr std::uint64_t kDescriptionMax = 255;
constexpr std::uint64_t kTransferUnit = 65536;
constexpr std::uint64_t kDefaultStatsPercent = 10;
constexpr std::uint64_t kRetainDaysMax = 99'999;

// clang-format off
constexpr OptionSpec kOptions[] = {
    // What is carried out.
    {"BLOCKSIZE", kBlockSize, Argument::kNumber, kAll, 512, 65536},
    {"BUFFERCOUNT", kBufferCount, Argument::kNumber, kAll, 1, 2147483647},
    {"CHECKSUM", kChecksum, Argument::kNone, kAll},
    {"COMPRESSION", kCompression, Argument::kCompression, kBackupDatabase},
    {"CONTINUE_AFTER_ERROR", kContinueAfterError, Argument::kNone, kBackupDatabase | kRestoreDatabase | kVerifyOnly},
    {"COPY_ONLY", kCopyOnly, Argument::kNone, kBackupDatabase},
    {"DESCRIPTION", kDescription, Argument::kText, kBackupDatabase, 0, kDescriptionMax},
    {"ENCRYPTION", kEncryption, Argument::kEncryption, kBackupDatabase},
    {"EXPIREDATE", kExpireDate, Argument::kDate, kBackupDatabase},
    {"FILE", kFile, Argument::kNumber, kOfSets, 1, 65535},
    {"FORMAT", kFormat, Argument::kNone, kBackupDatabase},
    {"INIT", kInit, Argument::kNone, kBackupDatabase},
    {"LOADHISTORY", kLoadHistory, Argument::kNone, kVerifyOnly},
    {"MAXTRANSFERSIZE", kMaxTransferSize, Argument::kNumber, kAll, kTransferUnit, 64 * kTransferUnit},
    {"MEDIADESCRIPTION", kMediaDescription, Argument::kText, kBackupDatabase, 0, kDescriptionMax},
    {"MEDIANAME", kMediaName, Argument::kText, kAll, 0, kNameMax},
    {"MEDIAPASSWORD", kMediaPassword, Argument::kText, kRestores, 0, kNameMax},
    {"MOVE", kMove, Argument::kMove, kRestoreDatabase | kVerifyOnly},
    {"NAME", kName, Argument::kText, kBackupDatabase, 0, kNameMax},
    {"NO_CHECKSUM", kNoChecksum, Argument::kNone, kAll},
    {"NO_COMPRESSION", kNoCompression, Argument::kNone, kBackupDatabase},
    {"PASSPHRASE", kPassphrase, Argument::kPassphrase, kRestoreDatabase | kVerifyOnly},
    {"REPLACE", kReplace, Argument::kNone, kRestoreDatabase},
    {"RETAINDAYS", kRetainDays, Argument::kNumber, kBackupDatabase, 0, kRetainDaysMax},
    {"SAMPLE", kSample, Argument::kPercent, kVerifyOnly},
    {"SKIP", kSkip, Argument::kNone, kBackupDatabase},
    {"SNAPSHOT", kSnapshot, Argument::kNone, kBackupDatabase | kRestoreDatabase},
    {"STATS", kStats, Argument::kOptionalNumber, kAll, 1, 100},

    // What needs no doing: the default, or a matter of tapes only.
    {"NOFORMAT", kIgnored, Argument::kNone, kBackupDatabase},
    {"NOINIT", kIgnored, Argument::kNone, kBackupDatabase},
    {"NOREWIND", kIgnored, Argument::kNone, kAll},
    {"NOSKIP", kIgnored, Argument::kNone, kBackupDatabase},
    {"NOUNLOAD", kIgnored, Argument::kNone, kAll},
    {"RECOVERY", kIgnored, Argument::kNone, kRestoreDatabase},
    {"RESTART", kIgnored, Argument::kNone, kBackupDatabase},
    {"REWIND", kIgnored, Argument::kNone, kAll},
    {"STOP_ON_ERROR", kIgnored, Argument::kNone, kAll},
    {"UNLOAD", kIgnored, Argument::kNone, kAll},

    // What T-SQL has and Capstan has not.
    {"CREDENTIAL", kUnsupported, Argument::kAny, kAll},
    {"DBNAME", kUnsupported, Argument::kAny, kRestores},
    {"DIFFERENTIAL", kUnsupported, Argument::kAny, kBackupDatabase},
    {"ENABLE_BROKER", kUnsupported, Argument::kAny, kRestoreDatabase},
    {"ERROR_BROKER_CONVERSATIONS", kUnsupported, Argument::kAny, kRestoreDatabase},
    {"FILESTREAM", kUnsupported, Argument::kAny, kRestoreDatabase},
    {"FILE_SNAPSHOT", kUnsupported, Argument::kAny, kBackupDatabase},
    {"KEEP_CDC", kUnsupported, Argument::kAny, kRestoreDatabase},
    {"KEEP_REPLICATION", kUnsupported, Argument::kAny, kRestoreDatabase},
    {"MEDIAPASSWORD", kUnsupported, Argument::kAny, kBackupDatabase},
    {"METADATA_ONLY", kUnsupported, Argument::kAny, kAll},
    {"NEW_BROKER", kUnsupported, Argument::kAny, kRestoreDatabase},
    {"NORECOVERY", kUnsupported, Argument::kAny, kBackupDatabase | kRestoreDatabase},
    {"NO_TRUNCATE", kUnsupported, Argument::kAny, kBackupDatabase},
    {"PARTIAL", kUnsupported, Argument::kAny, kRestoreDatabase},
    {"PASSWORD", kUnsupported, Argument::kAny, kAll},
    {"RESTART", kUnsupported, Argument::kAny, kRestoreDatabase},
    {"RESTRICTED_USER", kUnsupported, Argument::kAny, kRestoreDatabase},
    {"STANDBY", kUnsupported, Argument::kAny, kBackupDatabase | kRestoreDatabase},
    {"STOPAT", kUnsupported, Argument::kAny, kRestoreDatabase},
    {"STOPATMARK", kUnsupported, Argument::kAny, kRestoreDatabase},
    {"STOPBEFOREMARK", kUnsupported, Argument::kAny, kRestoreDatabase},
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
    {"NORECOVERY", "RECOVERY"},
    {"NORECOVERY", "STANDBY"},
    {"NOREWIND", "REWIND"},
    {"NOREWIND", "UNLOAD"},
    {"NOSKIP", "SKIP"},
    {"NOUNLOAD", "UNLOAD"},
    {"RECOVERY", "STANDBY"},
    {"CONTINUE_AFTER_ERROR", "STOP_ON_ERROR"},
};

// The row for this statement if there is one, otherwise one that the same verb has.
const OptionSpec* FindOption(std::string_view name, StatementKind statement) {
  const unsigned verb = statement == kBackupDatabase ? statement : kRestores;
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
    case Argument::kDate: {
      CAPSTAN_RETURN_IF_ERROR(tokens.ExpectSymbol("="));
      CAPSTAN_ASSIGN_OR_RETURN(option.text, tokens.ExpectString());
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
      CAPSTAN_ASSIGN_OR_RETURN(option.text, tokens.ExpectString());
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
                                              statement == kBackupDatabase ? "BACKUP" : "RESTORE"));
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
      const bool twice = option.spec == later->spec && later->id != kMove;
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
  if (spec.argument == Argument::kPercent && (option.percent <= 0 || option.percent > 100)) {
    return tokens.Fail(option.token, SqlError(3250, fmt::format("{}", option.percent), spec.name)
                                         .WithHint("values above 0 and up to 100 are allowed"));
  }
  if (spec.argument == Argument::kText && CountCodePoints(option.text) > spec.max) {
    return tokens.Fail(
        option.token,
        SqlError(3217, spec.name).WithHint(fmt::format("at most {} characters fit", spec.max)));
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
