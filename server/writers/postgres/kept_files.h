// KeptFiles: what an interrupted backup of a cluster has copied already, and a new one need not
// copy again.
//
// A bundle of the interrupted backup is compared with the files as they are now. If all of its
// entries are what the new backup would make of them now, it is kept as it is, and none of these
// bytes come again. That is consistent for the same reason as reading is. A backup reads each page
// at some instant between pg_backup_start and pg_backup_stop, in no order, and the log between the
// two, which has a whole image of every page that was changed, makes one state of all of them. To
// find now that a page is as the bundle has it is to have read it now: between start and stop of
// the new backup, so that the new backup's log covers it. What it was like, and what its log said,
// while the interrupted backup was running is of no importance. In particular nothing depends on
// LSNs or times of files, and a page that was torn when it was read is not kept, unless it is torn
// on the disk as well. A relation's file that goes, or shrinks, or is made anew after it was
// compared, does so in that log, as it may after it was read.
//
// That is true of what log covers page by page. Every other file is replaced or written as a whole,
// if at all, so it is kept as a whole: with the size and the mode that it had when it was compared,
// which was its turn. A part of it is not kept.
//
// Memory: of each file of which something is kept, its ranges, and those of the bundles.
// Threads: Keep from any, several at once; the rest from any once Seal was called.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/writers/byte_ranges.h"
#include "server/writers/database_writer.h"
#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/cluster_files.h"
#include "server/writers/postgres/page_verifier.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class KeptFiles {
 public:
  // Everything in it outlives this object, and does not change.
  struct Options {
    const std::vector<ClusterRoot>* places = nullptr;
    const std::vector<std::vector<ClusterFolder>>* folders = nullptr;  // of each place
    const PageVerifier* verifier = nullptr;                            // null: not at all
    std::uint32_t relation_segment_blocks = 0;
    bool drop_page_cache_behind = true;
  };
  explicit KeptFiles(const Options& options);

  // Of one file.
  struct File {
    ByteRanges ranges;  // of a relation; none of them, if it was kept while it was empty
    struct Whole {
      std::uint16_t mode = 0;
      std::uint64_t size_bytes = 0;
    };
    std::optional<Whole> whole;  // of a file that is none
  };

  // As BackupSession::Keeps. `extent.file_index` is that of a place; nothing is kept of others.
  // kFailedPrecondition once sealed. Other errors are those of reading files.
  Result<bool> Keep(const Extent& extent, std::span<const std::byte> bytes)
      CAPSTAN_EXCLUDES(mutex_);

  // Nothing more is kept.
  void Seal() CAPSTAN_EXCLUDES(mutex_);
  // Null: nothing of the file. Valid as long as this object. REQUIRES: sealed
  const File* Find(const ClusterFile& file) const CAPSTAN_EXCLUDES(mutex_);

 private:
  // An entry of a bundle, and what it is of.
  struct Claim {
    const BundlePart* part = nullptr;
    const ClusterFolder* folder = nullptr;
    const ClusterFile* file = nullptr;
  };
  using Files = std::unordered_map<const ClusterFile*, File>;

  class Comparison;

  // nullopt: some entry is not of a file that is backed up, or two of them have the same bytes.
  std::optional<std::vector<Claim>> ClaimsOf(std::uint32_t place,
                                             const std::vector<BundlePart>& parts) const;
  std::optional<Claim> ClaimOf(std::uint32_t place, const BundlePart& part) const;
  static bool IsFree(const Files& files, const Claim& claim);
  static void Take(Files& files, const Claim& claim);
  bool AreFree(const Extent& extent, const std::vector<Claim>& claims) const
      CAPSTAN_REQUIRES(mutex_);

  const Options options_;
  std::vector<std::unordered_map<std::string_view, const ClusterFolder*>> folders_;  // by path

  mutable Mutex mutex_;
  bool sealed_ CAPSTAN_GUARDED_BY(mutex_) = false;
  Files files_ CAPSTAN_GUARDED_BY(mutex_);
  // Of each place: where the bundles that are kept stand in its virtual file.
  std::vector<ByteRanges> bundles_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::writers
