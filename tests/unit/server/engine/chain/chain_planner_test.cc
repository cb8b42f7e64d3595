#include "server/engine/chain/chain_planner.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/engine/chain/known_sets.h"

namespace capstan::engine {
namespace {

using testing::ElementsAre;
using writers::StopPoint;

StopPoint Time(std::int64_t unix_s) {
  return {.kind = StopPoint::Kind::kTime, .unix_us = unix_s * 1'000'000};
}
StopPoint AtMicro(std::int64_t unix_us) {
  return {.kind = StopPoint::Kind::kTime, .unix_us = unix_us};
}
ReachablePoint Point(std::int64_t unix_s, std::uint64_t lsn) {
  return {unix_s * 1'000'000, lsn};
}
StopPoint AtLsn(std::uint64_t lsn, bool before = false) {
  return {.kind = StopPoint::Kind::kLsn, .lsn = {lsn}, .before = before};
}

ChainPlan PlanOf(const History& history, const ChainGoal& goal, const std::set<int>& missing = {}) {
  ChainPlanner planner(history.sets(), [&](const catalog::KnownSet& known) {
    return missing.contains(known.set.backup_set_guid.bytes[0]) ? SetObstacle::kMediaMissing
                                                                : SetObstacle::kNone;
  });
  return planner.Plan(goal);
}

// 1 full, 2 3 logs, 4 differential, 5 6 logs, 7 full, 8 log
History Week() {
  History history;
  history.Full(10, 1000);
  history.Log(10, 20, 1010);
  history.Log(20, 30, 1020);
  history.Differential(1, 35, 1025);
  history.Log(30, 40, 1030);
  history.Log(40, 50, 1040);
  history.Full(55, 1045);
  history.Log(50, 60, 1050);
  return history;
}

// S1-26, S1-32, S1-43
TEST(ChainPlanner, TakesTheNewestBackupsAndTheFewestLogs) {
  const History week = Week();
  EXPECT_THAT(NumbersOf(PlanOf(week, {}).steps), ElementsAre(7, 8));
  EXPECT_THAT(NumbersOf(PlanOf(week, {.stop = Time(1035)}).steps), ElementsAre(1, 4, 5, 6));
  EXPECT_THAT(NumbersOf(PlanOf(week, {.stop = Time(1015)}).steps), ElementsAre(1, 2, 3));
  EXPECT_THAT(NumbersOf(PlanOf(week, {.stop = Time(1005)}).steps), ElementsAre(1, 2));
  EXPECT_THAT(NumbersOf(PlanOf(week, {.stop = AtLsn(45)}).steps), ElementsAre(1, 4, 5, 6));
  EXPECT_THAT(NumbersOf(PlanOf(week, {.stop = AtLsn(50)}).steps), ElementsAre(1, 4, 5, 6, 8));
  EXPECT_THAT(NumbersOf(PlanOf(week, {.stop = AtLsn(50, true)}).steps), ElementsAre(1, 4, 5, 6));
  EXPECT_THAT(NumbersOf(PlanOf(week, {.stop = AtLsn(35, true)}).steps), ElementsAre(1, 4));
}

// S1-48
TEST(ChainPlanner, StopsShortOfLogsOnRequest) {
  History history = Week();
  history.Differential(7, 65, 1060);
  EXPECT_THAT(NumbersOf(PlanOf(history, {.reach = ChainReach::kFull}).steps), ElementsAre(7));
  EXPECT_THAT(NumbersOf(PlanOf(history, {.reach = ChainReach::kDifferential}).steps),
              ElementsAre(7, 9));
  EXPECT_THAT(
      NumbersOf(PlanOf(history, {.stop = Time(1030), .reach = ChainReach::kDifferential}).steps),
      ElementsAre(1, 4));
}

TEST(ChainPlanner, GoesOlderWaysWhenMediaAreMissing) {
  const History week = Week();
  EXPECT_THAT(NumbersOf(PlanOf(week, {}, {7}).steps), ElementsAre(1, 4, 5, 6, 8));
  EXPECT_THAT(NumbersOf(PlanOf(week, {}, {4, 7}).steps), ElementsAre(1, 2, 3, 5, 6, 8));
}

TEST(ChainPlanner, FillsAHoleWithACopyOnlyLog) {
  History history = Week();
  history.Log(15, 45, 1035).set.copy_only = true;
  // Without a hole the copy-only set is shorter anyway; of rows that are as short, the regular one.
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = AtLsn(44)}, {4}).steps), ElementsAre(1, 2, 9));
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = AtLsn(25)}).steps), ElementsAre(1, 2, 3));
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = AtLsn(25)}, {3}).steps), ElementsAre(1, 2, 9));
}

