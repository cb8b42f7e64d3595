// Restores that find their sets by themselves, with an engine and media that are made up.
#include "server/coordinator/chain_restore.h"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/unit/server/engine/chain/known_sets.h"

namespace capstan::coordinator {
namespace {

using catalog::KnownSet;
using catalog::RollForward;
using test::IsOk;
using testing::ElementsAre;
using testing::HasSubstr;
using writers::RestoreEnd;
using writers::StopPoint;

// Media whose headers say what history says, and a database that takes sets as RESTORE would.
class World {
 public:
  explicit World(engine::History history) : history_(std::move(history)) {
    for (KnownSet& known : history_.sets()) {
      known.set.files.push_back({.logical_name = "d", .physical_name = "/srv/d.db"});
      media_[known.places[0].target] = &known;
    }
    actions_.restore = [this](const engine::RestoreRequest& step) { return Restore(step); };
    actions_.recover = [this](const engine::RecoverRequest& recover) {
      log.push_back(
          fmt::format("recover{}", recover.end == RestoreEnd::kStandby ? " standby" : ""));
      state->state = RollForward::State::kOnline;
      return OkStatus();
    };
    actions_.database = [this]() -> Result<std::optional<catalog::Database>> {
      if (!state) {
        return std::optional<catalog::Database>();
      }
      catalog::Database database;
      database.location = location;
      database.roll_forward = *state;
      return std::optional(std::move(database));
    };
    actions_.message = [this](int number, const std::string& text) {
      messages.push_back(number);
      texts.push_back(text);
    };
  }

  Status Run(const ChainRestoreRequest& request) {
    ChainMedia media(MediaParts(), {});
    return ChainRestore(history_.sets(), media, actions_).Run(request);
  }
  Result<catalog::Table> Explain(const ChainRestoreRequest& request) {
    ChainMedia media(MediaParts(), {});
    return ChainRestore(history_.sets(), media, actions_).Explain(request);
  }

  std::vector<std::string> log;  // "3.bak norecovery"
  std::vector<int> messages;
  std::vector<std::string> texts;
  std::string location = "/srv/old.db";  // of the database, if there is one
  std::vector<engine::RestoreRequest> requests;
  std::set<std::string> missing;
  std::set<std::string> damaged;
  std::uint64_t stop_lsn = 0;  // where the writer finds the point; 0: there is none
  std::optional<RollForward> state;
  std::vector<KnownSet>& sets() { return history_.sets(); }

 private:
  ChainMedia::Parts MediaParts() {
    return {.list = [this](const engine::TransferRequest& medium) -> Result<media::MediumListing> {
              const std::string& target = medium.targets.front();
              if (missing.contains(target)) {
                return SqlErrorOfMissing(target);
              }
              return media::MediumListing{.header = media_.at(target)->media,
                                          .sets = {{.set = media_.at(target)->set}}};
            },
            .has_key = [](const std::string& thumbprint) { return thumbprint == "here"; }};
  }
  static Status SqlErrorOfMissing(const std::string& target) {
    return Error(Code::kNotFound, "there is no '{}'", target);
  }

  Status Restore(const engine::RestoreRequest& step) {
    const std::string& target = step.transfer.targets.front();
    if (damaged.contains(target)) {
      return Error(Code::kDataLoss, "'{}' is damaged", target);
    }
    const media::BackupSet& set = media_.at(target)->set;
    requests.push_back(step);
    const bool ends = step.end == RestoreEnd::kRecovery;
    log.push_back(target + (ends ? " recovery" : ""));
    const bool wants = step.stop.kind != StopPoint::Kind::kNone;
    const bool found = wants && stop_lsn != 0 && stop_lsn < set.last_lsn;
    state = RollForward{.state = ends && (!wants || found) ? RollForward::State::kOnline
                                                           : RollForward::State::kRestoring,
                        .redo_lsn = found ? stop_lsn : set.last_lsn,
                        .recovery_fork = set.recovery_fork};
    return OkStatus();
  }

