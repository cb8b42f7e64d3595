#include "server/catalog/schema.h"

#include <array>

#include "server/catalog/known_sets.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/server/catalog/catalog_test.h"

namespace capstan::catalog {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;
using testing::AllOf;

class CatalogSchema : public testing::Test {
 protected:
  Connection Open() {
    std::fclose(std::fopen(directory_.Under("x.db").c_str(), "a"));
    auto connection = Connection::Open(directory_.Under("x.db"), Connection::Mode::kReadWrite);
    EXPECT_THAT(connection, IsOk());
    return std::move(connection).value();
  }

  test::TemporaryDirectory directory_;
};

constexpr std::array<const char*, 1> kFirst = {"CREATE TABLE t (x); INSERT INTO t VALUES (1);"};
constexpr std::array<const char*, 3> kThree = {kFirst[0], "ALTER TABLE t ADD COLUMN y DEFAULT 7;",
                                               "UPDATE t SET y = y + x;"};
constexpr std::array<const char*, 3> kBroken = {kFirst[0], "ALTER TABLE t ADD COLUMN y;",
                                                "UPDATE nosuch SET y = 1;"};

TEST_F(CatalogSchema, UpgradesStepByStepAndKeepsTheRows) {
  Connection connection = Open();
  ASSERT_THAT(UpgradeSchema(connection, kFirst), IsOk());
  EXPECT_EQ(connection.QueryInteger("PRAGMA user_version").value(), 1);

  ASSERT_THAT(UpgradeSchema(connection, kThree), IsOk());

  EXPECT_EQ(connection.QueryInteger("PRAGMA user_version").value(), 3);
  EXPECT_EQ(connection.QueryInteger("SELECT y FROM t").value(), 8);
}

TEST_F(CatalogSchema, DoesNothingToACurrentFile) {
  Connection connection = Open();
  ASSERT_THAT(UpgradeSchema(connection, kFirst), IsOk());

  ASSERT_THAT(UpgradeSchema(connection, kFirst), IsOk());

  EXPECT_EQ(connection.QueryInteger("SELECT count(*) FROM t").value(), 1);
}

TEST_F(CatalogSchema, LeavesTheOldVersionWhenAStepFails) {
  Connection connection = Open();
  ASSERT_THAT(UpgradeSchema(connection, kFirst), IsOk());

  EXPECT_FALSE(UpgradeSchema(connection, kBroken).ok());

  EXPECT_EQ(connection.QueryInteger("PRAGMA user_version").value(), 1);
  EXPECT_FALSE(connection.Prepare("SELECT y FROM t").ok());
}

TEST_F(CatalogSchema, RefusesANewerVersion) {
  Connection connection = Open();
  ASSERT_THAT(UpgradeSchema(connection, kThree), IsOk());

  const Status status = UpgradeSchema(connection, kFirst);

  EXPECT_THAT(status, AllOf(HasCode(Code::kFailedPrecondition), MessageHas("schema version 3"),
                            MessageHas("x.db")));
  EXPECT_THAT(std::string(status.hint()), testing::HasSubstr("newer capstand"));
}

TEST_F(CatalogSchema, RefusesADatabaseOfAnotherProgram) {
  Connection connection = Open();
  ASSERT_THAT(connection.Execute("CREATE TABLE theirs (x)"), IsOk());

  EXPECT_THAT(UpgradeSchema(connection, SchemaSteps()),
              AllOf(HasCode(Code::kFailedPrecondition), MessageHas("another program")));
  EXPECT_FALSE(connection.Prepare("SELECT 1 FROM catalog_job").ok());
}

TEST_F(CatalogSchema, RefusesAVersionThatCannotBe) {
  Connection connection = Open();
  ASSERT_THAT(UpgradeSchema(connection, kFirst), IsOk());
  ASSERT_THAT(connection.Execute("PRAGMA user_version = -1"), IsOk());

  EXPECT_THAT(UpgradeSchema(connection, kFirst), HasCode(Code::kDataLoss));
}

// A catalog as version 2 left it: its sets are there, without a digest.
TEST_F(CatalogSchema, KeepsTheSetsOfOlderVersionsWithoutADigest) {
  Connection connection = Open();
  ASSERT_THAT(UpgradeSchema(connection, SchemaSteps().first(2)), IsOk());
  ASSERT_THAT(connection.Execute(
                  "INSERT INTO catalog_media_set (media_uuid, visible) VALUES ('m', 1);"
                  "INSERT INTO catalog_backup_set (backup_set_uuid, media_set_id, backup_size, "
                  "compression_algorithm, visible) VALUES ('s', 1, 4711, 'ZSTD', 1)"),
              IsOk());
  EXPECT_FALSE(connection.Prepare("SELECT backup_set_digest FROM msdb_dbo_backupset").ok());

  ASSERT_THAT(UpgradeSchema(connection, SchemaSteps()), IsOk());

  EXPECT_EQ(connection
                .QueryInteger("SELECT backup_size FROM msdb_dbo_backupset WHERE "
                              "backup_set_digest IS NULL AND compression_algorithm = 'ZSTD'")
                .value(),
            4711);
}

// Databases that version 3 knew are there; no chain goes on from what it backed up.
TEST_F(CatalogSchema, BeginsNewChainsForDatabasesOfOlderVersions) {
  Connection connection = Open();
  ASSERT_THAT(UpgradeSchema(connection, SchemaSteps().first(3)), IsOk());
  ASSERT_THAT(connection.Execute(
                  "INSERT INTO catalog_database (name, scheme, location, created_unix_s) VALUES "
                  "('sales', 'sqlite', '/s', 1);"
                  "INSERT INTO catalog_media_set (media_uuid, visible) VALUES ('m', 1);"
                  "INSERT INTO catalog_backup_set (backup_set_uuid, media_set_id, visible) "
                  "VALUES ('s', 1, 1)"),
              IsOk());

  ASSERT_THAT(UpgradeSchema(connection, SchemaSteps()), IsOk());

  EXPECT_EQ(connection
                .QueryInteger("SELECT count(*) FROM catalog_database WHERE name = 'sales' AND "
                              "state = 0 AND recovery_model IS NULL AND backups_after = 1")
                .value(),
            1);
}

// A set of version 4 is known to the second.
TEST_F(CatalogSchema, KeepsTheTimesOfOlderVersionsToTheSecond) {
  Connection connection = Open();
  ASSERT_THAT(UpgradeSchema(connection, SchemaSteps().first(4)), IsOk());
  ASSERT_THAT(connection.Execute(
                  "INSERT INTO catalog_media_set (media_uuid, visible) VALUES ('m', 1);"
                  "INSERT INTO catalog_backup_set (backup_set_uuid, media_set_id, database_name, "
                  "software_vendor_id, start_unix_s, finish_unix_s, visible) "
                  "VALUES ('s', 1, 'sales', 17232, 5, 7, 1)"),
              IsOk());

  ASSERT_THAT(UpgradeSchema(connection, SchemaSteps()), IsOk());

  const auto sets = SelectSets(connection, "sales");
  ASSERT_THAT(sets, IsOk());
  ASSERT_EQ(sets->size(), 1u);
  EXPECT_EQ(sets->front().set.finished().earliest_us, 7'000'000);
  EXPECT_EQ(sets->front().set.finished().latest_us, 7'999'999);
}

// Released steps never change; this fails when one does.
TEST_F(CatalogSchema, HasOneStepPerReleasedVersion) {
  EXPECT_EQ(SchemaSteps().size(), 7u);
}

}  // namespace
}  // namespace capstan::catalog