// S1-60
TEST(ChainPlanner, NamesTheGapAndTheNearestPoints) {
  const History week = Week();
  const ChainPlan plan = PlanOf(week, {.stop = Time(1035)}, {5});
  EXPECT_FALSE(plan.reachable);
  EXPECT_EQ(plan.gap.missing_lsn, 35U);
  ASSERT_NE(plan.gap.set, nullptr);
  EXPECT_EQ(plan.gap.set->set.backup_set_guid, GuidOf(5));
  EXPECT_EQ(plan.gap.obstacle, SetObstacle::kMediaMissing);
  EXPECT_EQ(plan.before, Point(1025, 35));
  EXPECT_EQ(plan.after, Point(1045, 55));
}

TEST(ChainPlanner, NamesAGapOfWhichHistoryKnowsNothing) {
  History history;
  history.Full(10, 1000);
  history.Log(12, 20, 1010);
  const ChainPlan plan = PlanOf(history, {});
  EXPECT_FALSE(plan.reachable);
  EXPECT_EQ(plan.gap.missing_lsn, 10U);
  EXPECT_EQ(plan.gap.set, nullptr);
  EXPECT_EQ(plan.before, Point(1000, 10));
  EXPECT_EQ(plan.after, std::nullopt);
}

// Newer data are not given up without a word.
TEST(ChainPlanner, RefusesTheNewestStateWhenItsLogIsMissing) {
  const ChainPlan plan = PlanOf(Week(), {}, {8});
  EXPECT_FALSE(plan.reachable);
  EXPECT_EQ(plan.gap.missing_lsn, 55U);
  EXPECT_EQ(plan.before, Point(1045, 55));
}

// As a database without a log has them.
TEST(ChainPlanner, TellsStatesOfOneLsnApartByTime) {
  History history;
  history.Full(10, 1000);
  history.Full(10, 1010);
  EXPECT_THAT(NumbersOf(PlanOf(history, {}).steps), ElementsAre(2));
  const ChainPlan plan = PlanOf(history, {}, {2});
  EXPECT_FALSE(plan.reachable);
  ASSERT_NE(plan.gap.set, nullptr);
  EXPECT_EQ(plan.gap.set->set.backup_set_guid, GuidOf(2));
  EXPECT_EQ(plan.before, Point(1000, 10));
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = AtLsn(10, true)}, {2}).steps), ElementsAre(1));
}

TEST(ChainPlanner, MissesTheBeginning) {
  const History week = Week();
  const ChainPlan early = PlanOf(week, {.stop = Time(500)});
  EXPECT_FALSE(early.reachable);
  EXPECT_EQ(early.gap.set, nullptr);
  EXPECT_EQ(early.before, std::nullopt);
  EXPECT_EQ(early.after, Point(1000, 10));
  const ChainPlan lost = PlanOf(week, {.stop = Time(1015)}, {1});
  EXPECT_FALSE(lost.reachable);
  ASSERT_NE(lost.gap.set, nullptr);
  EXPECT_EQ(lost.gap.set->set.backup_set_guid, GuidOf(1));
  EXPECT_EQ(lost.after, Point(1045, 55));
  EXPECT_FALSE(PlanOf(week, {.stop = Time(2000)}).reachable) << "no backup tells of that time";
}

TEST(ChainPlanner, SkipsWhatCannotBeRestored) {
  History history = Week();
  history.sets()[6].expired = true;
  history.sets()[3].set.is_damaged = true;
  EXPECT_THAT(NumbersOf(PlanOf(history, {}).steps), ElementsAre(1, 2, 3, 5, 6, 8));
  history.sets()[6].expired = false;
  history.sets()[6].set.is_snapshot = true;
  EXPECT_THAT(NumbersOf(PlanOf(history, {}).steps), ElementsAre(1, 2, 3, 5, 6, 8));
  history.sets()[2].places.clear();
  EXPECT_EQ(PlanOf(history, {}).gap.obstacle, SetObstacle::kMediaMissing);
}

