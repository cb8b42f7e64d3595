// PageChanges: which pages of a relation have changed since a full backup, by their LSNs.
//
// A page carries the LSN of the end of the log record that changed it last. At the start of the
// full backup a checkpoint brought everything older to disk, so a page that is older than that
// start is on disk now as it was read then, up to hints that recovery does without. Pages without a
// meaningful LSN (never used; written without log) are taken always.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <vector>

#include "server/writers/chain.h"
#include "server/writers/postgres/cluster_files.h"
#include "server/writers/postgres/postgres_set.h"

namespace capstan::writers {

class PageChanges {
 public:
  // `base` is what the base says of itself, `since` its start (LsnRange::checkpoint).
  PageChanges(const PostgresSet& base, Lsn since);

  // False: the file is to be taken whole. A file that may not have been there when the base was
  // made is new, whatever the LSNs of its pages are: a database may be made by copying files.
  // `born_unix_us`: when the file was made; 0 = the file system does not tell.
  bool CanCompare(const RelationFile& relation, const PostgresDatabaseFolder& folder,
                  std::int64_t born_unix_us) const;

  struct Run {
    std::uint64_t offset = 0;  // in the bytes given
    std::uint64_t length = 0;
    bool zeros = false;
  };
  // The pages to take, those side by side as one.
  // REQUIRES: bytes.size() is a multiple of the page size.
  std::vector<Run> Find(std::span<const std::byte> bytes) const;

  std::uint32_t page_bytes() const { return page_bytes_; }

 private:
  Lsn since_;
  std::uint32_t page_bytes_;
  std::uint64_t first_real_lsn_;
  std::int64_t base_unix_us_;
  std::set<PostgresDatabaseFolder> base_folders_;
};

}  // namespace capstan::writers
