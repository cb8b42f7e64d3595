// LogKeeper: keeps the logs of clusters until they are backed up, by a physical replication slot
// `capstan_<name>` on each, and lets go before they fill their disk.
//
// The slots are made, moved on, watched and dropped by a thread of its own, every few seconds and
// after each Keep; a server that does not answer is tried again. Log beyond the limit is let go:
// the slot is dropped, and why is said until the next full backup. Only slots of databases that
// were kept by this object are dropped. Threads: any. Owns the thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/postgres/postgres_connection.h"
#include "vdi/base/clock.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class LogKeeper : public std::enable_shared_from_this<LogKeeper> {
 public:
  struct Options {
    std::uint64_t limit_bytes = 0;     // 0: a share of the file system that holds the log
    std::uint32_t limit_percent = 10;  // that share
    std::chrono::milliseconds period{10'000};
  };
  explicit LogKeeper(Options options);
  ~LogKeeper();  // the slots stay
  LogKeeper(const LogKeeper&) = delete;
  LogKeeper& operator=(const LogKeeper&) = delete;

  // As DatabaseWriter::Keep and DescribeLog say.
  void Keep(std::vector<KeptDatabase> databases) CAPSTAN_EXCLUDES(mutex_);
  Result<LogStatus> Describe(const std::string& location) CAPSTAN_EXCLUDES(mutex_);

  // Why log that is wanted of the database is missing; empty: it is not, as far as is known.
  std::string BrokenCause(const std::string& location) CAPSTAN_EXCLUDES(mutex_);

  // A full backup begins: the log is kept from here on, as long as what is returned lives, some
  // minutes more, and from then on if Keep says so. Failure is a warning in the log. This is owned
  // by a shared_ptr, which what is returned shares.
  std::shared_ptr<void> Prepare(const std::string& location, const std::string& name)
      CAPSTAN_EXCLUDES(mutex_);
  // Everything before `lsn` may go.
  void Release(const std::string& location, const std::string& name, Lsn lsn);

 private:
  struct Kept {
    KeptDatabase database;
    std::string broken;
    bool warned = false;  // that it comes near the limit
  };

  struct Lingering {
    std::string location;
    Deadline until = Deadline::Never();
  };

  void EndPrepare(const std::string& location, const std::string& name) CAPSTAN_EXCLUDES(mutex_);
  void DropSlots(std::vector<KeptDatabase> databases) CAPSTAN_EXCLUDES(mutex_);
  void Work() CAPSTAN_EXCLUDES(mutex_);
  void Visit(const KeptDatabase& database) CAPSTAN_EXCLUDES(mutex_);
  // The slot is there and its size within the limit; otherwise why not, empty if all is well.
  Result<std::string> Tend(PostgresConnection& connection, const KeptDatabase& database)
      CAPSTAN_EXCLUDES(mutex_);
  void Warn(const std::string& location, std::uint64_t bytes, std::uint64_t limit)
      CAPSTAN_EXCLUDES(mutex_);
  void SetBroken(const std::string& location, std::string cause) CAPSTAN_EXCLUDES(mutex_);
  bool IsPrepared(const std::string& name) CAPSTAN_EXCLUDES(mutex_);
  std::uint64_t LimitOf(const std::string& data_directory) const;

  const Options options_;

  Mutex mutex_;
  CondVar changed_;
  std::map<std::string, Kept> kept_ CAPSTAN_GUARDED_BY(mutex_);     // by location
  std::vector<KeptDatabase> dropped_ CAPSTAN_GUARDED_BY(mutex_);    // whose slots are to go
  std::map<std::string, int> prepared_ CAPSTAN_GUARDED_BY(mutex_);  // by name
  // Whose slots go unless Keep names them in time.
  std::map<std::string, Lingering> lingering_ CAPSTAN_GUARDED_BY(mutex_);  // by name
  bool asked_ CAPSTAN_GUARDED_BY(mutex_) = false;                          // to go round now
  bool ending_ CAPSTAN_GUARDED_BY(mutex_) = false;

  std::jthread thread_;  // last: joined before the rest goes
};

// "capstan_shop": lower case letters, digits and underscores, at most 63; a name that had to be
// changed for that has its checksum at the end.
std::string LogSlotName(const std::string& database_name);

}  // namespace capstan::writers
