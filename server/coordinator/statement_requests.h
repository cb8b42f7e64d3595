// Statements as the engine's requests: options of the statement, and of the server where the
// statement says nothing. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/engine/engine.h"
#include "server/tsql/statement.h"

namespace capstan::coordinator {

struct Session {
  int session_id = 0;
  std::string login;
};

// What a backup is like when its statement does not say.
struct BackupDefaults {
  bool compression = false;
  bool checksum = false;
  transform::Algorithm algorithm = transform::Algorithm::kZstd;
  int retention_days = 0;  // 0: does not expire
};

// `text` is the statement as it may be recorded.
engine::TransferRequest TransferRequestOf(const std::vector<tsql::DeviceClause>& devices,
                                          const tsql::TransferOptions& options,
                                          const Session& session, const std::string& text);

// Of RETAINDAYS and EXPIREDATE the first wins; the server's retention counts without either.
engine::BackupRequest BackupRequestOf(const tsql::BackupStatement& statement,
                                      engine::TransferRequest transfer,
                                      const BackupDefaults& defaults, std::int64_t now_unix_s);
engine::RestoreRequest RestoreRequestOf(const tsql::RestoreStatement& statement,
                                        engine::TransferRequest transfer);
writers::StopPoint StopPointOf(const std::optional<tsql::StopClause>& stop);
writers::RestoreEnd RestoreEndOf(tsql::RestoreEnd end);
engine::VerifyRequest VerifyRequestOf(const tsql::RestoreQueryStatement& statement,
                                      engine::TransferRequest transfer);

}  // namespace capstan::coordinator
