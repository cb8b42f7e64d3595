#include "server/coordinator/listings.h"

#include <fmt/format.h>

#include "server/catalog/timestamps.h"

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

template <typename Number>
Cell Num(Number number) {
  return fmt::format("{}", number);
}
Cell Bit(bool bit) {
  return bit ? "1" : "0";
}
Cell OrNull(const std::string& text) {
  return text.empty() ? Cell() : Cell(text);
}
Cell GuidOrNull(const Guid& guid) {
  return guid.is_zero() ? Cell() : Cell(guid.ToString());
}
Cell Null() {
  return std::nullopt;
}

// LABELONLY prints the u32 of the medium as the first group of a GUID whose rest is zero.
std::string FamilyGuidText(std::uint32_t media_family_id) {
  return fmt::format("{:08X}-0000-0000-0000-000000000000", media_family_id);
}

using Header = media::MediaHeader;
constexpr ColumnSpec<Header> kLabelColumns[] = {
    {"MediaName", "nvarchar(128)", [](const Header& h) { return OrNull(h.name); }},
    {"MediaSetId", "uniqueidentifier", [](const Header& h) { return GuidOrNull(h.media_set_id); }},
    {"FamilyCount", "int", [](const Header& h) { return Num(h.family_count); }},
    {"FamilySequenceNumber", "int", [](const Header& h) { return Num(h.family_number); }},
    {"MediaFamilyId", "uniqueidentifier",
     [](const Header& h) { return Cell(FamilyGuidText(h.media_family_id)); }},
    {"MediaSequenceNumber", "int", [](const Header& h) { return Num(h.media_sequence_number); }},
    {"MediaLabelPresent", "tinyint", [](const Header& h) { return Bit(h.description_is_label); }},
    {"MediaDescription", "nvarchar(255)", [](const Header& h) { return OrNull(h.description); }},
    {"SoftwareName", "nvarchar(128)", [](const Header& h) { return OrNull(h.software_name); }},
    {"SoftwareVendorId", "int", [](const Header& h) { return Num(h.software_vendor_id); }},
    {"MediaDate", "datetime",
     [](const Header& h) { return catalog::LocalDateTime(h.date_unix_s); }},
    {"Mirror_Count", "int", [](const Header& h) { return Num(h.mirror_count); }},
    {"IsCompressed", "bit", [](const Header& h) { return Bit(h.compressed); }},
};

struct SetRow {
  const media::SetListing& listing;
  int device_type;
  const media::BackupSet& set() const { return listing.set; }
};

// The bits of HEADERONLY's Flags that Capstan's sets can have.
int FlagsOf(const media::SetListing& listing) {
  return (listing.set.has_checksums ? 16 : 0) | (listing.complete || listing.continues ? 0 : 32) |
         (listing.set.copy_only ? 1024 : 0) | (listing.set.is_snapshot ? 2 : 0) | 512;
}

std::string_view TypeDescription(media::SetKind kind) {
  switch (kind) {
    case media::SetKind::kDatabase:
      return "Database";
    case media::SetKind::kLog:
      return "Transaction Log";
    case media::SetKind::kDifferential:
      return "Database Differential";
  }
  return "Database";
}

