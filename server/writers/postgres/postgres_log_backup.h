// PostgresLogBackup: a log backup of a cluster: the bytes of its write-ahead log from where the log
// backup before ended up to now, read from pg_wal.
//
//   kNone        the server runs, and goes on; a record of our own is the last in the backup
//   kNoRecovery  the server is stopped in good order first, and none starts on the directory before
//                a RESTORE, as if it had just been restored WITH NORECOVERY
//   kNoTruncate  nobody is asked and nothing is changed; the log goes as far as it is valid
//
// The files of a set: the data directory, of which nothing is in it, and the log. Threads: as
// BackupSession says.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/postgres/extent_plan.h"
#include "server/writers/postgres/log_range.h"
#include "server/writers/postgres/pending_extents.h"
#include "server/writers/postgres/postgres_connection.h"
#include "server/writers/postgres/postgres_set.h"
#include "server/writers/writer_state_tracker.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class PostgresLogBackup final : public BackupSession {
 public:
  struct Source {
    std::string logical_name;
    std::unique_ptr<WriterActivity> activity;
    // Called once by Committed.
    std::function<void(Lsn)> on_committed;
  };

  // Of a running server. kOutOfRange if the log from options.log_from on is gone.
  static Result<std::unique_ptr<PostgresLogBackup>> BeginRunning(PostgresConnection connection,
                                                                 const BackupOptions& options,
                                                                 Source source);
  // Of a data directory, whether a server runs on it or not (kNoTruncate).
  static Result<std::unique_ptr<PostgresLogBackup>> BeginOffline(const std::string& data_directory,
                                                                 const BackupOptions& options,
                                                                 Source source);
  // Stops the server, then as BeginOffline (kNoRecovery). kDeadlineExceeded if it does not stop.
  static Result<std::unique_ptr<PostgresLogBackup>> BeginTailOf(const std::string& data_directory,
                                                                const BackupOptions& options,
                                                                Source source);
  ~PostgresLogBackup() override;

  const DatabaseDescription& description() const override { return description_; }
  LsnRange lsns() const override { return {.first = first_, .last = last_, .checkpoint = first_}; }
  Guid recovery_fork() const override { return fork_; }
  std::string writer_data() const override { return writer_data_; }
  Result<std::optional<Extent>> NextExtent(std::uint32_t volume, std::uint32_t length_max) override;
  Status ReadExtent(const Extent& extent, std::span<std::byte> target) override;
  // Fails if a segment was taken away while it was read.
  Status End() override;
  void Committed() override;

 private:
  // A file of pg_wal, and which one it was.
  struct Segment {
    std::string path;
    std::uint64_t inode = 0;
  };

  explicit PostgresLogBackup(Source source) : source_(std::move(source)) {}

  // `set` without what is of this backup.
  static Result<std::unique_ptr<PostgresLogBackup>> Open(const LogEnd& log, Lsn first,
                                                         PostgresSet set, Source source);
  void Describe(const PostgresSet& set);
  Result<FileStretch> OpenPiece(const WalPiece& piece);

  Source source_;
  DatabaseDescription description_;
  std::string data_directory_;
  std::string writer_data_;
  Guid fork_;
  Lsn first_;
  Lsn last_;
  LogPlace place_;
  std::deque<WalPiece> pieces_;
  std::optional<FileStretch> next_;
  PendingExtents extents_{2};  // of two files: see above
  std::vector<Segment> segments_;
  UniqueFd lock_;           // of a tail: nobody restores into the directory
  bool withdrawn_ = false;  // of a tail: no server starts on the directory
  bool ended_ = false;
};

}  // namespace capstan::writers
