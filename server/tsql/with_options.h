// The WITH clause of BACKUP and RESTORE: one table says which options T-SQL has, which of them
// Capstan carries out, for which statements, and in which range.
//
// Errors: 155 for a word that is no option, 3031 for options that exclude each other or come twice,
// 3032 for options that T-SQL has and this statement, or Capstan, has not, 3217, 3250 and 3253 for
// values. Syntax is checked for the whole clause before any of the meaning.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/tsql/statement.h"
#include "server/tsql/token_stream.h"

namespace capstan::tsql {

// Bits, so that a row of the table can name several.
enum StatementKind : unsigned {
  kBackupDatabase = 1U << 0,
  kRestoreDatabase = 1U << 1,
  kLabelOnly = 1U << 2,
  kHeaderOnly = 1U << 3,
  kFileListOnly = 1U << 4,
  kVerifyOnly = 1U << 5,
  kBackupLog = 1U << 6,
  kRestoreLog = 1U << 7,
  kRecover = 1U << 8,  // RESTORE DATABASE name WITH RECOVERY: without devices
};

enum class OptionId {
  kBlockSize,
  kBufferCount,
  kChecksum,
  kCompression,
  kContinueAfterError,
  kCopyOnly,
  kDescription,
  kDifferential,
  kEncryption,
  kExpireDate,
  kFile,
  kFormat,
  kIgnored,  // accepted; there is nothing to do
  kInit,
  kLoadHistory,
  kMaxRate,
  kMaxTransferSize,
  kMediaDescription,
  kMediaName,
  kMediaPassword,
  kMove,
  kMoveDataFiles,
  kMoveLogFiles,
  kName,
  kNoChecksum,
  kNoCompression,
  kNoRecovery,
  kNoTruncate,
  kPassphrase,
  kPlanOnly,
  kRecovery,
  kReplace,
  kRestart,
  kRetainDays,
  kSample,
  kSkip,
  kSnapshot,
  kStandby,
  kStats,
  kStopAt,
  kStopAtMark,
  kStopBeforeMark,
  kUnsupported,
};

struct OptionSpec;  // a row of the table

struct Option {
  const OptionSpec* spec = nullptr;
  OptionId id = OptionId::kUnsupported;
  Token token;               // the option's name
  std::uint64_t number = 0;  // of options with a number
  std::string text;          // of options with a string; MOVE 'text' TO 'target'
  std::string target;
  CompressionClause compression;
  EncryptionClause encryption;
  PassphraseClause passphrase;
  StopClause stop;          // STOPAT, STOPATMARK, STOPBEFOREMARK
  double percent = 0;       // SAMPLE
  std::int64_t unix_s = 0;  // EXPIREDATE
};

// Takes "WITH option, ..." if it is there. The options come back checked, in the order written.
Result<std::vector<Option>> ParseWithOptions(TokenStream& tokens, StatementKind statement);

// Puts the options that BACKUP and RESTORE share in their place; the others are left alone.
void ApplyTransferOptions(const std::vector<Option>& options, TransferOptions& transfer);

// 3032 with `feature` in the list, for what the statement asks for outside the WITH clause.
Status UnsupportedFeature(std::string_view feature);

}  // namespace capstan::tsql
