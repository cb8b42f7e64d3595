// SqliteWriter: the DatabaseWriter for SQLite databases, `sqlite:/absolute/path`.
//
// WAL mode is recovery model FULL, every other journal mode SIMPLE. With a folder, logs are kept of
// databases in WAL mode (log/sqlite_log_keeper.h), by a thread per such database. Threads: any.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/released_files.h"
#include "server/writers/sqlite/log/restoring_database.h"
#include "server/writers/sqlite/log/sqlite_log_keeper.h"
#include "server/writers/sqlite/sqlite_backup_session.h"
#include "server/writers/sqlite/sqlite_lsn_clock.h"
#include "server/writers/writer_state_tracker.h"

namespace capstan::writers {

class SqliteWriter final : public DatabaseWriter {
 public:
  // Without a folder no log is kept, and every differential backup holds every page.
  explicit SqliteWriter(SqliteLogKeeper::Options log = {});

  std::string_view scheme() const override { return "sqlite"; }
  WriterInfo info() const override;

  Result<DatabaseDescription> Describe(const std::string& location,
                                       const std::string& logical_name) override;
  // Error 4208 for a log backup of a SIMPLE database, 4214 if its log is not all there, 3035 for a
  // differential one without a base.
  Result<std::unique_ptr<BackupSession>> BeginBackup(const std::string& location,
                                                     const std::string& logical_name,
                                                     const BackupOptions& options) override;
  // Exactly one target.
  Result<std::unique_ptr<RestoreSession>> BeginRestore(std::span<const RestoreTarget> targets,
                                                       const RestoreOptions& options) override;
  Result<RestoreOutcome> Recover(const std::string& location,
                                 const RestoreOptions& options) override;
  Status AbandonRestore(const std::string& location) override;
  void Keep(std::vector<KeptDatabase> databases) override;
  Result<LogStatus> DescribeLog(const std::string& location) override;
  // Exactly one file.
  Result<std::unique_ptr<PageCheck>> BeginPageCheck(std::span<const DatabaseFile> files,
                                                    PageErrorHandler on_page_error) override;
  Result<std::unique_ptr<FreezeSession>> BeginSnapshot(const std::string& location,
                                                       const std::string& logical_name) override;
  // The database, and its WAL if it is one of the set's files.
  Result<std::vector<RestoreTarget>> PlanMount(std::vector<RestoreTarget> targets) override;
  Result<std::unique_ptr<MountSession>> BeginMount(std::span<const RestoreTarget> targets,
                                                   const RestoreOptions& options) override;
  Status DiscardRestore(const std::string& physical_name, const std::string& job_name) override;
  Result<bool> KeepRestore(const std::string& physical_name, const std::string& job_name) override;

 private:
  Result<std::unique_ptr<BackupSession>> OpenBackup(const std::string& location,
                                                    const std::string& logical_name,
                                                    const BackupOptions& options);
  Result<std::unique_ptr<BackupSession>> OpenFull(const std::string& location,
                                                  const std::string& logical_name,
                                                  const BackupOptions& options);
  Result<std::unique_ptr<BackupSession>> OpenDifferential(const std::string& location,
                                                          const std::string& logical_name,
                                                          const BackupOptions& options);
  Result<std::unique_ptr<BackupSession>> OpenLog(const std::string& location,
                                                 const std::string& logical_name,
                                                 const BackupOptions& options);
  Result<DatabaseDescription> DescribeForLog(const std::string& location,
                                             const std::string& logical_name,
                                             const BackupOptions& options);
  // Log is kept from before now on; none if it cannot be.
  SqliteLogKeeper::Claim BeginLog(const std::string& path, const BackupOptions& options);
  Guid ForkOfView(const SqliteView& view);
  RestoringDatabase::Swap SwapFor(const RestoreOptions& options) const;
  Result<std::unique_ptr<RestoreSession>> OpenRestore(const RestoreTarget& target,
                                                      const RestoreOptions& options);

  const Guid instance_id_;
  // Shared with the sessions, which may outlive the writer.
  const std::shared_ptr<WriterStateTracker> tracker_;
  const std::shared_ptr<ReleasedFiles> released_files_;
  const std::shared_ptr<SqliteLogKeeper> keeper_;
  const std::shared_ptr<SqliteLsnClock> lsn_clock_;
};

}  // namespace capstan::writers
