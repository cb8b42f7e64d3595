// PostgresBackupSession: a full or differential backup of a cluster in use.
//
// pg_backup_start, then all files as they are at their turn, and at the end (BeginTail)
// pg_backup_stop and the log between the two, which makes the files consistent. A differential one
// takes of relations only the pages that have changed since its base; a full one may go on with
// what an interrupted one has copied (KeptFiles).
//
// Lives from PostgresWriter::BeginBackup to End. Threads: as BackupSession says; one more per
// volume walks ahead of the readers (FileFeed).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/postgres/backup_control.h"
#include "server/writers/postgres/cluster_files.h"
#include "server/writers/postgres/cluster_manifest.h"
#include "server/writers/postgres/extent_plan.h"
#include "server/writers/postgres/file_feed.h"
#include "server/writers/postgres/kept_files.h"
#include "server/writers/postgres/page_verifier.h"
#include "server/writers/postgres/pending_extents.h"
#include "server/writers/postgres/postgres_server.h"
#include "server/writers/writer_state_tracker.h"

namespace capstan::writers {

class PostgresBackupSession final : public BackupSession {
 public:
  // Of which cluster, under which name, for whom.
  struct Subject {
    std::string location;
    std::string logical_name;
    std::unique_ptr<WriterActivity> activity;
  };
  // `connection` is to the server that the backup is of.
  static Result<std::unique_ptr<PostgresBackupSession>> Begin(PostgresConnection connection,
                                                              Subject subject,
                                                              const BackupOptions& options);
  ~PostgresBackupSession() override;
  // Kept until the session is gone: what keeps the log for log backups that follow.
  void Hold(std::shared_ptr<void> hold) { hold_ = std::move(hold); }

  const DatabaseDescription& description() const override { return description_; }
  LsnRange lsns() const override { return {.first = start_, .last = stop_, .checkpoint = start_}; }
  Guid recovery_fork() const override { return fork_; }
  std::string writer_data() const override { return writer_data_; }
  Result<std::optional<Extent>> NextExtent(std::uint32_t volume, std::uint32_t length_max) override;
  // Of the data only: what comes with the tail is of this backup, and nothing of it is kept.
  // kFailedPrecondition once an extent was handed out.
  Result<bool> Keeps(const Extent& extent, std::span<const std::byte> bytes) override;
  Status ReadExtent(const Extent& extent, std::span<std::byte> target) override;
  Result<bool> BeginTail() override;
  Status End() override;

 private:
  // Of one volume; of its thread.
  struct Volume {
    FileFeed::Options options;
    std::unique_ptr<FileFeed> feed;   // from when its first extent is wanted
    std::optional<FileStretch> next;  // taken from the feed, not used up
    bool done = false;                // there is no more than `next`
  };

  PostgresBackupSession(PostgresServer server, BackupControl control,
                        std::unique_ptr<WriterActivity> activity);

  Status OpenPlaces();
  void VerifyPages(const std::string& location, PageErrorHandler on_page_error);
  void PlanVolumes(const BackupOptions& options, const std::optional<PageChanges>& changes);
  Status StartFeed(Volume& volume);
  Status MakeWriterData();
  // What follows in the volume, or the tail; nullopt: nothing.
  Result<std::optional<FileStretch>> NextStretch(std::uint32_t volume);
  Status StopBackup();
  Status Fail(Status status);

  std::shared_ptr<void> hold_;
  const PostgresServer server_;
  const std::unique_ptr<WriterActivity> activity_;
  const Lsn start_;
  DatabaseDescription description_;
  std::string writer_data_;
  Lsn stop_;
  Guid fork_;

  std::optional<BackupControl> control_;  // none after End
  std::vector<ClusterRoot> places_;
  std::vector<std::vector<ClusterFolder>> folders_;  // of each place
  std::unique_ptr<PageVerifier> verifier_;           // null: pages are copied as they are
  std::unique_ptr<KeptFiles> kept_;                  // null: of a differential backup
  std::vector<Volume> volumes_;
  std::deque<FileStretch> tail_;
  std::optional<FileStretch> tail_next_;
  bool tail_begun_ = false;
  bool ended_ = false;
  std::optional<PendingExtents> extents_;  // from when the files are known
};

}  // namespace capstan::writers
