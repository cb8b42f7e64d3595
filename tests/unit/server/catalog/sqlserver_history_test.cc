// Backups that SQL Server made, in the history: what its media tell, and NULL for the rest.
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/server/catalog/catalog_test.h"

namespace capstan::catalog {
namespace {

using test::IsOk;

constexpr char kLastGuid[] = "00000000-0000-0000-0000-0000000000FF";

Guid SomeGuid(std::uint8_t last) {
  Guid guid;
  guid.bytes[15] = last;
  return guid;
}

SqlServerSet SetOf(std::uint8_t guid, std::string finish_date) {
  SqlServerSet set;
  media::SetFacts& facts = set.facts.facts;
  set.facts.by_sql_server = true;
  set.facts.final_known = true;
  facts.backup_set_guid = SomeGuid(guid);
  facts.backup_type = 1;
  facts.database_name = "Sales";
  facts.database_version = 852;
  facts.first_lsn = "9999999999000000000900001";  // more than 64 bits
  facts.software_vendor_id = 4608;
  facts.finish_date = std::move(finish_date);
  facts.backup_size = 3'000'000'000;
  facts.is_copy_only = true;
  facts.binding_id = SomeGuid(1);
  set.facts.files.push_back({.logical_name = "Sales", .type = 'D', .file_id = 1});
  set.facts.files.push_back({.logical_name = "Sales_log", .type = 'L', .file_id = 2});
  return set;
}

MediumRecord MediumOf(std::vector<SqlServerSet> sets) {
  MediumRecord medium{.device_class = "DISK",
                      .target = "/b/sales.bak",
                      .header = {},
                      .sets = {},
                      .sqlserver_sets = std::move(sets)};
  medium.header.media_set_id = SomeGuid(77);
  medium.header.software_name = "Microsoft SQL Server";
  medium.header.software_vendor_id = media::kSqlServerVendorId;
  medium.header.by_other_program = true;
  medium.header.compressed = true;
  medium.header.password_digest = "0123456789abcdef";
  return medium;
}

using SqlServerHistory = CatalogTest;

TEST_F(SqlServerHistory, HasWhatTheMediumTells) {
  const auto counts = catalog_->ImportHistory({MediumOf({SetOf(0xFF, "2016-11-23 12:00:00.000")})});

  ASSERT_THAT(counts, IsOk());
  EXPECT_EQ(counts->front().added, 1);
  EXPECT_EQ(Value("SELECT backup_set_uuid FROM msdb_dbo_backupset"), kLastGuid);
  EXPECT_EQ(Value("SELECT first_lsn FROM msdb_dbo_backupset"), "9999999999000000000900001");
  EXPECT_EQ(Value("SELECT backup_finish_date FROM msdb_dbo_backupset"), "2016-11-23 12:00:00.000");
  EXPECT_EQ(Value("SELECT type || database_version || software_vendor_id FROM msdb_dbo_backupset"),
            "D8524608");
  EXPECT_EQ(Value("SELECT backup_size FROM msdb_dbo_backupset"), "3000000000");
  EXPECT_EQ(Value("SELECT is_copy_only FROM msdb_dbo_backupset"), "1");
  EXPECT_EQ(Value("SELECT database_guid FROM msdb_dbo_backupset"),
            "00000000-0000-0000-0000-000000000001");
  for (const char* unknown : {"last_lsn", "name", "begins_log_chain", "key_algorithm", "is_damaged",
                              "differential_base_guid", "collation_name"}) {
    EXPECT_EQ(Value(std::string("SELECT ") + unknown + " IS NULL FROM msdb_dbo_backupset"), "1")
        << unknown;
  }
  EXPECT_EQ(Value("SELECT is_compressed + is_password_protected FROM msdb_dbo_backupmediaset"),
            "2");
  EXPECT_EQ(Value("SELECT physical_device_name FROM msdb_dbo_backupmediafamily WHERE "
                  "physical_block_size IS NULL"),
            "/b/sales.bak");
  EXPECT_EQ(Value("SELECT group_concat(logical_name) FROM (SELECT logical_name FROM "
                  "msdb_dbo_backupfile ORDER BY file_number)"),
            "Sales,Sales_log");
}

TEST_F(SqlServerHistory, ComesInTheOrderOfTheBackupsAndOnce) {
  const MediumRecord medium =
      MediumOf({SetOf(2, "2016-11-23 12:00:00.000"), SetOf(1, "2016-11-22 12:00:00.000")});
  ASSERT_THAT(catalog_->ImportHistory({medium}), IsOk());

  const auto again = catalog_->ImportHistory({medium});

  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->front().added, 0);
  EXPECT_EQ(again->front().known, 2);
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset"), "2");
  EXPECT_EQ(
      Value("SELECT backup_finish_date FROM msdb_dbo_backupset ORDER BY backup_set_id LIMIT 1"),
      "2016-11-22 12:00:00.000");
}

// A dropped file's number may be another one's by now; sizes may be anything on a spoiled medium.
TEST_F(SqlServerHistory, TakesWhateverAMediumSays) {
  SqlServerSet set = SetOf(0xFF, "2016-11-23 12:00:00.000");
  set.facts.files[1].file_id = 1;
  set.facts.facts.backup_size = ~std::uint64_t{0};
  set.facts.facts.backup_type = 99;

  ASSERT_THAT(catalog_->ImportHistory({MediumOf({set})}), IsOk());

  EXPECT_EQ(Value("SELECT logical_name FROM msdb_dbo_backupfile"), "Sales");
  EXPECT_EQ(Value("SELECT backup_size FROM msdb_dbo_backupset"), "9223372036854775807");
  EXPECT_EQ(Value("SELECT type IS NULL FROM msdb_dbo_backupset"), "1");
}

}  // namespace
}  // namespace capstan::catalog
