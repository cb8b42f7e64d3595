#include "server/engine/chain/chain_planner.h"

#include <utility>

#include "server/engine/chain/chain_search.h"
#include "vdi/base/check.h"

namespace capstan::engine {
namespace {

SetObstacle ObviousObstacle(const catalog::KnownSet& known) {
  if (known.expired) {
    return SetObstacle::kExpired;
  }
  if (known.set.is_damaged) {
    return SetObstacle::kDamaged;
  }
  if (known.set.is_snapshot) {
    return SetObstacle::kSnapshot;
  }
  return known.places.empty() ? SetObstacle::kMediaMissing : SetObstacle::kNone;
}

}  // namespace

std::string_view ObstacleText(SetObstacle obstacle) {
  switch (obstacle) {
    case SetObstacle::kNone:
      break;
    case SetObstacle::kExpired:
      return "its media were removed when it had expired";
    case SetObstacle::kDamaged:
      return "it is damaged";
    case SetObstacle::kSnapshot:
      return "it is a snapshot, which only its own client can restore";
    case SetObstacle::kMediaMissing:
      return "its media are missing";
    case SetObstacle::kKeyMissing:
      return "its key is missing";
  }
  CAPSTAN_CHECK(false);
}

ChainPlanner::ChainPlanner(std::span<const catalog::KnownSet> sets, SetProbe probe)
    : sets_(sets), probe_(std::move(probe)), probed_(sets.size(), false) {
  obstacles_.reserve(sets.size());
  for (const catalog::KnownSet& set : sets) {
    obstacles_.push_back(ObviousObstacle(set));
  }
}

void ChainPlanner::Exclude(const catalog::KnownSet& set, SetObstacle obstacle) {
  obstacles_[static_cast<std::size_t>(&set - sets_.data())] = obstacle;
}

bool ChainPlanner::ProbeAll(std::span<const std::size_t> indices) {
  bool all_usable = true;
  for (const std::size_t index : indices) {
    if (!probed_[index]) {
      probed_[index] = true;
      obstacles_[index] = probe_(sets_[index]);
      all_usable = all_usable && obstacles_[index] == SetObstacle::kNone;
    }
  }
  return all_usable;
}

// Every round that is not the last finds out that one more set is of no use.
ChainPlan ChainPlanner::Plan(const ChainGoal& goal) {
  while (true) {
    ChainSearch::Outcome found = ChainSearch(sets_, obstacles_, goal).Run();
    const bool usable = ProbeAll(found.steps);
    if (!ProbeAll(found.after_steps) || !usable) {
      continue;
    }
    ChainPlan plan;
    plan.reachable = found.reachable;
    if (found.reachable) {
      for (const std::size_t index : found.steps) {
        plan.steps.push_back(&sets_[index]);
      }
      return plan;
    }
    plan.gap = found.gap;
    plan.before = found.before;
    plan.after = found.after;
    return plan;
  }
}

}  // namespace capstan::engine
