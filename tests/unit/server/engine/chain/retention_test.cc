#include "server/engine/chain/retention.h"

#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/engine/chain/chain_planner.h"
#include "tests/unit/server/engine/chain/known_sets.h"

namespace capstan::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kDay = 86'400;

std::vector<RetentionCandidate> CandidatesOf(const History& history) {
  std::vector<RetentionCandidate> candidates;
  for (const catalog::KnownSet& known : history.sets()) {
    candidates.push_back({.known = &known});
  }
  return candidates;
}

std::vector<int> Going(const std::vector<RetentionCandidate>& candidates,
                       const RetentionPolicy& policy) {
  const auto verdicts = DecideRetention(candidates, policy);
  std::vector<int> going;
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    EXPECT_FALSE(verdicts[i].reason.empty());
    if (verdicts[i].goes) {
      going.push_back(candidates[i].known->set.backup_set_guid.bytes[0]);
    }
  }
  return going;
}

// One full backup a day: 1 full, 2 log, 3 differential, 4 log; 5 full, 6 log, 7 differential, 8 log
// ...
History Days(int count) {
  History history;
  for (int day = 0; day < count; ++day) {
    const std::int64_t at = day * kDay;
    const auto lsn = static_cast<std::uint64_t>(day * 100);
    const auto base = static_cast<std::uint8_t>(history.sets().size() + 1);
    history.Full(lsn + 10, at + 100);
    history.Log(lsn > 0 ? lsn - 40 : 10, lsn + 20, at + 200);
    history.Differential(base, lsn + 30, at + 300);
    history.Log(lsn + 20, lsn + 60, at + 400);
  }
  return history;
}

