// SqliteLogSession: hands out the kept log of a database as one file: a block that says where it
// begins, the spool's blocks as they are, a block that says until when there was nothing else.
//
// With LogTail::kNoRecovery nobody writes to the database from BeginBackup on: until the session
// goes, or, once it is committed, until the database is restored or opened again.
// Threads: as BackupSession says.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/sqlite/log/sqlite_log_keeper.h"
#include "server/writers/writer_state_tracker.h"

namespace capstan::writers {

class SqliteLogSession final : public BackupSession {
 public:
  struct Parts {
    std::string path;
    DatabaseDescription description;  // without files
    std::string logical_name;
    SqliteLogTracker::Stretch log;
    std::shared_ptr<SqliteLogTracker> tracker;
    std::shared_ptr<SqliteLogKeeper> keeper;
    bool copy_only = false;
    std::optional<SqliteLogKeeper::Tail> tail;
    std::unique_ptr<WriterActivity> activity;
  };
  explicit SqliteLogSession(Parts parts);
  ~SqliteLogSession() override;

  const DatabaseDescription& description() const override { return parts_.description; }
  LsnRange lsns() const override {
    return {.first = parts_.log.first, .last = parts_.log.last, .checkpoint = parts_.log.first};
  }
  Guid recovery_fork() const override { return fork_; }
  Result<std::optional<Extent>> NextExtent(std::uint32_t volume, std::uint32_t length_max) override;
  Status ReadExtent(const Extent& extent, std::span<std::byte> target) override;
  Status End() override;
  void Committed() override;

 private:
  Parts parts_;
  const Guid fork_;
  std::string head_;
  std::string foot_;
  std::uint64_t size_ = 0;
  std::uint64_t next_ = 0;
  bool tail_noted_ = false;
};

}  // namespace capstan::writers
