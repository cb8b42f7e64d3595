// How a cluster is found and reached, with a real one.

#include "server/writers/postgres/postgres_connection.h"

#include <algorithm>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "server/writers/postgres/postgres_discovery.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using test::IsOk;
using test::PostgresCluster;

TEST(PostgresConnectionTest, IsFoundByItsProcessAndLetInByPeer) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root may act as another user";
  }
  auto created = PostgresCluster::Create({});
  ASSERT_THAT(created, IsOk());
  PostgresCluster& cluster = **created;
  // As Debian sets clusters up.
  std::ofstream(cluster.data_directory() + "/pg_hba.conf") << "local all all peer\n";
  ASSERT_THAT(cluster.Sql("SELECT pg_reload_conf()"), IsOk());

  const auto found =
      DiscoverClusters({}, {.socket_folders = {}, .cluster_folders = {}, .processes = true});
  ASSERT_THAT(found, IsOk());
  const auto ours = std::ranges::find_if(*found, [&](const DiscoveredDatabase& database) {
    return database.state.find(cluster.data_directory()) != std::string::npos;
  });
  ASSERT_NE(ours, found->end());
  EXPECT_TRUE(ours->state.starts_with("running"));

  auto connection = PostgresConnection::Connect({.location = ours->location});
  ASSERT_THAT(connection, IsOk());
  const auto rows = connection->Query("SELECT current_user");
  ASSERT_THAT(rows, IsOk());
  EXPECT_EQ(rows->Text(0, 0), "postgres");
  EXPECT_EQ(::geteuid(), ::getuid()) << "the thread is itself again";
  // Who is no user of the system is nobody to act as.
  EXPECT_THAT(
      PostgresConnection::Connect({.location = ours->location + " user=nobody_of_the_kind"}),
      test::HasCode(Code::kUnavailable));
}

}  // namespace
}  // namespace capstan::writers
