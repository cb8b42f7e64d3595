#include "server/catalog/history.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "server/catalog/journal.h"
#include "server/catalog/timestamps.h"

namespace capstan::catalog {
namespace {

using media::BackupSet;
using media::MediaHeader;
using media::SetKind;

// Bits of backupset.flags, as RESTORE HEADERONLY shows them.
constexpr int kFlagSnapshot = 0x2;
constexpr int kFlagReadOnly = 0x4;
constexpr int kFlagChecksums = 0x10;
constexpr int kFlagDamaged = 0x20;
constexpr int kFlagAlwaysSet = 0x200;
constexpr int kFlagCopyOnly = 0x400;
constexpr int kFlagDifferential = 0x800;

std::optional<std::string_view> NullIfEmpty(std::string_view text) {
  return text.empty() ? std::nullopt : std::optional(text);
}

std::optional<std::string> NullIfZero(const Guid& guid) {
  return guid.is_zero() ? std::nullopt : std::optional(guid.ToString());
}

std::int64_t Bytes(std::uint64_t size) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return static_cast<std::int64_t>(std::min(size, kMax));
}

// As T-SQL prints varbinary; nullopt = NULL for nothing.
std::optional<std::string> Hexadecimal(std::string_view bytes) {
  if (bytes.empty()) {
    return std::nullopt;
  }
  std::string text = "0x";
  for (const char byte : bytes) {
    text += fmt::format("{:02X}", static_cast<unsigned char>(byte));
  }
  return text;
}

char TypeLetter(SetKind kind) {
  switch (kind) {
    case SetKind::kLog:
      return 'L';
    case SetKind::kDifferential:
      return 'I';
    case SetKind::kDatabase:
      break;
  }
  return 'D';
}

int Flags(const BackupSet& set) {
  return kFlagAlwaysSet | (set.has_checksums ? kFlagChecksums : 0) |
         (set.copy_only ? kFlagCopyOnly : 0) | (set.is_damaged ? kFlagDamaged : 0) |
         (set.is_snapshot ? kFlagSnapshot : 0) |
         (set.is_read_only.value_or(false) ? kFlagReadOnly : 0) |
         (set.kind == SetKind::kDifferential ? kFlagDifferential : 0);
}

// One row a device. Devices of the same family are its mirrors, in the order of the job. A row that
// is there takes the new place of the medium only together with becoming visible.
Status UpsertFamilies(Connection& connection, const JobRecord& job, std::int64_t media_set_id,
                      std::int64_t media_number, bool visible) {
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement upsert,
      connection.Prepare(
          "INSERT INTO catalog_media_family (media_set_id, family_sequence_number, "
          "media_family_id, media_count, physical_device_name, device_type, physical_block_size, "
          "mirror, visible) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
          "ON CONFLICT DO UPDATE SET physical_device_name = excluded.physical_device_name, "
          "media_family_id = excluded.media_family_id, device_type = excluded.device_type, "
          "visible = 1 WHERE excluded.visible = 1"));
  std::map<std::uint16_t, int> mirrors;
  for (const JobDevice& device : job.devices) {
    upsert.Bind(media_set_id, device.family_number, FamilyGuid(device.media_family_id),
                media_number, device.target, DeviceType(device.device_class), media::kPhysicalBlock,
                mirrors[device.family_number]++, visible);
    CAPSTAN_RETURN_IF_ERROR(upsert.Step().status());
    upsert.Reset();
  }
  return OkStatus();
}

Status InsertBackupSet(Connection& connection, const MediaHeader& header, const BackupSet& set,
                       std::int64_t media_set_id) {
  const std::string_view columns =
      "INSERT INTO catalog_backup_set (backup_set_uuid, media_set_id, first_family_number, "
      "first_media_number, last_family_number, last_media_number, catalog_family_number, "
      "catalog_media_number, position, expiration_date, software_vendor_id, name, description, "
      "user_name, software_major_version, software_minor_version, software_build_version, "
      "time_zone, mtf_minor_version, first_lsn, last_lsn, checkpoint_lsn, database_backup_lsn, "
      "database_creation_date, backup_start_date, backup_finish_date, type, database_version, "
      "backup_size, database_name, server_name, machine_name, flags, is_password_protected, "
      "recovery_model, has_bulk_logged_data, is_snapshot, is_readonly, is_single_user, "
      "has_backup_checksums, is_damaged, begins_log_chain, has_incomplete_metadata, "
      "is_force_offline, is_copy_only, compressed_backup_size, key_algorithm, "
      "encryptor_thumbprint, encryptor_type, compression_algorithm, backup_set_digest, visible) "
      "VALUES (?1, ?2, 1, ?3, ?4, ?3, 1, ?3, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 0, ?15, "
      "?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, 0, ?29, 0, ?33, ?40, 0, "
      "?30, ?34, 0, 0, 0, ?31, ?32, ?35, ?36, ?37, ?38, ?39, 0)";
  const std::string type(1, TypeLetter(set.kind));
  // Without compression the payload did not shrink, whatever the set says of it.
  const auto compressed_size =
      Bytes(set.compressed() ? set.compressed_size_bytes : set.backup_size_bytes);
  return connection.Run(
      columns, set.backup_set_guid.ToString(), media_set_id, header.media_sequence_number,
      header.family_count, set.position, LocalDateTime(set.expiration_unix_s),
      header.software_vendor_id, NullIfEmpty(set.name), NullIfEmpty(set.description),
      NullIfEmpty(set.user_name), set.software_major, set.software_minor, set.software_build,
      set.time_zone_quarter_hours, fmt::to_string(set.first_lsn), fmt::to_string(set.last_lsn),
      fmt::to_string(set.checkpoint_lsn), fmt::to_string(set.database_backup_lsn),
      LocalDateTime(set.database_created_unix_s), LocalDateTime(set.start_unix_s),
      LocalDateTime(set.finish_unix_s), type, NullIfEmpty(set.database_version),
      Bytes(set.backup_size_bytes), set.database_name, NullIfEmpty(set.server_name),
      NullIfEmpty(set.machine_name), Flags(set), NullIfEmpty(set.recovery_model), set.has_checksums,
      set.copy_only, compressed_size, set.is_snapshot, set.is_damaged,
      NullIfEmpty(set.encryption.key_algorithm), Hexadecimal(set.encryption.thumbprint),
      NullIfEmpty(set.encryption.encryptor_type), NullIfEmpty(set.compression_algorithm),
      Hexadecimal(set.digest), set.is_read_only);
}

