#include "server/coordinator/listings.h"

#include <algorithm>
#include <optional>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "server/catalog/timestamps.h"
#include "server/coordinator/set_facts.h"
#include "server/messages/messages.h"

namespace capstan::coordinator {
namespace {

using Cell = std::optional<std::string>;

template <typename Row>
struct ColumnSpec {
  const char* name;
  const char* type;
  Cell (*value)(const Row& row);
};

template <typename Row, std::size_t N>
catalog::Table MakeTable(const ColumnSpec<Row> (&columns)[N], const std::vector<Row>& rows) {
  catalog::Table table;
  for (const auto& column : columns) {
    table.columns.push_back({column.name, column.type});
  }
  for (const Row& row : rows) {
    std::vector<Cell> cells;
    for (const auto& column : columns) {
      cells.push_back(column.value(row));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

template <typename Value>
Cell Show(const Value& value) {
  if constexpr (std::is_same_v<Value, std::string>) {
    return value;
  } else if constexpr (std::is_same_v<Value, Guid>) {
    return value.ToString();
  } else if constexpr (std::is_same_v<Value, bool>) {
    return value ? "1" : "0";
  } else {
    return fmt::format("{}", value);
  }
}
template <typename Value>
Cell Show(const std::optional<Value>& value) {
  return value ? Show(*value) : std::nullopt;
}
Cell OrNull(const std::string& text) {
  return text.empty() ? Cell() : Cell(text);
}

using Header = media::MediaHeader;

// Another program's medium need not say to which set of families it belongs.
bool SetIsKnown(const Header& header) {
  return !header.by_other_program || !header.media_set_id.is_zero();
}
template <typename Value>
Cell OfSet(const Header& header, const Value& value) {
  return SetIsKnown(header) ? Show(value) : std::nullopt;
}
Cell MediaDate(const Header& header) {
  return header.by_other_program ? OrNull(header.local_date)
                                 : catalog::LocalDateTime(header.date_unix_s);
}
// LABELONLY prints the u32 of the medium as the first group of a GUID whose rest is zero.
Cell FamilyGuid(const Header& header) {
  return fmt::format("{:08X}-0000-0000-0000-000000000000", header.media_family_id);
}

constexpr ColumnSpec<Header> kLabelColumns[] = {
    {"MediaName", "nvarchar(128)", [](const Header& h) { return OrNull(h.name); }},
    {"MediaSetId", "uniqueidentifier", [](const Header& h) { return OfSet(h, h.media_set_id); }},
    {"FamilyCount", "int", [](const Header& h) { return OfSet(h, h.family_count); }},
    {"FamilySequenceNumber", "int", [](const Header& h) { return OfSet(h, h.family_number); }},
    {"MediaFamilyId", "uniqueidentifier", FamilyGuid},
    {"MediaSequenceNumber", "int", [](const Header& h) { return Show(h.media_sequence_number); }},
    {"MediaLabelPresent", "tinyint", [](const Header& h) { return Show(h.description_is_label); }},
    {"MediaDescription", "nvarchar(255)", [](const Header& h) { return OrNull(h.description); }},
    {"SoftwareName", "nvarchar(128)", [](const Header& h) { return OrNull(h.software_name); }},
    {"SoftwareVendorId", "int", [](const Header& h) { return Show(h.software_vendor_id); }},
    {"MediaDate", "datetime", MediaDate},
    {"Mirror_Count", "int", [](const Header& h) { return OfSet(h, h.mirror_count); }},
    {"IsCompressed", "bit", [](const Header& h) { return OfSet(h, h.compressed); }},
};

struct SetRow {
  media::SetFacts facts;
  std::optional<int> position;
  int device_type;
};

// A column that shows one of the facts.
#define CAPSTAN_FACT(column, type, member)                                 \
  {                                                                        \
    column, type, [](const SetRow& row) { return Show(row.facts.member); } \
  }

constexpr ColumnSpec<SetRow> kHeaderColumns[] = {
    CAPSTAN_FACT("BackupName", "nvarchar(128)", name),
    CAPSTAN_FACT("BackupDescription", "nvarchar(255)", description),
    CAPSTAN_FACT("BackupType", "smallint", backup_type),
    CAPSTAN_FACT("ExpirationDate", "datetime", expiration_date),
    CAPSTAN_FACT("Compressed", "bit", compressed),
    {"Position", "smallint", [](const SetRow& row) { return Show(row.position); }},
    {"DeviceType", "tinyint", [](const SetRow& row) { return Show(row.device_type); }},
    CAPSTAN_FACT("UserName", "nvarchar(128)", user_name),
    CAPSTAN_FACT("ServerName", "nvarchar(128)", server_name),
    CAPSTAN_FACT("DatabaseName", "nvarchar(128)", database_name),
    CAPSTAN_FACT("DatabaseVersion", "int", database_version),
    CAPSTAN_FACT("DatabaseCreationDate", "datetime", database_creation_date),
    CAPSTAN_FACT("BackupSize", "numeric(20,0)", backup_size),
    CAPSTAN_FACT("FirstLSN", "numeric(25,0)", first_lsn),
    CAPSTAN_FACT("LastLSN", "numeric(25,0)", last_lsn),
    CAPSTAN_FACT("CheckpointLSN", "numeric(25,0)", checkpoint_lsn),
    CAPSTAN_FACT("DatabaseBackupLSN", "numeric(25,0)", database_backup_lsn),
    CAPSTAN_FACT("BackupStartDate", "datetime", start_date),
    CAPSTAN_FACT("BackupFinishDate", "datetime", finish_date),
    CAPSTAN_FACT("SortOrder", "smallint", sort_order),
    CAPSTAN_FACT("CodePage", "smallint", code_page),
    CAPSTAN_FACT("UnicodeLocaleId", "int", unicode_locale_id),
    CAPSTAN_FACT("UnicodeComparisonStyle", "int", unicode_comparison_style),
    CAPSTAN_FACT("CompatibilityLevel", "tinyint", compatibility_level),
    CAPSTAN_FACT("SoftwareVendorId", "int", software_vendor_id),
    CAPSTAN_FACT("SoftwareVersionMajor", "int", software_major),
    CAPSTAN_FACT("SoftwareVersionMinor", "int", software_minor),
    CAPSTAN_FACT("SoftwareVersionBuild", "int", software_build),
    CAPSTAN_FACT("MachineName", "nvarchar(128)", machine_name),
    CAPSTAN_FACT("Flags", "int", flags),
    CAPSTAN_FACT("BindingID", "uniqueidentifier", binding_id),
    CAPSTAN_FACT("RecoveryForkID", "uniqueidentifier", recovery_fork_id),
    CAPSTAN_FACT("Collation", "nvarchar(128)", collation),
    CAPSTAN_FACT("FamilyGUID", "uniqueidentifier", family_guid),
    CAPSTAN_FACT("HasBulkLoggedData", "bit", has_bulk_logged_data),
    CAPSTAN_FACT("IsSnapshot", "bit", is_snapshot),
    CAPSTAN_FACT("IsReadOnly", "bit", is_read_only),
    CAPSTAN_FACT("IsSingleUser", "bit", is_single_user),
    CAPSTAN_FACT("HasBackupChecksums", "bit", has_backup_checksums),
    CAPSTAN_FACT("IsDamaged", "bit", is_damaged),
    CAPSTAN_FACT("BeginsLogChain", "bit", begins_log_chain),
    CAPSTAN_FACT("HasIncompleteMetaData", "bit", has_incomplete_metadata),
    CAPSTAN_FACT("IsForceOffline", "bit", is_force_offline),
    CAPSTAN_FACT("IsCopyOnly", "bit", is_copy_only),
    CAPSTAN_FACT("FirstRecoveryForkID", "uniqueidentifier", first_recovery_fork_id),
    CAPSTAN_FACT("ForkPointLSN", "numeric(25,0)", fork_point_lsn),
    CAPSTAN_FACT("RecoveryModel", "nvarchar(60)", recovery_model),
    CAPSTAN_FACT("DifferentialBaseLSN", "numeric(25,0)", differential_base_lsn),
    CAPSTAN_FACT("DifferentialBaseGUID", "uniqueidentifier", differential_base_guid),
    CAPSTAN_FACT("BackupTypeDescription", "nvarchar(60)", type_description),
    CAPSTAN_FACT("BackupSetGUID", "uniqueidentifier", backup_set_guid),
    CAPSTAN_FACT("CompressedBackupSize", "bigint", compressed_backup_size),
    CAPSTAN_FACT("Containment", "tinyint", containment),
    CAPSTAN_FACT("KeyAlgorithm", "nvarchar(32)", key_algorithm),
    CAPSTAN_FACT("EncryptorThumbprint", "varbinary(20)", encryptor_thumbprint),
    CAPSTAN_FACT("EncryptorType", "nvarchar(32)", encryptor_type),
    CAPSTAN_FACT("LastValidRestoreTime", "datetime", last_valid_restore_time),
    CAPSTAN_FACT("TimeZone", "smallint", time_zone),
    CAPSTAN_FACT("CompressionAlgorithm", "nvarchar(32)", compression_algorithm),
};
#undef CAPSTAN_FACT

using File = media::FileFacts;
#define CAPSTAN_FACT(column, type, member)                           \
  {                                                                  \
    column, type, [](const File& file) { return Show(file.member); } \
  }

constexpr ColumnSpec<File> kFileColumns[] = {
    CAPSTAN_FACT("LogicalName", "nvarchar(128)", logical_name),
    CAPSTAN_FACT("PhysicalName", "nvarchar(260)", physical_name),
    CAPSTAN_FACT("Type", "char(1)", type),
    CAPSTAN_FACT("FileGroupName", "nvarchar(128)", filegroup_name),
    CAPSTAN_FACT("Size", "numeric(20,0)", size),
    CAPSTAN_FACT("MaxSize", "numeric(20,0)", max_size),
    CAPSTAN_FACT("FileId", "bigint", file_id),
    CAPSTAN_FACT("CreateLSN", "numeric(25,0)", create_lsn),
    CAPSTAN_FACT("DropLSN", "numeric(25,0)", drop_lsn),
    CAPSTAN_FACT("UniqueId", "uniqueidentifier", unique_id),
    CAPSTAN_FACT("ReadOnlyLSN", "numeric(25,0)", read_only_lsn),
    CAPSTAN_FACT("ReadWriteLSN", "numeric(25,0)", read_write_lsn),
    CAPSTAN_FACT("BackupSizeInBytes", "bigint", backup_size),
    CAPSTAN_FACT("SourceBlockSize", "int", source_block_size),
    CAPSTAN_FACT("FileGroupId", "int", filegroup_id),
    CAPSTAN_FACT("LogGroupGUID", "uniqueidentifier", log_group_guid),
    CAPSTAN_FACT("DifferentialBaseLSN", "numeric(25,0)", differential_base_lsn),
    CAPSTAN_FACT("DifferentialBaseGUID", "uniqueidentifier", differential_base_guid),
    CAPSTAN_FACT("IsReadOnly", "bit", is_read_only),
    CAPSTAN_FACT("IsPresent", "bit", is_present),
    CAPSTAN_FACT("TDEThumbprint", "varbinary(32)", tde_thumbprint),
    CAPSTAN_FACT("SnapshotUrl", "nvarchar(360)", snapshot_url),
};
#undef CAPSTAN_FACT

SetRow RowOf(const media::SetListing& listing, const ListingContext& context) {
  SetRow row{.facts = FactsOf(listing),
             .position = listing.set.position,
             .device_type = context.device_type};
  if (listing.foreign_set && listing.foreign_set->password_protected) {
    row.facts = {.name = "***Password Protected***"};
  } else if (!listing.complete && !listing.continues) {
    row.facts.is_damaged = true;
  }
  return row;
}

}  // namespace

catalog::Table LabelOnlyTable(const media::MediaHeader& header) {
  return MakeTable(kLabelColumns, std::vector<Header>{header});
}

catalog::Table HeaderOnlyTable(const media::MediumListing& listing, const ListingContext& context) {
  std::vector<SetRow> rows;
  for (const media::SetListing& set : listing.sets) {
    rows.push_back(RowOf(set, context));
  }
  return MakeTable(kHeaderColumns, rows);
}

catalog::Table FileListTable(const media::SetListing& set) {
  return MakeTable(kFileColumns, FilesOf(set));
}

int DeviceTypeNumber(const std::string& device_class) {
  return device_class == "DISK" ? 2 : device_class == "TAPE" ? 5 : device_class == "URL" ? 9 : 7;
}

Result<const media::SetListing*> FindListedSet(const media::MediumListing& listing,
                                               std::uint16_t file_number,
                                               const std::string& target) {
  // A later cartridge of a family begins with a later set.
  const auto set =
      std::find_if(listing.sets.begin(), listing.sets.end(),
                   [&](const media::SetListing& each) { return each.set.position == file_number; });
  if (set == listing.sets.end()) {
    return SqlError(3287, file_number, target);
  }
  if (set->foreign && !set->foreign_set->by_sql_server) {
    return SqlError(3143, target);
  }
  return &*set;
}

}  // namespace capstan::coordinator
