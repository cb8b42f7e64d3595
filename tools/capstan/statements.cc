#include "tools/capstan/statements.h"

#include <filesystem>

#include <fmt/format.h>

#include "vdi/base/check.h"

namespace capstan::cli {
namespace {

std::string Doubled(std::string_view text, char special) {
  std::string result;
  result.reserve(text.size() + 2);
  for (const char c : text) {
    result += c;
    if (c == special) {
      result += c;
    }
  }
  return result;
}

bool TakePrefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) {
    return false;
  }
  text.remove_prefix(prefix.size());
  return true;
}

std::string_view ClauseOf(TargetClass target_class) {
  switch (target_class) {
    case TargetClass::kDisk:
      return "DISK";
    case TargetClass::kUrl:
      return "URL";
    case TargetClass::kTape:
      return "TAPE";
    case TargetClass::kVirtualDevice:
      return "VIRTUAL_DEVICE";
  }
  CAPSTAN_CHECK(false);
}

std::string DeviceList(const std::vector<Target>& targets) {
  std::vector<std::string> clauses;
  clauses.reserve(targets.size());
  for (const Target& target : targets) {
    clauses.push_back(
        fmt::format("{} = {}", ClauseOf(target.target_class), QuoteString(target.name)));
  }
  return fmt::format("{}", fmt::join(clauses, ", "));
}

void AddText(std::vector<std::string>& with, std::string_view keyword, const std::string& text) {
  if (!text.empty()) {
    with.push_back(fmt::format("{} = {}", keyword, QuoteString(text)));
  }
}

void AddTransfer(std::vector<std::string>& with, const TransferOptions& transfer) {
  if (transfer.checksum.has_value()) {
    with.emplace_back(*transfer.checksum ? "CHECKSUM" : "NO_CHECKSUM");
  }
  if (transfer.buffer_count.has_value()) {
    with.push_back(fmt::format("BUFFERCOUNT = {}", *transfer.buffer_count));
  }
  if (transfer.max_transfer_size.has_value()) {
    with.push_back(fmt::format("MAXTRANSFERSIZE = {}", *transfer.max_transfer_size));
  }
  if (transfer.block_size.has_value()) {
    with.push_back(fmt::format("BLOCKSIZE = {}", *transfer.block_size));
  }
  if (transfer.stats_percent > 0) {
    with.push_back(fmt::format("STATS = {}", transfer.stats_percent));
  }
}

void AddFileNumber(std::vector<std::string>& with, const std::optional<int>& file_number) {
  if (file_number.has_value()) {
    with.push_back(fmt::format("FILE = {}", *file_number));
  }
}

std::string WithClause(const std::vector<std::string>& with) {
  return with.empty() ? "" : fmt::format(" WITH {}", fmt::join(with, ", "));
}

}  // namespace

std::string QuoteIdentifier(std::string_view name) {
  return "[" + Doubled(name, ']') + "]";
}

std::string QuoteString(std::string_view text) {
  return "N'" + Doubled(text, '\'') + "'";
}

std::string AbsolutePath(std::string_view path, std::string_view working_directory) {
  // operator/ drops the left side when the right one is absolute.
  return (std::filesystem::path(working_directory) / path).lexically_normal().string();
}

Result<Target> ParseTarget(std::string_view text, std::string_view working_directory) {
  std::string_view rest = text;
  Target target;
  if (TakePrefix(rest, "tape:")) {
    target = {TargetClass::kTape, std::string(rest)};
  } else if (TakePrefix(rest, "vdi:")) {
    target = {TargetClass::kVirtualDevice, std::string(rest)};
  } else if (const std::size_t scheme = text.find("://");
             scheme != std::string_view::npos && text.find('/') > scheme) {
    rest = text.substr(scheme + 3);
    target = {TargetClass::kUrl, std::string(text)};
  } else {
    TakePrefix(rest, "disk:");
    target = {TargetClass::kDisk, AbsolutePath(rest, working_directory)};
  }
  if (rest.empty()) {
    return Error(Code::kInvalidArgument, "target '{}' has no name", text)
        .WithHint("write a path, s3://bucket/key, tape:NAME or vdi:NAME");
  }
  return target;
}

Result<std::string> ParseDatabaseLocation(std::string_view text,
                                          std::string_view working_directory) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size() ||
      text.find('/') < colon) {
    return Error(Code::kInvalidArgument, "'{}' does not say where a database is", text)
        .WithHint(
            fmt::format("write sqlite:PATH, for example sqlite:{}",
                        colon == std::string_view::npos && !text.empty() ? text : "/srv/sales.db"));
  }
  if (text.substr(0, colon) != "sqlite") {
    return std::string(text);
  }
  return "sqlite:" + AbsolutePath(text.substr(colon + 1), working_directory);
}

