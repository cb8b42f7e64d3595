// ClusterLoad: writers of a cluster, as long as it lives: pgbench in the database `shop`, and a
// session that makes, fills, cuts and drops tables there. Needs pgbench's tables and a table
// `notes`.
#pragma once

#include <atomic>
#include <thread>

#include <fmt/format.h>

#include "tests/support/postgres_cluster.h"

namespace capstan::test {

class ClusterLoad {
 public:
  explicit ClusterLoad(PostgresCluster& cluster)
      : bench_([&cluster, this] {
          while (!stopping_) {
            (void)cluster.Run("pgbench", {"-n", "-c", "2", "-T", "1", "shop"});
          }
        }),
        tables_([&cluster, this] {
          for (int round = 0; !stopping_; ++round) {
            (void)cluster.Sql(
                fmt::format(
                    "CREATE TABLE t{0} (a int, b text); "
                    "INSERT INTO t{0} SELECT i, repeat('x', 100) FROM "
                    "generate_series(1, 3000) i; CREATE INDEX ON t{0} (a); "
                    "DELETE FROM t{0} WHERE a > 100; "
                    "DROP TABLE IF EXISTS t{1}; CREATE TEMP TABLE tt AS SELECT * FROM t{0}; "
                    "INSERT INTO notes SELECT 'n' FROM generate_series(1, 100)",
                    round, round - 2),
                "shop");
            (void)cluster.Sql(fmt::format("VACUUM t{}", round), "shop");
          }
        }) {}
  ~ClusterLoad() { stopping_ = true; }

 private:
  std::atomic<bool> stopping_ = false;
  std::jthread bench_;
  std::jthread tables_;
};

}  // namespace capstan::test
