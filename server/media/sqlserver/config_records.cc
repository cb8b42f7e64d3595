#include "server/media/sqlserver/config_records.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "server/media/sqlserver/collation.h"

namespace capstan::media::sqlserver {
namespace {

struct Record {
  std::uint32_t tag = 0;
  Bytes bytes;
};

// The records of a configuration; nothing if they do not tile it.
std::optional<std::vector<Record>> SplitRecords(Bytes content) {
  std::vector<Record> records;
  while (!content.empty()) {
    if (content.size() < sizeof(RecordHead)) {
      return std::nullopt;
    }
    const auto head = LoadStruct<RecordHead>(content);
    if (head.length < sizeof(RecordHead) || head.length > content.size()) {
      return std::nullopt;
    }
    records.push_back({head.tag, content.first(head.length)});
    content = content.subspan(head.length);
  }
  return records;
}

template <typename T>
std::optional<T> Load(Bytes record) {
  return record.size() < sizeof(T) ? std::nullopt : std::optional(LoadStruct<T>(record));
}

// A field of a packed structure by value: no reference may be bound to it.
template <typename T>
T Copy(T value) {
  return value;
}

std::optional<std::string> Text(Bytes record, TapeAddress address) {
  std::string text = BlockString(record, address, kStringUtf16);
  return text.empty() ? std::nullopt : std::optional(std::move(text));
}

std::optional<Guid> GuidOrNull(const GuidBytes& bytes) {
  const Guid guid{.bytes = bytes};
  return guid.is_zero() ? std::nullopt : std::optional(guid);
}

struct TypeInfo {
  char code;
  int backup_type;
  const char* description;
};
constexpr TypeInfo kTypes[] = {{'D', 1, "Database"},
                               {'L', 2, "Transaction Log"},
                               {'F', 4, "File or Filegroup"},
                               {'I', 5, "Database Differential"},
                               {'G', 6, "File Differential"},
                               {'P', 7, "Partial"},
                               {'Q', 8, "Partial Differential"}};

void ApplyFlags(std::uint32_t flags, SetFacts* facts) {
  facts->flags = flags;
  facts->has_bulk_logged_data = (flags & kFlagBulkLogged) != 0;
  facts->is_snapshot = (flags & kFlagSnapshot) != 0;
  facts->is_read_only = (flags & kFlagReadOnly) != 0;
  facts->is_single_user = (flags & kFlagSingleUser) != 0;
  facts->has_backup_checksums = (flags & kFlagChecksums) != 0;
  facts->is_damaged = (flags & kFlagDamaged) != 0;
  facts->has_incomplete_metadata = (flags & kFlagIncompleteMetadata) != 0;
  facts->is_force_offline = (flags & kFlagForceOffline) != 0;
  facts->is_copy_only = (flags & kFlagCopyOnly) != 0;
}

void ApplyType(const SetRecord& fixed, SetFacts* facts) {
  facts->backup_type.reset();
  facts->type_description.reset();
  for (const TypeInfo& type : kTypes) {
    if (type.code == fixed.type) {
      facts->backup_type = type.backup_type;
      facts->type_description = type.description;
    }
  }
}

void ApplyRecovery(const SetRecord& fixed, SetFacts* facts) {
  facts->recovery_fork_id = GuidOrNull(fixed.recovery_fork_id);
  const std::optional<Guid> first_fork = GuidOrNull(fixed.first_recovery_fork_id);
  facts->first_recovery_fork_id = first_fork ? first_fork : facts->recovery_fork_id;
  if (first_fork && first_fork != facts->recovery_fork_id) {
    facts->fork_point_lsn = LsnText(fixed.fork_point_lsn);
  }
  facts->recovery_model = (fixed.status & kStatusSimple) != 0       ? "SIMPLE"
                          : (fixed.status & kStatusBulkLogged) != 0 ? "BULK-LOGGED"
                                                                    : "FULL";
  if (fixed.type == 'I' || fixed.type == 'G' || fixed.type == 'Q') {
    facts->differential_base_guid = GuidOrNull(fixed.differential_base_guid);
    if (facts->differential_base_guid) {
      facts->differential_base_lsn = LsnText(fixed.differential_base_lsn);
    }
  }
}

// What stands only at the end of a set.
void ApplyOutcome(const SetRecord& fixed, Bytes record, SetFacts* facts) {
  facts->backup_size = Copy(fixed.backup_size);
  facts->compressed_backup_size = Copy(fixed.backup_size);
  if (fixed.major >= kMajorWithSizes &&
      record.size() >= sizeof(SetRecord) + sizeof(SetRecordSizes)) {
    facts->compressed_backup_size =
        Copy(LoadStruct<SetRecordSizes>(record.subspan(sizeof(SetRecord))).compressed_backup_size);
  }
  facts->first_lsn = LsnText(fixed.first_lsn);
  facts->last_lsn = LsnText(fixed.last_lsn);
  facts->checkpoint_lsn = LsnText(fixed.checkpoint_lsn);
  facts->finish_date = LocalDateText(fixed.finish);
  facts->begins_log_chain = fixed.type == 'L' && fixed.log_chain_start == fixed.first_lsn;
}

bool ApplySet(Bytes record, ConfigurationPlace place, ForeignSet* set) {
  const std::optional<SetRecord> fixed = Load<SetRecord>(record);
  if (!fixed) {
    return false;
  }
  SetFacts& facts = set->facts;
  ApplyFlags(fixed->flags, &facts);
  ApplyType(*fixed, &facts);
  ApplyRecovery(*fixed, &facts);
  facts.server_name = Text(record, fixed->server_name);
  facts.database_name = Text(record, fixed->database_name);
  facts.database_version = Copy(fixed->database_version);
  facts.database_creation_date = LocalDateText(fixed->database_created);
  facts.database_backup_lsn = LsnText(fixed->database_backup_lsn);
  facts.start_date = LocalDateText(fixed->start);
  facts.sort_order = Copy(fixed->sort_order);
  facts.code_page = 0;  // SQL Server says so of every set
  facts.unicode_locale_id = Copy(fixed->unicode_locale_id);
  facts.unicode_comparison_style = Copy(fixed->unicode_comparison_style);
  facts.compatibility_level = Copy(fixed->compatibility_level);
  facts.software_major = Copy(fixed->major);
  facts.software_minor = Copy(fixed->minor);
  facts.software_build = Copy(fixed->build);
  facts.binding_id = GuidOrNull(fixed->binding_id);
  facts.collation = CollationName(fixed->collation, fixed->collation_sort_id);
  facts.family_guid = GuidOrNull(fixed->family_guid);
  if (fixed->major < 11) {
    facts.containment = 0;  // there was none to have
  }
  if (place == ConfigurationPlace::kEnd) {
    ApplyOutcome(*fixed, record, &facts);
  }
  return true;
}

std::optional<bool> IsPresent(const SetFacts& set, const FileRecord& fixed) {
  if (set.backup_type == 1 || fixed.pages != 0) {
    return true;
  }
  return std::nullopt;
}

bool ApplyFile(Bytes record, ConfigurationPlace place,
               const std::map<std::uint32_t, std::optional<std::string>>& filegroups,
               ForeignSet* set) {
  const std::optional<FileRecord> fixed = Load<FileRecord>(record);
  if (!fixed) {
    return false;
  }
  FileFacts& file = set->files.emplace_back();
  file.logical_name = Text(record, fixed->logical_name);
  file.physical_name = Text(record, fixed->physical_name);
  if (fixed->type == kFileData || fixed->type == kFileLog) {
    file.type = fixed->type == kFileData ? 'D' : 'L';
  }
  if (const auto group = filegroups.find(Copy(fixed->filegroup_id));
      group != filegroups.end() && fixed->type != kFileLog) {
    file.filegroup_name = group->second;
  }
  file.size = Copy(fixed->size);
  file.max_size = Copy(fixed->max_size);
  file.file_id = Copy(fixed->file_id);
  file.create_lsn = LsnText(fixed->create_lsn);
  file.drop_lsn = LsnText(fixed->drop_lsn);
  file.unique_id = GuidOrNull(fixed->unique_id);
  file.read_only_lsn = LsnText(fixed->read_only_lsn);
  file.read_write_lsn = LsnText(fixed->read_write_lsn);
  file.source_block_size = Copy(fixed->source_block_size);
  file.filegroup_id = Copy(fixed->filegroup_id);
  file.differential_base_lsn = LsnText(fixed->differential_base_lsn);
  file.differential_base_guid = Guid{.bytes = fixed->differential_base_guid};
  if (fixed->read_only_lsn == Lsn{} && set->facts.is_read_only == false) {
    file.is_read_only = false;  // it never was
  }
  if (place == ConfigurationPlace::kEnd) {
    file.backup_size = Copy(fixed->backup_size);
    file.pages_in_set = Copy(fixed->pages);
    file.is_present = IsPresent(set->facts, *fixed);
  }
  return true;
}

}  // namespace

std::string LsnText(const Lsn& lsn) {
  const std::string text =
      fmt::format("{}{:010}{:05}", Copy(lsn.vlf), Copy(lsn.block), Copy(lsn.slot));
  const std::size_t start = text.find_first_not_of('0');
  return start == std::string::npos ? "0" : text.substr(start);
}

void ParseSetOsData(Bytes block, SetFacts* facts) {
  const TapeAddress address = LoadStruct<SetBlock>(block).header.os_data;
  if (address.size < kSetOsDataSize || address.offset + kSetOsDataSize > block.size()) {
    return;
  }
  std::array<std::byte, sizeof(SetOsData)> bytes{};
  std::copy_n(block.begin() + address.offset, kSetOsDataSize, bytes.begin());
  const auto data = LoadStruct<SetOsData>(bytes);
  facts->backup_set_guid = GuidOrNull(data.backup_set_guid);
  facts->expiration_date = LocalDateText(data.expiration);
}

bool ParseRaid(Bytes content, MediaHeader* header) {
  const std::optional<RaidStream> raid = Load<RaidStream>(content);
  if (!raid || raid->magic != RaidStream().magic || raid->family_count == 0 ||
      raid->family_number == 0 || raid->family_number > raid->family_count) {
    return false;
  }
  header->media_set_id.bytes = raid->media_set_id;
  header->family_count = raid->family_count;
  header->family_number = raid->family_number;
  header->mirror_count = raid->mirror_count;
  return true;
}

bool ParseConfiguration(Bytes content, ConfigurationPlace place, ForeignSet* set) {
  const std::optional<std::vector<Record>> records = SplitRecords(content);
  if (!records || records->empty() || records->front().tag != kSetRecord) {
    return false;
  }
  ForeignSet parsed = *set;
  parsed.files.clear();
  std::map<std::uint32_t, std::optional<std::string>> filegroups;
  for (const Record& record : *records) {
    bool sound = true;
    if (record.tag == kSetRecord) {
      sound = ApplySet(record.bytes, place, &parsed);
    } else if (record.tag == kFilegroupRecord) {
      const std::optional<FilegroupRecord> fixed = Load<FilegroupRecord>(record.bytes);
      sound = fixed.has_value();
      if (sound) {
        filegroups[Copy(fixed->filegroup_id)] = Text(record.bytes, fixed->name);
      }
    } else if (record.tag == kFileRecord) {
      sound = ApplyFile(record.bytes, place, filegroups, &parsed);
    }
    if (!sound) {
      return false;
    }
  }
  parsed.final_known = place == ConfigurationPlace::kEnd;
  *set = std::move(parsed);
  return true;
}

}  // namespace capstan::media::sqlserver
