#include "server/catalog/known_sets.h"

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "server/catalog/journal.h"

namespace capstan::catalog {
namespace {

using media::BackupSet;

// Sets of ours that are committed. Older rows have their dates as local text only.
constexpr std::string_view kSets =
    "SELECT s.backup_set_id, s.media_set_id, s.first_media_number, s.backup_set_uuid, s.position, "
    "s.name, s.description, s.type, s.is_copy_only, s.has_backup_checksums, s.is_snapshot, "
    "s.is_damaged, s.compression_algorithm, s.key_algorithm, s.encryptor_type, "
    "s.encryptor_thumbprint, s.user_name, s.server_name, s.machine_name, s.database_name, "
    "s.writer, s.database_version, s.recovery_model, s.first_lsn, s.last_lsn, s.checkpoint_lsn, "
    "s.database_backup_lsn, s.differential_base_lsn, s.differential_base_guid, "
    "s.last_recovery_fork_guid, s.first_recovery_fork_guid, s.begins_log_chain, s.restarts_log, "
    "s.tail_log, s.writer_data, "
    "coalesce(s.start_unix_s, strftime('%s', s.backup_start_date, 'utc')), "
    "coalesce(s.finish_unix_s, strftime('%s', s.backup_finish_date, 'utc')), "
    "s.start_unix_us, s.finish_unix_us, "
    "coalesce(s.expiration_unix_s, strftime('%s', s.expiration_date, 'utc')), s.backup_size, "
    "s.compressed_backup_size, s.is_expired, "
    "strftime('%s', s.database_creation_date, 'utc'), s.backup_set_digest, s.time_zone, "
    "m.media_uuid, m.media_family_count, m.mirror_count, m.is_compressed, m.is_encrypted, "
    "m.name, m.description, m.software_name, s.software_major_version, s.software_minor_version, "
    "s.software_build_version "
    "FROM catalog_backup_set AS s JOIN catalog_media_set AS m ON m.media_set_id = s.media_set_id "
    "WHERE s.database_name = ?1 AND s.visible = 1 AND s.software_vendor_id = 17232";
static_assert(media::kSoftwareVendorId == 17232);

// A place of a set, unless media were formatted there since, or its own written from the beginning.
// A drive is a place for many media, so nothing is known of those.
constexpr std::string_view kPlaces =
    "SELECT family_sequence_number, mirror, device_type, physical_device_name "
    "FROM catalog_media_family AS f WHERE media_set_id = ?1 AND media_count = ?2 AND visible = 1 "
    "AND (device_type NOT IN (2, 9) OR NOT EXISTS (SELECT 1 FROM catalog_media_family AS later "
    "WHERE later.physical_device_name = f.physical_device_name AND "
    "later.device_type = f.device_type AND later.visible = 1 AND "
    "later.media_set_id > f.media_set_id) AND NOT EXISTS (SELECT 1 FROM catalog_backup_set AS "
    "over WHERE over.media_set_id = ?1 AND over.visible = 1 AND over.backup_set_id > ?3 AND "
    "over.position <= ?4)) ORDER BY family_sequence_number, mirror";

// Hands out the columns of a row one after the other.
class Row {
 public:
  explicit Row(const Statement& statement) : statement_(statement) {}

  std::int64_t Integer() { return statement_.Integer(column_++); }
  bool Bit() { return Integer() != 0; }
  std::string Text() { return statement_.Text(column_++); }
  Guid Id() {
    const Result<Guid> guid = Guid::Parse(Text());
    return guid.ok() ? guid.value() : Guid();
  }
  std::uint64_t Lsn() {
    const std::string text = Text();
    std::uint64_t value = 0;
    (void)std::from_chars(text.data(), text.data() + text.size(), value);  // NULL is 0
    return value;
  }
  // 0x and hexadecimal digits, as the history writes them.
  std::string Bytes() {
    const std::string text = Text();
    std::string bytes;
    for (std::size_t i = 2; i + 1 < text.size(); i += 2) {
      unsigned value = 0;
      (void)std::from_chars(text.data() + i, text.data() + i + 2, value, 16);
      bytes.push_back(static_cast<char>(value));
    }
    return bytes;
  }

