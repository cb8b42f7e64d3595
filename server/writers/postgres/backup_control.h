// BackupControl: a base backup of a running server, between pg_backup_start and pg_backup_stop.
//
// PostgreSQL ends the backup with the session that began it, so this object is the session; without
// Stop it is given up. While it lasts a temporary replication slot keeps the log that the backup
// needs; the server drops it with the session. Threads: one at a time.
#pragma once

#include <string>

#include "server/writers/chain.h"
#include "server/writers/postgres/postgres_connection.h"
#include "vdi/base/clock.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class BackupControl {
 public:
  // Waits for a checkpoint, made at once. `label` is for people: it stands in backup_label.
  static Result<BackupControl> Begin(PostgresConnection connection, const std::string& label,
                                     Deadline deadline);

  Lsn start() const { return start_; }                  // where recovery begins
  std::uint32_t timeline() const { return timeline_; }  // at the start
  // Why nothing keeps the log of the backup; empty: something does.
  const std::string& slot_failure() const { return slot_failure_; }

  struct Stopped {
    Lsn stop;
    std::string backup_label;
    std::string tablespace_map;  // empty: there is none
  };
  // The backup is over and its log complete on disk. Fails if a standby was promoted meanwhile.
  Result<Stopped> Stop();

 private:
  explicit BackupControl(PostgresConnection connection) : connection_(std::move(connection)) {}

  void MakeSlot();

  PostgresConnection connection_;
  Lsn start_;
  std::uint32_t timeline_ = 0;
  std::string slot_failure_;
};

}  // namespace capstan::writers
