// FileFeed: one volume's share of a cluster, as stretches to be backed up, in order, a step ahead
// of whoever reads them.
//
// A thread opens each file at its turn and takes the size that it has then: what grows later is in
// the log, what shrinks reads as zeros and is cut off again by the log. A full backup takes every
// file as one stretch, or what is left of it where an interrupted backup's copy is kept. A
// differential one takes of a relation the pages that have changed since its
// base, which the thread finds by reading all of them; of everything that has no LSN it takes all.
//
// Threads: Next from one at a time. Owns the thread; it waits only for Next, and ends with the
// feed.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/writers/page_cache_guard.h"
#include "server/writers/postgres/cluster_files.h"
#include "server/writers/postgres/cluster_manifest.h"
#include "server/writers/postgres/kept_files.h"
#include "server/writers/postgres/page_changes.h"
#include "server/writers/postgres/page_scan.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

// A file while stretches of it are to be read. Empty files are closed from the beginning on.
struct BackupFile {
  std::uint32_t place = 0;
  std::string path;  // relative to the place
  std::string physical_name;
  std::uint16_t mode = 0600;
  std::uint64_t size_bytes = 0;   // at its turn
  std::int64_t born_unix_us = 0;  // 0: the file system does not tell
  std::optional<RelationFile> relation;
  UniqueFd fd;
  std::optional<PageCacheGuard> page_cache;  // none of an empty file
  // Of what there is no file, or none that stays as it is.
  std::vector<std::byte> content;
  bool is_manifest = false;
};

struct FileStretch {
  std::shared_ptr<BackupFile> file;  // shared: its stretches may be in several extents
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool zeros = false;  // all of it reads as zeros
};

class FileFeed {
 public:
  // A place and what is in it; outlives the feed.
  struct Source {
    std::uint32_t place_index = 0;
    const ClusterRoot* place = nullptr;
    const std::vector<ClusterFolder>* folders = nullptr;
  };
  struct Options {
    std::vector<Source> sources;
    std::optional<PageChanges> changes;  // of a differential backup
    // Sealed; outlives the feed and the files that it hands out. Null: nothing is kept.
    const KeptFiles* kept = nullptr;
    bool drop_page_cache_behind = true;
  };
  static Result<std::unique_ptr<FileFeed>> Start(Options options);
  ~FileFeed();  // ends the thread
  FileFeed(const FileFeed&) = delete;
  FileFeed& operator=(const FileFeed&) = delete;

  // nullopt: that was all. Waits for the thread, which waits for the disk alone.
  Result<std::optional<FileStretch>> Next() CAPSTAN_EXCLUDES(mutex_);

  // What of it goes into the manifest. REQUIRES: Next has returned nullopt.
  ClusterManifest TakeManifest() CAPSTAN_EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kAheadMax = 64;  // stretches

  explicit FileFeed(Options options);

  void Work() CAPSTAN_EXCLUDES(mutex_);
  Status FeedPlace(const Source& source);
  Status FeedFolder(const Source& source, const ClusterFolder& folder);
  // Null: it has vanished.
  Result<std::shared_ptr<BackupFile>> OpenFile(const Source& source, const ClusterFolder& folder,
                                               const ClusterFile& leaf, int folder_fd);
  Status FeedFile(const std::shared_ptr<BackupFile>& file, const ClusterFolder& folder);
  Status FeedRest(const std::shared_ptr<BackupFile>& file, const ByteRanges& kept);
  Status FeedChangedPages(const std::shared_ptr<BackupFile>& file);
  Status FeedPart(const std::shared_ptr<BackupFile>& file, const PageScan::Part& part);
  // kCancelled once the feed is to end.
  Status Push(FileStretch stretch) CAPSTAN_EXCLUDES(mutex_);

  const Options options_;
  ClusterManifest manifest_;      // of the thread, until done_
  std::optional<PageScan> scan_;  // of the thread, where pages are compared

  Mutex mutex_;
  CondVar changed_;
  std::deque<FileStretch> ahead_ CAPSTAN_GUARDED_BY(mutex_);
  bool done_ CAPSTAN_GUARDED_BY(mutex_) = false;  // all is in ahead_, or failure_ says why not
  bool ending_ CAPSTAN_GUARDED_BY(mutex_) = false;
  Status failure_ CAPSTAN_GUARDED_BY(mutex_);

  std::jthread thread_;  // last: joined before the rest goes
};

}  // namespace capstan::writers
