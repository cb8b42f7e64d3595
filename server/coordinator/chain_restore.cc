#include "server/coordinator/chain_restore.h"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "server/catalog/timestamps.h"
#include "server/coordinator/chain_table.h"
#include "server/engine/placement/restore_targets.h"
#include "server/messages/messages.h"

namespace capstan::coordinator {
namespace {

using catalog::KnownSet;
using catalog::RollForward;
using engine::ChainGap;
using engine::ChainPlan;
using engine::SetObstacle;
using media::SetKind;
using writers::RestoreEnd;
using writers::StopPoint;

constexpr std::int64_t kSecond = 1'000'000;  // microseconds

std::string PointText(const StopPoint& stop) {
  switch (stop.kind) {
    case StopPoint::Kind::kTime:
      return *catalog::LocalDateTime(stop.unix_us / kSecond);
    case StopPoint::Kind::kLsn:
      return fmt::format("LSN {}", stop.lsn.value);
    case StopPoint::Kind::kMark:
      return fmt::format("the mark '{}'", stop.mark);
    case StopPoint::Kind::kNone:
      break;
  }
  return "the newest state that was backed up";
}

std::string SetText(const KnownSet& known) {
  const std::string place =
      known.places.empty() ? "no known medium" : "'" + known.places.front().target + "'";
  return fmt::format("the {} backup of {} on file {} of {}", KindName(known.set.kind),
                     catalog::LocalDateTime(known.set.finish_unix_s).value_or("unknown date"),
                     known.set.position, place);
}

// A clause, with what was said when its media were looked for.
std::string ObstacleText(const ChainGap& gap, const ChainMedia& media) {
  std::string text(engine::ObstacleText(gap.obstacle));
  if (gap.obstacle == SetObstacle::kMediaMissing) {
    if (const std::string cause = media.FailureOf(*gap.set); !cause.empty()) {
      text += fmt::format(" ({})", cause);
    }
  }
  return text;
}

std::string GapText(const ChainGap& gap, const ChainMedia& media) {
  if (gap.missing_lsn == 0) {
    return gap.set == nullptr ? "the history has no full backup from before it"
                              : fmt::format("no full backup from before it can be used; of {}, {}",
                                            SetText(*gap.set), ObstacleText(gap, media));
  }
  const std::string where =
      gap.set != nullptr && gap.set->set.kind != SetKind::kLog
          ? fmt::format("what came after LSN {} is in no log backup", gap.missing_lsn)
          : fmt::format("the log from LSN {} on is missing", gap.missing_lsn);
  if (gap.set == nullptr) {
    return where + ", and the history knows no backup that holds it";
  }
  return fmt::format("{}; {} holds it, but {}", where, SetText(*gap.set), ObstacleText(gap, media));
}

// The points as options of a statement, so that they can be copied from the message.
std::string PointsHint(const ChainPlan& plan) {
  const auto text = [](const engine::ReachablePoint& point) {
    return fmt::format(
        "STOPBEFOREMARK = 'lsn:{}' ({})", point.lsn,
        catalog::LocalDateTime(point.unix_us / kSecond).value_or("where the database is already"));
  };
  if (!plan.before && !plan.after) {
    return "no backup of the database can be restored: look for its media, and add them with "
           "sp_load_history";
  }
  std::string hint = "it can be restored";
  if (plan.before) {
    hint += " up to " + text(*plan.before);
  }
  if (plan.after) {
    hint += (plan.before ? ", and again from " : " from ") + text(*plan.after) + " on";
  }
  return hint;
}

bool BeingRestored(const std::optional<RollForward>& state) {
  return state.has_value() && state->state != RollForward::State::kOnline;
}

// The writer has not met the point in this set, the last one of a plan: whether it may lie in the
// log after it all the same. What was committed before its backup began is in it.
bool MayLieBehind(const StopPoint& stop, const KnownSet& known, std::uint64_t redo_lsn) {
  return stop.kind == StopPoint::Kind::kTime && known.set.kind == SetKind::kLog &&
         redo_lsn >= known.set.last_lsn && known.set.started().earliest_us <= stop.unix_us;
}

// The database as the next step would find it.
void PlaceAt(const std::vector<writers::RestoreTarget>& targets, SetKind kind,
             std::optional<catalog::Database>* database) {
  if (kind == SetKind::kLog || targets.empty()) {
    return;
  }
  if (!database->has_value()) {
    database->emplace();
  }
  (*database)->location = targets.front().physical_name;
  (*database)->roll_forward.files.clear();
  for (const writers::RestoreTarget& target : targets) {
    (*database)->roll_forward.files.push_back(
        {.logical_name = target.file.logical_name, .physical_name = target.physical_name});
  }
}

}  // namespace

void AddFolderMoves(const media::BackupSet& set, const std::string& data_folder,
                    const std::string& log_folder,
                    std::vector<std::pair<std::string, std::string>>* moves) {
  for (const media::BackupFile& file : set.files) {
    const std::string& folder = file.type == 'L' ? log_folder : data_folder;
    const bool moved = std::any_of(moves->begin(), moves->end(), [&](const auto& move) {
      return move.first == file.logical_name;
    });
    if (!folder.empty() && !moved) {
      const std::filesystem::path name = std::filesystem::path(file.physical_name).filename();
      moves->emplace_back(file.logical_name, (std::filesystem::path(folder) / name).string());
    }
  }
}

ChainRestore::ChainRestore(const std::vector<KnownSet>& sets, ChainMedia& media,
                           const ChainActions& actions)
    : sets_(sets),
      media_(media),
      actions_(actions),
      planner_(sets, [&media](const KnownSet& known) { return media.Probe(known); }) {}

Result<std::optional<RollForward>> ChainRestore::State() const {
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<catalog::Database> database, actions_.database());
  return database.has_value() ? std::optional(database->roll_forward) : std::nullopt;
}

