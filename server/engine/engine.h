// The engine: carries out BACKUP, RESTORE and the RESTORE queries. It knows writers, media, devices
// and the catalog by their interfaces, and nothing of gRPC or T-SQL.
//
// Errors are SQL Server's messages (Status::reason) with a hint; the caller adds 3013.
// Threads: any; a statement runs on the thread that calls, plus threads of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/engine/buffer_plan.h"
#include "server/engine/device_channel.h"
#include "server/engine/device_provider.h"
#include "server/engine/error_log.h"
#include "server/engine/job.h"
#include "server/engine/roll_forward/log_keeper.h"
#include "server/media/family_reader.h"
#include "server/media/media_map.h"
#include "server/media/media_plan.h"
#include "server/transform/certificate_store.h"
#include "server/transform/settings.h"
#include "server/writers/database_writer.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::engine {

struct Settings {
  std::string server_name;  // for headers: SERVERNAME
  std::string machine_name;
  std::uint64_t buffer_memory_limit = 1ULL << 30;  // bytes that one job may take for buffers
  Timeouts timeouts;
  // A restore makes a checkpoint when both have gone by since the one before.
  std::chrono::milliseconds checkpoint_interval{2'000};
  std::uint64_t checkpoint_bytes = 64ULL << 20;
};

// What the options of BACKUP and RESTORE have in common.
struct TransferRequest {
  std::string device_class;          // "DISK", ...
  std::vector<std::string> targets;  // as the statement names them, 1..64
  std::optional<std::uint32_t> buffer_count;
  std::optional<std::uint32_t> max_transfer_size;  // bytes
  std::optional<std::uint32_t> block_size;         // bytes
  std::uint64_t bytes_per_second_max = 0;          // of all devices of a copy, 0 = no limit
  std::optional<int> stats_percent;
  std::optional<bool> checksum;
  std::string media_password;  // MEDIAPASSWORD, of media that SQL Server wrote
  int session_id = 0;
  std::string user_name;
  std::string statement;  // as written
};

using media::MediaUse;

struct BackupRequest {
  // Its targets are the media families, in any order if the media exist.
  TransferRequest transfer;
  // MIRROR TO, up to three: the targets of each further copy, as many as transfer.targets.
  std::vector<std::vector<std::string>> mirrors;
  std::string database;
  writers::BackupKind kind = writers::BackupKind::kFull;
  writers::LogTail tail = writers::LogTail::kNone;  // of kLog
  MediaUse media_use = MediaUse::kAppend;
  bool skip = false;  // SKIP: neither expiry nor MEDIANAME is looked at
  bool copy_only = false;
  bool snapshot = false;  // one VIRTUAL_DEVICE, whose client takes the snapshot
  bool continue_after_error = false;
  bool restart = false;  // goes on with the full backup that was interrupted, if there was one
  // COMPRESSION or NO_COMPRESSION; nullopt: as the media set has it, and compression_default for a
  // new one.
  std::optional<bool> compression;
  bool compression_default = false;
  transform::Compression compression_settings;
  std::optional<transform::Encryption> encryption;
  std::int64_t expiration_unix_s = 0;  // EXPIREDATE or RETAINDAYS; 0 = none
  std::string name, description, media_name, media_description;
};

struct RestoreRequest {
  TransferRequest transfer;
  std::string database;
  // RESTORE DATABASE takes a full or differential set, RESTORE LOG a log set.
  bool log = false;
  writers::RestoreEnd end = writers::RestoreEnd::kRecovery;
  writers::StopPoint stop;
  bool replace = false;
  bool snapshot = false;  // the client of the one VIRTUAL_DEVICE puts the files in place
  bool continue_after_error = false;
  bool restart = false;  // goes on with the restore that was interrupted, if there was one
  std::uint16_t file_number = 1;
  std::vector<std::pair<std::string, std::string>> moves;  // logical name -> path
  std::string media_name;                                  // MEDIANAME; empty: any
  std::optional<transform::Secret> passphrase;
};

// RESTORE DATABASE name WITH RECOVERY: without media.
struct RecoverRequest {
  std::string database;
  writers::RestoreEnd end = writers::RestoreEnd::kRecovery;  // kRecovery or kStandby
  writers::StopPoint stop;
  int session_id = 0;
  std::string user_name;
  std::string statement;
};

struct VerifyRequest {
  TransferRequest transfer;
  std::uint16_t file_number = 1;
  bool continue_after_error = false;
  bool load_history = false;      // LOADHISTORY: the catalog gets what the medium says
  double sample_percent = 100.0;  // SAMPLE = n PERCENT: of the frames, spread over the set
  std::string media_name;         // MEDIANAME; empty: any
  std::optional<transform::Secret> passphrase;
};

class Engine {
 public:
  struct Parts {
    catalog::Catalog& catalog;
    JobRegistry& jobs;
    DeviceProvider& devices;
    ErrorLog& error_log;
    std::map<std::string, writers::DatabaseWriter*> writers;  // by scheme
    Settings settings;
    // Null: sets are encrypted with passphrases only.
    transform::CertificateStore* certificates = nullptr;
  };
  // All parts must outlive the engine.
  explicit Engine(Parts parts)
      : parts_(std::move(parts)), log_keeper_(parts_.catalog, parts_.writers) {}