 private:
  const Statement& statement_;
  int column_ = 0;
};

media::SetKind KindOf(const std::string& type) {
  return type == "L"   ? media::SetKind::kLog
         : type == "I" ? media::SetKind::kDifferential
                       : media::SetKind::kDatabase;
}

std::string ClassOf(std::int64_t device_type) {
  return device_type == 2   ? "DISK"
         : device_type == 5 ? "TAPE"
         : device_type == 9 ? "URL"
                            : "VIRTUAL_DEVICE";
}

void ReadWhatItIs(Row& row, BackupSet* set) {
  set->backup_set_guid = row.Id();
  set->position = static_cast<std::uint16_t>(row.Integer());
  set->name = row.Text();
  set->description = row.Text();
  set->kind = KindOf(row.Text());
  set->copy_only = row.Bit();
  set->has_checksums = row.Bit();
  set->is_snapshot = row.Bit();
  set->is_damaged = row.Bit();
  set->compression_algorithm = row.Text();
  set->encryption.key_algorithm = row.Text();
  set->encryption.encryptor_type = row.Text();
  set->encryption.thumbprint = row.Bytes();
  set->user_name = row.Text();
  set->server_name = row.Text();
  set->machine_name = row.Text();
  set->database_name = row.Text();
  set->writer = row.Text();
  set->database_version = row.Text();
  set->recovery_model = row.Text();
}

void ReadItsLog(Row& row, BackupSet* set) {
  set->first_lsn = row.Lsn();
  set->last_lsn = row.Lsn();
  set->checkpoint_lsn = row.Lsn();
  set->database_backup_lsn = row.Lsn();
  set->differential_base_lsn = row.Lsn();
  set->differential_base_guid = row.Id();
  set->recovery_fork = row.Id();
  set->first_recovery_fork = row.Id();
  set->begins_log_chain = row.Bit();
  set->restarts_log = row.Bit();
  set->tail_log = row.Bit();
  set->writer_data = row.Bytes();
}

void ReadItsMedia(Row& row, media::MediaHeader* media) {
  media->media_set_id = row.Id();
  media->family_count = static_cast<std::uint16_t>(row.Integer());
  media->mirror_count = static_cast<std::uint16_t>(row.Integer());
  media->compressed = row.Bit();
  media->encrypted = row.Bit();
  media->name = row.Text();
  media->description = row.Text();
  media->software_name = row.Text();
}

Result<KnownSet> ReadSet(Connection& connection, const Statement& statement) {
  KnownSet known;
  BackupSet& set = known.set;
  Row row(statement);
  const std::int64_t backup_set_id = row.Integer();
  const std::int64_t media_set_id = row.Integer();
  const std::int64_t media_number = row.Integer();
  ReadWhatItIs(row, &set);
  ReadItsLog(row, &set);
  set.start_unix_s = row.Integer();
  set.finish_unix_s = row.Integer();
  set.start_unix_us = row.Integer();
  set.finish_unix_us = row.Integer();
  set.expiration_unix_s = row.Integer();
  set.backup_size_bytes = static_cast<std::uint64_t>(row.Integer());
  set.compressed_size_bytes = static_cast<std::uint64_t>(row.Integer());
  known.expired = row.Bit();
  set.database_created_unix_s = row.Integer();
  set.digest = row.Bytes();
  set.time_zone_quarter_hours = static_cast<std::int8_t>(row.Integer());
  ReadItsMedia(row, &known.media);
  known.media.media_sequence_number = static_cast<std::uint16_t>(media_number);
  set.software_major = static_cast<std::uint32_t>(row.Integer());
  set.software_minor = static_cast<std::uint32_t>(row.Integer());
  set.software_build = static_cast<std::uint32_t>(row.Integer());

  CAPSTAN_ASSIGN_OR_RETURN(Statement places, connection.Prepare(kPlaces));
  places.Bind(media_set_id, media_number, backup_set_id, set.position);
  for (;;) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool more, places.Step());
    if (!more) {
      return known;
    }
    known.places.push_back({.family_number = static_cast<std::uint16_t>(places.Integer(0)),
                            .mirror = static_cast<std::uint16_t>(places.Integer(1)),
                            .device_class = ClassOf(places.Integer(2)),
                            .target = places.Text(3)});
  }
}