// RESTORE LOG goes on from where the database is, and so does everything once a step has been done.
Result<engine::ChainGoal> ChainRestore::GoalOf(const ChainRestoreRequest& request) const {
  engine::ChainGoal goal{.stop = request.restore.stop, .reach = request.reach};
  if (!request.restore.log && !begun_) {
    return goal;
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<RollForward> state, State());
  if (!BeingRestored(state)) {
    return SqlError(3117).WithHint("restore a full backup WITH NORECOVERY first");
  }
  goal.from = *state;
  return goal;
}

Status ChainRestore::Refuse(const ChainRestoreRequest& request, const ChainPlan& plan) const {
  return SqlError(65050, request.source, PointText(request.restore.stop), GapText(plan.gap, media_))
      .WithHint(PointsHint(plan));
}

Result<engine::RestoreRequest> ChainRestore::StepRequest(const ChainRestoreRequest& request,
                                                         const KnownSet& set, bool first,
                                                         bool last) {
  engine::RestoreRequest step = request.restore;
  const ChainMedia::Source source = media_.SourceOf(set);
  step.transfer.device_class = source.device_class;
  step.transfer.targets = source.targets;
  step.file_number = source.position;
  step.log = set.set.kind == SetKind::kLog;
  step.end = last ? request.restore.end : RestoreEnd::kNoRecovery;
  // A mark may be in any of them; a time or LSN is in the last one.
  if (!step.log || (!last && request.restore.stop.kind != StopPoint::Kind::kMark)) {
    step.stop = {};
  }
  if (!first) {
    step.replace = false;
    step.restart = false;
    step.moves.clear();
  } else if (!request.data_folder.empty() || !request.log_folder.empty()) {
    if (const auto described = media_.ReadSet(set); described.has_value()) {
      AddFolderMoves(*described, request.data_folder, request.log_folder, &step.moves);
    }
  }
  return step;
}

Status ChainRestore::AfterFailure(const ChainRestoreRequest& request, const KnownSet& set,
                                  Status status, bool* again) {
  if (status.code() != Code::kDataLoss) {
    *again = false;
    if (begun_) {
      std::string hint(status.hint());
      hint += fmt::format(
          "{}the steps before are done: RESTORE LOG {} FROM CATALOG goes on, and "
          "RESTORE DATABASE {} WITH RECOVERY ends here",
          hint.empty() ? "" : "; ", request.restore.database, request.restore.database);
      return std::move(status).WithHint(std::move(hint));
    }
    return status;
  }
  planner_.Exclude(set, SetObstacle::kDamaged);
  actions_.message(65052, MessageText(65052, SetText(set), status.message()));
  *again = true;
  return status;
}

