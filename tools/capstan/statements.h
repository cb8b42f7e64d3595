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

// An absolute, normalised path, without touching the file system; symbolic links stay.
std::string AbsolutePath(std::string_view path, std::string_view working_directory);

enum class TargetClass { kDisk, kUrl, kTape, kVirtualDevice };

struct Target {
  TargetClass target_class = TargetClass::kDisk;
  std::string name;  // absolute path, URL, drive or virtual device name
};

// "PATH", "disk:PATH", "s3://..", "http(s)://..", "tape:NAME", "vdi:NAME".
Result<Target> ParseTarget(std::string_view text, std::string_view working_directory);

// "sqlite:PATH" with the path made absolute; other schemes stay as they are.
Result<std::string> ParseDatabaseLocation(std::string_view text,
                                          std::string_view working_directory);

// "LOGICAL=PATH" at the first '=', with the path made absolute.
Result<std::pair<std::string, std::string>> ParseMove(std::string_view text,
                                                      std::string_view working_directory);

struct TransferOptions {
  std::optional<std::uint64_t> buffer_count;
  std::optional<std::uint64_t> max_transfer_size;  // bytes
  std::optional<std::uint64_t> block_size;         // bytes
  std::optional<bool> checksum;
  int stats_percent = 10;  // 0 = no STATS clause
};

struct BackupOptions {
  std::string database;
  std::vector<Target> targets;
  TransferOptions transfer;
  bool format = false;
  bool init = false;
  bool copy_only = false;
  std::string name;
  std::string description;
  std::string media_name;
  std::string media_description;
};

struct RestoreOptions {
  std::string database;
  std::vector<Target> sources;
  TransferOptions transfer;
  bool replace = false;
  std::optional<int> file_number;                          // from 1
  std::vector<std::pair<std::string, std::string>> moves;  // logical name, path
};

std::string BackupStatement(const BackupOptions& options);
std::string RestoreStatement(const RestoreOptions& options);
std::string VerifyStatement(const RestoreOptions& options);    // `database` and `moves` unused
std::string FileListStatement(const RestoreOptions& options);  // only sources and file_number
std::string AttachStatement(std::string_view name, std::string_view location);
std::string DetachStatement(std::string_view name);
std::string CreateLoginStatement(std::string_view name, std::string_view password);
std::string AlterLoginStatement(std::string_view name, std::string_view password);
std::string DropLoginStatement(std::string_view name);
std::string KillStatement(std::int64_t session_id);
// The newest `limit` backup sets, of one database unless `database` is empty.
std::string HistoryStatement(std::string_view database, int limit);
// The devices of those media sets; REQUIRES: at least one id, each a whole number.
std::string HistoryDevicesStatement(const std::vector<std::string>& media_set_ids);

}  // namespace capstan::cli
