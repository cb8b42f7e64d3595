#include "server/engine/roll_forward/restore_chain.h"

#include <utility>

#include "server/engine/roll_forward/backup_chain.h"
#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

using catalog::RollForward;
using media::SetKind;

// A stop point that lies before everything that the set could leave.
Status CheckStop(const writers::StopPoint& stop, const media::BackupSet& set,
                 std::uint64_t redo_lsn) {
  const bool before_set = set.kind != SetKind::kLog &&
                          stop.kind == writers::StopPoint::Kind::kTime &&
                          stop.unix_us < set.started().earliest_us;
  const bool before_redo = stop.kind == writers::StopPoint::Kind::kLsn && stop.lsn.value < redo_lsn;
  return before_set || before_redo ? SqlError(4338) : OkStatus();
}

Status CheckDifferential(const RollForward& now, const media::BackupSet& set) {
  const bool behind = set.last_lsn != 0 && set.last_lsn < now.redo_lsn;
  if (set.differential_base_guid != now.base_guid || behind) {
    return SqlError(3136).WithHint(
        behind ? "the database has been rolled forward beyond this backup"
               : fmt::format("restore the full backup {} WITH NORECOVERY first",
                             set.differential_base_guid.ToString()));
  }
  return OkStatus();
}

// A log behind a point that the log in front of it has reached is refused like any that comes too
// late; whoever gives the same STOPAT with each of them must be told.
Status TooRecent(const RestoreRequest& request, std::uint64_t first_lsn, std::uint64_t redo_lsn) {
  Status status = SqlError(4305, first_lsn, redo_lsn);
  if (request.stop.kind == writers::StopPoint::Kind::kNone) {
    return status;
  }
  return std::move(status).WithHint(
      fmt::format("if the log before this one was restored to the same point and reached it, "
                  "nothing is missing: RESTORE DATABASE {} WITH RECOVERY ends there",
                  request.database));
}

Status CheckLog(const RestoreRequest& request, const RollForward& now,
                const media::BackupSet& set) {
  const Guid& first =
      set.first_recovery_fork.is_zero() ? set.recovery_fork : set.first_recovery_fork;
  const bool same_path = now.recovery_fork.is_zero() || first.is_zero() ||
                         first == now.recovery_fork || set.recovery_fork == now.recovery_fork;
  if (!same_path) {
    return SqlError(4330).WithHint(
        fmt::format("the log is of recovery fork {}, the database is on {}", first.ToString(),
                    now.recovery_fork.ToString()));
  }
  if (set.first_lsn > now.redo_lsn) {
    return TooRecent(request, set.first_lsn, now.redo_lsn);
  }
  // An empty log ends where it begins; it may be applied where nothing is to be done.
  const bool empty = set.first_lsn == set.last_lsn;
  const bool early = set.last_lsn < now.redo_lsn || (set.last_lsn == now.redo_lsn && !empty);
  if (set.last_lsn != 0 && early) {
    return SqlError(4326, set.last_lsn, now.redo_lsn);
  }
  return OkStatus();
}

Status Interrupted(const catalog::Database& database) {
  return SqlError(4319, database.roll_forward.files.empty()
                            ? database.location
                            : database.roll_forward.files.front().logical_name);
}

}  // namespace

Status CheckRestoreChain(const RestoreRequest& request, const catalog::Database* existing,
                         const media::BackupSet& set) {
  if (request.log != (set.kind == SetKind::kLog)) {
    return SqlError(3135, request.transfer.targets.front(), BackupCommand(KindOf(set.kind)))
        .WithHint(request.log ? "RESTORE LOG takes the log alone" : "the log needs RESTORE LOG");
  }
  if (set.kind == SetKind::kDatabase) {
    return CheckStop(request.stop, set, 0);
  }
  if (existing == nullptr) {
    return SqlError(3118, request.database);
  }
  const RollForward& now = existing->roll_forward;
  if (now.state == RollForward::State::kOnline) {
    return SqlError(3117).WithHint(
        fmt::format("'{}' is in use: restore a full backup WITH NORECOVERY first", existing->name));
  }
  if (now.base_guid.is_zero()) {
    return Interrupted(*existing);
  }
  CAPSTAN_RETURN_IF_ERROR(set.kind == SetKind::kLog ? CheckLog(request, now, set)
                                                    : CheckDifferential(now, set));
  return CheckStop(request.stop, set, now.redo_lsn);
}

Status CheckRecover(const catalog::Database& database) {
  if (database.roll_forward.state == RollForward::State::kOnline) {
    return SqlError(3153);
  }
  return database.roll_forward.base_guid.is_zero() && database.roll_forward.redo_lsn == 0
             ? Interrupted(database)
             : OkStatus();
}

RollForward RollForwardAfter(const RollForward& before, const media::BackupSet* set,
                             writers::RestoreEnd end, const writers::RestoreOutcome& outcome) {
  RollForward after = before;
  after.state = end == writers::RestoreEnd::kRecovery && !outcome.stop_missed
                    ? RollForward::State::kOnline
                : end == writers::RestoreEnd::kStandby ? RollForward::State::kStandby
                                                       : RollForward::State::kRestoring;
  if (after.state == RollForward::State::kOnline) {
    return {.recovery_fork = outcome.recovery_fork};
  }
  if (set != nullptr) {
    if (set->kind == SetKind::kDatabase) {
      after.base_guid = set->backup_set_guid;
    }
    after.redo_lsn = outcome.reached.value != 0 ? outcome.reached.value : set->last_lsn;
    after.recovery_fork = set->recovery_fork;
  }
  return after;
}

}  // namespace capstan::engine