Result<ChainRestore::Progress> ChainRestore::RunSteps(const ChainRestoreRequest& request,
                                                      const ChainPlan& plan) {
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const KnownSet& set = *plan.steps[i];
    const bool last = i + 1 == plan.steps.size();
    CAPSTAN_ASSIGN_OR_RETURN(const engine::RestoreRequest step,
                             StepRequest(request, set, i == 0 && !begun_, last));
    actions_.message(65051, MessageText(65051, i + 1, plan.steps.size(), SetText(set)));
    if (Status status = actions_.restore(step); !status.ok()) {
      bool again = false;
      status = AfterFailure(request, set, std::move(status), &again);
      if (!again) {
        return status;
      }
      return Progress::kUnfinished;
    }
    begun_ = true;
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<RollForward> state, State());
    if (!BeingRestored(state)) {
      return Progress::kDone;
    }
    if (last && request.restore.end != RestoreEnd::kRecovery) {
      return MayLieBehind(request.restore.stop, set, state->redo_lsn) ? Progress::kMayGoOn
                                                                      : Progress::kDone;
    }
    // The writer stopped inside this set: that is where the point was.
    if (!last && set.set.kind == SetKind::kLog && state->redo_lsn < set.set.last_lsn) {
      CAPSTAN_RETURN_IF_ERROR(Finish(request));
      return Progress::kDone;
    }
  }
  return Progress::kUnfinished;  // the point lies further on, as the engine has said
}

// The database has everything; what is left is how it is to end.
Status ChainRestore::Finish(const ChainRestoreRequest& request) const {
  if (request.restore.end == RestoreEnd::kNoRecovery) {
    return OkStatus();
  }
  return actions_.recover({.database = request.restore.database,
                           .end = request.restore.end,
                           .stop = request.restore.stop,
                           .session_id = request.restore.transfer.session_id,
                           .user_name = request.restore.transfer.user_name,
                           .statement = request.restore.transfer.statement});
}

Status ChainRestore::Run(const ChainRestoreRequest& request) {
  Progress progress = Progress::kUnfinished;
  // Each round but the last excludes a set or goes further.
  for (std::size_t round = 0; round <= 2 * sets_.size(); ++round) {
    CAPSTAN_ASSIGN_OR_RETURN(const engine::ChainGoal goal, GoalOf(request));
    const ChainPlan plan = planner_.Plan(goal);
    if (!plan.reachable) {
      return progress == Progress::kMayGoOn ? OkStatus() : Refuse(request, plan);
    }
    if (plan.steps.empty()) {
      return Finish(request);
    }
    CAPSTAN_ASSIGN_OR_RETURN(progress, RunSteps(request, plan));
    if (progress == Progress::kDone) {
      return OkStatus();
    }
  }
  return Error(Code::kInternal, "the plan for '{}' does not end", request.restore.database);
}

Result<catalog::Table> ChainRestore::Explain(const ChainRestoreRequest& request) {
  CAPSTAN_ASSIGN_OR_RETURN(const engine::ChainGoal goal, GoalOf(request));
  const ChainPlan plan = planner_.Plan(goal);
  if (!plan.reachable) {
    return Refuse(request, plan);
  }
  CAPSTAN_ASSIGN_OR_RETURN(std::optional<catalog::Database> database, actions_.database());
  ChainTable table(media_, sets_);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const KnownSet& known = *plan.steps[i];
    CAPSTAN_ASSIGN_OR_RETURN(const engine::RestoreRequest step,
                             StepRequest(request, known, i == 0, true));
    CAPSTAN_ASSIGN_OR_RETURN(const std::vector<writers::RestoreTarget> targets,
                             engine::PlanTargets(step, database.has_value() ? &*database : nullptr,
                                                 media_.ReadSet(known).value_or(known.set)));
    table.Add(known, targets);
    PlaceAt(targets, known.set.kind, &database);
  }
  actions_.message(0, table.Summary());
  return std::move(table).Take();
}

}  // namespace capstan::coordinator