  engine::History history_;
  std::map<std::string, const KnownSet*> media_;
  ChainActions actions_;
};

// 1 full, 2 log, 3 log, 4 full, 5 log
World Standard() {
  engine::History history;
  history.Full(10, 1000);
  history.Log(10, 20, 1010);
  history.Log(20, 30, 1020);
  history.Full(35, 1030);
  history.Log(30, 40, 1040);
  return World(std::move(history));
}

ChainRestoreRequest Request(StopPoint stop = {}) {
  ChainRestoreRequest request;
  request.source = "d";
  request.restore.database = "copy";
  request.restore.replace = true;
  request.restore.stop = std::move(stop);
  return request;
}

StopPoint At(std::int64_t unix_s) {
  return {.kind = StopPoint::Kind::kTime, .unix_us = unix_s * 1'000'000};
}

// S1-43
TEST(ChainRestore, RestoresStepByStep) {
  World world = Standard();
  ChainRestoreRequest request = Request();
  request.data_folder = "/new";
  ASSERT_THAT(world.Run(request), IsOk());
  EXPECT_THAT(world.log, ElementsAre("4.bak", "5.bak recovery"));
  EXPECT_THAT(world.messages, ElementsAre(65051, 65051));
  EXPECT_TRUE(world.requests[0].replace);
  EXPECT_THAT(world.requests[0].moves, ElementsAre(testing::Pair("d", "/new/d.db")));
  EXPECT_FALSE(world.requests[0].log);
  EXPECT_TRUE(world.requests[1].log);
  EXPECT_FALSE(world.requests[1].replace);
  EXPECT_TRUE(world.requests[1].moves.empty());
}

TEST(ChainRestore, LeavesTheDatabaseAsAsked) {
  World world = Standard();
  ChainRestoreRequest request = Request();
  request.restore.end = RestoreEnd::kNoRecovery;
  ASSERT_THAT(world.Run(request), IsOk());
  EXPECT_THAT(world.log, ElementsAre("4.bak", "5.bak"));
}

TEST(ChainRestore, StopsInTheLastLogAlone) {
  World world = Standard();
  world.stop_lsn = 25;
  ASSERT_THAT(world.Run(Request(At(1015))), IsOk());
  EXPECT_THAT(world.log, ElementsAre("1.bak", "2.bak", "3.bak recovery"));
  EXPECT_EQ(world.requests[1].stop.kind, StopPoint::Kind::kNone);
  EXPECT_EQ(world.requests[2].stop.kind, StopPoint::Kind::kTime);
}

// The writer says that the point lies behind the log of its second.
TEST(ChainRestore, GoesFurtherIfThePointWasMissed) {
  World world = Standard();
  world.stop_lsn = 22;
  ASSERT_THAT(world.Run(Request(At(1010))), IsOk());
  EXPECT_THAT(world.log, ElementsAre("1.bak", "2.bak recovery", "3.bak recovery"));
}

// Likewise where the database is to stay as it is.
TEST(ChainRestore, DoesNotEndOneLogShort) {
  World world = Standard();
  world.stop_lsn = 22;
  ChainRestoreRequest request = Request(At(1010));
  request.restore.end = RestoreEnd::kNoRecovery;
  ASSERT_THAT(world.Run(request), IsOk());
  EXPECT_THAT(world.log, ElementsAre("1.bak", "2.bak", "3.bak"));
  EXPECT_EQ(world.state->redo_lsn, 22U);
}

TEST(ChainRestore, EndsWithTheLogThatSurelyHoldsThePoint) {
  World world = Standard();  // in which nothing was committed after the point
  ChainRestoreRequest request = Request(At(1005));
  request.restore.end = RestoreEnd::kNoRecovery;
  world.sets()[1].set.start_unix_s = 1009;
  ASSERT_THAT(world.Run(request), IsOk());
  EXPECT_THAT(world.log, ElementsAre("1.bak", "2.bak"));
}

TEST(ChainRestore, EndsAsAskedWhereHistoryHasNoMoreLog) {
  World world = Standard();
  world.missing = {"3.bak", "4.bak"};
  ChainRestoreRequest request = Request(At(1010));
  request.restore.end = RestoreEnd::kNoRecovery;
  ASSERT_THAT(world.Run(request), IsOk());
  EXPECT_THAT(world.log, ElementsAre("1.bak", "2.bak"));
  EXPECT_EQ(world.state->state, RollForward::State::kRestoring);
}

TEST(ChainRestore, RecoversWhereAMarkIsFound) {
  World world = Standard();
  world.sets()[3].places.clear();  // so that the row of logs begins at the first full backup
  world.sets()[3].set.copy_only = true;
  world.stop_lsn = 15;
  ASSERT_THAT(world.Run(Request({.kind = StopPoint::Kind::kMark, .mark = "nightly"})), IsOk());
  EXPECT_THAT(world.log, ElementsAre("1.bak", "2.bak", "recover"));
}

TEST(ChainRestore, PlansAroundDamage) {
  World world = Standard();
  world.damaged = {"4.bak"};
  ASSERT_THAT(world.Run(Request()), IsOk());
  EXPECT_THAT(world.log, ElementsAre("1.bak", "2.bak", "3.bak", "5.bak recovery"));
  EXPECT_THAT(world.messages, testing::Contains(65052));
}

// S1-60
TEST(ChainRestore, RefusesWithTheGapAndTheNearestPoint) {
  World world = Standard();
  world.missing = {"5.bak"};
  const Status status = world.Run(Request());
  EXPECT_EQ(status.reason(), 65050);
  EXPECT_THAT(std::string(status.message()), HasSubstr("log from LSN 35 on is missing"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("database 'd'"));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("5.bak' holds it, but its media are missing (there is no '5.bak')"));
  EXPECT_THAT(std::string(status.hint()), HasSubstr("STOPBEFOREMARK = 'lsn:35'"));
  EXPECT_TRUE(world.log.empty()) << "nothing was touched";
}

TEST(ChainRestore, SaysHowFarItGotWhenAMemberIsDamaged) {
  World world = Standard();
  world.damaged = {"5.bak"};
  const Status status = world.Run(Request());
  EXPECT_EQ(status.reason(), 65050);
  EXPECT_THAT(world.log, ElementsAre("4.bak"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("it is damaged"));
  EXPECT_EQ(world.state->state, RollForward::State::kRestoring);
}

// S1-42
TEST(ChainRestore, GoesOnWithLogs) {
  World world = Standard();
  ChainRestoreRequest request = Request();
  request.restore.log = true;
  EXPECT_EQ(world.Run(request).reason(), 3117);
  world.state = RollForward{.state = RollForward::State::kRestoring,
                            .redo_lsn = 20,
                            .recovery_fork = engine::GuidOf(100)};
  ASSERT_THAT(world.Run(request), IsOk());
  EXPECT_THAT(world.log, ElementsAre("3.bak", "5.bak recovery"));
}

TEST(ChainRestore, ExplainsWithoutTouchingAnything) {
  World world = Standard();
  const auto table = world.Explain(Request());
  ASSERT_THAT(table, IsOk());
  ASSERT_EQ(table->rows.size(), 2U);
  EXPECT_EQ(table->rows[0][1], "full");
  EXPECT_EQ(table->rows[1][7], "5.bak (present)");
  EXPECT_TRUE(world.log.empty());
  world.sets()[3].set.encryption = {.key_algorithm = "aes_256", .encryptor_type = "CERTIFICATE"};
  const auto other = world.Explain(Request());
  ASSERT_THAT(other, IsOk());
  EXPECT_EQ(other->rows.size(), 4U) << "the full backup without a key is not used";
}

// What each step writes to, as the engine would decide it after the steps before.
TEST(ChainRestore, ExplainsWhereEachStepWrites) {
  constexpr std::size_t kTarget = 10;
  World world = Standard();
  ChainRestoreRequest request = Request();
  request.data_folder = "/new";
  const auto moved = world.Explain(request);
  ASSERT_THAT(moved, IsOk());
  EXPECT_EQ(moved->columns[kTarget].name, "target");
  EXPECT_EQ(moved->rows[0][kTarget], "/new/d.db");
  EXPECT_EQ(moved->rows[1][kTarget], "/new/d.db");
  EXPECT_THAT(world.texts, ElementsAre("2 steps read 0.0 MiB."));
  world.state = RollForward{};
  const auto replaced = world.Explain(Request());
  ASSERT_THAT(replaced, IsOk());
  EXPECT_EQ(replaced->rows[0][kTarget], "/srv/old.db") << "REPLACE: where the database is";
  EXPECT_EQ(replaced->rows[1][kTarget], "/srv/old.db");
  request.restore.moves = {{"nosuch", "/x"}};
  EXPECT_EQ(world.Explain(request).status().reason(), 3234);
}

TEST(ChainRestore, PredictsFromTheTimeOfFullBackups) {
  World world = Standard();
  media::BackupSet& full = world.sets()[3].set;
  full.SetStart(1029'500'000);
  full.SetFinish(1030'000'000);
  full.backup_size_bytes = 10 << 20;
  media::BackupSet& log = world.sets()[4].set;
  log.SetStart(1030'000'000);  // mostly waiting
  log.SetFinish(1040'000'000);
  log.backup_size_bytes = 30 << 20;
  for (const std::size_t other : {0U, 1U, 2U}) {
    world.sets()[other].set.start_unix_s = world.sets()[other].set.finish_unix_s;
  }
  const auto table = world.Explain(Request());
  ASSERT_THAT(table, IsOk());
  EXPECT_EQ(table->columns[12].name, "predicted_seconds");
  EXPECT_EQ(table->rows[0][12], "1");
  EXPECT_EQ(table->rows[1][12], "2");
  EXPECT_THAT(world.texts, ElementsAre("2 steps read 40.0 MiB, in about 2 seconds."));
}

}  // namespace
}  // namespace capstan::coordinator
