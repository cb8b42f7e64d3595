// What a BACKUP goes on from: whether the database can be backed up so, where its log begins, what
// a differential backup is measured against, and what the set says of that. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "server/catalog/catalog.h"
#include "server/engine/engine.h"
#include "server/media/backup_set.h"
#include "server/writers/database_writer.h"
#include "vdi/base/status.h"

namespace capstan::engine {

// "BACKUP LOG", "BACKUP DATABASE", "BACKUP DATABASE WITH DIFFERENTIAL".
std::string_view BackupCommand(writers::BackupKind kind);

writers::BackupKind KindOf(media::SetKind kind);

// 927, 3036: a database that is being restored is not backed up.
Status CheckInUse(const catalog::Database& database);

// As ALTER DATABASE set it, unless there is no log that could be kept.
writers::RecoveryModel RecoveryModelOf(const catalog::Database& database,
                                       writers::RecoveryModel described);

struct BackupSource {
  const catalog::Database& database;
  writers::RecoveryModel recovery_model;  // RecoveryModelOf
  const catalog::ChainEnd& chain;
  const writers::LogStatus& log;
  bool read_only = false;  // as the writer describes it
};

struct BackupChain {
  // Everything that concerns the chain; the rest is as it was made.
  writers::BackupOptions options;
  // What the set says: kind, copy_only, the recovery model and where it stands among the others.
  media::BackupSet set;
};

// Log that nobody backed up, in front of a log set.
struct LogGap {
  std::uint64_t from = 0;  // where the log before it ended
  std::uint64_t to = 0;    // where the set begins
  // Of the backup that ends there: what was lost to the log is in its pages.
  media::SetKind bridge = media::SetKind::kDatabase;
};
// `sets` as Catalog::SetsOf gives them, with `log` or without. Nullopt: log before it goes up to
// it, or is of no use, being of another line of history or of none.
std::optional<LogGap> GapBefore(const media::BackupSet& log,
                                std::span<const catalog::KnownSet> sets);

// 3035 without a base, 4208 under SIMPLE, 4214 without a backup that log could follow.
Result<BackupChain> PlanBackupChain(const BackupRequest& request, const BackupSource& source);

}  // namespace capstan::engine
