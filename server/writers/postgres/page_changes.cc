#include "server/writers/postgres/page_changes.h"

#include "server/writers/postgres/page_checksum.h"

namespace capstan::writers {
namespace {

// What initdb writes before there is any log. Such a page has not been changed since.
constexpr Lsn kBootstrapLsn{40};

enum class Fate { kSkip, kTake, kTakeAsZeros };

}  // namespace

PageChanges::PageChanges(const PostgresSet& base, Lsn since)
    : since_(since),
      page_bytes_(base.block_bytes),
      // The log begins with its second segment; smaller numbers are marks that stand for no log.
      first_real_lsn_(base.wal_segment_bytes),
      base_unix_us_(static_cast<std::int64_t>(base.start_unix_us)),
      base_folders_(base.database_folders.begin(), base.database_folders.end()) {}

bool PageChanges::CanCompare(const RelationFile& relation, const PostgresDatabaseFolder& folder,
                             std::int64_t born_unix_us) const {
  // Changes of the other forks are not all logged with their LSN.
  return relation.fork == RelationFork::kMain && born_unix_us < base_unix_us_ &&
         (folder.database_oid == 0 || base_folders_.contains(folder));
}

std::vector<PageChanges::Run> PageChanges::Find(std::span<const std::byte> bytes) const {
  std::vector<Run> runs;
  for (std::size_t at = 0; at < bytes.size(); at += page_bytes_) {
    const std::span<const std::byte> page = bytes.subspan(at, page_bytes_);
    const DataPageHeader header = ReadDataPageHeader(page);
    Fate fate = Fate::kSkip;
    if (header.is_new() && IsAllZero(page)) {
      fate = Fate::kTakeAsZeros;
    } else if (header.lsn >= since_ ||
               (header.lsn.value < first_real_lsn_ && header.lsn != kBootstrapLsn)) {
      fate = Fate::kTake;
    }
    if (fate == Fate::kSkip) {
      continue;
    }
    const bool zeros = fate == Fate::kTakeAsZeros;
    if (!runs.empty() && runs.back().zeros == zeros &&
        runs.back().offset + runs.back().length == at) {
      runs.back().length += page_bytes_;
    } else {
      runs.push_back({.offset = at, .length = page_bytes_, .zeros = zeros});
    }
  }
  return runs;
}

}  // namespace capstan::writers
