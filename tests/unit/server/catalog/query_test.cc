#include <atomic>
#include <thread>

#include "tests/unit/server/catalog/catalog_test.h"

namespace capstan::catalog {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;
using test::MessageHas;
using test::RecordBackup;
using test::SampleHeader;
using test::SampleSet;
using testing::AllOf;

class CatalogQuery : public CatalogTest {
 protected:
  std::string TypeOf(const std::string& expression) {
    const auto table = catalog_->Query("SELECT " + expression + " FROM msdb_dbo_backupset", {});
    EXPECT_THAT(table, IsOk());
    return table.ok() ? table->columns[0].type : "";
  }
};

LiveTable Requests() {
  return {.name = "sys.dm_exec_requests",
          .content = {.columns = {{"session_id", "smallint"},
                                  {"command", "nvarchar(32)"},
                                  {"percent_complete", "real"},
                                  {"lsn", "numeric(25,0)"}},
                      .rows = {{"51", "BACKUP DATABASE", "12.5", "18446744073709551615"},
                               {"9", std::nullopt, "0", "5"}}}};
}

// S4-44, as tsql translates it.
TEST_F(CatalogQuery, RunsTheSnapshotQueryOfTheDocumentation) {
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), SampleSet()), IsOk());

  const auto table = catalog_->Query(
      "SELECT database_name,\n    type,\n    backup_size,\n    backup_start_date,\n    "
      "backup_finish_date,\n    is_snapshot\nFROM msdb_dbo_backupset\nWHERE is_snapshot = 1;",
      {});

  ASSERT_THAT(table, IsOk());
  EXPECT_TRUE(table->rows.empty());  // nothing here writes snapshot backups
  std::vector<std::string> columns;
  for (const Column& column : table->columns) {
    columns.push_back(column.name + " " + column.type);
  }
  EXPECT_THAT(columns,
              testing::ElementsAre("database_name nvarchar(128)", "type char(1)",
                                   "backup_size numeric(20,0)", "backup_start_date datetime",
                                   "backup_finish_date datetime", "is_snapshot bit"));
  EXPECT_EQ(Rows("SELECT database_name, type, is_snapshot FROM msdb_dbo_backupset "
                 "WHERE is_snapshot = 0"),
            (std::vector<Cells>{{"sales", "D", "0"}}));
}

// S0-52: the shape of the usual history query, joined to where the media are.
TEST_F(CatalogQuery, RunsTheUsualHistoryQuery) {
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(2), SampleSet()), IsOk());

  const auto rows = Rows(
      "SELECT bs.database_name, CASE WHEN bs.type = 'D' AND bs.is_copy_only = 0 THEN 'Full "
      "Database' WHEN bs.type = 'L' THEN 'Transaction Log' END AS BackupType, bs.recovery_model, "
      "bmf.physical_device_name, ROUND(bs.backup_size / 1024.0, 2) AS KiB FROM "
      "MSDB_dbo_BackupSet bs LEFT OUTER JOIN msdb_dbo_backupmediafamily bmf ON "
      "bmf.media_set_id = bs.media_set_id WHERE bs.backup_start_date > '2020-01-01' ORDER BY "
      "bmf.family_sequence_number DESC");

  EXPECT_EQ(rows, (std::vector<Cells>{{"sales", "Full Database", "FULL", "/b/sales2.bak", "8"},
                                      {"sales", "Full Database", "FULL", "/b/sales1.bak", "8"}}));
}

TEST_F(CatalogQuery, NamesTypesOfColumnsAndGuessesThoseOfExpressions) {
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), SampleSet()), IsOk());

  EXPECT_EQ(TypeOf("backup_set_id"), "int");
  EXPECT_EQ(TypeOf("backup_set_uuid"), "uniqueidentifier");
  EXPECT_EQ(TypeOf("first_lsn"), "numeric(25,0)");
  EXPECT_EQ(TypeOf("count(*)"), "int");
  EXPECT_EQ(TypeOf("3000000000"), "bigint");
  EXPECT_EQ(TypeOf("backup_size / 3.0"), "float");
  EXPECT_EQ(TypeOf("upper(name)"), "nvarchar(4000)");
  EXPECT_EQ(TypeOf("x'00FF'"), "varbinary(8000)");
  EXPECT_EQ(TypeOf("NULL"), "sql_variant");
}

TEST_F(CatalogQuery, PrintsValuesAsTextAndNullAsNothing) {
  EXPECT_EQ(Rows("SELECT NULL, '', 0.1 + 0.2, 5.0, -7, x'00FF', 1e300"),
            (std::vector<Cells>{{std::nullopt, "", "0.3", "5", "-7", "0x00FF", "1e+300"}}));
}

