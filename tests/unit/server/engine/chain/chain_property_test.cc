// Plans for random histories, compared with trying everything.
#include <algorithm>
#include <optional>
#include <random>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "server/engine/chain/chain_planner.h"
#include "tests/unit/server/engine/chain/known_sets.h"

namespace capstan::engine {
namespace {

using media::SetKind;
using writers::StopPoint;

// A database as steps leave it; refuses what RESTORE refuses.
struct Restored {
  bool begun = false;
  bool differential = false;
  Guid base;
  std::uint64_t lsn = 0;
  std::int64_t finish = 0;  // microseconds
  Guid fork;
  int logs = 0;
  int copy_only_logs = 0;

  bool Take(const media::BackupSet& set) {
    if (set.kind == SetKind::kDatabase) {
      if (begun) return false;
      base = set.backup_set_guid;
    } else if (!begun) {
      return false;
    } else if (set.kind == SetKind::kDifferential) {
      if (set.differential_base_guid != base || logs > 0 || differential) return false;
      differential = true;
    } else {
      const Guid& enter =
          set.first_recovery_fork.is_zero() ? set.recovery_fork : set.first_recovery_fork;
      if (set.first_lsn > lsn || lsn >= set.last_lsn || enter != fork) return false;
      ++logs;
      copy_only_logs += set.copy_only ? 1 : 0;
    }
    begun = true;
    lsn = set.last_lsn;
    fork = set.recovery_fork;
    finish = set.finished().earliest_us;
    return true;
  }
};

class Everything {
 public:
  Everything(const std::vector<catalog::KnownSet>& sets, const std::set<int>& missing,
             const StopPoint& stop)
      : sets_(sets), missing_(missing), stop_(stop) {
    for (const catalog::KnownSet& known : sets) {
      const media::Moment finished = known.set.finished();
      if (finished.latest_us >= stop.unix_us && (!fork_ || finished.earliest_us < fork_finish_)) {
        fork_ = known.set.recovery_fork;
        fork_finish_ = finished.earliest_us;
      }
    }
    Try({}, {});
  }

  bool reachable() const { return best_.has_value(); }
  int logs() const { return best_->logs; }
  int copy_only_logs() const { return best_->copy_only_logs; }
  std::int64_t start_finish() const { return best_start_.finished.earliest_us; }
  std::optional<std::int64_t> before() const { return before_; }

 private:
  struct Start {
    media::Moment finished;
  };

  void Try(const Restored& at, const Start& start) {
    for (const catalog::KnownSet& known : sets_) {
      Restored next = at;
      if (missing_.contains(known.set.backup_set_guid.bytes[0]) || !next.Take(known.set)) {
        continue;
      }
      const bool log = known.set.kind == SetKind::kLog;
      // Of a set that is known to the second it may be on either side of a point in that.
      media::Moment finished = known.set.finished();
      if (!log) {  // no older than its base
        finished.earliest_us = std::max(finished.earliest_us, start.finished.earliest_us);
      }
      const bool reaches = log && finished.latest_us >= stop_.unix_us;
      const bool before = log ? !reaches : finished.earliest_us <= stop_.unix_us;
      const Start start_next = log ? start : Start{finished};
      if (before) {
        before_ = std::max(before_.value_or(0), next.finish);
      }
      if (reaches && known.set.recovery_fork == fork_) {
        Note(next, start_next);
      } else if (log || before) {
        Try(next, start_next);
      }
    }
  }

  void Note(const Restored& found, const Start& start) {
    const auto key = [&](const Restored& each, const Start& from) {
      return std::tuple(from.finished.latest_us > stop_.unix_us, -from.finished.earliest_us,
                        each.logs, each.copy_only_logs);
    };
    if (!best_ || key(found, start) < key(*best_, best_start_)) {
      best_ = found;
      best_start_ = start;
    }
  }

