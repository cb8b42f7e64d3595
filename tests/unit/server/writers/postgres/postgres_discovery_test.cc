#include "server/writers/postgres/postgres_discovery.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using test::IsOk;

class PostgresDiscovery : public testing::Test {
 protected:
  void Make(const std::string& path, const std::string& text) {
    const std::filesystem::path whole = folder_.Under(path);
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole) << text;
  }
  void MakeCluster(const std::string& path) {
    Make(path + "/PG_VERSION", "15\n");
    Make(path + "/global/pg_control", "x");
  }

  test::TemporaryDirectory folder_;
};

TEST_F(PostgresDiscovery, TellsOfClustersThatRunAndThatDoNot) {
  MakeCluster("lib/15/main");
  MakeCluster("lib/15/other");
  Make("lib/15/other/postmaster.pid", fmt::format("{}\n{}\n1700000000\n5440\n/run/elsewhere\n",
                                                  ::getpid(), folder_.Under("lib/15/other")));
  MakeCluster("named/main");
  Make("named/main/postmaster.pid", "999999999\n/nowhere\n1\n5441\n/run\n");
  Make("lib/15/no_cluster/PG_VERSION", "15\n");

  const auto found = DiscoverClusters(
      std::vector<std::string>{folder_.Under("named")},
      {.socket_folders = {"/run/postgresql"}, .cluster_folders = {folder_.Under("lib")}});

  ASSERT_THAT(found, IsOk());
  ASSERT_EQ(found->size(), 3U);
  EXPECT_EQ((*found)[0].name, "postgresql_15_main");
  EXPECT_EQ((*found)[0].location, folder_.Under("lib/15/main"));
  EXPECT_TRUE((*found)[0].state.starts_with("not running, PostgreSQL 15 in"));
  EXPECT_EQ((*found)[1].location, "host=/run/elsewhere port=5440");
  EXPECT_TRUE((*found)[1].state.starts_with("running, PostgreSQL 15 on port 5440"));
  EXPECT_EQ((*found)[2].name, "postgresql_15_main_2");
  EXPECT_TRUE((*found)[2].state.starts_with("not running"));
}

TEST_F(PostgresDiscovery, FindsByItsSocketWhatLiesElsewhere) {
  MakeCluster("anywhere");
  Make("run/.s.PGSQL.5450.lock",
       fmt::format("{}\n{}\n1700000000\n5450\n", ::getpid(), folder_.Under("anywhere")));
  Make("run/.s.PGSQL.5451.lock", "999999999\n/nowhere\n1\n5451\n");

  const auto found =
      DiscoverClusters({}, {.socket_folders = {folder_.Under("run")}, .cluster_folders = {}});

  ASSERT_THAT(found, IsOk());
  ASSERT_EQ(found->size(), 1U);
  EXPECT_EQ((*found)[0].location, fmt::format("host={} port=5450", folder_.Under("run")));
}

TEST_F(PostgresDiscovery, FindsNothingWhereNothingIs) {
  const auto found = DiscoverClusters(std::vector<std::string>{"/nonexistent"},
                                      {.socket_folders = {"/nonexistent"}, .cluster_folders = {}});

  ASSERT_THAT(found, IsOk());
  EXPECT_TRUE(found->empty());
}

}  // namespace
}  // namespace capstan::writers