  Status Backup(const BackupRequest& request, JobObserver& observer);
  Status Restore(const RestoreRequest& request, JobObserver& observer);
  Status Recover(const RecoverRequest& request, JobObserver& observer);
  Status Verify(const VerifyRequest& request, JobObserver& observer);
  // LABELONLY, HEADERONLY and FILELISTONLY: what the first device's medium says.
  Result<media::MediumListing> List(const TransferRequest& request);
  // MEDIAMAP: what the bytes of the first device's medium belong to.
  Result<media::MediumMap> Map(const TransferRequest& request);

  // Forgets a database, which stays as it is. One that is being restored is removed.
  Status Detach(const std::string& database);
  // Removes what an interrupted restore of a database, or to one, left to be gone on with. False:
  // nothing of the kind is there.
  Result<bool> GiveUpInterrupted(const std::string& database);
  // Tells the writers which logs to keep. At start, and when databases or their settings have
  // changed; the engine's own calls do it themselves.
  void KeepLogs() { log_keeper_.Tell(); }

  // Finishes or undoes what interrupted jobs left, as far as the agents for it are there. Jobs that
  // cannot be settled yet stay in the journal. Called at start, and whenever an agent attaches.
  void SettleUnfinishedJobs() CAPSTAN_EXCLUDES(settle_mutex_);

  const Parts& parts() const { return parts_; }

 private:
  using Journal = std::vector<catalog::JobRecord>;

  Journal ReadJournal();  // empty, and logged, if it cannot be read
  void SettleJob(const catalog::JobRecord& record) CAPSTAN_REQUIRES(settle_mutex_);
  // A restore with a checkpoint stays for RESTORE ... WITH RESTART. False: it is to be undone.
  bool KeepInterrupted(const catalog::JobRecord& record) CAPSTAN_REQUIRES(settle_mutex_);
  // Likewise a full backup that has written enough, for BACKUP ... WITH RESTART.
  bool KeepInterruptedBackup(const catalog::JobRecord& record) CAPSTAN_REQUIRES(settle_mutex_);

  Parts parts_;
  LogKeeper log_keeper_;
  Mutex settle_mutex_;  // one settling at a time
};

// What `RESTORE` and `BACKUP` print at the end (3014): pages of 8 KiB, seconds and MB/sec with
// three decimals, truncated (S0-01).
std::string CompletionMessage(const std::string& command, std::uint64_t pages,
                              std::chrono::nanoseconds elapsed);
// 4035 for each file of the set; of a log set, for the log alone.
void SayPages(const media::BackupSet& set, const std::string& database, JobObserver& observer);
inline constexpr std::uint64_t kPageBytes = 8192;  // of the messages' pages
inline std::uint64_t PagesOf(std::uint64_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes;
}

}  // namespace capstan::engine
