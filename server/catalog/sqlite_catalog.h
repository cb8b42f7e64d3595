// The catalog in one SQLite file: WAL, every commit synced before the call returns.
//
// Threads: any. One connection writes, behind a mutex; each Query reads through a connection of its
// own and waits for nobody.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/catalog/file_lock.h"
#include "server/catalog/query.h"
#include "server/catalog/sqlite_connection.h"
#include "vdi/base/mutex.h"

namespace capstan::catalog {

class SqliteCatalog final : public Catalog {
 public:
  // See Catalog::Open. kFailedPrecondition if another server has the file, if its schema is newer
  // or if it is no catalog; kDataLoss if it is damaged.
  static Result<std::unique_ptr<Catalog>> Open(const std::string& path, QueryLimits limits = {});

  Status AddDatabase(Database database) override;
  Status RemoveDatabase(std::string_view name) override;
  Result<Database> FindDatabase(std::string_view name) override;
  Result<std::vector<Database>> ListDatabases() override;
  Status UpdateDatabase(const Database& database) override;
  Result<std::vector<KnownSet>> SetsOf(std::string_view database_name) override;
  Result<ChainEnd> FindChainEnd(std::string_view database_name) override;
  Status ExpireSets(const std::vector<Guid>& backup_set_guids) override;

  Status BeginJob(const JobRecord& job) override;
  Status PrepareBackup(const Guid& job_guid, const media::MediaHeader& header,
                       const media::BackupSet& set) override;
  Status CommitBackup(const Guid& job_guid) override;
  Status CommitRestore(const Guid& job_guid, const RestoreRecord& restore) override;
  Status RevokeBackup(const Guid& job_guid) override;
  Status ForgetJob(const Guid& job_guid) override;
  Result<std::vector<JobRecord>> UnfinishedJobs() override;
  Status AddCheckpoint(const Guid& job_guid, const JobProgress& progress,
                       std::string_view frames) override;
  Result<std::string> CheckpointFrames(const Guid& job_guid) override;
  Status KeepJob(const Guid& job_guid) override;
  Status ResumeJob(const Guid& kept_guid, const JobRecord& job) override;

  Result<std::vector<ImportCount>> ImportHistory(const std::vector<MediumRecord>& media) override;

  Result<std::int64_t> BeginJobHistory(const JobHistory& job) override;
  Status UpdateJobHistory(std::int64_t instance_id, const JobHistory& job) override;

  Result<std::map<std::string, std::int64_t>> Options() override;
  Status SetOption(std::string_view name, std::int64_t value) override;

  Result<Table> Query(const std::string& select, const std::vector<LiveTable>& live) override;

 private:
  SqliteCatalog(FileLock lock, Connection connection, QueryLimits limits)
      : lock_(std::move(lock)),
        path_(connection.path()),
        limits_(limits),
        connection_(std::move(connection)) {}

  // Constant after construction. The lock outlives the connection.
  const FileLock lock_;
  const std::string path_;
  const QueryLimits limits_;

  Mutex mutex_;
  Connection connection_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::catalog
