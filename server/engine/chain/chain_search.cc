#include "server/engine/chain/chain_search.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

namespace capstan::engine {
namespace {

using media::BackupSet;
using media::SetKind;
using Kind = writers::StopPoint::Kind;

// The fork that a log set goes on from; others end on the one that they began on.
const Guid& EnterFork(const BackupSet& log) {
  return log.first_recovery_fork.is_zero() ? log.recovery_fork : log.first_recovery_fork;
}

// By which backups are ordered. Of one that is known to the second, where that second begins.
std::int64_t FinishOf(const BackupSet& set) {
  return set.finished().earliest_us;
}

bool FinishedAtOrAfter(const BackupSet& set, std::int64_t unix_us) {
  return set.finished().latest_us >= unix_us;
}

}  // namespace

ChainSearch::ChainSearch(std::span<const catalog::KnownSet> sets,
                         std::span<const SetObstacle> obstacles, const ChainGoal& goal)
    : sets_(sets), obstacles_(obstacles), goal_(goal) {
  CollectLogs();
  CollectStarts();
}

bool ChainSearch::HasPoint() const {
  return goal_.stop.kind == Kind::kTime || goal_.stop.kind == Kind::kLsn;
}

void ChainSearch::CollectLogs() {
  if (goal_.reach != ChainReach::kAll) {
    return;
  }
  for (std::size_t i = 0; i < sets_.size(); ++i) {
    const BackupSet& set = sets_[i].set;
    if (set.kind == SetKind::kLog && IsUsable(i) && set.first_lsn < set.last_lsn) {
      forks_[EnterFork(set)].logs.push_back(i);
      logs_by_last_.push_back(i);
    }
  }
  for (auto& [guid, fork] : forks_) {
    std::sort(fork.logs.begin(), fork.logs.end(), [&](std::size_t a, std::size_t b) {
      return sets_[a].set.first_lsn < sets_[b].set.first_lsn;
    });
    std::uint64_t last_max = 0;
    for (const std::size_t log : fork.logs) {
      last_max = std::max(last_max, sets_[log].set.last_lsn);
      fork.last_max.push_back(last_max);
    }
  }
  std::sort(logs_by_last_.begin(), logs_by_last_.end(), [&](std::size_t a, std::size_t b) {
    return sets_[a].set.last_lsn > sets_[b].set.last_lsn;
  });
}

void ChainSearch::CollectStarts() {
  if (goal_.from.has_value()) {
    starts_.push_back({.lsn = goal_.from->redo_lsn, .fork = goal_.from->recovery_fork});
    return;
  }
  // A differential backup is no older than its base, however little is known of its time.
  const auto add = [&](const BackupSet& set, std::vector<std::size_t> indices) {
    media::Moment finished = set.finished();
    finished.earliest_us = std::max(finished.earliest_us, FinishOf(sets_[indices.front()].set));
    starts_.push_back({set.last_lsn, set.recovery_fork, finished, std::move(indices)});
  };
  std::map<Guid, std::size_t> fulls;
  for (std::size_t i = 0; i < sets_.size(); ++i) {
    if (sets_[i].set.kind == SetKind::kDatabase && IsUsable(i)) {
      fulls.emplace(sets_[i].set.backup_set_guid, i);
      add(sets_[i].set, {i});
    }
  }
  for (std::size_t i = 0; i < sets_.size() && goal_.reach != ChainReach::kFull; ++i) {
    const BackupSet& set = sets_[i].set;
    const auto base = fulls.find(set.differential_base_guid);
    if (set.kind == SetKind::kDifferential && IsUsable(i) && base != fulls.end()) {
      add(set, {base->second, i});
    }
  }
  std::stable_sort(starts_.begin(), starts_.end(), [](const Start& a, const Start& b) {
    return std::tuple(a.unix_us(), a.lsn, b.sets.size()) >
           std::tuple(b.unix_us(), b.lsn, a.sets.size());
  });
}

bool ChainSearch::IsBefore(const Start& start, bool surely) const {
  const writers::StopPoint& stop = goal_.stop;
  if (stop.kind == Kind::kLsn) {
    return start.lsn <= stop.lsn.value;
  }
  const bool after_something = stop.kind == Kind::kMark && stop.unix_us != 0;
  if (goal_.from.has_value() || (stop.kind != Kind::kTime && !after_something)) {
    return true;
  }
  return (surely ? start.finished.latest_us : start.finished.earliest_us) <= stop.unix_us;
}

std::vector<Guid> ChainSearch::ForksByAge() const {
  std::map<Guid, std::int64_t> newest;
  for (const catalog::KnownSet& known : sets_) {
    if (!known.expired && !known.set.is_snapshot) {
      std::int64_t& unix_us = newest[known.set.recovery_fork];
      unix_us = std::max(unix_us, FinishOf(known.set));
    }
  }
  std::vector<Guid> forks;
  for (const auto& [fork, unix_us] : newest) {
    forks.push_back(fork);
  }
  std::stable_sort(forks.begin(), forks.end(),
                   [&](const Guid& a, const Guid& b) { return newest[a] > newest[b]; });
  return forks;
}

// A time is on the fork that the database was on then: that of the first backup after it, whether
// it can be used or not. An LSN may be on several. Without either it is the newest fork.
std::vector<Guid> ChainSearch::GoalForks() const {
  std::vector<Guid> forks = ForksByAge();
  if (goal_.stop.kind == Kind::kTime && goal_.reach == ChainReach::kAll) {
    const catalog::KnownSet* first = nullptr;
    for (const catalog::KnownSet& known : sets_) {
      const bool behind = FinishedAtOrAfter(known.set, goal_.stop.unix_us);
      if (behind && (first == nullptr || FinishOf(known.set) < FinishOf(first->set))) {
        first = &known;
      }
    }
    return first == nullptr ? std::vector<Guid>{} : std::vector{first->set.recovery_fork};
  }
  if (!HasPoint() && !goal_.from.has_value() && forks.size() > 1) {
    forks.resize(1);
  }
  return forks;
}

// Whether data that only this set holds would be missed; of copy-only ones that are gone they would
// not: somebody made them for a purpose of his own, and may have removed them again.
bool ChainSearch::CountsAsNewest(std::size_t index) const {
  const catalog::KnownSet& known = sets_[index];
  const SetKind kind = known.set.kind;
  const bool in_reach =
      goal_.reach == ChainReach::kAll || kind == SetKind::kDatabase ||
      (goal_.reach == ChainReach::kDifferential && kind == SetKind::kDifferential);
  return in_reach && !known.expired && !known.set.is_snapshot &&
         (!known.set.copy_only || IsUsable(index));
}

// How far the backups of a fork go, whether they can be used or not.
std::uint64_t ChainSearch::NewestLsn(const Guid& fork) const {
  std::uint64_t newest = 0;
  for (std::size_t i = 0; i < sets_.size(); ++i) {
    if (sets_[i].set.recovery_fork == fork && CountsAsNewest(i)) {
      newest = std::max(newest, sets_[i].set.last_lsn);
    }
  }
  return newest;
}

bool ChainSearch::Reaches(std::size_t log, const Guid& fork) const {
  const BackupSet& set = sets_[log].set;
  if (set.recovery_fork != fork) {
    return false;
  }
  switch (goal_.stop.kind) {
    case Kind::kTime:
      return FinishedAtOrAfter(set, goal_.stop.unix_us);
    case Kind::kLsn:
      return set.last_lsn > goal_.stop.lsn.value ||
             (goal_.stop.before && set.last_lsn == goal_.stop.lsn.value);
    default:
      return set.last_lsn >= wanted_lsn_;
  }
}

bool ChainSearch::ReachesByItself(const Start& start, const Guid& fork) const {
  if (start.fork != fork) {
    return false;
  }
  if (goal_.stop.kind == Kind::kLsn) {
    return goal_.stop.before && start.lsn == goal_.stop.lsn.value;
  }
  if (HasPoint()) {
    return goal_.reach != ChainReach::kAll;
  }
  return start.lsn > wanted_lsn_ ||
         (start.lsn == wanted_lsn_ && (goal_.from || start.unix_us() >= wanted_unix_us_));
}

// A database of which no log was ever backed up may have states that its LSNs do not tell apart:
// then the time says which one is the newest.
std::int64_t ChainSearch::NewestFinish(const Guid& fork) const {
  std::int64_t newest = 0;
  for (std::size_t i = 0; i < sets_.size(); ++i) {
    const catalog::KnownSet& known = sets_[i];
    if (known.set.recovery_fork != fork || !CountsAsNewest(i)) {
      continue;
    }
    if (known.set.kind == SetKind::kLog) {
      return 0;
    }
    if (known.set.last_lsn == wanted_lsn_) {
      newest = std::max(newest, FinishOf(known.set));
    }
  }
  return newest;
}

std::vector<std::size_t> ChainSearch::Successors(std::uint64_t lsn, const Guid& fork) const {
  std::vector<std::size_t> found;
  const auto entry = forks_.find(fork);
  if (entry == forks_.end()) {
    return found;
  }
  const std::vector<std::size_t>& logs = entry->second.logs;
  auto at = std::upper_bound(logs.begin(), logs.end(), lsn, [&](std::uint64_t x, std::size_t log) {
    return x < sets_[log].set.first_lsn;
  });
  // Backwards, until nothing that begins earlier goes far enough.
  while (at != logs.begin() &&
         entry->second.last_max[static_cast<std::size_t>(at - logs.begin()) - 1] > lsn) {
    --at;
    if (sets_[*at].set.last_lsn > lsn) {
      found.push_back(*at);
    }
  }
  return found;
}

std::optional<std::size_t> ChainSearch::Cheapest(std::uint64_t lsn, const Guid& fork) const {
  std::optional<std::size_t> cheapest;
  for (const std::size_t log : Successors(lsn, fork)) {
    if (costs_[log].logs != UINT32_MAX &&
        (!cheapest.has_value() || costs_[log] < costs_[*cheapest])) {
      cheapest = log;
    }
  }
  return cheapest;
}

// From the far end: what goes on from a set ends further than it.
void ChainSearch::ComputeCosts(const Guid& fork) {
  costs_.assign(sets_.size(), {});
  next_.assign(sets_.size(), std::nullopt);
  for (const std::size_t log : logs_by_last_) {
    const BackupSet& set = sets_[log].set;
    Cost cost{0, 0};
    if (!Reaches(log, fork)) {
      next_[log] = Cheapest(set.last_lsn, set.recovery_fork);
      if (!next_[log].has_value()) {
        continue;
      }
      cost = costs_[*next_[log]];
    }
    costs_[log] = {cost.logs + 1, cost.copy_only + (set.copy_only ? 1U : 0U)};
  }
}

bool ChainSearch::FindChain(const Guid& fork, bool surely, std::vector<std::size_t>* steps) {
  for (const Start& start : starts_) {
    if (!IsBefore(start, surely)) {
      continue;
    }
    if (ReachesByItself(start, fork)) {
      *steps = start.sets;
      return true;
    }
    std::optional<std::size_t> log = Cheapest(start.lsn, start.fork);
    if (log.has_value()) {
      *steps = start.sets;
      for (; log.has_value(); log = next_[*log]) {
        steps->push_back(*log);
      }
      return true;
    }
  }
  return false;
}

ChainSearch::Outcome ChainSearch::Run() {
  Outcome outcome;
  for (const Guid& fork : GoalForks()) {
    wanted_lsn_ = HasPoint() ? 0 : NewestLsn(fork);
    wanted_unix_us_ = HasPoint() ? 0 : NewestFinish(fork);
    ComputeCosts(fork);
    for (const bool surely : {true, false}) {
      if (FindChain(fork, surely, &outcome.steps)) {
        outcome.reachable = true;
        return outcome;
      }
    }
  }
  FindBefore(&outcome);
  FindAfter(&outcome);
  return outcome;
}

// The latest state before the point, by the same steps: for each log set, where it leads at best.
void ChainSearch::FindBefore(Outcome* outcome) const {
  struct End {
    std::int64_t unix_us = 0;
    std::size_t log = 0;  // the last one
    std::optional<std::size_t> next;
  };
  const auto is_before = [&](const BackupSet& set) {
    return goal_.stop.kind == Kind::kTime  ? !FinishedAtOrAfter(set, goal_.stop.unix_us)
           : goal_.stop.kind == Kind::kLsn ? set.last_lsn <= goal_.stop.lsn.value
                                           : true;
  };
  std::map<std::size_t, End> ends;
  const auto best_after = [&](std::uint64_t lsn, const Guid& fork) {
    std::optional<std::size_t> best;
    for (const std::size_t log : Successors(lsn, fork)) {
      const auto end = ends.find(log);
      if (end != ends.end() && (!best || end->second.unix_us > ends.at(*best).unix_us)) {
        best = log;
      }
    }
    return best;
  };
  for (const std::size_t log : logs_by_last_) {
    const BackupSet& set = sets_[log].set;
    if (!is_before(set)) {
      continue;
    }
    End end{.unix_us = FinishOf(set), .log = log};
    if (const auto next = best_after(set.last_lsn, set.recovery_fork);
        next && ends.at(*next).unix_us >= end.unix_us) {
      end = {ends.at(*next).unix_us, ends.at(*next).log, next};
    }
    ends.emplace(log, end);
  }
  const Start* best_start = nullptr;
  std::optional<std::size_t> best_log;
  std::int64_t best_unix_us = 0;
  for (const Start& start : starts_) {
    if (!IsBefore(start, false)) {
      continue;
    }
    const auto log = best_after(start.lsn, start.fork);
    const std::int64_t unix_us =
        log ? std::max(ends.at(*log).unix_us, start.unix_us()) : start.unix_us();
    if (best_start == nullptr || unix_us > best_unix_us) {
      best_start = &start;
      best_log = log && ends.at(*log).unix_us >= start.unix_us() ? log : std::nullopt;
      best_unix_us = unix_us;
    }
  }
  if (best_start == nullptr) {
    FindMissingBeginning(outcome);
    return;
  }
  outcome->steps = best_start->sets;
  std::uint64_t lsn = best_start->lsn;
  Guid fork = best_start->fork;
  for (std::optional<std::size_t> log = best_log; log; log = ends.at(*log).next) {
    outcome->steps.push_back(*log);
    lsn = sets_[*log].set.last_lsn;
    fork = sets_[*log].set.recovery_fork;
  }
  outcome->before = ReachablePoint{best_unix_us, lsn};
  FindGap(lsn, fork, outcome);
}

void ChainSearch::FindAfter(Outcome* outcome) const {
  const Start* first = nullptr;
  for (const Start& start : starts_) {
    const bool behind = HasPoint() && !goal_.from.has_value() && !IsBefore(start, false);
    const auto key = [&](const Start& each) {
      return goal_.stop.kind == Kind::kLsn ? static_cast<std::int64_t>(each.lsn) : each.unix_us();
    };
    if (behind && (first == nullptr || key(start) <= key(*first))) {
      first = &start;
    }
  }
  if (first != nullptr) {
    outcome->after = ReachablePoint{first->unix_us(), first->lsn};
    outcome->after_steps = first->sets;
  }
}

// Which set would go on at `lsn`, if it could be used; the one that begins soonest behind it if
// none would.
void ChainSearch::FindGap(std::uint64_t lsn, const Guid& fork, Outcome* outcome) const {
  outcome->gap.missing_lsn = lsn;
  std::optional<std::size_t> blocked;
  for (std::size_t i = 0; i < sets_.size(); ++i) {
    const BackupSet& set = sets_[i].set;
    const bool covers = set.kind == SetKind::kLog ? EnterFork(set) == fork && set.first_lsn <= lsn
                                                  : set.recovery_fork == fork;
    const bool further = set.last_lsn > lsn || (set.last_lsn == lsn && set.kind != SetKind::kLog &&
                                                FinishOf(set) > outcome->before->unix_us);
    if (IsUsable(i) || !further || !covers) {
      continue;
    }
    const auto rank = [&](std::size_t index) {
      const BackupSet& each = sets_[index].set;
      return std::tuple(each.kind != SetKind::kLog, sets_[index].expired, each.copy_only,
                        each.last_lsn);
    };
    if (!blocked.has_value() || rank(i) < rank(*blocked)) {
      blocked = i;
    }
  }
  if (blocked.has_value()) {
    outcome->gap.set = &sets_[*blocked];
    outcome->gap.obstacle = obstacles_[*blocked];
  }
}

// The newest full backup that would do, but for what is wrong with it.
void ChainSearch::FindMissingBeginning(Outcome* outcome) const {
  std::optional<std::size_t> newest;
  for (std::size_t i = 0; i < sets_.size(); ++i) {
    const BackupSet& set = sets_[i].set;
    const Start start{.lsn = set.last_lsn, .finished = set.finished()};
    if (set.kind == SetKind::kDatabase && !IsUsable(i) && IsBefore(start, false) &&
        (!newest || FinishOf(set) > FinishOf(sets_[*newest].set))) {
      newest = i;
    }
  }
  if (newest.has_value()) {
    outcome->gap.set = &sets_[*newest];
    outcome->gap.obstacle = obstacles_[*newest];
  }
}

}  // namespace capstan::engine
