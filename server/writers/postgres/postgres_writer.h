// PostgresWriter: the DatabaseWriter for clusters of PostgreSQL, `postgresql:` and a conninfo, or
// `postgresql://` and the rest of a URI.
//
// A database of this writer is a cluster; its recovery model is FULL. Threads: any.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/postgres/cluster_location.h"
#include "server/writers/postgres/log_keeper.h"
#include "server/writers/writer_state_tracker.h"

namespace capstan::writers {

class PostgresWriter final : public DatabaseWriter {
 public:
  PostgresWriter() : PostgresWriter(LogKeeper::Options{}) {}
  // `log`: how much log is kept for log backups.
  explicit PostgresWriter(const LogKeeper::Options& log);

  std::string_view scheme() const override { return "postgresql"; }
  WriterInfo info() const override;

  Result<DatabaseDescription> Describe(const std::string& location,
                                       const std::string& logical_name) override;
  // Runs on the server that ChooseServer says (replica_choice.h).
  Result<std::unique_ptr<BackupSession>> BeginBackup(const std::string& location,
                                                     const std::string& logical_name,
                                                     const BackupOptions& options) override;
  Result<std::unique_ptr<RestoreSession>> BeginRestore(std::span<const RestoreTarget> targets,
                                                       const RestoreOptions& options) override;
  // `location` may be the data directory (cluster_location.h), and must be if no server has run on
  // it since this process began.
  Result<RestoreOutcome> Recover(const std::string& location,
                                 const RestoreOptions& options) override;
  Status AbandonRestore(const std::string& location) override;
  void Keep(std::vector<KeptDatabase> databases) override;
  Result<LogStatus> DescribeLog(const std::string& location) override;
  Result<std::vector<DiscoveredDatabase>> Discover(std::span<const std::string> folders) override;
  Result<std::unique_ptr<PageCheck>> BeginPageCheck(std::span<const DatabaseFile> files,
                                                    PageErrorHandler on_page_error) override;
  // kUnimplemented: a cluster goes on while its volumes are copied, and recovers from that.
  Result<std::unique_ptr<FreezeSession>> BeginSnapshot(const std::string& location,
                                                       const std::string& logical_name) override;
  Result<std::vector<RestoreTarget>> PlanMount(std::vector<RestoreTarget> targets) override;
  Result<std::unique_ptr<MountSession>> BeginMount(std::span<const RestoreTarget> targets,
                                                   const RestoreOptions& options) override;
  Status DiscardRestore(const std::string& physical_name, const std::string& job_name) override;
  // Of a cluster's files the data directory stands for all.
  Result<bool> KeepRestore(const std::string& physical_name, const std::string& job_name) override;

 private:
  Result<std::unique_ptr<BackupSession>> OpenLogBackup(const std::string& location,
                                                       const std::string& logical_name,
                                                       const BackupOptions& options,
                                                       std::unique_ptr<WriterActivity> activity);
  Result<std::unique_ptr<RestoreSession>> OpenRestore(std::span<const RestoreTarget> targets,
                                                      const RestoreOptions& options);
  Result<std::unique_ptr<BackupSession>> OpenBackup(const std::string& location,
                                                    const std::string& logical_name,
                                                    const BackupOptions& options);

  const Guid instance_id_;
  // Shared with sessions, which may outlive us.
  const std::shared_ptr<WriterStateTracker> tracker_;
  const std::shared_ptr<LogKeeper> log_keeper_;
  KnownDirectories directories_;
};

}  // namespace capstan::writers
