#include "server/coordinator/several_databases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/coordinator/database_statements.h"

namespace capstan::coordinator {
namespace {

using testing::ElementsAre;

std::vector<std::string> NamesOf(const std::vector<ChosenDatabase>& chosen) {
  std::vector<std::string> names;
  for (const ChosenDatabase& database : chosen) {
    names.push_back(database.name + (database.by_pattern ? "*" : ""));
  }
  return names;
}

// S1-44
TEST(SeveralDatabases, AreChosenByNameAndPattern) {
  const std::vector<std::string> known = {"accounts", "sales", "shop", "shop_old"};
  tsql::BackupStatement backup;
  backup.databases = {"shop*", "sales", "shop", "nowhere"};
  EXPECT_THAT(NamesOf(ChooseDatabases(backup, known)),
              ElementsAre("sales", "shop", "shop_old*", "nowhere"));
  backup.exclude = true;
  EXPECT_THAT(NamesOf(ChooseDatabases(backup, known)), ElementsAre("accounts*"));
  backup = {};
  backup.databases = {"?????"};
  EXPECT_THAT(NamesOf(ChooseDatabases(backup, known)), ElementsAre("sales*"));
}

TEST(SeveralDatabases, HaveMediaOfTheirOwnByTags) {
  tsql::BackupStatement several;
  several.log = true;
  several.init = true;
  several.devices = {{.name = "/b/<server>_<DATABASE>_<type>.trn"}};
  const auto one = StatementFor(several, "sales", {.server = "s1", .first = false});
  EXPECT_EQ(one.devices[0].name, "/b/s1_sales_LOG.trn");
  EXPECT_EQ(one.database, "sales");
  EXPECT_TRUE(one.init);
  several.devices[0].name = "/b/all.trn";
  EXPECT_TRUE(StatementFor(several, "a", {.first = true}).init);
  EXPECT_FALSE(StatementFor(several, "b", {.first = false}).init);
}

// S0-21: a lone primary does what secondaries are preferred for. S2-32..S2-35
TEST(PreferredReplica, FollowsTheTable) {
  using writers::BackupPreference;
  using writers::ReplicaRole;
  struct Cell {
    BackupPreference preference;
    bool primary;
    bool lone_primary;
    bool secondary;
  };
  for (const Cell& cell : {Cell{BackupPreference::kPrimary, true, true, false},
                           Cell{BackupPreference::kSecondaryOnly, false, false, true},
                           Cell{BackupPreference::kPreferSecondary, false, true, true},
                           Cell{BackupPreference::kAny, true, true, true}}) {
    EXPECT_EQ(IsPreferredReplica(ReplicaRole::kPrimary, cell.preference), cell.primary);
    EXPECT_EQ(IsPreferredReplica(ReplicaRole::kLonePrimary, cell.preference), cell.lone_primary);
    EXPECT_EQ(IsPreferredReplica(ReplicaRole::kSecondary, cell.preference), cell.secondary);
    EXPECT_TRUE(IsPreferredReplica(ReplicaRole::kNone, cell.preference));
  }
}

}  // namespace
}  // namespace capstan::coordinator
