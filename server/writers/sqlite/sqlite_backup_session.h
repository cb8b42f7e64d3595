// SqliteBackupSession: hands out a consistent view of one SQLite database, front to back. Free
// pages are handed out as zeros.
//
// What an interrupted backup has copied is compared with the view, byte by byte: where they are the
// same it does not matter who has read them, or when. So what is kept goes the way of what is read
// (the check of pages, the hashes of a base), and only the copying is left out.
//
// Lives from SqliteWriter::BeginBackup to End. Threads: as BackupSession says.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "server/writers/byte_ranges.h"
#include "server/writers/database_writer.h"
#include "server/writers/page_cache_guard.h"
#include "server/writers/sqlite/log/base_pages.h"
#include "server/writers/sqlite/log/sqlite_log_keeper.h"
#include "server/writers/sqlite/sqlite_free_pages.h"
#include "server/writers/sqlite/sqlite_lsn_clock.h"
#include "server/writers/sqlite/sqlite_page_check.h"
#include "server/writers/sqlite/sqlite_view.h"
#include "server/writers/writer_state_tracker.h"
#include "vdi/base/mutex.h"

namespace capstan::writers {

// What makes a full backup the beginning of a chain.
struct ChainBegin {
  Guid fork;
  std::string writer_data;
  SqliteLogKeeper::Claim log;        // keeps the log from the view on; none: no log is kept
  std::shared_ptr<BasePages> pages;  // null: no differential backup can be measured against it
  std::string folder;                // of `pages`
  std::string base;                  // their id
};

class SqliteBackupSession final : public BackupSession {
 public:
  struct Parts {
    SqliteView view;
    SqliteFreePages free_pages;
    DatabaseDescription description;
    SqliteLsns lsns;
    bool drop_page_cache_behind;
    std::unique_ptr<WriterActivity> activity;
    ChainBegin chain;
  };
  explicit SqliteBackupSession(Parts parts);
  ~SqliteBackupSession() override;

  // WITH CHECKSUM: before the first extent. `on_page_error` as in BackupOptions, and set.
  Status VerifyPages(std::function<Status(const PageError&)> on_page_error);

  const DatabaseDescription& description() const override { return description_; }
  LsnRange lsns() const override {
    return {.first = lsns_.last, .last = lsns_.last, .checkpoint = lsns_.checkpoint};
  }
  Guid recovery_fork() const override { return chain_.fork; }
  std::string writer_data() const override { return chain_.writer_data; }
  Result<std::optional<Extent>> NextExtent(std::uint32_t volume, std::uint32_t length_max) override
      CAPSTAN_EXCLUDES(mutex_);
  // kFailedPrecondition once an extent was handed out.
  Result<bool> Keeps(const Extent& extent, std::span<const std::byte> bytes) override
      CAPSTAN_EXCLUDES(mutex_);
  Status ReadExtent(const Extent& extent, std::span<std::byte> target) override;
  Status End() override;
  void Committed() override;

 private:
  // From now on nothing more is kept.
  void BeginReading() CAPSTAN_EXCLUDES(mutex_);
  // False: the view does not hold these bytes from `offset` on.
  Result<bool> Holds(std::uint64_t offset, std::span<const std::byte> bytes,
                     PageCacheVisit& visit) const;
  // Bytes of the view that are in the backup now: the check of pages has them as they are in the
  // database, the hashes as the backup has them.
  Status CheckPages(std::uint64_t offset, std::uint64_t length);
  Status NoteBytes(std::uint64_t offset, std::span<const std::byte> bytes);
  Status Fail(Status status);

  const DatabaseDescription description_;
  const SqliteLsns lsns_;
  ChainBegin chain_;
  const std::unique_ptr<WriterActivity> activity_;
  std::optional<SqliteView> view_;  // none after End
  const SqliteFreePages free_pages_;
  std::optional<PageCacheGuard> page_cache_;  // reads through the view's descriptor
  const bool drop_page_cache_behind_;
  std::unique_ptr<SqlitePageCheck> page_check_;

  // Of NextExtent's thread:
  std::uint64_t next_offset_ = 0;
  ByteRanges kept_;  // does not change any more

  Mutex mutex_;
  bool reading_ CAPSTAN_GUARDED_BY(mutex_) = false;
  ByteRanges keeping_ CAPSTAN_GUARDED_BY(mutex_);  // before `reading_`: what is kept so far
};

}  // namespace capstan::writers