// What the set says of the log, and what only those ask for who plan backups and restores.
Status DescribeChain(Connection& connection, const BackupSet& set, std::int64_t backup_set_id) {
  const bool differential = set.kind == SetKind::kDifferential;
  const Guid& first_fork =
      set.first_recovery_fork.is_zero() ? set.recovery_fork : set.first_recovery_fork;
  return connection.Run(
      "UPDATE catalog_backup_set SET begins_log_chain = ?2, differential_base_lsn = ?3, "
      "differential_base_guid = ?4, first_recovery_fork_guid = ?5, last_recovery_fork_guid = ?6, "
      "writer = ?7, writer_data = ?8, restarts_log = ?9, tail_log = ?10, start_unix_s = ?11, "
      "finish_unix_s = ?12, expiration_unix_s = ?13, start_unix_us = ?14, finish_unix_us = ?15 "
      "WHERE backup_set_id = ?1",
      backup_set_id, set.kind == SetKind::kLog && set.begins_log_chain,
      differential ? std::optional(fmt::to_string(set.differential_base_lsn)) : std::nullopt,
      differential ? NullIfZero(set.differential_base_guid) : std::nullopt, NullIfZero(first_fork),
      NullIfZero(set.recovery_fork), set.writer, Hexadecimal(set.writer_data), set.restarts_log,
      set.tail_log, set.start_unix_s, set.finish_unix_s, set.expiration_unix_s, set.start_unix_us,
      set.finish_unix_us);
}

Status InsertFiles(Connection& connection, const MediaHeader& header, const BackupSet& set,
                   std::int64_t backup_set_id) {
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement insert,
      connection.Prepare(
          "INSERT INTO catalog_backup_file (backup_set_id, first_family_number, "
          "first_media_number, filegroup_name, page_size, file_number, backed_up_page_count, "
          "file_type, file_size, logical_name, physical_name, state, state_desc, file_guid, "
          "backup_size, is_readonly, is_present) "
          "VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 'ONLINE', ?, ?, 0, 1)"));
  for (const media::BackupFile& file : set.files) {
    const auto filegroup =
        file.type == 'D' ? std::optional<std::string_view>("PRIMARY") : std::nullopt;
    const auto pages = file.page_size == 0
                           ? std::nullopt
                           : std::optional(Bytes(file.backup_size_bytes / file.page_size));
    insert.Bind(backup_set_id, header.media_sequence_number, filegroup, file.page_size,
                file.file_id, pages, std::string_view(&file.type, 1), Bytes(file.size_bytes),
                NullIfEmpty(file.logical_name), NullIfEmpty(file.physical_name),
                NullIfZero(file.unique_id), Bytes(file.backup_size_bytes));
    CAPSTAN_RETURN_IF_ERROR(insert.Step().status());
    insert.Reset();
  }
  return OkStatus();
}

}  // namespace

std::string FamilyGuid(std::uint32_t media_family_id) {
  return fmt::format("{:08X}-0000-0000-0000-000000000000", media_family_id);
}

Result<std::int64_t> FindOrInsertMediaSet(Connection& connection, const MediaHeader& header) {
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement select,
      connection.Prepare("SELECT media_set_id FROM catalog_media_set WHERE media_uuid = ?"));
  select.Bind(header.media_set_id.ToString());
  CAPSTAN_ASSIGN_OR_RETURN(const bool known, select.Step());
  if (known) {
    return select.Integer(0);
  }
  CAPSTAN_RETURN_IF_ERROR(connection.Run(
      "INSERT INTO catalog_media_set (media_uuid, media_family_count, name, description, "
      "software_name, software_vendor_id, MTF_major_version, mirror_count, is_password_protected, "
      "is_compressed, is_encrypted, visible) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, 0)",
      header.media_set_id.ToString(), header.family_count, NullIfEmpty(header.name),
      NullIfEmpty(header.description), NullIfEmpty(header.software_name), header.software_vendor_id,
      header.mirror_count, !header.password_digest.empty(), header.compressed, header.encrypted));
  return connection.last_insert_id();
}

