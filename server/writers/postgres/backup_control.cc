#include "server/writers/postgres/backup_control.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "server/writers/postgres/wal_format.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

// A checkpoint writes all of shared_buffers.
constexpr std::chrono::hours kCheckpointWait{1};

Result<Lsn> LsnOf(const PostgresRows& rows, int column) {
  const std::optional<Lsn> lsn =
      rows.size() == 1 ? ParsePostgresLsn(rows.Text(0, column)) : std::nullopt;
  if (!lsn) {
    return Error(Code::kInternal, "PostgreSQL answered without an LSN");
  }
  return *lsn;
}

}  // namespace

Result<BackupControl> BackupControl::Begin(PostgresConnection connection, const std::string& label,
                                           Deadline deadline) {
  BackupControl control(std::move(connection));
  control.MakeSlot();
  const Deadline until = deadline.never() ? Deadline::After(kCheckpointWait) : deadline;
  auto begun = control.connection_.Query("SELECT pg_backup_start($1, true)", {label}, until);
  if (begun.status().code() == Code::kPermissionDenied) {
    return std::move(begun).status().WithHint(
        "GRANT EXECUTE ON FUNCTION pg_backup_start, pg_backup_stop TO the role");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const PostgresRows rows, std::move(begun));
  CAPSTAN_ASSIGN_OR_RETURN(control.start_, LsnOf(rows, 0));
  // That of the checkpoint just made, or on a standby of the one that the backup begins with.
  CAPSTAN_ASSIGN_OR_RETURN(
      const PostgresRows timeline,
      control.connection_.Query("SELECT timeline_id FROM pg_control_checkpoint()"));
  control.timeline_ = static_cast<std::uint32_t>(timeline.Number(0, 0));
  return control;
}

void BackupControl::MakeSlot() {
  const auto made = connection_.Query(
      "SELECT pg_create_physical_replication_slot('capstan_backup_' || pg_backend_pid(), true, "
      "true)");
  if (!made.ok()) {
    slot_failure_ = std::string(made.status().message());
    CAPSTAN_LOG(kWarning,
                "no replication slot keeps the log of this backup (only wal_keep_size does): {}",
                slot_failure_);
  }
}

Result<BackupControl::Stopped> BackupControl::Stop() {
  CAPSTAN_ASSIGN_OR_RETURN(
      const PostgresRows rows,
      connection_.Query("SELECT lsn, labelfile, spcmapfile FROM pg_backup_stop(false)", {},
                        Deadline::After(kCheckpointWait)));
  CAPSTAN_ASSIGN_OR_RETURN(const Lsn stop, LsnOf(rows, 0));
  return Stopped{.stop = stop, .backup_label = rows.Text(0, 1), .tablespace_map = rows.Text(0, 2)};
}

}  // namespace capstan::writers
