#include "server/writers/postgres/pg_control.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include <fcntl.h>

#include "server/writers/positioned_io.h"
#include "server/writers/postgres/wal_format.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

constexpr std::uint32_t kControlVersion = 1300;
constexpr int kReadTries = 20;
constexpr std::chrono::milliseconds kReadPause{5};

// Byte offsets in the file.
constexpr std::size_t kSystemIdentifier = 0;
constexpr std::size_t kVersion = 8;
constexpr std::size_t kCatalogVersion = 12;
constexpr std::size_t kState = 16;
constexpr std::size_t kCheckpoint = 32;
constexpr std::size_t kCheckpointRedo = 40;
constexpr std::size_t kTimeline = 48;
constexpr std::size_t kMinRecoveryPoint = 136;
constexpr std::size_t kMinRecoveryTimeline = 144;
constexpr std::size_t kBackupStart = 152;
constexpr std::size_t kWalLevel = 172;
constexpr std::size_t kWalLogHints = 176;
constexpr std::size_t kMaxConnections = 180;
constexpr std::size_t kMaxWorkerProcesses = 184;
constexpr std::size_t kMaxWalSenders = 188;
constexpr std::size_t kMaxPreparedTransactions = 192;
constexpr std::size_t kMaxLocksPerTransaction = 196;
constexpr std::size_t kTrackCommitTimestamp = 200;
constexpr std::size_t kBlockBytes = 216;
constexpr std::size_t kRelationSegmentBlocks = 220;
constexpr std::size_t kWalBlockBytes = 224;
constexpr std::size_t kWalSegmentBytes = 228;
constexpr std::size_t kDataChecksumVersion = 252;
constexpr std::size_t kCrc = 288;

template <typename T>
T At(std::span<const std::byte> file, std::size_t offset) {
  T value{};
  std::memcpy(&value, file.data() + offset, sizeof(T));
  return value;
}

}  // namespace

Result<PgControl> ParsePgControl(std::span<const std::byte> file) {
  if (file.size() < kCrc + sizeof(std::uint32_t)) {
    return Error(Code::kDataLoss, "pg_control is too short");
  }
  if (const auto version = At<std::uint32_t>(file, kVersion); version != kControlVersion) {
    return Error(Code::kUnimplemented, "pg_control is of version {}, not {}", version,
                 kControlVersion)
        .WithHint("PostgreSQL 15 is supported");
  }
  if (WalCrc32c(0, file.first(kCrc)) != At<std::uint32_t>(file, kCrc)) {
    return Error(Code::kDataLoss, "the CRC of pg_control is wrong");
  }
  const auto number = [file](std::size_t offset) { return At<std::uint32_t>(file, offset); };
  const auto lsn = [file](std::size_t offset) { return Lsn{At<std::uint64_t>(file, offset)}; };
  return PgControl{.system_identifier = At<std::uint64_t>(file, kSystemIdentifier),
                   .control_version = kControlVersion,
                   .catalog_version = number(kCatalogVersion),
                   .state = static_cast<PgControlState>(number(kState)),
                   .checkpoint = lsn(kCheckpoint),
                   .checkpoint_redo = lsn(kCheckpointRedo),
                   .timeline = number(kTimeline),
                   .min_recovery_point = lsn(kMinRecoveryPoint),
                   .min_recovery_timeline = number(kMinRecoveryTimeline),
                   .backup_start = lsn(kBackupStart),
                   .block_bytes = number(kBlockBytes),
                   .relation_segment_blocks = number(kRelationSegmentBlocks),
                   .wal_block_bytes = number(kWalBlockBytes),
                   .wal_segment_bytes = number(kWalSegmentBytes),
                   .data_checksums = number(kDataChecksumVersion) != 0,
                   .max_connections = number(kMaxConnections),
                   .max_worker_processes = number(kMaxWorkerProcesses),
                   .max_wal_senders = number(kMaxWalSenders),
                   .max_prepared_transactions = number(kMaxPreparedTransactions),
                   .max_locks_per_transaction = number(kMaxLocksPerTransaction),
                   .wal_level = number(kWalLevel),
                   .wal_log_hints = file[kWalLogHints] != std::byte{0},
                   .track_commit_timestamp = file[kTrackCommitTimestamp] != std::byte{0}};
}

Result<PgControl> ReadPgControl(const std::string& data_directory,
                                std::array<std::byte, kPgControlFileBytes>* image) {
  const std::string path = data_directory + "/global/pg_control";
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return OsError(errno, path);
  }
  std::array<std::byte, kPgControlFileBytes> bytes{};
  for (int tries = 1;; ++tries) {
    CAPSTAN_RETURN_IF_ERROR(Annotate(ReadFully(fd.get(), 0, bytes), path));
    Result<PgControl> control = ParsePgControl(bytes);
    if (control.ok() && image != nullptr) {
      *image = bytes;
    }
    if (control.ok() || control.status().code() != Code::kDataLoss || tries == kReadTries) {
      return control;
    }
    std::this_thread::sleep_for(kReadPause);
  }
}

}  // namespace capstan::writers
