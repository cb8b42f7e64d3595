#include "server/catalog/sqlserver_history.h"

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "server/catalog/sqlite_connection.h"

namespace capstan::catalog {
namespace {

using media::FileFacts;
using media::SetFacts;

// A medium may say anything: what has no place in SQLite's integers is the largest of them.
template <std::integral T>
std::optional<std::int64_t> Number(const std::optional<T>& value) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  if constexpr (std::same_as<T, std::uint64_t>) {
    return value ? std::optional(static_cast<std::int64_t>(
                       std::min<std::uint64_t>(*value, static_cast<std::uint64_t>(kMax))))
                 : std::nullopt;
  }
  return value ? std::optional(static_cast<std::int64_t>(*value)) : std::nullopt;
}

std::optional<std::string> Text(const std::optional<Guid>& guid) {
  return guid ? std::optional(guid->ToString()) : std::nullopt;
}

std::optional<std::string> Text(const std::optional<char>& letter) {
  return letter ? std::optional(std::string(1, *letter)) : std::nullopt;
}

std::optional<std::string> Text(const std::optional<int>& number) {
  return number ? std::optional(std::to_string(*number)) : std::nullopt;
}

// backupset.type for HEADERONLY's BackupType.
std::optional<std::string_view> TypeLetter(std::optional<int> backup_type) {
  switch (backup_type.value_or(0)) {
    case 1:
      return "D";
    case 2:
      return "L";
    case 4:
      return "F";
    case 5:
      return "I";
    case 6:
      return "G";
    case 7:
      return "P";
    case 8:
      return "Q";
    default:
      return std::nullopt;
  }
}

Status InsertRow(Connection& connection, std::int64_t media_set_id,
                 const media::MediaHeader& header, const SqlServerSet& set) {
  const SetFacts& facts = set.facts.facts;
  return connection.Run(
      "INSERT INTO catalog_backup_set (backup_set_uuid, media_set_id, first_family_number, "
      "first_media_number, last_family_number, last_media_number, catalog_family_number, "
      "catalog_media_number, position, expiration_date, software_vendor_id, name, description, "
      "user_name, software_major_version, software_minor_version, software_build_version, "
      "time_zone, mtf_minor_version, first_lsn, last_lsn, checkpoint_lsn, database_backup_lsn, "
      "database_creation_date, backup_start_date, backup_finish_date, type, database_version, "
      "backup_size, database_name, server_name, machine_name, flags, is_password_protected, "
      "compressed_backup_size, compression_algorithm, visible) VALUES (?1, ?2, 1, ?3, ?4, ?3, 1, "
      "?3, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 0, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, "
      "?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, 0)",
      Text(facts.backup_set_guid), media_set_id, header.media_sequence_number, header.family_count,
      set.position, facts.expiration_date, Number(facts.software_vendor_id), facts.name,
      facts.description, facts.user_name, Number(facts.software_major),
      Number(facts.software_minor), Number(facts.software_build), Number(facts.time_zone),
      facts.first_lsn, facts.last_lsn, facts.checkpoint_lsn, facts.database_backup_lsn,
      facts.database_creation_date, facts.start_date, facts.finish_date,
      TypeLetter(facts.backup_type), Text(facts.database_version), Number(facts.backup_size),
      facts.database_name, facts.server_name, facts.machine_name, Number(facts.flags),
      set.facts.password_protected, Number(facts.compressed_backup_size),
      facts.compression_algorithm);
}

// The columns that no set of ours fills.
Status CompleteRow(Connection& connection, std::int64_t backup_set_id, const SetFacts& facts) {
  return connection.Run(
      "UPDATE catalog_backup_set SET sort_order = ?2, code_page = ?3, compatibility_level = ?4, "
      "unicode_locale = ?5, unicode_compare_style = ?6, collation_name = ?7, recovery_model = ?8, "
      "has_bulk_logged_data = ?9, is_snapshot = ?10, is_readonly = ?11, is_single_user = ?12, "
      "has_backup_checksums = ?13, is_damaged = ?14, begins_log_chain = ?15, "
      "has_incomplete_metadata = ?16, is_force_offline = ?17, is_copy_only = ?18, "
      "first_recovery_fork_guid = ?19, last_recovery_fork_guid = ?20, fork_point_lsn = ?21, "
      "database_guid = ?22, family_guid = ?23, differential_base_lsn = ?24, "
      "differential_base_guid = ?25, key_algorithm = ?26, encryptor_type = ?27, "
      "last_valid_restore_time = ?28 WHERE backup_set_id = ?1",
      backup_set_id, Number(facts.sort_order), Number(facts.code_page),
      Number(facts.compatibility_level), Number(facts.unicode_locale_id),
      Number(facts.unicode_comparison_style), facts.collation, facts.recovery_model,
      Number(facts.has_bulk_logged_data), Number(facts.is_snapshot), Number(facts.is_read_only),
      Number(facts.is_single_user), Number(facts.has_backup_checksums), Number(facts.is_damaged),
      Number(facts.begins_log_chain), Number(facts.has_incomplete_metadata),
      Number(facts.is_force_offline), Number(facts.is_copy_only),
      Text(facts.first_recovery_fork_id), Text(facts.recovery_fork_id), facts.fork_point_lsn,
      Text(facts.binding_id), Text(facts.family_guid), facts.differential_base_lsn,
      Text(facts.differential_base_guid), facts.key_algorithm, facts.encryptor_type,
      facts.last_valid_restore_time);
}

// A number that a dropped file had may be there again: the first one of it is kept.
Status InsertFiles(Connection& connection, std::int64_t backup_set_id,
                   const media::MediaHeader& header, const SqlServerSet& set) {
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement insert,
      connection.Prepare(
          "INSERT INTO catalog_backup_file (backup_set_id, first_family_number, "
          "first_media_number, filegroup_name, file_number, backed_up_page_count, file_type, "
          "source_file_block_size, file_size, logical_name, physical_name, create_lsn, drop_lsn, "
          "file_guid, read_only_lsn, read_write_lsn, differential_base_lsn, "
          "differential_base_guid, backup_size, is_readonly, is_present) VALUES (?, 1, ?, ?, ?, ?, "
          "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"));
  for (const FileFacts& file : set.facts.files) {
    insert.Bind(backup_set_id, header.media_sequence_number, file.filegroup_name,
                Number(file.file_id), Number(file.pages_in_set), Text(file.type),
                Number(file.source_block_size), Number(file.size), file.logical_name,
                file.physical_name, file.create_lsn, file.drop_lsn, Text(file.unique_id),
                file.read_only_lsn, file.read_write_lsn, file.differential_base_lsn,
                Text(file.differential_base_guid), Number(file.backup_size),
                Number(file.is_read_only), Number(file.is_present));
    CAPSTAN_RETURN_IF_ERROR(insert.Step().status());
    insert.Reset();
  }
  return OkStatus();
}

}  // namespace

Result<std::int64_t> InsertSqlServerSet(Connection& connection, std::int64_t media_set_id,
                                        const media::MediaHeader& header, const SqlServerSet& set) {
  CAPSTAN_RETURN_IF_ERROR(InsertRow(connection, media_set_id, header, set));
  const std::int64_t backup_set_id = connection.last_insert_id();
  CAPSTAN_RETURN_IF_ERROR(CompleteRow(connection, backup_set_id, set.facts.facts));
  CAPSTAN_RETURN_IF_ERROR(InsertFiles(connection, backup_set_id, header, set));
  return backup_set_id;
}

}  // namespace capstan::catalog
