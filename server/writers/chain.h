// What chains of backups are made of: kinds, positions in a log, where a restore stops.
//
// A chain is a full backup, at most one differential that was measured against it, and log backups
// that continue each other: each begins where the one before ended. Its members are compared by
// LSN and by recovery fork alone, so that they can be on any media. Plain values, no threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "vdi/base/guid.h"

namespace capstan::writers {

// A position in a database's log, defined by its writer; ordered. Printed as numeric(25,0).
struct Lsn {
  std::uint64_t value = 0;
  friend auto operator<=>(const Lsn&, const Lsn&) = default;
};

enum class BackupKind { kFull, kDifferential, kLog };

// SIMPLE: the log is of no interest once it is in the database; no log backups. kFull (and
// kBulkLogged, which no writer tells from it): the log is kept from the first full backup on, until
// a log backup of it is committed.
enum class RecoveryModel { kSimple, kBulkLogged, kFull };

// What a backup holds of a database's log. Of a restored database: a full or differential backup
// leaves it at `last`, ready for a log backup with first <= that < last.
struct LsnRange {
  Lsn first;       // the oldest log record that restoring the set needs
  Lsn last;        // the set has everything before this; the next log record to come
  Lsn checkpoint;  // what a differential against this full backup is measured from
};

// The full backup that a differential one is measured against.
struct DifferentialBase {
  Guid backup_set_guid;
  LsnRange lsns;
  std::string writer_data;  // BackupSession::writer_data() of it
};

// BACKUP LOG of a database that is to be replaced, or that is damaged.
enum class LogTail {
  kNone,
  kNoRecovery,  // WITH NORECOVERY: from the end of this log on nobody writes to the database
  kNoTruncate,  // WITH NO_TRUNCATE: it may be damaged, or not running; its log stays as it is
};

// How a RESTORE leaves the database.
enum class RestoreEnd {
  kRecovery,    // consistent and in use; nothing more can be restored on it
  kNoRecovery,  // being restored: out of use, ready for more
  kStandby,     // can be read, and is ready for more
};

// STOPAT, STOPATMARK, STOPBEFOREMARK.
struct StopPoint {
  enum class Kind {
    kNone,  // the end of the log
    kTime,  // every transaction that committed at this time or earlier
    kLsn,   // up to this LSN
    kMark,  // a mark that the database's users set by name
  };
  Kind kind = Kind::kNone;
  std::int64_t unix_us = 0;  // of kTime; of kMark, the mark is not older (AFTER), 0 = any
  Lsn lsn;                   // of kLsn
  std::string mark;          // of kMark
  bool before = false;       // of kLsn and kMark: the transaction there is not wanted
};

// The log that a writer keeps of a database for log backups.
struct LogStatus {
  std::optional<LsnRange> kept;   // first to last; none: no log is kept
  std::uint64_t bytes = 0;        // on disk, because of log backups
  std::uint64_t limit_bytes = 0;  // beyond it the writer lets go and breaks the chain; 0 = none
  // Why log before kept->first is missing although it was wanted: a clause; empty: it is not.
  std::string broken;
};

// In an availability group, where backups are preferred to run (ALTER DATABASE ... SET
// BACKUP_PREFERENCE). Full and differential backups that are not copy-only run on the primary,
// whatever the preference.
enum class BackupPreference { kPrimary, kSecondaryOnly, kPreferSecondary, kAny };

}  // namespace capstan::writers
