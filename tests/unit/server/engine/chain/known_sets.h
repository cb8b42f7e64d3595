// A history as the catalog tells it, one line a backup set.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "server/catalog/catalog.h"

namespace capstan::engine {

inline Guid GuidOf(std::uint8_t number) {
  Guid guid;
  guid.bytes[0] = number;
  return guid;
}

class History {
 public:
  // Each has a medium of its own, "<number>.bak"; the numbers count from 1 and are the GUIDs.
  catalog::KnownSet& Full(std::uint64_t lsn, std::int64_t finish) {
    return Add(media::SetKind::kDatabase, {lsn, lsn}, finish);
  }
  catalog::KnownSet& Differential(std::uint8_t base, std::uint64_t lsn, std::int64_t finish) {
    catalog::KnownSet& known = Add(media::SetKind::kDifferential, {lsn, lsn}, finish);
    known.set.differential_base_guid = GuidOf(base);
    return known;
  }
  catalog::KnownSet& Log(std::uint64_t first, std::uint64_t last, std::int64_t finish) {
    return Add(media::SetKind::kLog, {first, last}, finish);
  }

  const std::vector<catalog::KnownSet>& sets() const { return sets_; }
  std::vector<catalog::KnownSet>& sets() { return sets_; }

 private:
  catalog::KnownSet& Add(media::SetKind kind, std::pair<std::uint64_t, std::uint64_t> lsns,
                         std::int64_t finish) {
    const auto number = static_cast<std::uint8_t>(sets_.size() + 1);
    catalog::KnownSet known;
    known.set.backup_set_guid = GuidOf(number);
    known.set.kind = kind;
    known.set.database_name = "d";
    known.set.first_lsn = lsns.first;
    known.set.last_lsn = lsns.second;
    known.set.recovery_fork = GuidOf(100);
    known.set.finish_unix_s = finish;
    known.media.media_set_id = GuidOf(number);
    known.places.push_back({.device_class = "DISK", .target = std::to_string(number) + ".bak"});
    sets_.push_back(std::move(known));
    return sets_.back();
  }

  std::vector<catalog::KnownSet> sets_;
};

// The numbers of sets.
inline std::vector<int> NumbersOf(const std::vector<const catalog::KnownSet*>& sets) {
  std::vector<int> numbers;
  for (const catalog::KnownSet* const set : sets) {
    numbers.push_back(set->set.backup_set_guid.bytes[0]);
  }
  return numbers;
}

}  // namespace capstan::engine
