#include "server/media/sqlserver/verifier.h"

#include <map>

#include "server/media/mtf_layout.h"
#include "server/messages/messages.h"

namespace capstan::media::sqlserver {
namespace {

constexpr int kMajorOf2008 = 10;

Status Damaged(std::string_view what) {
  return SqlError(3189).WithHint(std::string(what));
}

// The families' sizes against what the set says of itself.
Status CheckSizes(const std::vector<FamilyFindings>& families) {
  const ForeignSet& set = families.front().facts;
  std::uint64_t pages = 0;
  std::uint64_t data_size = 0;
  for (const FamilyFindings& family : families) {
    pages += family.pages;
    data_size += family.data_size;
  }
  std::uint64_t pages_expected = 0;
  for (const FileFacts& file : set.files) {
    pages_expected += file.type == 'D' ? file.pages_in_set.value_or(0) : 0;
  }
  // There may be more: extents that changed meanwhile are there twice, and the last one is filled
  // up.
  if (pages < pages_expected) {
    return Damaged("the set says that it holds more pages than there are");
  }
  // What is counted for a set that does not begin its medium is not known, nor for version 9.0.
  const bool counted = families.front().set.position == 1 &&
                       set.facts.software_major.value_or(0) >= kMajorOf2008 &&
                       families.front().mark_size != 0;
  if (counted && data_size - families.size() * families.front().mark_size !=
                     set.facts.backup_size.value_or(0)) {
    return Damaged("the set says that it has another size than it has");
  }
  return OkStatus();
}

}  // namespace

Status VerifyTogether(const std::vector<FamilyFindings>& families) {
  const FamilyFindings& first = families.front();
  std::map<std::uint16_t, const FamilyFindings*> by_number;
  for (const FamilyFindings& family : families) {
    if (family.header.media_set_id != first.header.media_set_id ||
        family.header.family_count != first.header.family_count ||
        family.facts.facts.backup_set_guid != first.facts.facts.backup_set_guid) {
      return SqlError(3258, family.device_name);
    }
    const auto [seen, is_new] = by_number.emplace(family.header.family_number, &family);
    if (!is_new) {
      return SqlError(3227, family.device_name, family.header.family_number,
                      seen->second->device_name);
    }
  }
  if (families.size() < first.header.family_count) {
    return SqlError(3132, first.header.family_count, families.size());
  }
  return CheckSizes(families);
}

}  // namespace capstan::media::sqlserver