  const std::vector<catalog::KnownSet>& sets_;
  const std::set<int>& missing_;
  const StopPoint& stop_;
  std::optional<Guid> fork_;
  std::int64_t fork_finish_ = 0;
  std::optional<Restored> best_;
  Start best_start_;
  std::optional<std::int64_t> before_;
};

struct Case {
  History history;
  std::set<int> missing;
  StopPoint stop;
};

// Backups of a few hours: the log grows by the second, so LSN and time go together on each fork.
Case RandomCase(std::mt19937& random) {
  const auto upto = [&](unsigned max) { return static_cast<unsigned>(random() % (max + 1)); };
  Case made;
  History& history = made.history;
  std::uint8_t base = 0;
  std::uint64_t lsn = 10;
  std::uint64_t log_from = 10;
  std::uint8_t fork = 100;
  std::int64_t now = 1000;  // tenths of a second are in `tenth`
  std::int64_t tenth = 0;
  const unsigned count = 3 + upto(6);
  for (unsigned i = 0; i < count; ++i) {
    tenth += 1 + (upto(2) == 0 ? upto(8) : 10 + upto(30));
    now = 1000 + tenth / 10;
    lsn += static_cast<std::uint64_t>(1 + upto(4));
    const unsigned what = upto(9);
    catalog::KnownSet* known = nullptr;
    if (base == 0 || what == 0) {
      known = &history.Full(lsn, now);
      log_from = base == 0 ? lsn : log_from;
      base = static_cast<std::uint8_t>(history.sets().size());
    } else if (what <= 2) {
      known = &history.Differential(base, lsn, now);
    } else if (what <= 4) {  // copy-only: from somewhere
      known = &history.Log(log_from - std::min<std::uint64_t>(log_from, upto(6)), lsn, now);
      known->set.copy_only = true;
    } else {
      known = &history.Log(upto(9) == 0 ? log_from + 1 : log_from, lsn, now);
      log_from = lsn;
    }
    if (upto(1) == 0) {
      known->set.SetFinish((10'000 + tenth) * 100'000);
    }
    known->set.recovery_fork = GuidOf(fork);
    if (upto(7) == 0) {
      ++fork;  // the next ones are on another fork; a log may go over
      if (known->set.kind == SetKind::kLog && upto(1) == 0) {
        known->set.first_recovery_fork = known->set.recovery_fork;
        known->set.recovery_fork = GuidOf(fork);
      }
    }
    if (upto(5) == 0) {
      made.missing.insert(static_cast<int>(history.sets().size()));
    }
  }
  made.stop = {.kind = StopPoint::Kind::kTime,
               .unix_us = (10'000 + upto(static_cast<unsigned>(tenth))) * 100'000};
  return made;
}

std::string TextOf(const Case& made) {
  std::string text = "stop " + std::to_string(made.stop.unix_us) + "\n";
  for (const catalog::KnownSet& known : made.history.sets()) {
    const media::BackupSet& set = known.set;
    const int number = set.backup_set_guid.bytes[0];
    text += std::to_string(number) + " kind " + std::to_string(static_cast<int>(set.kind)) + " " +
            std::to_string(set.first_lsn) + ".." + std::to_string(set.last_lsn) + " finish " +
            std::to_string(set.finished().earliest_us) + ".." +
            std::to_string(set.finished().latest_us) + " fork " +
            std::to_string(set.first_recovery_fork.bytes[0]) + ">" +
            std::to_string(set.recovery_fork.bytes[0]) + " base " +
            std::to_string(set.differential_base_guid.bytes[0]) +
            (set.copy_only ? " copy-only" : "") +
            (made.missing.contains(number) ? " missing" : "") + "\n";
  }
  return text;
}

// S1-26, S1-32
TEST(ChainProperty, PlansAsTryingEverythingDoes) {
  std::mt19937 random(20260101);
  int reachable = 0;
  constexpr int kCases = 20'000;
  for (int i = 0; i < kCases; ++i) {
    const Case made = RandomCase(random);
    const auto& sets = made.history.sets();
    const Everything everything(sets, made.missing, made.stop);
    ChainPlanner planner(sets, [&](const catalog::KnownSet& known) {
      return made.missing.contains(known.set.backup_set_guid.bytes[0]) ? SetObstacle::kMediaMissing
                                                                       : SetObstacle::kNone;
    });
    const ChainPlan plan = planner.Plan({.stop = made.stop});
    SCOPED_TRACE(TextOf(made));
    ASSERT_EQ(plan.reachable, everything.reachable());
    if (!plan.reachable) {
      ASSERT_EQ(plan.before.has_value(), everything.before().has_value());
      if (plan.before.has_value()) {
        ASSERT_EQ(plan.before->unix_us, *everything.before());
      }
      continue;
    }
    ++reachable;
    Restored database;
    std::int64_t start = 0;
    for (const catalog::KnownSet* const step : plan.steps) {
      ASSERT_TRUE(database.Take(step->set)) << "a step that RESTORE refuses";
      start = step->set.kind == SetKind::kLog ? start
                                              : std::max(start, step->set.finished().earliest_us);
    }
    ASSERT_GE(plan.steps.back()->set.finished().latest_us, made.stop.unix_us);
    ASSERT_EQ(start, everything.start_finish());
    ASSERT_EQ(database.logs, everything.logs());
    ASSERT_EQ(database.copy_only_logs, everything.copy_only_logs());
  }
  EXPECT_GT(reachable, kCases / 10);
}

// A year of log backups every quarter of an hour, with a gap in it.
TEST(ChainProperty, PlansALongHistoryQuickly) {
  History history;
  std::uint64_t lsn = 100;
  for (int i = 0; i < 35'000; ++i) {
    if (i % 672 == 0) {
      history.Full(lsn, 1000 + i * 900);
    }
    history.Log(lsn, lsn + 10, 1000 + i * 900 + 1);
    lsn += 10;
  }
  for (std::size_t i = 0; i < history.sets().size(); ++i) {
    std::copy_n(reinterpret_cast<const std::uint8_t*>(&i), sizeof(i),
                history.sets()[i].set.backup_set_guid.bytes.begin());
  }
  history.sets().erase(history.sets().end() - 20);
  ChainPlanner planner(history.sets(),
                       [](const catalog::KnownSet& /*set*/) { return SetObstacle::kNone; });
  EXPECT_FALSE(planner.Plan({}).reachable);
  const StopPoint stop{.kind = StopPoint::Kind::kTime, .unix_us = 20'000'000LL * 1'000'000};
  EXPECT_TRUE(planner.Plan({.stop = stop}).reachable);
}

}  // namespace
}  // namespace capstan::engine