constexpr ColumnSpec<SetRow> kHeaderColumns[] = {
    {"BackupName", "nvarchar(128)", [](const SetRow& r) { return OrNull(r.set().name); }},
    {"BackupDescription", "nvarchar(255)",
     [](const SetRow& r) { return OrNull(r.set().description); }},
    {"BackupType", "smallint", [](const SetRow& r) { return Num(static_cast<int>(r.set().kind)); }},
    {"ExpirationDate", "datetime",
     [](const SetRow& r) { return catalog::LocalDateTime(r.set().expiration_unix_s); }},
    {"Compressed", "bit", [](const SetRow& r) { return Bit(r.set().compressed()); }},
    {"Position", "smallint", [](const SetRow& r) { return Num(r.set().position); }},
    {"DeviceType", "tinyint", [](const SetRow& r) { return Num(r.device_type); }},
    {"UserName", "nvarchar(128)", [](const SetRow& r) { return OrNull(r.set().user_name); }},
    {"ServerName", "nvarchar(128)", [](const SetRow& r) { return OrNull(r.set().server_name); }},
    {"DatabaseName", "nvarchar(128)",
     [](const SetRow& r) { return OrNull(r.set().database_name); }},
    {"DatabaseVersion", "int", [](const SetRow&) { return Cell("0"); }},
    {"DatabaseCreationDate", "datetime",
     [](const SetRow& r) { return catalog::LocalDateTime(r.set().database_created_unix_s); }},
    {"BackupSize", "numeric(20,0)", [](const SetRow& r) { return Num(r.set().backup_size_bytes); }},
    {"FirstLSN", "numeric(25,0)", [](const SetRow& r) { return Num(r.set().first_lsn); }},
    {"LastLSN", "numeric(25,0)", [](const SetRow& r) { return Num(r.set().last_lsn); }},
    {"CheckpointLSN", "numeric(25,0)", [](const SetRow& r) { return Num(r.set().checkpoint_lsn); }},
    {"DatabaseBackupLSN", "numeric(25,0)",
     [](const SetRow& r) { return Num(r.set().database_backup_lsn); }},
    {"BackupStartDate", "datetime",
     [](const SetRow& r) { return catalog::LocalDateTime(r.set().start_unix_s); }},
    {"BackupFinishDate", "datetime",
     [](const SetRow& r) { return catalog::LocalDateTime(r.set().finish_unix_s); }},
    {"SortOrder", "smallint", [](const SetRow&) { return Cell("0"); }},
    {"CodePage", "smallint", [](const SetRow&) { return Cell("0"); }},
    {"UnicodeLocaleId", "int", [](const SetRow&) { return Cell("0"); }},
    {"UnicodeComparisonStyle", "int", [](const SetRow&) { return Cell("0"); }},
    {"CompatibilityLevel", "tinyint", [](const SetRow&) { return Cell("0"); }},
    {"SoftwareVendorId", "int", [](const SetRow&) { return Num(media::kSoftwareVendorId); }},
    {"SoftwareVersionMajor", "int", [](const SetRow& r) { return Num(r.set().software_major); }},
    {"SoftwareVersionMinor", "int", [](const SetRow& r) { return Num(r.set().software_minor); }},
    {"SoftwareVersionBuild", "int", [](const SetRow& r) { return Num(r.set().software_build); }},
    {"MachineName", "nvarchar(128)", [](const SetRow& r) { return OrNull(r.set().machine_name); }},
    {"Flags", "int", [](const SetRow& r) { return Num(FlagsOf(r.listing)); }},
    {"BindingID", "uniqueidentifier", [](const SetRow&) { return Null(); }},
    {"RecoveryForkID", "uniqueidentifier", [](const SetRow&) { return Null(); }},
    {"Collation", "nvarchar(128)", [](const SetRow&) { return Null(); }},
    {"FamilyGUID", "uniqueidentifier", [](const SetRow&) { return Null(); }},
    {"HasBulkLoggedData", "bit", [](const SetRow&) { return Bit(false); }},
    {"IsSnapshot", "bit", [](const SetRow& r) { return Bit(r.set().is_snapshot); }},
    {"IsReadOnly", "bit", [](const SetRow&) { return Bit(false); }},
    {"IsSingleUser", "bit", [](const SetRow&) { return Bit(false); }},
    {"HasBackupChecksums", "bit", [](const SetRow& r) { return Bit(r.set().has_checksums); }},
    {"IsDamaged", "bit",
     [](const SetRow& r) { return Bit(!r.listing.complete && !r.listing.continues); }},
    {"BeginsLogChain", "bit", [](const SetRow&) { return Bit(false); }},
    {"HasIncompleteMetaData", "bit", [](const SetRow&) { return Bit(false); }},
    {"IsForceOffline", "bit", [](const SetRow&) { return Bit(false); }},
    {"IsCopyOnly", "bit", [](const SetRow& r) { return Bit(r.set().copy_only); }},
    {"FirstRecoveryForkID", "uniqueidentifier", [](const SetRow&) { return Null(); }},
    {"ForkPointLSN", "numeric(25,0)", [](const SetRow&) { return Null(); }},
    {"RecoveryModel", "nvarchar(60)",
     [](const SetRow& r) { return OrNull(r.set().recovery_model); }},
    {"DifferentialBaseLSN", "numeric(25,0)", [](const SetRow&) { return Null(); }},
    {"DifferentialBaseGUID", "uniqueidentifier", [](const SetRow&) { return Null(); }},
    {"BackupTypeDescription", "nvarchar(60)",
     [](const SetRow& r) { return Cell(std::string(TypeDescription(r.set().kind))); }},
    {"BackupSetGUID", "uniqueidentifier",
     [](const SetRow& r) { return GuidOrNull(r.set().backup_set_guid); }},
    {"CompressedBackupSize", "bigint",
     [](const SetRow& r) { return Num(r.set().backup_size_bytes); }},
    {"Containment", "tinyint", [](const SetRow&) { return Cell("0"); }},
    {"KeyAlgorithm", "nvarchar(32)", [](const SetRow&) { return Null(); }},
    {"EncryptorThumbprint", "varbinary(20)", [](const SetRow&) { return Null(); }},
    {"EncryptorType", "nvarchar(32)", [](const SetRow&) { return Null(); }},
    {"LastValidRestoreTime", "datetime",
     [](const SetRow& r) { return catalog::LocalDateTime(r.set().finish_unix_s); }},
    {"TimeZone", "smallint",
     [](const SetRow& r) { return Num(static_cast<int>(r.set().time_zone_quarter_hours)); }},
    {"CompressionAlgorithm", "nvarchar(32)", [](const SetRow&) { return Null(); }},
};