Result<std::int64_t> InsertSet(Connection& connection, std::int64_t media_set_id,
                               const MediaHeader& header, const BackupSet& set) {
  Status status = InsertBackupSet(connection, header, set, media_set_id);
  if (status.code() == Code::kAlreadyExists) {
    return Error(Code::kAlreadyExists, "backup set {} is in the catalog already",
                 set.backup_set_guid.ToString());
  }
  CAPSTAN_RETURN_IF_ERROR(std::move(status));
  const std::int64_t backup_set_id = connection.last_insert_id();
  CAPSTAN_RETURN_IF_ERROR(DescribeChain(connection, set, backup_set_id));
  CAPSTAN_RETURN_IF_ERROR(InsertFiles(connection, header, set, backup_set_id));
  return backup_set_id;
}

Result<std::int64_t> InsertBackup(Connection& connection, const JobRecord& job,
                                  const MediaHeader& header, const BackupSet& set) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::int64_t media_set_id,
                           FindOrInsertMediaSet(connection, header));
  CAPSTAN_RETURN_IF_ERROR(
      UpsertFamilies(connection, job, media_set_id, header.media_sequence_number, false));
  return InsertSet(connection, media_set_id, header, set);
}

Status ShowBackup(Connection& connection, const JobRecord& job, std::int64_t backup_set_id) {
  CAPSTAN_ASSIGN_OR_RETURN(Statement select,
                           connection.Prepare("SELECT media_set_id, first_media_number FROM "
                                              "catalog_backup_set WHERE backup_set_id = ?"));
  select.Bind(backup_set_id);
  CAPSTAN_ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) {
    return Error(Code::kInternal, "backup set {} was prepared and is gone", backup_set_id);
  }
  const std::int64_t media_set_id = select.Integer(0);
  CAPSTAN_RETURN_IF_ERROR(UpsertFamilies(connection, job, media_set_id, select.Integer(1), true));
  CAPSTAN_RETURN_IF_ERROR(connection.Run(
      "UPDATE catalog_media_set SET visible = 1 WHERE media_set_id = ?", media_set_id));
  return connection.Run("UPDATE catalog_backup_set SET visible = 1 WHERE backup_set_id = ?",
                        backup_set_id);
}

Status RemoveBackup(Connection& connection, std::int64_t backup_set_id) {
  CAPSTAN_RETURN_IF_ERROR(connection.Run(
      "DELETE FROM catalog_backup_set WHERE backup_set_id = ? AND visible = 0", backup_set_id));
  // A media set that only this backup had goes with it, and its families by cascade.
  return connection.Execute(
      "DELETE FROM catalog_media_set WHERE visible = 0 AND NOT EXISTS (SELECT 1 FROM "
      "catalog_backup_set AS s WHERE s.media_set_id = catalog_media_set.media_set_id)");
}

Status InsertRestore(Connection& connection, const JobRecord& job, const RestoreRecord& restore) {
  // The set may be on a medium from elsewhere: then only its GUID is known.
  CAPSTAN_RETURN_IF_ERROR(connection.Run(
      "INSERT INTO catalog_restore_history (restore_date, destination_database_name, user_name, "
      "backup_set_id, restore_type, replace, recovery, restart, device_count, backup_set_uuid, "
      "stop_at, stop_at_mark_name, stop_before) "
      "VALUES (?1, ?2, ?3, (SELECT backup_set_id FROM catalog_backup_set WHERE "
      "backup_set_uuid = ?4 AND visible = 1), ?5, ?6, ?7, ?8, ?9, ?4, ?10, ?11, ?12)",
      LocalDateTime(restore.date_unix_s), restore.destination_database,
      NullIfEmpty(restore.user_name), restore.backup_set_guid.ToString(),
      std::string_view(&restore.restore_type, 1), restore.replace, restore.recovery,
      restore.restart, job.devices.size(), LocalDateTime(restore.stop_at_unix_s),
      NullIfEmpty(restore.stop_mark),
      restore.stop_mark.empty() ? std::nullopt
                                : std::optional<std::int64_t>(restore.stop_before ? 1 : 0)));
  const std::int64_t restore_history_id = connection.last_insert_id();
  int number = 0;
  for (const std::string& file : restore.destination_files) {
    CAPSTAN_RETURN_IF_ERROR(
        connection.Run("INSERT INTO catalog_restore_file (restore_history_id, file_number, "
                       "destination_phys_name) VALUES (?, ?, ?)",
                       restore_history_id, ++number, file));
  }
  return OkStatus();
}

}  // namespace capstan::catalog
