// SqliteWriter: the DatabaseWriter for SQLite databases, `sqlite:/absolute/path`.
//
// WAL mode is recovery model FULL, every other journal mode SIMPLE. Threads: any.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/released_files.h"
#include "server/writers/sqlite/sqlite_lsn_clock.h"
#include "server/writers/sqlite/writer_state_tracker.h"

namespace capstan::writers {

class SqliteWriter final : public DatabaseWriter {
 public:
  SqliteWriter();

  std::string_view scheme() const override { return "sqlite"; }
  WriterInfo info() const override;

  Result<DatabaseDescription> Describe(const std::string& location,
                                       const std::string& logical_name) override;
  // Full backups, copy-only or not. Error 4208 for a log backup of a SIMPLE database.
  Result<std::unique_ptr<BackupSession>> BeginBackup(const std::string& location,
                                                     const std::string& logical_name,
                                                     const BackupOptions& options) override;
  // Exactly one target.
  Result<std::unique_ptr<RestoreSession>> BeginRestore(std::span<const RestoreTarget> targets,
                                                       const RestoreOptions& options) override;
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

 private:
  Result<std::unique_ptr<BackupSession>> OpenBackup(const std::string& location,
                                                    const std::string& logical_name,
                                                    const BackupOptions& options);

  const Guid instance_id_;
  // Shared with the sessions, which may outlive the writer.
  const std::shared_ptr<WriterStateTracker> tracker_;
  const std::shared_ptr<ReleasedFiles> released_files_;
  const std::shared_ptr<SqliteLsnClock> lsn_clock_;
};

}  // namespace capstan::writers
