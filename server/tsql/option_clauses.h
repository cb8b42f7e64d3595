// Options of the WITH clause that have a grammar of their own. Each function starts behind the
// option's name.
//
// Errors: 102 and 156 for syntax; 3032 for what T-SQL has there and Capstan has not, with a hint
// that names what to write instead.
#pragma once

#include <optional>
#include <string_view>

#include "server/tsql/statement.h"
#include "server/tsql/token_stream.h"

namespace capstan::tsql {

// [(ALGORITHM = ZSTD | LZ4 [, LEVEL = LOW | MEDIUM | HIGH])]
Result<CompressionClause> ParseCompressionClause(TokenStream& tokens);

// (ALGORITHM = AES_256, SERVER CERTIFICATE = name | PASSPHRASE FROM ...)
Result<EncryptionClause> ParseEncryptionClause(TokenStream& tokens);

// FROM FILE 'path' | FROM ENVIRONMENT 'name'
Result<PassphraseClause> ParsePassphraseSource(TokenStream& tokens);

// STOPAT; nullopt: the text is no date and time.
std::optional<StopClause> MakeStopTime(std::string_view text);
// STOPATMARK and STOPBEFOREMARK; `after` is empty without AFTER. nullopt: a value that is none.
std::optional<StopClause> MakeStopMark(std::string_view mark, std::string_view after);

// = n PERCENT
Result<double> ParsePercent(TokenStream& tokens);

}  // namespace capstan::tsql