Result<std::pair<std::string, std::string>> ParseMove(std::string_view text,
                                                      std::string_view working_directory) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size()) {
    return Error(Code::kInvalidArgument, "'{}' does not say what moves where", text)
        .WithHint("write LOGICAL=PATH; RESTORE FILELISTONLY lists the logical names");
  }
  return std::pair(std::string(text.substr(0, equals)),
                   AbsolutePath(text.substr(equals + 1), working_directory));
}

std::string BackupStatement(const BackupOptions& options) {
  std::vector<std::string> with;
  if (options.copy_only) {
    with.emplace_back("COPY_ONLY");
  }
  if (options.format) {
    with.emplace_back("FORMAT");
  }
  if (options.init) {
    with.emplace_back("INIT");
  }
  AddText(with, "NAME", options.name);
  AddText(with, "DESCRIPTION", options.description);
  AddText(with, "MEDIANAME", options.media_name);
  AddText(with, "MEDIADESCRIPTION", options.media_description);
  AddTransfer(with, options.transfer);
  return fmt::format("BACKUP DATABASE {} TO {}{}", QuoteIdentifier(options.database),
                     DeviceList(options.targets), WithClause(with));
}

std::string RestoreStatement(const RestoreOptions& options) {
  std::vector<std::string> with;
  AddFileNumber(with, options.file_number);
  for (const auto& [logical_name, path] : options.moves) {
    with.push_back(fmt::format("MOVE {} TO {}", QuoteString(logical_name), QuoteString(path)));
  }
  if (options.replace) {
    with.emplace_back("REPLACE");
  }
  AddTransfer(with, options.transfer);
  return fmt::format("RESTORE DATABASE {} FROM {}{}", QuoteIdentifier(options.database),
                     DeviceList(options.sources), WithClause(with));
}

std::string VerifyStatement(const RestoreOptions& options) {
  std::vector<std::string> with;
  AddFileNumber(with, options.file_number);
  AddTransfer(with, options.transfer);
  return fmt::format("RESTORE VERIFYONLY FROM {}{}", DeviceList(options.sources), WithClause(with));
}

std::string FileListStatement(const RestoreOptions& options) {
  std::vector<std::string> with;
  AddFileNumber(with, options.file_number);
  return fmt::format("RESTORE FILELISTONLY FROM {}{}", DeviceList(options.sources),
                     WithClause(with));
}

std::string AttachStatement(std::string_view name, std::string_view location) {
  return fmt::format("EXEC sp_attach_db @dbname = {}, @filename1 = {}", QuoteString(name),
                     QuoteString(location));
}

std::string DetachStatement(std::string_view name) {
  return fmt::format("EXEC sp_detach_db @dbname = {}", QuoteString(name));
}

std::string CreateLoginStatement(std::string_view name, std::string_view password) {
  return fmt::format("CREATE LOGIN {} WITH PASSWORD = {}", QuoteIdentifier(name),
                     QuoteString(password));
}

std::string AlterLoginStatement(std::string_view name, std::string_view password) {
  return fmt::format("ALTER LOGIN {} WITH PASSWORD = {}", QuoteIdentifier(name),
                     QuoteString(password));
}

std::string DropLoginStatement(std::string_view name) {
  return "DROP LOGIN " + QuoteIdentifier(name);
}

std::string KillStatement(std::int64_t session_id) {
  return fmt::format("KILL {}", session_id);
}

std::string HistoryStatement(std::string_view database, int limit) {
  const std::string where =
      database.empty() ? "" : fmt::format(" WHERE database_name = {}", QuoteString(database));
  return fmt::format(
      "SELECT TOP ({}) backup_set_id, media_set_id, database_name, type, backup_start_date, "
      "backup_finish_date, backup_size FROM msdb.dbo.backupset{} "
      "ORDER BY backup_finish_date DESC, backup_set_id DESC",
      limit, where);
}

std::string HistoryDevicesStatement(const std::vector<std::string>& media_set_ids) {
  CAPSTAN_CHECK(!media_set_ids.empty());
  return fmt::format(
      "SELECT media_set_id, family_sequence_number, physical_device_name "
      "FROM msdb.dbo.backupmediafamily WHERE media_set_id IN ({}) "
      "ORDER BY media_set_id, family_sequence_number",
      fmt::join(media_set_ids, ", "));
}

}  // namespace capstan::cli
