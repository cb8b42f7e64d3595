#include "server/media/foreign_set.h"

#include "server/media/mtf_layout.h"
#include "server/media/sqlserver/config_records.h"

namespace capstan::media {
namespace {

std::optional<std::string> OrNull(std::string text) {
  return text.empty() ? std::nullopt : std::optional(std::move(text));
}

// The types of backup that MTF 1.00a knows, by the numbers that HEADERONLY has for those of other
// programs.
std::optional<int> TypeOf(std::uint32_t attributes) {
  if ((attributes & kSetDifferential) != 0) return 5;
  if ((attributes & kSetIncremental) != 0) return 16;
  if ((attributes & kSetDaily) != 0) return 17;
  if ((attributes & (kSetNormal | kSetCopy)) != 0) return 1;
  return std::nullopt;
}

std::optional<std::string> DescriptionOf(std::optional<int> type) {
  switch (type.value_or(0)) {
    case 1:
      return "Normal";
    case 5:
      return "Differential";
    case 16:
      return "Incremental";
    case 17:
      return "Daily";
    default:
      return std::nullopt;
  }
}

}  // namespace

ForeignSet ParseForeignSet(Bytes block) {
  const auto fixed = LoadStruct<SetBlock>(block);
  const std::uint8_t strings = fixed.header.string_type;
  ForeignSet set;
  set.by_sql_server = fixed.software_vendor_id == kSqlServerVendorId;
  set.password_protected = fixed.password.size != 0;
  SetFacts& facts = set.facts;
  facts.name = OrNull(BlockString(block, fixed.name, strings));
  facts.description = OrNull(BlockString(block, fixed.description, strings));
  facts.user_name = OrNull(BlockString(block, fixed.user_name, strings));
  facts.backup_type = TypeOf(fixed.attributes);
  facts.type_description = DescriptionOf(facts.backup_type);
  facts.compressed = (fixed.header.attributes & kSetIsCompressed) != 0;
  facts.start_date = LocalDateText(fixed.date);
  facts.software_vendor_id = int{fixed.software_vendor_id};
  facts.software_major = int{fixed.software_major};
  facts.software_minor = int{fixed.software_minor};
  facts.is_copy_only = (fixed.attributes & kSetCopy) != 0;
  if (fixed.time_zone != kTimeZoneUnset) {
    facts.time_zone = int{fixed.time_zone};
  }
  if (set.by_sql_server) {
    sqlserver::ParseSetOsData(block, &facts);
  }
  return set;
}

void ParseForeignVolume(Bytes block, ForeignSet* set) {
  const auto fixed = LoadStruct<VolumeBlock>(block);
  if (!set->facts.machine_name) {
    set->facts.machine_name =
        OrNull(BlockString(block, fixed.machine_name, fixed.header.string_type));
  }
}

}  // namespace capstan::media
