#include "tools/capstan/statements.h"

#include <algorithm>
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
  if (transfer.max_rate_mb.has_value()) {
    with.push_back(fmt::format("MAXRATE = {}", *transfer.max_rate_mb));
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

void AddCompression(std::vector<std::string>& with, const std::optional<Compression>& compression) {
  if (!compression.has_value()) {
    return;
  }
  std::vector<std::string> parts;
  if (!compression->algorithm.empty()) {
    parts.push_back("ALGORITHM = " + compression->algorithm);
  }
  if (!compression->level.empty()) {
    parts.push_back("LEVEL = " + compression->level);
  }
  const std::string settings = parts.empty() ? "" : fmt::format(" ({})", fmt::join(parts, ", "));
  with.push_back((compression->on ? "COMPRESSION" : "NO_COMPRESSION") + settings);
}

std::string PassphraseText(const PassphraseSource& source) {
  return source.file.empty() ? "PASSPHRASE FROM ENVIRONMENT " + QuoteString(source.environment)
                             : "PASSPHRASE FROM FILE " + QuoteString(source.file);
}

void AddEncryption(std::vector<std::string>& with, const BackupOptions& options) {
  if (!options.certificate.empty()) {
    with.push_back(fmt::format("ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = {})",
                               QuoteIdentifier(options.certificate)));
  } else if (options.passphrase.given()) {
    with.push_back(
        fmt::format("ENCRYPTION (ALGORITHM = AES_256, {})", PassphraseText(options.passphrase)));
  }
}

void AddIf(std::vector<std::string>& with, bool wanted, std::string_view keyword) {
  if (wanted) {
    with.emplace_back(keyword);
  }
}

// What RESTORE and VERIFYONLY share.
void AddReading(std::vector<std::string>& with, const RestoreOptions& options) {
  AddIf(with, options.continue_after_error, "CONTINUE_AFTER_ERROR");
  if (options.passphrase.given()) {
    with.push_back(PassphraseText(options.passphrase));
  }
}

std::string PrivateKeyClause(std::string_view key_file, std::string_view password_option,
                             std::string_view key_passphrase) {
  if (key_file.empty()) {
    return "";
  }
  const std::string password =
      key_passphrase.empty()
          ? ""
          : fmt::format(", {} BY PASSWORD = {}", password_option, QuoteString(key_passphrase));
  return fmt::format(" WITH PRIVATE KEY (FILE = {}{})", QuoteString(key_file), password);
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
  const bool on_windows_drive = path.size() > 2 && path[1] == ':' && path[2] == '\\';
  if (on_windows_drive || path.starts_with("\\\\")) {
    return std::string(path);
  }
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

Result<Compression> ParseCompression(std::string_view text) {
  const std::size_t colon = text.find(':');
  const auto upper = [](std::string_view word) {
    std::string result(word);
    std::transform(result.begin(), result.end(), result.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    return result;
  };
  const Compression compression{
      .algorithm = upper(text.substr(0, colon)),
      .level = colon == std::string_view::npos ? "" : upper(text.substr(colon + 1))};
  const std::string& algorithm = compression.algorithm;
  const std::string& level = compression.level;
  const bool known =
      (algorithm.empty() && level.empty()) || algorithm == "ZSTD" || algorithm == "LZ4";
  if (!known || (level.empty() && colon != std::string_view::npos) ||
      (!level.empty() && level != "LOW" && level != "MEDIUM" && level != "HIGH")) {
    return Error(Code::kInvalidArgument, "'{}' is no compression", text)
        .WithHint("write zstd or lz4, with :low, :medium or :high behind it if you like");
  }
  return compression;
}

std::string BackupStatement(const BackupOptions& options) {
  std::vector<std::string> with;
  AddIf(with, options.differential, "DIFFERENTIAL");
  AddIf(with, options.copy_only, "COPY_ONLY");
  AddIf(with, !options.tail.empty(), options.tail);
  AddIf(with, options.format, "FORMAT");
  AddIf(with, options.init, "INIT");
  AddIf(with, options.skip, "SKIP");
  AddIf(with, options.restart, "RESTART");
  AddIf(with, options.continue_after_error, "CONTINUE_AFTER_ERROR");
  AddCompression(with, options.compression);
  AddEncryption(with, options);
  AddText(with, "EXPIREDATE", options.expire_date);
  if (options.retain_days.has_value()) {
    with.push_back(fmt::format("RETAINDAYS = {}", *options.retain_days));
  }
  AddText(with, "NAME", options.name);
  AddText(with, "DESCRIPTION", options.description);
  AddText(with, "MEDIANAME", options.media_name);
  AddText(with, "MEDIADESCRIPTION", options.media_description);
  AddTransfer(with, options.transfer);
  std::string devices = DeviceList(options.targets);
  for (const std::vector<Target>& mirror : options.mirrors) {
    devices += " MIRROR TO " + DeviceList(mirror);
  }
  return fmt::format("BACKUP {} {} TO {}{}", options.log ? "LOG" : "DATABASE",
                     QuoteIdentifier(options.database), devices, WithClause(with));
}

std::string RestoreStatement(const RestoreOptions& options) {
  std::vector<std::string> with;
  AddFileNumber(with, options.file_number);
  for (const auto& [logical_name, path] : options.moves) {
    with.push_back(fmt::format("MOVE {} TO {}", QuoteString(logical_name), QuoteString(path)));
  }
  if (!options.data_folder.empty()) {
    with.push_back("MOVE DATAFILES TO " + QuoteString(options.data_folder));
  }
  if (!options.log_folder.empty()) {
    with.push_back("MOVE LOGFILES TO " + QuoteString(options.log_folder));
  }
  AddIf(with, options.norecovery, "NORECOVERY");
  AddIf(with, options.recover_only && options.standby.empty(), "RECOVERY");
  AddText(with, "STANDBY", options.standby);
  AddText(with, "STOPAT", options.stop_at);
  AddText(with, "STOPATMARK", options.stop_at_mark);
  AddText(with, "STOPBEFOREMARK", options.stop_before_mark);
  AddIf(with, options.replace, "REPLACE");
  AddIf(with, options.restart, "RESTART");
  AddIf(with, options.plan_only, "PLANONLY");
  std::string from;
  if (!options.recover_only) {
    AddReading(with, options);
    AddTransfer(with, options.transfer);
    from = " FROM " + (options.from_catalog ? "CATALOG" : DeviceList(options.sources));
  }
  if (!options.source_database.empty()) {
    from += " SOURCE = " + QuoteString(options.source_database);
  }
  return fmt::format("RESTORE {} {}{}{}", options.log ? "LOG" : "DATABASE",
                     QuoteIdentifier(options.database), from, WithClause(with));
}

std::string VerifyStatement(const RestoreOptions& options) {
  std::vector<std::string> with;
  AddFileNumber(with, options.file_number);
  AddIf(with, options.load_history, "LOADHISTORY");
  if (options.sample_percent.has_value()) {
    with.push_back(fmt::format("SAMPLE = {} PERCENT", *options.sample_percent));
  }
  AddReading(with, options);
  AddTransfer(with, options.transfer);
  return fmt::format("RESTORE VERIFYONLY FROM {}{}", DeviceList(options.sources), WithClause(with));
}

std::string FileListStatement(const RestoreOptions& options) {
  std::vector<std::string> with;
  AddFileNumber(with, options.file_number);
  return fmt::format("RESTORE FILELISTONLY FROM {}{}", DeviceList(options.sources),
                     WithClause(with));
}

std::string HeaderStatement(const Target& medium) {
  return "RESTORE HEADERONLY FROM " + DeviceList({medium});
}

std::string MediaMapStatement(const Target& medium) {
  return "RESTORE MEDIAMAP FROM " + DeviceList({medium});
}

std::string DeviceBenchStatement(const DeviceBench& bench) {
  std::string statement =
      fmt::format("EXEC sp_device_bench @target = {}, @class = N'{}', @size_mb = {}",
                  QuoteString(bench.target.name),
                  bench.target.target_class == TargetClass::kUrl ? "URL" : "DISK", bench.size_mb);
  if (bench.transfer_size.has_value()) {
    statement += fmt::format(", @transfer_size = {}", *bench.transfer_size);
  }
  return statement + (bench.read ? "" : ", @read = 0");
}

std::string ExpireStatement(const ExpireOptions& options) {
  std::string statement =
      options.keep_full.has_value()
          ? fmt::format("EXEC sp_expire_backups @keep_full = {}", *options.keep_full)
          : fmt::format("EXEC sp_expire_backups @keep_days = {}", options.keep_days.value_or(0));
  statement += options.dry_run ? ", @dry_run = 1" : "";
  for (std::size_t i = 0; i < options.databases.size(); ++i) {
    statement += fmt::format(", @database{} = {}", i == 0 ? "" : fmt::to_string(i + 1),
                             QuoteString(options.databases[i]));
  }
  return statement;
}

std::string DiscoverStatement(const std::vector<std::string>& folders) {
  std::string statement = "EXEC sp_discover_databases";
  for (std::size_t i = 0; i < folders.size(); ++i) {
    statement += (i == 0 ? " " : ", ") + QuoteString(folders[i]);
  }
  return statement;
}

std::string AlterDatabaseStatement(std::string_view name, std::string_view recovery,
                                   std::string_view preference) {
  std::vector<std::string> settings;
  if (!recovery.empty()) {
    settings.push_back(fmt::format("RECOVERY {}", recovery));
  }
  if (!preference.empty()) {
    settings.push_back(fmt::format("BACKUP_PREFERENCE = {}", preference));
  }
  return fmt::format("ALTER DATABASE {} SET {}", QuoteIdentifier(name), fmt::join(settings, ", "));
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

std::string CreateCertificateStatement(std::string_view name, std::string_view subject) {
  return fmt::format("CREATE CERTIFICATE {} WITH SUBJECT = {}", QuoteIdentifier(name),
                     QuoteString(subject));
}

std::string ImportCertificateStatement(std::string_view name, std::string_view file,
                                       std::string_view key_file, std::string_view key_passphrase) {
  return fmt::format("CREATE CERTIFICATE {} FROM FILE = {}{}", QuoteIdentifier(name),
                     QuoteString(file), PrivateKeyClause(key_file, "DECRYPTION", key_passphrase));
}

std::string ExportCertificateStatement(std::string_view name, std::string_view file,
                                       std::string_view key_file, std::string_view key_passphrase) {
  return fmt::format("BACKUP CERTIFICATE {} TO FILE = {}{}", QuoteIdentifier(name),
                     QuoteString(file), PrivateKeyClause(key_file, "ENCRYPTION", key_passphrase));
}

std::string DropCertificateStatement(std::string_view name) {
  return "DROP CERTIFICATE " + QuoteIdentifier(name);
}

std::string LoadHistoryStatement(const std::vector<std::string>& paths) {
  CAPSTAN_CHECK(!paths.empty() && paths.size() <= kLoadPathsMax);
  std::vector<std::string> quoted;
  for (const std::string& path : paths) {
    quoted.push_back(QuoteString(path));
  }
  return fmt::format("EXEC sp_load_history {}", fmt::join(quoted, ", "));
}

std::string NewestSetStatement(std::string_view database, char type) {
  return fmt::format(
      "SELECT TOP (1) backup_set_id, backup_set_uuid, media_set_id, position, name, "
      "backup_finish_date "
      "FROM msdb.dbo.backupset WHERE database_name = {} AND type = '{}' "
      "AND software_vendor_id <> 4608 "  // SQL Server's, whose history may be loaded
      "ORDER BY backup_finish_date DESC, backup_set_id DESC",
      QuoteString(database), type);
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
      "SELECT media_set_id, family_sequence_number, media_count, mirror, physical_device_name, "
      "device_type "
      "FROM msdb.dbo.backupmediafamily WHERE media_set_id IN ({}) "
      "ORDER BY media_set_id, family_sequence_number, media_count, mirror",
      fmt::join(media_set_ids, ", "));
}

}  // namespace capstan::cli
