// SqliteBackupSession: hands out a consistent view of one SQLite database, front to back.
//
// Lives from SqliteWriter::BeginBackup to End. Threads: as BackupSession says.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "server/writers/database_writer.h"
#include "server/writers/sqlite/page_cache_guard.h"
#include "server/writers/sqlite/sqlite_lsn_clock.h"
#include "server/writers/sqlite/sqlite_page_check.h"
#include "server/writers/sqlite/sqlite_view.h"
#include "server/writers/sqlite/writer_state_tracker.h"

namespace capstan::writers {

class SqliteBackupSession final : public BackupSession {
 public:
  struct Parts {
    SqliteView view;
    DatabaseDescription description;
    SqliteLsns lsns;
    bool drop_page_cache_behind;
    std::unique_ptr<WriterActivity> activity;
  };
  explicit SqliteBackupSession(Parts parts);
  ~SqliteBackupSession() override;

  // WITH CHECKSUM: before the first extent. `on_page_error` as in BackupOptions, and set.
  Status VerifyPages(std::function<Status(const PageError&)> on_page_error);

  const DatabaseDescription& description() const override { return description_; }
  Lsn first_lsn() const override { return lsns_.last; }
  Lsn last_lsn() const override { return lsns_.last; }
  Lsn checkpoint_lsn() const override { return lsns_.checkpoint; }
  Result<std::optional<Extent>> NextExtent(std::uint32_t volume, std::uint32_t length_max) override;
  Status ReadExtent(const Extent& extent, std::span<std::byte> target) override;
  Status End() override;

 private:
  const DatabaseDescription description_;
  const SqliteLsns lsns_;
  const std::unique_ptr<WriterActivity> activity_;
  std::optional<SqliteView> view_;            // none after End
  std::optional<PageCacheGuard> page_cache_;  // reads through the view's descriptor
  std::unique_ptr<SqlitePageCheck> page_check_;
  std::uint64_t next_offset_ = 0;  // of NextExtent's thread
};

}  // namespace capstan::writers
