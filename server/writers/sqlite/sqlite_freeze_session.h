// SqliteFreezeSession: an SQLite database prepared for a snapshot, frozen and thawed.
//
// Frozen, a write fence stands (sqlite_write_fence.h), and both files are synced: a snapshot of the
// volume, and a copy file by file, hold the same state. The WAL is a file of its own in the
// description (type L), in WAL mode always, so that the list does not depend on the moment.
// Threads: as FreezeSession says.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "server/writers/database_writer.h"
#include "server/writers/sqlite/sqlite_file_guard.h"
#include "server/writers/sqlite/sqlite_lsn_clock.h"
#include "server/writers/sqlite/sqlite_view.h"
#include "server/writers/sqlite/sqlite_write_fence.h"
#include "server/writers/writer_state_tracker.h"

namespace capstan::writers {

class SqliteFreezeSession final : public FreezeSession {
 public:
  struct Parts {
    std::shared_ptr<WriterStateTracker> tracker;
    std::shared_ptr<SqliteLsnClock> lsn_clock;
  };
  // Error 65005 if there is no database that can be read.
  static Result<std::unique_ptr<SqliteFreezeSession>> Begin(const std::string& location,
                                                            const std::string& logical_name,
                                                            Parts parts);
  ~SqliteFreezeSession() override;

  const DatabaseDescription& description() const override { return description_; }
  Lsn last_lsn() const override { return lsns_.last; }
  Lsn checkpoint_lsn() const override { return lsns_.checkpoint; }
  // Error 65005; kCancelled as it is.
  Status Freeze(const FreezeOptions& options) override;
  Status Thaw() override;
  void End() override;

 private:
  SqliteFreezeSession(std::string logical_name, std::string path, SqliteFileGuard guard,
                      Parts parts);

  Status RaiseFence(const FreezeOptions& options);
  // Takes down what the view shows and, of a frozen database, how its files stand.
  Status Describe(bool frozen);
  Status DescribeWal(DatabaseFile& wal, bool frozen) const;
  // What the database software has not synced yet.
  Status SyncFiles() const;

  const std::string logical_name_;
  const std::shared_ptr<SqliteLsnClock> lsn_clock_;
  const std::string path_;  // symbolic links resolved
  SqliteFileGuard guard_;   // outlives the connections of fence and view
  DatabaseDescription description_;
  SqliteLsns lsns_;
  std::unique_ptr<WriterActivity> activity_;
  // While frozen. The view goes first: the fence tidies up if it is the last connection.
  std::optional<SqliteWriteFence> fence_;
  std::optional<SqliteView> view_;
};

}  // namespace capstan::writers
