// PostgresCluster: a real cluster of one test, in a temporary folder, on a Unix socket only.
//
// PostgreSQL does not run as root, so under root everything of it runs as user `postgres`. Only
// what was started here is stopped, by its process id; it also goes when this process is killed.
// Settings are those of a test: nothing is synced to disk, so a crash of the machine is not
// survived, but one of the server is. Threads: make it, and start servers, on a thread that
// outlives them; SQL from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "vdi/base/status.h"

namespace capstan::test {

class PostgresCluster {
 public:
  struct Options {
    bool data_checksums = true;
    std::uint32_t wal_segment_mib = 1;  // initdb --wal-segsize
    std::vector<std::string> settings;  // lines of postgresql.conf, behind and over those of tests
    std::string parent;                 // folder for the temporary one; empty: the system's
  };
  enum class Shutdown { kFast, kImmediate };

  // Whether PostgreSQL's programs are there; tests skip themselves where they are not.
  static bool Available();
  // The folder of PostgreSQL's programs: "/usr/lib/postgresql/15/bin".
  static std::string BinaryFolder();

  // A new cluster, running.
  static Result<std::unique_ptr<PostgresCluster>> Create(const Options& options);
  // A cluster whose data directory somebody else made (a restore), not started. It is not removed
  // with this object. It gets a socket of its own, and keeps to `settings` beside its own
  // configuration; files of other users than PostgreSQL's are given to that one.
  static Result<std::unique_ptr<PostgresCluster>> Adopt(const std::string& data_directory,
                                                        std::vector<std::string> settings = {});
  // A streaming standby of this running cluster, made by pg_basebackup, running and streaming. Its
  // tablespaces lie in its own folder.
  Result<std::unique_ptr<PostgresCluster>> MakeStandby();

  ~PostgresCluster();  // stops it at once, and removes its folder
  PostgresCluster(const PostgresCluster&) = delete;
  PostgresCluster& operator=(const PostgresCluster&) = delete;

  // Until it takes connections (a hot standby too). The last lines of its log are in the error.
  Status Start(std::chrono::seconds wait = std::chrono::seconds(60));
  Status Stop(Shutdown how = Shutdown::kFast);
  bool running() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  // A standby becomes a primary; until it has.
  Status Promote();

  // All statements, as superuser; the first column of the last one's first row, or nothing.
  Result<std::string> Sql(const std::string& statements, const std::string& database = "postgres");
  // A new folder, and a tablespace in it. Gives the folder, which lies below this cluster's or
  // below `parent`, and goes with this object.
  Result<std::string> AddTablespace(const std::string& name, const std::string& parent = "");
  // One of PostgreSQL's programs as PostgreSQL's user, connected to this cluster by its environment
  // (PGHOST, PGPORT, PGUSER): what it printed, if it ended well.
  Result<std::string> Run(const std::string& program,
                          const std::vector<std::string>& arguments) const;
  // What a standby has replayed is at least what the primary has written now.
  Status WaitForReplay(PostgresCluster& primary);

  const std::string& data_directory() const { return data_directory_; }
  const std::string& folder() const { return folder_; }  // of the test: writable by PostgreSQL
  const std::string& socket_folder() const { return socket_folder_; }
  int port() const { return 5432; }
  // "host=/tmp/... port=5432 user=postgres dbname=postgres"
  std::string conninfo(const std::string& database = "postgres") const;
  // The end of the server's log.
  std::string Log() const;

  // A file or folder, with all that is below it, becomes PostgreSQL's.
  static Status GiveToPostgres(const std::string& path);

 private:
  PostgresCluster() = default;

  Status MakeFolders(const std::string& parent);
  Status Initialize(const Options& options);
  Status AppendSettings(const std::vector<std::string>& settings);

  std::string folder_;
  std::string socket_folder_;
  std::string data_directory_;
  std::vector<std::string> extra_arguments_;  // of the server
  std::vector<std::string> other_folders_;
  pid_t pid_ = -1;
};

}  // namespace capstan::test
