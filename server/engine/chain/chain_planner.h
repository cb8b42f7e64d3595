// ChainPlanner: which backup sets bring a database to a point, in which order: a full backup, at
// most one differential, and a row of log backups without a gap. Pure: it knows the history, and
// asks a callback whether the media and keys of a set are there.
//
// Rules: a differential goes on the full backup that it names. A log set goes on a state when its
// first LSN is at or before it and its last behind it, and when it comes from the state's recovery
// fork. The plan begins with the newest full (and differential) backup from which the point can be
// reached, and has as few log sets as possible, among those as few copy-only ones as possible.
//
// Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "server/catalog/catalog.h"

namespace capstan::engine {

// What keeps a set from being restored.
enum class SetObstacle {
  kNone,
  kExpired,       // its media were removed on purpose
  kDamaged,       // WITH CONTINUE_AFTER_ERROR, and there were errors; or it turned out to be
  kSnapshot,      // its files are with whoever took the snapshot
  kMediaMissing,  // or they hold something else
  kKeyMissing,
};

// A clause: "its media are missing". REQUIRES: there is one.
std::string_view ObstacleText(SetObstacle obstacle);

// Asked about sets that a plan would use, each at most once. It need not look at what the set says
// of itself.
using SetProbe = std::function<SetObstacle(const catalog::KnownSet&)>;

enum class ChainReach { kFull, kDifferential, kAll };

struct ChainGoal {
  writers::StopPoint stop;  // kNone: the newest state that the history knows of
  ChainReach reach = ChainReach::kAll;
  // A database that is being restored: its next log sets, and nothing else.
  std::optional<catalog::RollForward> from;
};

struct ReachablePoint {
  std::int64_t unix_us = 0;  // when the set that ends there was finished
  std::uint64_t lsn = 0;     // everything before this
  friend bool operator==(const ReachablePoint&, const ReachablePoint&) = default;
};

// Why a point cannot be reached.
struct ChainGap {
  std::uint64_t missing_lsn = 0;           // the first that cannot be had; 0: not even a beginning
  const catalog::KnownSet* set = nullptr;  // it would be in this one; null: history knows none
  SetObstacle obstacle = SetObstacle::kNone;  // of `set`
};

struct ChainPlan {
  bool reachable = false;
  std::vector<const catalog::KnownSet*> steps;  // if it is
  // Unless it is:
  ChainGap gap;
  std::optional<ReachablePoint> before, after;  // the nearest ones that can be reached
};

class ChainPlanner {
 public:
  // `sets` are those of one database, in any order, and outlive the planner and its plans.
  ChainPlanner(std::span<const catalog::KnownSet> sets, SetProbe probe);

  ChainPlan Plan(const ChainGoal& goal);

  // A set that turned out to be of no use, for instance in the middle of a restore.
  void Exclude(const catalog::KnownSet& set, SetObstacle obstacle);

 private:
  // False: the callback has just found out that some of them are of no use.
  bool ProbeAll(std::span<const std::size_t> indices);

  std::span<const catalog::KnownSet> sets_;
  SetProbe probe_;
  std::vector<SetObstacle> obstacles_;
  std::vector<bool> probed_;
};

}  // namespace capstan::engine
