// SetFacts and FileFacts: what RESTORE HEADERONLY and FILELISTONLY say of a backup set, whoever
// wrote it; and ForeignSet, that of a set of another program. What the medium does not tell is
// nullopt and shows as NULL: nothing is made up.
//
// Dates are text as the listings print it, in the local time of the server that wrote the set: that
// is how media keep them. LSNs are decimal text, for they have more than 64 bits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vdi/base/guid.h"

namespace capstan::media {

// In the order of HEADERONLY's columns. Position and DeviceType are not among them.
struct SetFacts {
  std::optional<std::string> name, description;
  std::optional<int> backup_type;  // 1 database, 2 log, 4 file, 5 differential, 16 incremental ...
  std::optional<std::string> expiration_date;
  std::optional<bool> compressed;
  std::optional<std::string> user_name, server_name, database_name;
  std::optional<int> database_version;
  std::optional<std::string> database_creation_date;
  std::optional<std::uint64_t> backup_size;
  std::optional<std::string> first_lsn, last_lsn, checkpoint_lsn, database_backup_lsn;
  std::optional<std::string> start_date, finish_date;
  std::optional<int> sort_order, code_page;
  std::optional<std::uint32_t> unicode_locale_id, unicode_comparison_style;
  std::optional<int> compatibility_level;
  std::optional<int> software_vendor_id, software_major, software_minor, software_build;
  std::optional<std::string> machine_name;
  std::optional<std::uint32_t> flags;
  std::optional<Guid> binding_id, recovery_fork_id;
  std::optional<std::string> collation;
  std::optional<Guid> family_guid;
  std::optional<bool> has_bulk_logged_data, is_snapshot, is_read_only, is_single_user,
      has_backup_checksums, is_damaged, begins_log_chain, has_incomplete_metadata, is_force_offline,
      is_copy_only;
  std::optional<Guid> first_recovery_fork_id;
  std::optional<std::string> fork_point_lsn;
  std::optional<std::string> recovery_model;
  std::optional<std::string> differential_base_lsn;
  std::optional<Guid> differential_base_guid;
  std::optional<std::string> type_description;
  std::optional<Guid> backup_set_guid;
  std::optional<std::uint64_t> compressed_backup_size;
  std::optional<int> containment;
  std::optional<std::string> key_algorithm, encryptor_thumbprint, encryptor_type;
  std::optional<std::string> last_valid_restore_time;
  std::optional<int> time_zone;
  std::optional<std::string> compression_algorithm;
};

// In the order of FILELISTONLY's columns.
struct FileFacts {
  std::optional<std::string> logical_name, physical_name;
  std::optional<char> type;
  std::optional<std::string> filegroup_name;
  std::optional<std::uint64_t> size, max_size, file_id;
  std::optional<std::string> create_lsn, drop_lsn;
  std::optional<Guid> unique_id;
  std::optional<std::string> read_only_lsn, read_write_lsn;
  std::optional<std::uint64_t> backup_size, source_block_size, filegroup_id;
  std::optional<Guid> log_group_guid;
  std::optional<std::string> differential_base_lsn;
  std::optional<Guid> differential_base_guid;
  std::optional<bool> is_read_only, is_present;
  std::optional<std::string> tde_thumbprint, snapshot_url;
  // Not a column: pages of the file that are in the set.
  std::optional<std::uint32_t> pages_in_set;
};

// A set that another program wrote.
struct ForeignSet {
  SetFacts facts;
  std::vector<FileFacts> files;  // of SQL Server's sets
  bool by_sql_server = false;
  bool final_known = false;         // SQL Server's facts are those of the set's end
  bool password_protected = false;  // nothing of it may be shown
};

}  // namespace capstan::media
