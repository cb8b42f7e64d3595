// ChainSearch: one search for a chain among sets of which it is known whether they are of use: what
// chain_planner.h promises, without the callback.
//
// Threads: one.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "server/engine/chain/chain_planner.h"

namespace capstan::engine {

class ChainSearch {
 public:
  struct Outcome {
    bool reachable = false;
    std::vector<std::size_t> steps;  // indices of sets; if it is not, those to `before`
    ChainGap gap;
    std::optional<ReachablePoint> before, after;
    std::vector<std::size_t> after_steps;  // to `after`
  };

  // `obstacles` has one entry per set; all three outlive the search.
  ChainSearch(std::span<const catalog::KnownSet> sets, std::span<const SetObstacle> obstacles,
              const ChainGoal& goal);

  Outcome Run();

 private:
  // Where a row of log sets begins.
  struct Start {
    std::uint64_t lsn = 0;
    Guid fork;
    media::Moment finished;
    std::vector<std::size_t> sets;  // that lead here: none, a full, a full and a differential

    std::int64_t unix_us() const { return finished.earliest_us; }
  };
  struct Cost {
    std::uint32_t logs = UINT32_MAX;  // this: there is no way
    std::uint32_t copy_only = 0;
    friend auto operator<=>(const Cost&, const Cost&) = default;
  };
  // Usable log sets that go on from one fork, by their first LSN.
  struct Fork {
    std::vector<std::size_t> logs;
    std::vector<std::uint64_t> last_max;  // of logs[0..i]
  };

  void CollectLogs();
  void CollectStarts();
  bool IsUsable(std::size_t index) const { return obstacles_[index] == SetObstacle::kNone; }
  bool HasPoint() const;

  // Whether a start lies before the point; unless `surely`, one of the same second may.
  bool IsBefore(const Start& start, bool surely) const;
  // The forks on which the goal may lie, the likeliest first.
  std::vector<Guid> GoalForks() const;
  std::vector<Guid> ForksByAge() const;  // the newest first
  bool CountsAsNewest(std::size_t index) const;
  std::uint64_t NewestLsn(const Guid& fork) const;
  std::int64_t NewestFinish(const Guid& fork) const;
  bool Reaches(std::size_t log, const Guid& fork) const;
  bool ReachesByItself(const Start& start, const Guid& fork) const;

  std::vector<std::size_t> Successors(std::uint64_t lsn, const Guid& fork) const;
  void ComputeCosts(const Guid& fork);
  // The log set to go on with; nullopt: there is no way.
  std::optional<std::size_t> Cheapest(std::uint64_t lsn, const Guid& fork) const;
  bool FindChain(const Guid& fork, bool surely, std::vector<std::size_t>* steps);

  void FindBefore(Outcome* outcome) const;
  void FindAfter(Outcome* outcome) const;
  void FindGap(std::uint64_t lsn, const Guid& fork, Outcome* outcome) const;
  void FindMissingBeginning(Outcome* outcome) const;

  const std::span<const catalog::KnownSet> sets_;
  const std::span<const SetObstacle> obstacles_;
  const ChainGoal& goal_;
  std::vector<Start> starts_;              // the newest first
  std::map<Guid, Fork> forks_;             // by the fork that logs go on from
  std::vector<std::size_t> logs_by_last_;  // all usable ones, the furthest first
  std::uint64_t wanted_lsn_ = 0;           // of a goal without a point
  std::int64_t wanted_unix_us_ = 0;  // likewise, of a full or differential set that ends there
  std::vector<Cost> costs_;          // by set
  std::vector<std::optional<std::size_t>> next_;
};

}  // namespace capstan::engine
