// Options of the command line -> statement text. Pure; every name may hold any character.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vdi/base/status.h"

namespace capstan::cli {

// [name], with ] doubled.
std::string QuoteIdentifier(std::string_view name);
// N'text', with ' doubled.
std::string QuoteString(std::string_view text);

// An absolute, normalised path, without touching the file system; symbolic links stay, and so do
// E:\x and \\server\x, which the server maps.
std::string AbsolutePath(std::string_view path, std::string_view working_directory);

enum class TargetClass { kDisk, kUrl, kTape, kVirtualDevice };

struct Target {
  TargetClass target_class = TargetClass::kDisk;
  std::string name;  // absolute path, URL, drive or virtual device name
};

// "PATH", "disk:PATH", "s3://..", "http(s)://..", "tape:NAME", "vdi:NAME".
Result<Target> ParseTarget(std::string_view text, std::string_view working_directory);

// "sqlite:PATH" with the path made absolute; others, as "postgresql:CONNINFO", stay as they are.
Result<std::string> ParseDatabaseLocation(std::string_view text,
                                          std::string_view working_directory);

// "LOGICAL=PATH" at the first '=', with the path made absolute.
Result<std::pair<std::string, std::string>> ParseMove(std::string_view text,
                                                      std::string_view working_directory);

struct TransferOptions {
  std::optional<std::uint64_t> buffer_count;
  std::optional<std::uint64_t> max_transfer_size;  // bytes
  std::optional<std::uint64_t> block_size;         // bytes
  std::optional<std::uint64_t> max_rate_mb;        // MiB/s of all devices together
  std::optional<bool> checksum;
  int stats_percent = 10;  // 0 = no STATS clause
};

// --compression[=ALGORITHM[:LEVEL]], --no-compression
struct Compression {
  bool on = true;
  std::string algorithm;  // "ZSTD", "LZ4"; empty: the server's default
  std::string level;      // "LOW", "MEDIUM", "HIGH"; empty: the algorithm's default
};

// "zstd", "lz4:high"; empty: neither is said.
Result<Compression> ParseCompression(std::string_view text);

// Where the server finds a passphrase. A command line never holds one.
struct PassphraseSource {
  std::string file;         // absolute path on the server
  std::string environment;  // variable of the server; used if there is no file

  bool given() const { return !file.empty() || !environment.empty(); }
};

struct BackupOptions {
  std::string database;
  std::vector<Target> targets;
  std::vector<std::vector<Target>> mirrors;  // further copies, each as many as targets
  TransferOptions transfer;
  std::optional<Compression> compression;
  std::string certificate;  // encrypt under this one of the server's
  PassphraseSource passphrase;
  bool format = false;
  bool init = false;
  bool skip = false;
  bool copy_only = false;
  bool differential = false;
  bool log = false;  // BACKUP LOG
  std::string tail;  // of it: "NORECOVERY", "NO_TRUNCATE" or nothing
  bool restart = false;
  bool continue_after_error = false;
  std::string expire_date;         // as T-SQL takes it
  std::optional<int> retain_days;  // wins over expire_date
  std::string name;
  std::string description;
  std::string media_name;
  std::string media_description;
};

struct RestoreOptions {
  std::string database;
  std::vector<Target> sources;
  TransferOptions transfer;
  PassphraseSource passphrase;
  // Where the sets come from, unless it is `sources`.
  bool from_catalog = false;
  std::string source_database;  // of from_catalog; empty: `database`
  bool recover_only = false;    // RESTORE DATABASE name WITH RECOVERY
  bool log = false;             // RESTORE LOG
  bool norecovery = false;
  std::string standby;  // path
  // At most one of them.
  std::string stop_at, stop_at_mark, stop_before_mark;
  bool plan_only = false;
  std::string data_folder, log_folder;  // MOVE DATAFILES TO, MOVE LOGFILES TO
  bool replace = false;
  bool restart = false;
  bool continue_after_error = false;
  bool load_history = false;                               // of VERIFYONLY
  std::optional<double> sample_percent;                    // of VERIFYONLY
  std::optional<int> file_number;                          // from 1
  std::vector<std::pair<std::string, std::string>> moves;  // logical name, path
};

// capstan device bench
struct DeviceBench {
  Target target;  // a folder, or a URL that media are named beneath
  std::uint64_t size_mb = 1024;
  std::optional<std::uint64_t> transfer_size;  // bytes
  bool read = true;
};

std::string DeviceBenchStatement(const DeviceBench& bench);
std::string BackupStatement(const BackupOptions& options);
std::string RestoreStatement(const RestoreOptions& options);
std::string VerifyStatement(const RestoreOptions& options);    // `database` and `moves` unused
std::string FileListStatement(const RestoreOptions& options);  // only sources and file_number
std::string HeaderStatement(const Target& medium);
std::string MediaMapStatement(const Target& medium);
// capstan expire
struct ExpireOptions {
  std::optional<int> keep_full;
  std::optional<int> keep_days;
  bool dry_run = false;
  std::vector<std::string> databases;  // up to kExpireDatabasesMax; none: all
};
inline constexpr std::size_t kExpireDatabasesMax = 16;
std::string ExpireStatement(const ExpireOptions& options);
// REQUIRES: up to 8 folders.
inline constexpr std::size_t kDiscoverFoldersMax = 8;
std::string DiscoverStatement(const std::vector<std::string>& folders);
// `recovery` and `preference` as T-SQL has them; one may be empty.
std::string AlterDatabaseStatement(std::string_view name, std::string_view recovery,
                                   std::string_view preference);
std::string AttachStatement(std::string_view name, std::string_view location);
std::string DetachStatement(std::string_view name);
std::string CreateLoginStatement(std::string_view name, std::string_view password);
std::string AlterLoginStatement(std::string_view name, std::string_view password);
std::string DropLoginStatement(std::string_view name);
std::string KillStatement(std::int64_t session_id);
std::string CreateCertificateStatement(std::string_view name, std::string_view subject);
// `key_file` empty: without the private key; `key_passphrase` empty: its file is not encrypted.
std::string ImportCertificateStatement(std::string_view name, std::string_view file,
                                       std::string_view key_file, std::string_view key_passphrase);
std::string ExportCertificateStatement(std::string_view name, std::string_view file,
                                       std::string_view key_file, std::string_view key_passphrase);
std::string DropCertificateStatement(std::string_view name);
// REQUIRES: 1..kLoadPathsMax paths.
inline constexpr std::size_t kLoadPathsMax = 16;
std::string LoadHistoryStatement(const std::vector<std::string>& paths);
// The newest backup set of a database, of the type that msdb calls `type` ('D', 'I', 'L'): its
// position and the columns of HistoryStatement.
std::string NewestSetStatement(std::string_view database, char type = 'D');
// The newest `limit` backup sets, of one database unless `database` is empty.
std::string HistoryStatement(std::string_view database, int limit);
// The devices of those media sets; REQUIRES: at least one id, each a whole number.
std::string HistoryDevicesStatement(const std::vector<std::string>& media_set_ids);

}  // namespace capstan::cli
