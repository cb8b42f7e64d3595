#include "server/coordinator/set_facts.h"

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "server/catalog/timestamps.h"

namespace capstan::coordinator {
namespace {

// Bits of HEADERONLY's Flags.
constexpr std::uint32_t kSnapshot = 2;
constexpr std::uint32_t kReadOnly = 4;
constexpr std::uint32_t kChecksums = 16;
constexpr std::uint32_t kDamaged = 32;
constexpr std::uint32_t kAlways = 512;
constexpr std::uint32_t kCopyOnly = 1024;
constexpr std::uint32_t kDifferential = 2048;

std::optional<std::string> OrNull(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional(text);
}

std::optional<Guid> OrNull(const Guid& guid) {
  return guid.is_zero() ? std::nullopt : std::optional(guid);
}

// As T-SQL writes a varbinary: 0x and capital hexadecimal digits.
std::optional<std::string> BinaryText(const std::string& bytes) {
  if (bytes.empty()) {
    return std::nullopt;
  }
  std::string text = "0x";
  for (const char byte : bytes) {
    text += fmt::format("{:02X}", static_cast<unsigned char>(byte));
  }
  return text;
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

bool IsDamaged(const media::SetListing& listing) {
  return listing.set.is_damaged || (!listing.complete && !listing.continues);
}

void ApplyKind(const media::SetListing& listing, media::SetFacts* facts) {
  const media::BackupSet& set = listing.set;
  facts->backup_type = static_cast<int>(set.kind);
  facts->type_description = TypeDescription(set.kind);
  facts->is_snapshot = set.is_snapshot;
  facts->has_backup_checksums = set.has_checksums;
  facts->is_read_only = set.is_read_only;
  facts->is_damaged = IsDamaged(listing);
  facts->is_copy_only = set.copy_only;
  facts->flags = kAlways | (set.is_snapshot ? kSnapshot : 0) |
                 (set.is_read_only.value_or(false) ? kReadOnly : 0) |
                 (set.has_checksums ? kChecksums : 0) | (IsDamaged(listing) ? kDamaged : 0) |
                 (set.copy_only ? kCopyOnly : 0) |
                 (set.kind == media::SetKind::kDifferential ? kDifferential : 0);
  // What a set of ours cannot be.
  facts->has_bulk_logged_data = false;
  facts->has_incomplete_metadata = false;
  facts->is_force_offline = false;
  facts->begins_log_chain = set.kind == media::SetKind::kLog && set.begins_log_chain;
  if (set.kind == media::SetKind::kDifferential) {
    facts->differential_base_lsn = fmt::format("{}", set.differential_base_lsn);
    facts->differential_base_guid = OrNull(set.differential_base_guid);
  }
}

// Sizes, positions in the log and the finish stand at the end of a set only.
void ApplyOutcome(const media::BackupSet& set, media::SetFacts* facts) {
  if (set.finish_unix_s == 0) {
    return;
  }
  facts->backup_size = set.backup_size_bytes;
  facts->compressed_backup_size =
      set.compressed_size_bytes != 0 ? set.compressed_size_bytes : set.backup_size_bytes;
  facts->first_lsn = fmt::format("{}", set.first_lsn);
  facts->last_lsn = fmt::format("{}", set.last_lsn);
  facts->checkpoint_lsn = fmt::format("{}", set.checkpoint_lsn);
  facts->database_backup_lsn = fmt::format("{}", set.database_backup_lsn);
  facts->recovery_fork_id = OrNull(set.recovery_fork);
  facts->first_recovery_fork_id =
      OrNull(set.first_recovery_fork.is_zero() ? set.recovery_fork : set.first_recovery_fork);
  facts->finish_date = catalog::LocalDateTime(set.finish_unix_s);
  facts->last_valid_restore_time = facts->finish_date;
}

media::FileFacts FileFactsOf(const media::BackupFile& file) {
  media::FileFacts facts;
  facts.logical_name = OrNull(file.logical_name);
  facts.physical_name = OrNull(file.physical_name);
  facts.type = file.type;
  facts.size = file.size_bytes;
  facts.file_id = file.file_id;
  // These are 0 where there is none, and none of our databases has one.
  facts.create_lsn = facts.drop_lsn = facts.read_only_lsn = facts.read_write_lsn = "0";
  facts.differential_base_lsn = "0";
  facts.unique_id = OrNull(file.unique_id);
  facts.backup_size = file.backup_size_bytes;
  facts.is_present = true;
  return facts;
}

}  // namespace

media::SetFacts FactsOf(const media::SetListing& listing) {
  if (listing.foreign_set) {
    return listing.foreign_set->facts;
  }
  const media::BackupSet& set = listing.set;
  media::SetFacts facts;
  ApplyKind(listing, &facts);
  ApplyOutcome(set, &facts);
  facts.name = OrNull(set.name);
  facts.description = OrNull(set.description);
  facts.expiration_date = catalog::LocalDateTime(set.expiration_unix_s);
  facts.compressed = set.compressed();
  facts.compression_algorithm = OrNull(set.compression_algorithm);
  facts.user_name = OrNull(set.user_name);
  facts.server_name = OrNull(set.server_name);
  facts.database_name = OrNull(set.database_name);
  facts.database_creation_date = catalog::LocalDateTime(set.database_created_unix_s);
  facts.start_date = catalog::LocalDateTime(set.start_unix_s);
  facts.software_vendor_id = media::kSoftwareVendorId;
  facts.software_major = static_cast<int>(set.software_major);
  facts.software_minor = static_cast<int>(set.software_minor);
  facts.software_build = static_cast<int>(set.software_build);
  facts.machine_name = OrNull(set.machine_name);
  facts.recovery_model = OrNull(set.recovery_model);
  facts.backup_set_guid = OrNull(set.backup_set_guid);
  facts.key_algorithm = OrNull(set.encryption.key_algorithm);
  facts.encryptor_thumbprint = BinaryText(set.encryption.thumbprint);
  facts.encryptor_type = OrNull(set.encryption.encryptor_type);
  facts.time_zone = set.time_zone_quarter_hours;
  return facts;
}

std::vector<media::FileFacts> FilesOf(const media::SetListing& listing) {
  if (listing.foreign_set) {
    return listing.foreign_set->files;
  }
  std::vector<media::FileFacts> files;
  for (const media::BackupFile& file : listing.set.files) {
    files.push_back(FileFactsOf(file));
  }
  return files;
}

}  // namespace capstan::coordinator
