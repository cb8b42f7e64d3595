#include "server/engine/placement/restore_targets.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;

// A cluster: its folder, a tablespace, the log.
media::BackupSet Cluster() {
  media::BackupSet set;
  set.database_name = "shop";
  set.files = {{.logical_name = "shop", .physical_name = "/var/lib/shop"},
               {.logical_name = "shop_fast", .physical_name = "/nvme/shop", .whole = false},
               {.logical_name = "shop_log", .physical_name = "/var/lib/shop/pg_wal", .type = 'L'}};
  return set;
}

std::vector<std::string> Places(const RestoreRequest& request, const catalog::Database* existing,
                                const media::BackupSet& set) {
  const auto targets = PlanTargets(request, existing, set);
  EXPECT_THAT(targets, IsOk());
  std::vector<std::string> places;
  for (const auto& target : targets.ok() ? *targets : std::vector<writers::RestoreTarget>()) {
    places.push_back(target.physical_name);
  }
  return places;
}

using Names = std::vector<std::string>;

TEST(RestoreTargets, AreWhereTheFilesWere) {
  EXPECT_EQ(Places({}, nullptr, Cluster()),
            (Names{"/var/lib/shop", "/nvme/shop", "/var/lib/shop/pg_wal"}));
  EXPECT_FALSE(PlanTargets({}, nullptr, Cluster())->at(1).file.whole);
}

TEST(RestoreTargets, FollowTheFirstFile) {
  RestoreRequest request;
  request.moves = {{"shop", "/new"}};
  EXPECT_EQ(Places(request, nullptr, Cluster()), (Names{"/new", "/nvme/shop", "/new/pg_wal"}));
  catalog::Database existing{.name = "shop", .location = "/there"};
  EXPECT_EQ(Places({}, &existing, Cluster()), (Names{"/there", "/nvme/shop", "/there/pg_wal"}));
}

// S1-52
TEST(RestoreTargets, MoveWithTheirFolder) {
  RestoreRequest request;
  request.moves = {{"directory:/var/lib/", "/data"}, {"shop_fast", "/fast"}};
  EXPECT_EQ(Places(request, nullptr, Cluster()),
            (Names{"/data/shop", "/fast", "/data/shop/pg_wal"}));
  request.moves = {{"directory:/var/li", "/data"}};
  EXPECT_THAT(PlanTargets(request, nullptr, Cluster()), HasReason(3234)) << "half a name is none";
  request.moves = {{"nosuch", "/data"}};
  EXPECT_THAT(PlanTargets(request, nullptr, Cluster()), HasReason(3234));
}

TEST(RestoreTargets, StayWhereTheChainBegan) {
  catalog::Database existing{.name = "copy", .location = "/copy"};
  existing.roll_forward.files = {
      {"shop", "/copy"}, {"shop_fast", "/fast"}, {"shop_log", "/copy/pg_wal"}};
  media::BackupSet set = Cluster();
  set.kind = media::SetKind::kDifferential;
  EXPECT_EQ(Places({}, &existing, set), (Names{"/copy", "/fast", "/copy/pg_wal"}));
  set.kind = media::SetKind::kLog;
  set.files = {{.logical_name = "shop_log", .physical_name = "/var/lib/shop/pg_wal", .type = 'L'}};
  EXPECT_EQ(Places({}, &existing, set), Names{"/copy"});
}

TEST(RestoreTargets, SpareWhatIsThere) {
  const test::TemporaryDirectory directory;
  const std::string place = directory.path() + "/shop";
  const std::vector<writers::RestoreTarget> targets = {{.file = {}, .physical_name = place}};
  EXPECT_THAT(CheckTargets({}, nullptr, targets, {}), IsOk());
  std::filesystem::create_directory(place);
  EXPECT_THAT(CheckTargets({}, nullptr, targets, {}), IsOk()) << "an empty folder is no obstacle";
  std::ofstream(place + "/file") << "x";
  EXPECT_THAT(CheckTargets({}, nullptr, targets, {}), HasReason(3156));
  RestoreRequest replace;
  replace.replace = true;
  EXPECT_THAT(CheckTargets(replace, nullptr, targets, {}), IsOk());
  catalog::Database existing{.name = "shop"};
  existing.roll_forward.state = catalog::RollForward::State::kRestoring;
  EXPECT_THAT(CheckTargets({}, &existing, targets, {}), IsOk());
  EXPECT_THAT(CheckTargets(replace, nullptr, targets, {{.name = "other", .location = place}}),
              HasReason(3156));
  // What an interrupted restore has built in the place itself is no obstacle to go on with it.
  EXPECT_THAT(CheckTargets({}, nullptr, targets, {}, {"/else", place}), IsOk());
  EXPECT_THAT(CheckTargets({}, nullptr, targets, {}, {"/else"}), HasReason(3156));
  EXPECT_THAT(CheckTargets({}, nullptr, targets, {{.name = "other", .location = place}}, {place}),
              HasReason(3156));
}

}  // namespace
}  // namespace capstan::engine