using File = media::BackupFile;
constexpr ColumnSpec<File> kFileColumns[] = {
    {"LogicalName", "nvarchar(128)", [](const File& f) { return OrNull(f.logical_name); }},
    {"PhysicalName", "nvarchar(260)", [](const File& f) { return OrNull(f.physical_name); }},
    {"Type", "char(1)", [](const File& f) { return Cell(std::string(1, f.type)); }},
    {"FileGroupName", "nvarchar(128)",
     [](const File& f) { return f.type == 'L' ? Null() : Cell("PRIMARY"); }},
    {"Size", "numeric(20,0)", [](const File& f) { return Num(f.size_bytes); }},
    {"MaxSize", "numeric(20,0)", [](const File&) { return Cell("35184372080640"); }},
    {"FileId", "bigint", [](const File& f) { return Num(f.file_id); }},
    {"CreateLSN", "numeric(25,0)", [](const File&) { return Cell("0"); }},
    {"DropLSN", "numeric(25,0)", [](const File&) { return Cell("0"); }},
    {"UniqueId", "uniqueidentifier", [](const File& f) { return GuidOrNull(f.unique_id); }},
    {"ReadOnlyLSN", "numeric(25,0)", [](const File&) { return Cell("0"); }},
    {"ReadWriteLSN", "numeric(25,0)", [](const File&) { return Cell("0"); }},
    {"BackupSizeInBytes", "bigint", [](const File& f) { return Num(f.backup_size_bytes); }},
    {"SourceBlockSize", "int", [](const File&) { return Cell("4096"); }},
    {"FileGroupId", "int", [](const File& f) { return Cell(f.type == 'L' ? "0" : "1"); }},
    {"LogGroupGUID", "uniqueidentifier", [](const File&) { return Null(); }},
    {"DifferentialBaseLSN", "numeric(25,0)", [](const File&) { return Cell("0"); }},
    {"DifferentialBaseGUID", "uniqueidentifier", [](const File&) { return Null(); }},
    {"IsReadOnly", "bit", [](const File&) { return Bit(false); }},
    {"IsPresent", "bit", [](const File&) { return Bit(true); }},
    {"TDEThumbprint", "varbinary(32)", [](const File&) { return Null(); }},
    {"SnapshotUrl", "nvarchar(360)", [](const File&) { return Null(); }},
};

}  // namespace

catalog::Table LabelOnlyTable(const media::MediaHeader& header) {
  return MakeTable(kLabelColumns, std::vector<Header>{header});
}

catalog::Table HeaderOnlyTable(const media::MediumListing& listing, const ListingContext& context) {
  std::vector<SetRow> rows;
  for (const media::SetListing& set : listing.sets) {
    rows.push_back({set, context.device_type});
  }
  return MakeTable(kHeaderColumns, rows);
}

catalog::Table FileListTable(const media::BackupSet& set) {
  return MakeTable(kFileColumns, set.files);
}

int DeviceTypeNumber(const std::string& device_class) {
  return device_class == "DISK" ? 2 : device_class == "TAPE" ? 5 : device_class == "URL" ? 9 : 7;
}

}  // namespace capstan::coordinator