// The newest set of which `condition` is true, and its backup_set_id. Nullopt if there is none.
struct Newest {
  std::int64_t backup_set_id = 0;
  KnownSet known;
};
Result<std::optional<Newest>> SelectNewest(Connection& connection, std::string_view database_name,
                                           std::string_view condition, std::int64_t after) {
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement select,
      connection.Prepare(fmt::format("{} AND {} AND s.backup_set_id > ?2 ORDER BY s.last_lsn DESC, "
                                     "s.backup_set_id DESC LIMIT 1",
                                     kSets, condition)));
  select.Bind(database_name, after);
  CAPSTAN_ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) {
    return std::optional<Newest>();
  }
  CAPSTAN_ASSIGN_OR_RETURN(KnownSet known, ReadSet(connection, select));
  return std::optional(Newest{.backup_set_id = select.Integer(0), .known = std::move(known)});
}

}  // namespace

Result<std::vector<KnownSet>> SelectSets(Connection& connection, std::string_view database_name) {
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement select,
      connection.Prepare(fmt::format("{} ORDER BY s.last_lsn, s.backup_set_id", kSets)));
  select.Bind(database_name);
  std::vector<KnownSet> sets;
  for (;;) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) {
      return sets;
    }
    CAPSTAN_ASSIGN_OR_RETURN(KnownSet known, ReadSet(connection, select));
    sets.push_back(std::move(known));
  }
}

Result<ChainEnd> SelectChainEnd(Connection& connection, std::string_view database_name) {
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement limits,
      connection.Prepare("SELECT backups_after, max(backups_after, log_after) FROM "
                         "catalog_database WHERE name = ?"));
  limits.Bind(database_name);
  CAPSTAN_RETURN_IF_ERROR(limits.Step().status());  // of an unknown database both are 0

  ChainEnd end;
  CAPSTAN_ASSIGN_OR_RETURN(
      auto base,
      SelectNewest(connection, database_name,
                   "s.type = 'D' AND s.is_copy_only = 0 AND s.is_expired = 0", limits.Integer(0)));
  if (base) {
    end.base = std::move(base->known);
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      auto start, SelectNewest(connection, database_name,
                               "s.type IN ('D', 'I') AND s.restarts_log = 1", limits.Integer(1)));
  if (!start) {
    return end;
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      auto log, SelectNewest(connection, database_name, "s.type = 'L' AND s.is_copy_only = 0",
                             start->backup_set_id));
  end.begins_log_chain = !log;
  const BackupSet& last = log ? log->known.set : start->known.set;
  end.log_from = last.last_lsn;
  end.recovery_fork = last.recovery_fork;
  return end;
}

Status MarkExpired(Connection& connection, const std::vector<Guid>& backup_set_guids) {
  for (const Guid& guid : backup_set_guids) {
    CAPSTAN_RETURN_IF_ERROR(connection.Run(
        "UPDATE catalog_backup_set SET is_expired = 1 WHERE backup_set_uuid = ? AND visible = 1",
        guid.ToString()));
    if (connection.changes() == 0) {
      return Error(Code::kNotFound, "the history has no backup set {}", guid.ToString());
    }
  }
  return OkStatus();
}

}  // namespace capstan::catalog