TEST_F(CatalogQuery, ReadsLiveTablesWithTheirTypes) {
  const auto table = catalog_->Query(
      "SELECT session_id, command, percent_complete, lsn FROM sys_dm_exec_requests "
      "WHERE session_id > 2 ORDER BY session_id",
      {Requests()});

  ASSERT_THAT(table, IsOk());
  EXPECT_EQ(table->columns[0].type, "smallint");
  EXPECT_EQ(table->columns[1].type, "nvarchar(32)");
  EXPECT_EQ(table->columns[2].type, "real");
  EXPECT_EQ(table->columns[3].type, "numeric(25,0)");
  EXPECT_EQ(table->rows,
            (std::vector<Cells>{{"9", std::nullopt, "0", "5"},
                                {"51", "BACKUP DATABASE", "12.5", "18446744073709551615"}}));
}

TEST_F(CatalogQuery, ReadsLiveTablesWithTextOfAnyLength) {
  const LiveTable agents{
      .name = "sys.dm_backup_agents",
      .content = {.columns = {{"last_error", "nvarchar(max)"}}, .rows = {{"disk full"}}}};

  const auto table = catalog_->Query("SELECT last_error FROM sys_dm_backup_agents", {agents});

  ASSERT_THAT(table, IsOk());
  EXPECT_EQ(table->columns[0].type, "nvarchar(max)");
  EXPECT_EQ(table->rows, (std::vector<Cells>{{"disk full"}}));
}

TEST_F(CatalogQuery, JoinsLiveTablesWithHistory) {
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), SampleSet()), IsOk());

  EXPECT_EQ(Rows("SELECT r.session_id, s.database_name FROM sys_dm_exec_requests r "
                 "CROSS JOIN msdb_dbo_backupset s WHERE r.command LIKE 'BACKUP%'",
                 {Requests()}),
            (std::vector<Cells>{{"51", "sales"}}));
}

TEST_F(CatalogQuery, ForgetsLiveTablesAfterTheQuery) {
  Rows("SELECT 1 FROM sys_dm_exec_requests", {Requests()});

  EXPECT_THAT(catalog_->Query("SELECT 1 FROM sys_dm_exec_requests", {}),
              AllOf(HasReason(208), MessageHas("'sys.dm_exec_requests'")));
}

TEST_F(CatalogQuery, RefusesARowOfTheWrongWidth) {
  LiveTable live = Requests();
  live.content.rows[0].pop_back();

  EXPECT_THAT(catalog_->Query("SELECT 1", {live}), HasCode(Code::kInternal));
}

TEST_F(CatalogQuery, TakesHostileNamesInLiveTables) {
  const LiveTable live{.name = "sys.x\"y",
                       .content = {.columns = {{"a\"b", "int; DROP TABLE x"}}, .rows = {{"1"}}}};

  EXPECT_EQ(Rows("SELECT \"a\"\"b\" FROM \"sys_x\"\"y\"", {live}), (std::vector<Cells>{{"1"}}));
}

TEST_F(CatalogQuery, ReportsErrorsWithSqlServersNumbers) {
  EXPECT_THAT(catalog_->Query("SELECT 1 FROM msdb_dbo_nosuch", {}),
              AllOf(HasReason(208), MessageHas("'msdb.dbo.nosuch'")));
  EXPECT_THAT(catalog_->Query("SELECT nosuch FROM msdb_dbo_backupset", {}),
              AllOf(HasReason(207), MessageHas("'nosuch'")));
  EXPECT_THAT(catalog_->Query("SELECT \"nosuch\" FROM msdb_dbo_backupset", {}), HasReason(207));
  EXPECT_THAT(catalog_->Query("SELECT media_set_id FROM msdb_dbo_backupset, "
                              "msdb_dbo_backupmediaset",
                              {}),
              AllOf(HasReason(209), MessageHas("'media_set_id'")));
  EXPECT_THAT(catalog_->Query("SELECT nosuch(1)", {}), AllOf(HasReason(195), MessageHas("nosuch")));
  EXPECT_THAT(catalog_->Query("SELECT 1 FRM x y", {}), AllOf(HasReason(102), MessageHas("'x'")));
  EXPECT_THAT(catalog_->Query("SELECT (1", {}), HasCode(Code::kInvalidArgument));
}

TEST_F(CatalogQuery, RunsOneStatementOnly) {
  EXPECT_THAT(catalog_->Query("SELECT 1; SELECT 2", {}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(catalog_->Query("", {}), HasCode(Code::kInvalidArgument));
  EXPECT_EQ(Value("SELECT 1 ;\n"), "1");
}

TEST_F(CatalogQuery, HidesTablesOfTheCatalogItself) {
  for (const char* hidden : {"SELECT * FROM catalog_job", "SELECT count(*) FROM catalog_backup_set",
                             "SELECT * FROM sqlite_schema", "SELECT * FROM sqlite_master",
                             "SELECT count(*) FROM Catalog_Job", "SELECT * FROM sqlite_temp_schema",
                             "WITH x AS (SELECT * FROM catalog_job) SELECT * FROM x",
                             "SELECT * FROM pragma_table_info('catalog_job')"}) {
    EXPECT_FALSE(catalog_->Query(hidden, {}).ok()) << hidden;
  }
  EXPECT_THAT(catalog_->Query("SELECT * FROM catalog_job", {}), HasReason(208));
}

TEST_F(CatalogQuery, AllowsExpressionsOverTheQuerysOwnTables) {
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), SampleSet()), IsOk());

  EXPECT_EQ(Value("WITH x AS (SELECT * FROM msdb_dbo_backupset) SELECT count(*) FROM x"), "1");
  EXPECT_EQ(Value("SELECT count(*) FROM (SELECT 1 UNION ALL SELECT 2) AS t"), "2");
  EXPECT_EQ(Value("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) "
                  "SELECT sum(i) FROM n"),
            "45");
}

