#include "server/engine/roll_forward/backup_chain.h"

#include <algorithm>

#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

using writers::BackupKind;
using writers::RecoveryModel;

std::string_view RecoveryModelName(RecoveryModel model) {
  switch (model) {
    case RecoveryModel::kSimple:
      return "SIMPLE";
    case RecoveryModel::kBulkLogged:
      return "BULK-LOGGED";
    case RecoveryModel::kFull:
      return "FULL";
  }
  return "SIMPLE";
}

media::SetKind SetKindOf(BackupKind kind) {
  switch (kind) {
    case BackupKind::kFull:
      return media::SetKind::kDatabase;
    case BackupKind::kDifferential:
      return media::SetKind::kDifferential;
    case BackupKind::kLog:
      return media::SetKind::kLog;
  }
  return media::SetKind::kDatabase;
}

writers::DifferentialBase BaseOf(const media::BackupSet& set) {
  return {.backup_set_guid = set.backup_set_guid,
          .lsns = {.first = {set.first_lsn},
                   .last = {set.last_lsn},
                   .checkpoint = {set.checkpoint_lsn}},
          .writer_data = set.writer_data};
}

// Whether log backups can go on where the last one ended.
bool LogGoesOn(const BackupSource& source) {
  return source.chain.log_from.has_value() && source.log.broken.empty() &&
         (!source.log.kept || source.log.kept->first.value <= *source.chain.log_from);
}

Status PlanLog(const BackupRequest& request, const BackupSource& source, BackupChain* plan) {
  if (source.recovery_model == RecoveryModel::kSimple) {
    return SqlError(4208, BackupCommand(BackupKind::kLog));
  }
  if (!source.chain.log_from) {
    return SqlError(4214).WithHint(
        "the log is kept from the first full backup on that is not a copy-only one: take one");
  }
  plan->options.log_from = {*source.chain.log_from};
  plan->options.tail = request.tail;
  plan->set.begins_log_chain = source.chain.begins_log_chain;
  plan->set.first_recovery_fork = source.chain.recovery_fork;
  plan->set.tail_log = request.tail == writers::LogTail::kNoRecovery;
  return OkStatus();
}

}  // namespace

std::string_view BackupCommand(BackupKind kind) {
  switch (kind) {
    case BackupKind::kFull:
      return "BACKUP DATABASE";
    case BackupKind::kDifferential:
      return "BACKUP DATABASE WITH DIFFERENTIAL";
    case BackupKind::kLog:
      return "BACKUP LOG";
  }
  return "BACKUP DATABASE";
}

BackupKind KindOf(media::SetKind kind) {
  return kind == media::SetKind::kLog            ? BackupKind::kLog
         : kind == media::SetKind::kDifferential ? BackupKind::kDifferential
                                                 : BackupKind::kFull;
}

Status CheckInUse(const catalog::Database& database) {
  switch (database.roll_forward.state) {
    case catalog::RollForward::State::kOnline:
      break;
    case catalog::RollForward::State::kRestoring:
      return SqlError(927, database.name);
    case catalog::RollForward::State::kStandby:
      return SqlError(3036, database.name);
  }
  return OkStatus();
}

RecoveryModel RecoveryModelOf(const catalog::Database& database, RecoveryModel described) {
  return described == RecoveryModel::kSimple ? described
                                             : database.recovery_model.value_or(described);
}

std::optional<LogGap> GapBefore(const media::BackupSet& log,
                                std::span<const catalog::KnownSet> sets) {
  std::optional<std::uint64_t> end;  // of the log before
  std::optional<media::SetKind> bridge;
  for (const catalog::KnownSet& known : sets) {
    const media::BackupSet& set = known.set;
    if (set.recovery_fork != log.first_recovery_fork) {
      continue;
    }
    if (set.kind == media::SetKind::kLog && set.first_lsn < log.first_lsn &&
        set.last_lsn >= log.first_lsn) {
      return std::nullopt;
    }
    if ((set.kind == media::SetKind::kLog || set.restarts_log) && set.last_lsn < log.first_lsn) {
      end = std::max(end.value_or(0), set.last_lsn);
    }
    if (set.kind != media::SetKind::kLog && !set.copy_only && set.last_lsn == log.first_lsn) {
      bridge = set.kind;
    }
  }
  return end && bridge ? std::optional(LogGap{.from = *end, .to = log.first_lsn, .bridge = *bridge})
                       : std::nullopt;
}

Result<BackupChain> PlanBackupChain(const BackupRequest& request, const BackupSource& source) {
  BackupChain plan;
  const BackupKind kind = request.kind;
  if (source.read_only && kind != BackupKind::kFull) {
    return SqlError(3906, source.database.name)
        .WithHint(
            "nothing in it changes, so a full backup has everything: BACKUP DATABASE, with "
            "COPY_ONLY or without");
  }
  plan.options.kind = kind;
  // A differential backup changes nothing for others, and a log backup that leaves the log as it is
  // cannot be gone on from.
  plan.options.copy_only = request.tail == writers::LogTail::kNoTruncate ||
                           (request.copy_only && kind != BackupKind::kDifferential);
  plan.options.preference = source.database.backup_preference;
  plan.set.kind = SetKindOf(kind);
  plan.set.copy_only = plan.options.copy_only;
  plan.set.recovery_model = RecoveryModelName(source.recovery_model);
  if (source.chain.base) {
    plan.set.database_backup_lsn = source.chain.base->set.checkpoint_lsn;
  }
  if (kind == BackupKind::kLog) {
    CAPSTAN_RETURN_IF_ERROR(PlanLog(request, source, &plan));
    return plan;
  }
  plan.set.restarts_log = source.recovery_model != RecoveryModel::kSimple &&
                          !plan.options.copy_only && !LogGoesOn(source);
  if (kind == BackupKind::kDifferential) {
    if (!source.chain.base) {
      return SqlError(3035, source.database.name);
    }
    const media::BackupSet& base = source.chain.base->set;
    plan.options.base = BaseOf(base);
    plan.set.differential_base_lsn = base.checkpoint_lsn;
    plan.set.differential_base_guid = base.backup_set_guid;
  }
  return plan;
}

}  // namespace capstan::engine