// A restore to 1015 began fork 101; what had come after that on fork 100 is history.
TEST(ChainPlanner, StaysOnTheForkThatTheDatabaseWasOn) {
  History history;
  history.Full(10, 1000);
  history.Log(10, 20, 1010);
  history.Log(20, 30, 1020);
  catalog::KnownSet& branch = history.Log(20, 28, 1110);  // goes on from the restored state
  branch.set.recovery_fork = GuidOf(101);
  branch.set.first_recovery_fork = GuidOf(100);
  history.Log(28, 40, 1120).set.recovery_fork = GuidOf(101);
  EXPECT_THAT(NumbersOf(PlanOf(history, {}).steps), ElementsAre(1, 2, 4, 5));
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = Time(1018)}).steps), ElementsAre(1, 2, 3));
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = Time(1115)}).steps), ElementsAre(1, 2, 4, 5));
  EXPECT_FALSE(PlanOf(history, {}, {4}).reachable) << "set 3 must not lead to fork 101";
}

// S1-42
TEST(ChainPlanner, GoesOnWithADatabaseBeingRestored) {
  const History week = Week();
  ChainGoal goal{.from = catalog::RollForward{.state = catalog::RollForward::State::kRestoring,
                                              .redo_lsn = 35,
                                              .recovery_fork = GuidOf(100)}};
  EXPECT_THAT(NumbersOf(PlanOf(week, goal).steps), ElementsAre(5, 6, 8));
  goal.stop = Time(1035);
  EXPECT_THAT(NumbersOf(PlanOf(week, goal).steps), ElementsAre(5, 6));
  goal.stop = {};
  goal.from->redo_lsn = 60;
  const ChainPlan done = PlanOf(week, goal);
  EXPECT_TRUE(done.reachable);
  EXPECT_TRUE(done.steps.empty());
  goal.from->redo_lsn = 5;
  EXPECT_EQ(PlanOf(week, goal).gap.missing_lsn, 5U);
}

TEST(ChainPlanner, TakesAFullBackupOfTheSameSecondOnlyIfItMust) {
  History history;
  history.Full(10, 1000);
  history.Log(10, 30, 1020);
  history.Full(20, 1015);
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = Time(1015)}).steps), ElementsAre(1, 2));
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = Time(1016)}).steps), ElementsAre(3, 2));
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = Time(1015)}, {1}).steps), ElementsAre(3, 2));
}

// Where it is known to the microsecond, what was finished after the point is after it.
TEST(ChainPlanner, TellsSetsOfOneSecondFromThePoint) {
  History history;
  history.Full(10, 1000);
  history.Log(10, 30, 1020);
  history.Full(20, 1015).set.SetFinish(1015'500'000);
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = AtMicro(1015'500'000)}).steps), ElementsAre(3, 2));
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = AtMicro(1015'499'999)}).steps), ElementsAre(1, 2));
  const ChainPlan late = PlanOf(history, {.stop = AtMicro(1015'499'999)}, {1});
  EXPECT_FALSE(late.reachable) << "it is too late by a microsecond";
  EXPECT_EQ(late.after, (ReachablePoint{1015'500'000, 20}));
}

// A row of log backups within one second.
TEST(ChainPlanner, TakesEachLogOfTheSecondOfThePoint) {
  History history;
  history.Full(10, 1000);
  history.Log(10, 20, 1010).set.SetFinish(1010'300'000);
  history.Log(20, 30, 1010).set.SetFinish(1010'900'000);
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = AtMicro(1010'300'000)}).steps), ElementsAre(1, 2));
  EXPECT_THAT(NumbersOf(PlanOf(history, {.stop = AtMicro(1010'300'001)}).steps),
              ElementsAre(1, 2, 3));
  const ChainPlan behind = PlanOf(history, {.stop = AtMicro(1010'900'001)});
  EXPECT_FALSE(behind.reachable);
  EXPECT_EQ(behind.before, (ReachablePoint{1010'900'000, 30}));
}

TEST(ChainPlanner, LooksAtEachSetOnce) {
  const History week = Week();
  std::multiset<int> asked;
  ChainPlanner planner(week.sets(), [&](const catalog::KnownSet& known) {
    asked.insert(known.set.backup_set_guid.bytes[0]);
    return known.set.kind == media::SetKind::kDatabase ? SetObstacle::kKeyMissing
                                                       : SetObstacle::kNone;
  });
  EXPECT_FALSE(planner.Plan({}).reachable);
  EXPECT_FALSE(planner.Plan({.stop = Time(1015)}).reachable);
  for (const int number : asked) {
    EXPECT_EQ(asked.count(number), 1U) << number;
  }
}

}  // namespace
}  // namespace capstan::engine