TEST_F(CatalogQuery, CountsTheRowsOfEveryPublicTable) {
  for (const char* table : {"backupset", "backupfile", "backupmediaset", "backupmediafamily",
                            "restorehistory", "restorefile"}) {
    EXPECT_EQ(Value(std::string("SELECT count(*) FROM msdb_dbo_") + table), "0");
  }
}

TEST_F(CatalogQuery, ChangesNothing) {
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), SampleSet()), IsOk());

  for (const std::string& forbidden : std::vector<std::string>{
           "DELETE FROM msdb_dbo_backupset", "DELETE FROM catalog_backup_set",
           "UPDATE catalog_backup_set SET name = 'x' RETURNING name",
           "DROP VIEW msdb_dbo_backupset", "CREATE TABLE t (x)", "CREATE TEMP TABLE t (x)",
           "PRAGMA user_version = 9", "PRAGMA user_version",
           "ATTACH '" + directory_.Under("other.db") + "' AS other", "SELECT load_extension('x')",
           "BEGIN", "COMMIT", "VACUUM", "VACUUM INTO '" + directory_.Under("copy.db") + "'"}) {
    EXPECT_FALSE(catalog_->Query(forbidden, {}).ok()) << forbidden;
  }
  EXPECT_EQ(Value("SELECT name FROM msdb_dbo_backupset"), "nightly");
  EXPECT_FALSE(std::filesystem::exists(directory_.Under("other.db")));
  EXPECT_FALSE(std::filesystem::exists(directory_.Under("copy.db")));
}

TEST_F(CatalogQuery, EndsAtItsTimeLimit) {
  Reopen({.time = std::chrono::milliseconds(50), .result_bytes = 1 << 20});

  const auto endless = catalog_->Query(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", {});

  EXPECT_THAT(endless, AllOf(HasCode(Code::kDeadlineExceeded), MessageHas("0.05 s")));
  EXPECT_FALSE(endless.status().hint().empty());
}

TEST_F(CatalogQuery, BoundsTheSizeOfItsResult) {
  Reopen({.time = std::chrono::seconds(30), .result_bytes = 1 << 20});

  EXPECT_THAT(catalog_->Query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                              "SELECT i FROM n",
                              {}),
              HasReason(701));
  EXPECT_THAT(catalog_->Query("SELECT zeroblob(900000000)", {}), HasCode(Code::kResourceExhausted));
}

TEST_F(CatalogQuery, SeesWholeBackupsWhileOthersCommit) {
  std::atomic<bool> done{false};
  std::jthread writer([&] {
    for (int i = 0; i < 40; ++i) {
      EXPECT_THAT(RecordBackup(*catalog_, SampleHeader(3), SampleSet()), IsOk());
    }
    done = true;
  });
  std::vector<std::jthread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      do {
        const auto torn = catalog_->Query(
            "SELECT count(*) FROM msdb_dbo_backupset s WHERE (SELECT count(*) FROM "
            "msdb_dbo_backupmediafamily f WHERE f.media_set_id = s.media_set_id) <> 3 OR NOT "
            "EXISTS (SELECT 1 FROM msdb_dbo_backupfile b WHERE b.backup_set_id = s.backup_set_id)",
            {Requests()});
        ASSERT_THAT(torn, IsOk());
        ASSERT_EQ(torn->rows[0][0], "0");
      } while (!done);
    });
  }
  readers.clear();
  writer.join();

  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset"), "40");
}

// A commit must not wait for a query, however long that one runs: were it to wait, at most the one
// before the query's start and the one that waits would be counted.
TEST_F(CatalogQuery, DoesNotHoldUpACommit) {
  Reopen({.time = std::chrono::seconds(1), .result_bytes = 1 << 20});
  std::atomic<bool> ended{false};
  const std::jthread slow([&] {
    EXPECT_THAT(catalog_->Query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                                "SELECT count(*) FROM n",
                                {}),
                HasCode(Code::kDeadlineExceeded));
    ended = true;
  });

  int committed = 0;
  while (!ended) {
    ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), SampleSet()), IsOk());
    ++committed;
  }

  EXPECT_GE(committed, 3);
}

}  // namespace
}  // namespace capstan::catalog
