// SqliteDifferentialSession: a consistent view of a database, of which it hands out the pages that
// are not as a full backup has them. Which ones: from the log's frames, if none is missing since
// then; else by comparing every page with the full backup's hashes; else, without those, all. Free
// pages are left out: what the full backup has there is as good as anything.
//
// Threads: as BackupSession says.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/sqlite/log/base_pages.h"
#include "server/writers/sqlite/log/changed_pages.h"
#include "server/writers/sqlite/log/sqlite_log_keeper.h"
#include "server/writers/sqlite/sqlite_free_pages.h"
#include "server/writers/sqlite/sqlite_lsn_clock.h"
#include "server/writers/sqlite/sqlite_view.h"
#include "server/writers/writer_state_tracker.h"

namespace capstan::writers {

class SqliteDifferentialSession final : public BackupSession {
 public:
  struct Parts {
    SqliteView view;
    SqliteFreePages free_pages;
    DatabaseDescription description;
    SqliteLsns lsns;
    Guid fork;
    std::string writer_data;
    std::optional<ChangedPages> changes;
    std::shared_ptr<BasePages> pages;
    SqliteLogKeeper::Claim log;  // if a gap in the log ends here, it goes on from the view
    std::unique_ptr<WriterActivity> activity;
  };
  explicit SqliteDifferentialSession(Parts parts);

  const DatabaseDescription& description() const override { return parts_.description; }
  LsnRange lsns() const override {
    return {
        .first = parts_.lsns.last, .last = parts_.lsns.last, .checkpoint = parts_.lsns.checkpoint};
  }
  Guid recovery_fork() const override { return parts_.fork; }
  std::string writer_data() const override { return parts_.writer_data; }
  Result<std::optional<Extent>> NextExtent(std::uint32_t volume, std::uint32_t length_max) override;
  Status ReadExtent(const Extent& extent, std::span<std::byte> target) override;
  Status End() override;
  void Committed() override;

 private:
  // Of pages that are not compared with hashes.
  bool IsWanted(std::uint32_t page) const;
  // Moves next_ to the next run of changed pages; its length in pages, 0: there is none.
  Result<std::uint32_t> NextRun(std::uint32_t pages_max);
  Result<std::uint32_t> NextRunByHash(std::uint32_t pages_max);
  std::uint32_t page_count() const;

  Parts parts_;
  bool ended_ = false;
  // Of NextExtent's thread:
  std::uint32_t next_ = 1;            // page
  std::uint32_t scanned_ = 0;         // the last page that was compared
  std::vector<std::uint32_t> found_;  // changed pages up to it, from found_at_ on still to come
  std::size_t found_at_ = 0;
  std::vector<std::byte> window_;
};

}  // namespace capstan::writers
