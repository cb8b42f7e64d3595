// pg_control: what PostgreSQL keeps of a cluster as a whole, in one file that it replaces in place.
//
// Layout of control version 1300 (PostgreSQL 13 to 17). Untrusted; guarded by its own CRC-32C.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "server/writers/chain.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// Of a whole file; only the first part has a meaning.
constexpr std::size_t kPgControlFileBytes = 8192;

enum class PgControlState : std::uint32_t {
  kStartup = 0,
  kShutDown = 1,
  kShutDownInRecovery = 2,
  kShuttingDown = 3,
  kCrashRecovery = 4,
  kArchiveRecovery = 5,
  kInProduction = 6,
};

struct PgControl {
  std::uint64_t system_identifier = 0;
  std::uint32_t control_version = 0;
  std::uint32_t catalog_version = 0;
  PgControlState state = PgControlState::kStartup;
  Lsn checkpoint;              // the record of the last one
  Lsn checkpoint_redo;         // where replaying it begins
  std::uint32_t timeline = 0;  // of the checkpoint
  Lsn min_recovery_point;
  std::uint32_t min_recovery_timeline = 0;
  Lsn backup_start;  // not 0: the end of the backup that it is of must still be replayed
  std::uint32_t block_bytes = 0;
  std::uint32_t relation_segment_blocks = 0;
  std::uint32_t wal_block_bytes = 0;
  std::uint32_t wal_segment_bytes = 0;
  bool data_checksums = false;
  // What a server must have at least to replay this cluster's log.
  std::uint32_t max_connections = 0;
  std::uint32_t max_worker_processes = 0;
  std::uint32_t max_wal_senders = 0;
  std::uint32_t max_prepared_transactions = 0;
  std::uint32_t max_locks_per_transaction = 0;
  // With what the log is written.
  std::uint32_t wal_level = 0;  // 0 minimal, 1 replica, 2 logical
  bool wal_log_hints = false;
  bool track_commit_timestamp = false;
};

// kDataLoss for a wrong CRC, kUnimplemented for another version.
Result<PgControl> ParsePgControl(std::span<const std::byte> file);

// Reads global/pg_control below this folder; again, if PostgreSQL was just writing it. `image`,
// unless null, gets the file's bytes.
Result<PgControl> ReadPgControl(const std::string& data_directory,
                                std::array<std::byte, kPgControlFileBytes>* image = nullptr);

}  // namespace capstan::writers
