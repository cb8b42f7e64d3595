// PostgresPageCheck: RESTORE WITH CHECKSUM, the pages of a cluster as they come back from a backup.
//
// A page that the log of the set writes anew may be half old, half new in the backup: it is bad
// only if it is older than that log. Where the log begins, and whether the cluster has checksums at
// all, comes with the set's last extents, so such pages are judged at the end.
//
// Threads: as PageCheck says.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/postgres/bundle.h"
#include "vdi/base/mutex.h"

namespace capstan::writers {

class PostgresPageCheck final : public PageCheck {
 public:
  static Result<std::unique_ptr<PageCheck>> Begin(std::span<const DatabaseFile> files,
                                                  PageErrorHandler on_page_error);

  Status Take(const Extent& extent, std::span<const std::byte> bytes) override
      CAPSTAN_EXCLUDES(mutex_);
  void Miss(std::uint32_t file_index, std::uint64_t offset, std::uint64_t length) override;
  Status Finish() override CAPSTAN_EXCLUDES(mutex_);

 private:
  struct Doubt {
    PageError error;
    Lsn lsn;
    bool without_checksums = false;  // it is right, if the cluster has none
  };

  PostgresPageCheck(std::span<const DatabaseFile> files, PageErrorHandler on_page_error)
      : files_(files.begin(), files.end()), on_page_error_(std::move(on_page_error)) {}

  void TakePages(const DatabaseFile& file, const BundlePart& part) CAPSTAN_EXCLUDES(mutex_);
  // Of the log file: what tells of the whole set.
  void TakeLogPart(const BundlePart& part) CAPSTAN_EXCLUDES(mutex_);

  const std::vector<DatabaseFile> files_;
  const PageErrorHandler on_page_error_;

  Mutex mutex_;
  std::vector<Doubt> doubts_ CAPSTAN_GUARDED_BY(mutex_);
  std::optional<Lsn> start_ CAPSTAN_GUARDED_BY(mutex_);
  bool checksums_ CAPSTAN_GUARDED_BY(mutex_) = true;  // until pg_control says otherwise
};

}  // namespace capstan::writers