TEST(Retention, KeepsSoManyFullBackupsAndWhatFollowsThem) {
  const History days = Days(3);
  EXPECT_THAT(Going(CandidatesOf(days), {.keep_full = 2}), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Going(CandidatesOf(days), {.keep_full = 1}), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_THAT(Going(CandidatesOf(days), {.keep_full = 3}), IsEmpty());
  EXPECT_THAT(Going(CandidatesOf(days), {.keep_full = 9}), IsEmpty());
}

TEST(Retention, KeepsEveryPointOfSoManyDays) {
  const History days = Days(4);
  const std::int64_t now = 3 * kDay + 500;
  // Two days ago began at day 1, 500 s: the full backup of day 1 is needed.
  EXPECT_THAT(Going(CandidatesOf(days), {.keep_days = 2, .now_unix_s = now}),
              ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Going(CandidatesOf(days), {.keep_days = 30, .now_unix_s = now}), IsEmpty());
}

TEST(Retention, CountsWhatCanBeRestoredAndIsPartOfAChain) {
  History days = Days(3);
  std::vector<RetentionCandidate> candidates = CandidatesOf(days);
  candidates[8].usable = false;  // the newest full backup
  EXPECT_THAT(Going(candidates, {.keep_full = 1}), ElementsAre(1, 2, 3, 4));
  candidates[8].usable = true;
  days.sets()[8].set.copy_only = true;
  EXPECT_THAT(Going(candidates, {.keep_full = 1}), ElementsAre(1, 2, 3, 4));
}

TEST(Retention, NeverRemovesWhatIsLocked) {
  History days = Days(3);
  days.sets()[2].set.expiration_unix_s = 1000 * kDay;  // the differential of the first day
  const std::vector<RetentionCandidate> candidates = CandidatesOf(days);
  const RetentionPolicy policy{.keep_full = 1, .now_unix_s = 5 * kDay};
  EXPECT_THAT(Going(candidates, policy), ElementsAre(2, 4, 5, 6, 7, 8));
  const auto verdicts = DecideRetention(candidates, policy);
  EXPECT_THAT(verdicts[2].reason, HasSubstr("before it expires"));
  EXPECT_THAT(verdicts[0].reason, HasSubstr("differential backup that goes on from it stays"));
}

TEST(Retention, RemovesAMediumOnlyWithAllItsSets) {
  History days = Days(3);
  days.sets()[3].places = days.sets()[11].places;  // a log of day 0 beside one of day 2
  std::vector<RetentionCandidate> candidates = CandidatesOf(days);
  EXPECT_THAT(Going(candidates, {.keep_full = 1}), ElementsAre(1, 2, 3, 5, 6, 7, 8));
  EXPECT_THAT(DecideRetention(candidates, {.keep_full = 1})[3].reason,
              HasSubstr("its media also hold a log backup of 'd' that stays"));
  candidates[0].pinned = "the database was not named";
  EXPECT_THAT(Going(candidates, {.keep_full = 1}), ElementsAre(2, 3, 5, 6, 7, 8));
}

TEST(Retention, KeepsABaseWhoseDifferentialSharesAMedium) {
  History days = Days(3);
  days.sets()[2].media.media_set_id = days.sets()[8].media.media_set_id;
  EXPECT_THAT(Going(CandidatesOf(days), {.keep_full = 1}), ElementsAre(2, 4, 5, 6, 7, 8));
}

TEST(Retention, CountsEachDatabaseByItself) {
  History days = Days(2);
  const History others = Days(1);
  std::vector<RetentionCandidate> candidates = CandidatesOf(days);
  History other = others;
  for (catalog::KnownSet& known : other.sets()) {
    known.set.database_name = "e";
    known.media.media_set_id.bytes[1] = 1;
    known.set.backup_set_guid.bytes[1] = 1;
    known.set.differential_base_guid.bytes[1] = 1;
    known.places[0].target = "e" + known.places[0].target;
    candidates.push_back({.known = &known});
  }
  EXPECT_THAT(Going(candidates, {.keep_full = 1}), ElementsAre(1, 2, 3, 4));
}

// What a policy leaves still reaches every point that it promised and that could be reached before.
TEST(Retention, BreaksNoChainThatIsKept) {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    History days = Days(2 + static_cast<int>(random() % 5));
    for (std::size_t i = 0; i < 3; ++i) {  // some sets share media, some are locked
      auto& sets = days.sets();
      sets[random() % sets.size()].places = sets[random() % sets.size()].places;
      sets[random() % sets.size()].set.expiration_unix_s = 1000 * kDay;
    }
    const int keep = 1 + static_cast<int>(random() % 3);
    const std::vector<RetentionCandidate> candidates = CandidatesOf(days);
    const RetentionPolicy policy{.keep_full = keep, .now_unix_s = 50 * kDay};
    const std::vector<int> going = Going(candidates, policy);
    const std::set<int> gone(going.begin(), going.end());
    const auto total = static_cast<int>(days.sets().size() / 4);
    const std::int64_t oldest = std::max(0, total - keep) * kDay + 100;
    ChainPlanner planner(days.sets(), [&](const catalog::KnownSet& known) {
      return gone.contains(known.set.backup_set_guid.bytes[0]) ? SetObstacle::kMediaMissing
                                                               : SetObstacle::kNone;
    });
    for (std::int64_t at = oldest + 1; at < (total - 1) * kDay + 400; at += 3600) {
      const writers::StopPoint stop{.kind = writers::StopPoint::Kind::kTime,
                                    .unix_us = at * 1'000'000};
      ASSERT_TRUE(planner.Plan({.stop = stop}).reachable) << "round " << round << " at " << at;
    }
    for (const RetentionCandidate& candidate : candidates) {
      const media::BackupSet& set = candidate.known->set;
      const int number = set.backup_set_guid.bytes[0];
      ASSERT_FALSE(gone.contains(number) && set.expiration_unix_s > policy.now_unix_s);
      ASSERT_FALSE(set.kind == media::SetKind::kDifferential && !gone.contains(number) &&
                   gone.contains(set.differential_base_guid.bytes[0]));
    }
  }
}

}  // namespace
}  // namespace capstan::engine
