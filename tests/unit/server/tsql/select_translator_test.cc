// The translation is judged by what SQLite makes of it: most tests run it over a small catalog.
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr const char* kSchema = R"(
CREATE TABLE msdb_dbo_backupset (backup_set_id INTEGER, database_name TEXT, type TEXT,
  backup_size INTEGER, backup_start_date TEXT, backup_finish_date TEXT, is_snapshot INTEGER,
  media_set_id INTEGER);
INSERT INTO msdb_dbo_backupset VALUES
  (1, 'sales', 'D', 1048576, '2024-01-31 23:59:58', '2024-02-01 00:00:03', 0, 1),
  (2, 'sales', 'I', 2097152, '2024-02-02 10:00:00', '2024-02-02 10:01:00', 1, 1),
  (3, 'stock', 'D', 3145728, '2024-02-03 10:00:00', NULL, 1, 2);
CREATE TABLE msdb_dbo_backupmediafamily (media_set_id INTEGER, physical_device_name TEXT);
INSERT INTO msdb_dbo_backupmediafamily VALUES (1, '/a.bak'), (2, '/b.bak');
CREATE TABLE msdb_dbo_backupmediaset (media_set_id INTEGER, name TEXT);
CREATE TABLE msdb_dbo_backupfile (a); CREATE TABLE msdb_dbo_restorehistory (a);
CREATE TABLE msdb_dbo_restorefile (a);
CREATE TABLE sys_dm_exec_requests (session_id INTEGER, percent_complete REAL, [command] TEXT);
INSERT INTO sys_dm_exec_requests VALUES (51, 12.5, 'BACKUP DATABASE');
CREATE TABLE sys_databases (name TEXT, database_id INTEGER);
INSERT INTO sys_databases VALUES ('sales', 5), ('new', 6);
CREATE TABLE sys_dm_backup_devices (a); CREATE TABLE sys_dm_backup_agents (a);
CREATE TABLE sys_dm_backup_writers (a); CREATE TABLE sys_dm_backup_device_sets (a);
)";

class SelectTranslator : public testing::Test {
 protected:
  SelectTranslator() {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
    db_.reset(db);
    EXPECT_EQ(sqlite3_exec(db, kSchema, nullptr, nullptr, nullptr), SQLITE_OK);
  }

  // Rows as "a|b", NULL as "NULL".
  std::vector<std::string> Run(const std::string& batch) {
    const auto select = ParseOne<SelectStatement>(batch);
    sqlite3_stmt* statement = nullptr;
    const char* tail = nullptr;
    if (sqlite3_prepare_v2(db_.get(), select.sqlite_text.c_str(), -1, &statement, &tail) !=
        SQLITE_OK) {
      ADD_FAILURE() << select.sqlite_text << "\n" << sqlite3_errmsg(db_.get());
      return {};
    }
    EXPECT_STREQ(tail, "");
    EXPECT_TRUE(sqlite3_stmt_readonly(statement));
    columns_.clear();
    for (int i = 0; i < sqlite3_column_count(statement); ++i) {
      columns_.emplace_back(sqlite3_column_name(statement, i));
    }
    std::vector<std::string> rows;
    while (sqlite3_step(statement) == SQLITE_ROW) {
      std::string row;
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
        row += (i == 0 ? "" : "|") + std::string(text == nullptr ? "NULL" : text);
      }
      rows.push_back(row);
    }
    EXPECT_EQ(sqlite3_finalize(statement), SQLITE_OK) << select.sqlite_text;
    return rows;
  }

  // The value of an expression.
  std::string Eval(const std::string& expression) {
    const std::vector<std::string> rows = Run("SELECT " + expression);
    return rows.size() == 1 ? rows[0] : "no single row";
  }

  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
  };
  std::unique_ptr<sqlite3, Close> db_;
  std::vector<std::string> columns_;
};

// S4-44
TEST_F(SelectTranslator, RunsTheDocumentedHistoryQuery) {
  EXPECT_THAT(Run(R"(SELECT database_name,
    type,
    backup_size,
    backup_start_date,
    backup_finish_date,
    is_snapshot
FROM msdb.dbo.backupset
WHERE is_snapshot = 1;)"),
              ElementsAre("sales|I|2097152|2024-02-02 10:00:00|2024-02-02 10:01:00|1",
                          "stock|D|3145728|2024-02-03 10:00:00|NULL|1"));
  EXPECT_THAT(columns_, ElementsAre("database_name", "type", "backup_size", "backup_start_date",
                                    "backup_finish_date", "is_snapshot"));
}

TEST_F(SelectTranslator, FindsTablesUnderEveryName) {
  for (const char* name :
       {"msdb.dbo.backupset", "msdb..backupset", "dbo.backupset", "backupset",
        "[msdb].[dbo].[backupset]", "MSDB.DBO.BackupSet", "\"msdb\"..[backupset]"}) {
    EXPECT_THAT(Run(std::string("SELECT COUNT(*) FROM ") + name), ElementsAre("3")) << name;
  }
  for (const char* name :
       {"backupmediaset", "backupmediafamily", "backupfile", "restorehistory", "restorefile",
        "sys.databases", "sys.dm_backup_devices", "sys.dm_backup_agents", "sys.dm_backup_writers",
        "sys.dm_backup_device_sets", "master.sys.dm_exec_requests"}) {
    EXPECT_EQ(Run(std::string("SELECT COUNT(*) FROM ") + name).size(), 1U) << name;
  }
}

// S0-04
TEST_F(SelectTranslator, NamesTheLiveTablesOnce) {
  const auto select = ParseOne<SelectStatement>(
      "SELECT r.session_id FROM master.sys.dm_exec_requests r JOIN sys.databases d ON 1 = 1 "
      "WHERE EXISTS (SELECT * FROM SYS.DM_EXEC_REQUESTS)");
  EXPECT_THAT(select.live_tables, ElementsAre("sys.dm_exec_requests", "sys.databases"));
  EXPECT_THAT(ParseOne<SelectStatement>("SELECT * FROM backupset").live_tables, IsEmpty());
  EXPECT_THAT(Run("SELECT percent_complete FROM sys.dm_exec_requests"), ElementsAre("12.5"));
}

TEST_F(SelectTranslator, RefusesUnknownTables) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {"SELECT * FROM nothing", 208, "Invalid object name 'nothing'."},
           {"SELECT *\nFROM [msdb].dbo.nothing", 208, "'msdb.dbo.nothing'", 2},
           {"SELECT * FROM msdb..nothing", 208, "'msdb..nothing'"},
           {"SELECT * FROM sqlite_master", 208, "'sqlite_master'"},
           {"SELECT * FROM [sqlite_schema]", 208, "'sqlite_schema'"},
           {"SELECT * FROM msdb_dbo_backupset", 208, "'msdb_dbo_backupset'"},
           {"SELECT * FROM other.dbo.backupset", 208, "'other.dbo.backupset'"},
           {"SELECT * FROM dm_exec_requests", 208, "'dm_exec_requests'"},
           {"SELECT * FROM a.msdb.dbo.backupset", 208, "'a.msdb.dbo.backupset'"},
           {"SELECT * FROM pragma_database_list('x')", 208, "'pragma_database_list'"}}) {
    ExpectError(bad);
  }
}

TEST_F(SelectTranslator, KeepsQualifiersAndAliases) {
  EXPECT_THAT(
      Run("SELECT bs.[database_name], f.physical_device_name AS [dev ice] "
          "FROM msdb.dbo.backupset AS bs INNER JOIN msdb.dbo.backupmediafamily f "
          "ON bs.media_set_id = f.media_set_id WHERE bs.backup_set_id >= 2 ORDER BY 1 DESC"),
      ElementsAre("stock|/b.bak", "sales|/a.bak"));
  EXPECT_EQ(columns_.at(1), "dev ice");
  EXPECT_THAT(Run("SELECT msdb.dbo.backupset.type, backupset.type, msdb..backupset.type "
                  "FROM msdb.dbo.backupset WHERE dbo.backupset.backup_set_id = 2"),
              ElementsAre("I|I|I"));
  EXPECT_THAT(Run("SELECT n = name, 'id' = database_id, name x, name 'y' FROM sys.databases "
                  "WHERE name = 'new'"),
              ElementsAre("new|6|new|new"));
  EXPECT_THAT(columns_, ElementsAre("n", "id", "x", "y"));
  EXPECT_THAT(Run("SELECT d.*, 1 FROM sys.databases d WHERE d.name = N'new'"),
              ElementsAre("new|6|1"));
}

TEST_F(SelectTranslator, GivesNoNameToExpressions) {
  Run("SELECT 1, COUNT(*), 2 AS x, (SELECT 3)");

  EXPECT_THAT(columns_, ElementsAre("", "", "x", ""));
}

TEST_F(SelectTranslator, TurnsTopIntoLimit) {
  EXPECT_EQ(
      ParseOne<SelectStatement>("SELECT TOP 2 * FROM backupset ORDER BY backup_set_id DESC")
          .sqlite_text,
      "SELECT * FROM msdb_dbo_backupset AS [backupset] ORDER BY [backup_set_id] DESC LIMIT 2");
  EXPECT_THAT(Run("SELECT TOP (1) backup_set_id FROM backupset ORDER BY backup_set_id DESC"),
              ElementsAre("3"));
  EXPECT_THAT(Run("SELECT DISTINCT TOP 1 type FROM backupset ORDER BY type"), ElementsAre("D"));
  EXPECT_THAT(Run("SELECT name FROM sys.databases d WHERE database_id = "
                  "(SELECT TOP 1 database_id FROM sys.databases ORDER BY database_id DESC)"),
              ElementsAre("new"));
  EXPECT_THAT(Run("SELECT TOP 1 1 AS a UNION ALL SELECT TOP 2 backup_set_id FROM backupset "
                  "ORDER BY a DESC"),
              ElementsAre("2", "1", "1"));
  ExpectError({"SELECT TOP 5 PERCENT * FROM backupset", 156, "keyword 'PERCENT'."});
  ExpectError({"SELECT TOP x * FROM backupset", 102, "near 'x'."});
  ExpectError({"SELECT TOP 1.5 * FROM backupset", 102, "near '1.5'."});
  ExpectError({"SELECT TOP 1 WITH TIES * FROM backupset", 156, "keyword 'WITH'."});
}

TEST_F(SelectTranslator, DropsTableHints) {
  EXPECT_THAT(Run("SELECT COUNT(*) FROM backupset WITH (NOLOCK)"), ElementsAre("3"));
  EXPECT_THAT(Run("SELECT COUNT(*) FROM backupset b WITH (NOLOCK, READPAST) WHERE b.type = 'D'"),
              ElementsAre("2"));
  EXPECT_THAT(Run("SELECT COUNT(*) FROM backupset (NOLOCK) b, sys.databases WITH (NOLOCK)"),
              ElementsAre("6"));
  ExpectError({"SELECT * FROM backupset WITH (NOLOCK, INDEX)", 156, "keyword 'INDEX'."});
}

TEST_F(SelectTranslator, JoinsGroupsAndCombines) {
  EXPECT_THAT(
      Run("SELECT d.name, MAX(b.backup_set_id), COUNT(DISTINCT b.type) FROM sys.databases d "
          "LEFT OUTER JOIN msdb.dbo.backupset b ON b.database_name = d.name "
          "GROUP BY d.name HAVING COUNT(*) > 0 ORDER BY d.name"),
      ElementsAre("new|NULL|0", "sales|2|2"));
  EXPECT_THAT(Run("SELECT a.x FROM (SELECT 1 AS x UNION SELECT 1 UNION SELECT 2) a ORDER BY x"),
              ElementsAre("1", "2"));
  EXPECT_THAT(Run("SELECT COUNT(*) FROM (backupset b CROSS JOIN sys.databases d)"),
              ElementsAre("6"));
  EXPECT_THAT(Run("SELECT name FROM sys.databases EXCEPT SELECT database_name FROM backupset"),
              ElementsAre("new"));
}

TEST_F(SelectTranslator, RunsCommonTablesAndWindows) {
  EXPECT_THAT(
      Run("WITH last (db, id) AS (SELECT database_name, MAX(backup_set_id) FROM msdb.dbo.backupset "
          "GROUP BY database_name), d AS (SELECT name FROM sys.databases) "
          "SELECT d.name, last.id FROM d LEFT JOIN last ON last.db = d.name ORDER BY d.name"),
      ElementsAre("new|NULL", "sales|2"));
  EXPECT_THAT(Run("SELECT x.backup_set_id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY "
                  "database_name ORDER BY backup_start_date DESC) AS n FROM backupset) x "
                  "WHERE x.n = 1 ORDER BY 1"),
              ElementsAre("2", "3"));
  EXPECT_THAT(Run("SELECT TOP 1 SUM(backup_size) OVER () FROM backupset"), ElementsAre("6291456"));
  ExpectError({"SELECT ROW_NUMBER() FROM backupset", 156, "keyword 'FROM'."});
}

TEST_F(SelectTranslator, EvaluatesExpressions) {
  EXPECT_EQ(Eval("1 + 2 * 3"), "7");
  EXPECT_EQ(Eval("-(1) - -1"), "0");
  EXPECT_EQ(Eval("7 / 2"), "3");
  EXPECT_EQ(Eval("CASE WHEN 1 <> 2 AND NOT 1 = 2 THEN 'yes' ELSE 'no' END"), "yes");
  EXPECT_EQ(Eval("CASE 5 WHEN 5 THEN 'a' WHEN 6 THEN 'b' END"), "a");
  EXPECT_EQ(Eval("CASE WHEN 5 BETWEEN 1 AND 9 AND 5 NOT BETWEEN 6 AND 9 THEN 1 END"), "1");
  EXPECT_EQ(Eval("CASE WHEN 'abc' LIKE 'a%' AND 'b' NOT LIKE 'a%' THEN 1 END"), "1");
  EXPECT_EQ(Eval("CASE WHEN 1 IN (1, 2) AND 3 NOT IN (SELECT 1) THEN 1 END"), "1");
  EXPECT_EQ(Eval("CASE WHEN NULL IS NULL AND 1 IS NOT NULL THEN 1 END"), "1");
  EXPECT_EQ(Eval("CASE WHEN 1 != 2 AND 1 !> 1 AND 1 !< 1 THEN 1 END"), "1");
  EXPECT_EQ(Eval("CASE WHEN EXISTS (SELECT 1) THEN 1 END"), "1");
  EXPECT_EQ(Eval("N'it''s' COLLATE DATABASE_DEFAULT"), "it's");
  EXPECT_EQ(Eval("0x41"), "A");
}

TEST_F(SelectTranslator, JoinsStringsWithPlus) {
  EXPECT_EQ(Eval("'a' + 'b' + 'c'"), "abc");
  EXPECT_THAT(Run("SELECT name + ' is ' + CAST(database_id AS varchar(10)) FROM sys.databases "
                  "WHERE 'x' + name = 'xnew'"),
              ElementsAre("new is 6"));
  EXPECT_THAT(Run("SELECT name + name + 'x' FROM sys.databases WHERE database_id = 5 + 1"),
              ElementsAre("newnewx"));
  EXPECT_EQ(Eval("1 + 1"), "2");
  EXPECT_EQ(Eval("ISNULL(NULL, 'a') + UPPER('b')"), "aB");
}

TEST_F(SelectTranslator, MapsFunctions) {
  EXPECT_EQ(Eval("ISNULL(NULL, 5)"), "5");
  EXPECT_EQ(Eval("LEN('abc  ')"), "3");
  EXPECT_EQ(Eval("LEFT('abc', 2)"), "ab");
  EXPECT_EQ(Eval("RIGHT('abc', 2)"), "bc");
  EXPECT_EQ(Eval("RIGHT('abc', 0)"), "");
  EXPECT_EQ(Eval("RIGHT('abc', 5)"), "abc");
  EXPECT_EQ(Eval("SUBSTRING('abcdef', 2, 3)"), "bcd");
  EXPECT_EQ(Eval("CHARINDEX('c', 'abc')"), "3");
  EXPECT_EQ(Eval("CONCAT('a', NULL, 1)"), "a1");
  EXPECT_EQ(Eval("COALESCE(NULL, NULL, 7)"), "7");
  EXPECT_EQ(Eval("NULLIF(1, 1)"), "NULL");
  EXPECT_EQ(Eval("IIF(1 = 1, 'a', 'b')"), "a");
  EXPECT_EQ(Eval("REPLACE(LOWER('ABC'), 'b', 'x')"), "axc");
  EXPECT_EQ(Eval("YEAR('2024-02-29') + MONTH('2024-02-29') + DAY('2024-02-29')"), "2055");
  EXPECT_EQ(Eval("LEN(GETDATE())"), "19");
  EXPECT_EQ(Eval("LEFT(@@VERSION, 7)"), "Capstan");
  EXPECT_THAT(Run("SELECT MIN(backup_set_id), AVG(backup_set_id), COUNT_BIG(*) FROM backupset"),
              ElementsAre("1|2.0|3"));
}

TEST_F(SelectTranslator, CountsBordersBetweenDates) {
  EXPECT_THAT(Run("SELECT DATEDIFF(second, backup_start_date, backup_finish_date), "
                  "DATEDIFF(MINUTE, backup_start_date, backup_finish_date), "
                  "DATEDIFF(hh, backup_start_date, backup_finish_date), "
                  "DATEDIFF(day, backup_start_date, backup_finish_date), "
                  "DATEDIFF(month, backup_start_date, backup_finish_date), "
                  "DATEDIFF(year, backup_start_date, backup_finish_date) "
                  "FROM backupset WHERE backup_set_id = 1"),
              ElementsAre("5|1|1|1|1|0"));
  ExpectError({"SELECT DATEDIFF(fortnight, 1, 2)", 155,
               "'fortnight' is not a recognized datediff option."});
  ExpectError({"SELECT DATEADD(x, 1, 2)", 155, "'x' is not a recognized dateadd option."});
}

TEST_F(SelectTranslator, AddsToDates) {
  EXPECT_EQ(Eval("DATEADD(day, -1, '2024-03-01 10:00:00')"), "2024-02-29 10:00:00");
  EXPECT_EQ(Eval("DATEADD(hour, 1 + 1, '2024-02-29 23:00:00')"), "2024-03-01 01:00:00");
  EXPECT_EQ(Eval("DATEADD(month, 1, '2024-01-31 10:00:00')"), "2024-02-29 10:00:00");
  EXPECT_EQ(Eval("DATEADD(month, -1, '2024-03-15')"), "2024-02-15 00:00:00");
  EXPECT_EQ(Eval("DATEADD(yy, 1, '2024-02-29')"), "2025-02-28 00:00:00");
  EXPECT_EQ(Eval("DATEPART(mm, '2024-02-29')"), "2");
  EXPECT_EQ(Eval("CASE WHEN DATEADD(dd, -7, GETDATE()) < GETDATE() THEN 1 END"), "1");
}

TEST_F(SelectTranslator, ConvertsTypes) {
  EXPECT_EQ(Eval("CAST('12' AS int) + 1"), "13");
  EXPECT_EQ(Eval("CAST(1.255 * 100 AS decimal(10, 1))"), "125.5");
  EXPECT_EQ(Eval("CAST(2.6 AS numeric(5,0))"), "3");
  EXPECT_EQ(Eval("CAST('abcdef' AS nvarchar(3))"), "abc");
  EXPECT_EQ(Eval("CAST(5 AS nvarchar(max)) + 'x'"), "5x");
  EXPECT_EQ(Eval("CAST(7 AS bit)"), "1");
  EXPECT_EQ(Eval("CAST('2024-02-01 10:11:12' AS date)"), "2024-02-01");
  EXPECT_EQ(Eval("CONVERT(varchar(20), '2024-02-01 10:11:12', 120)"), "2024-02-01 10:11:12");
  EXPECT_EQ(Eval("CONVERT(char(10), '2024-02-01 10:11:12', 101)"), "02/01/2024");
  EXPECT_EQ(Eval("CONVERT(varchar, '2024-02-01', 112)"), "20240201");
  EXPECT_EQ(Eval("CONVERT(int, '5')"), "5");
  ExpectError({"SELECT CAST(1 AS geography)", 243, "Type geography is not a defined system type."});
  ExpectError(
      {"SELECT CONVERT(varchar(9), GETDATE(), 999)", 281, "999 is not a valid style number"});
}

TEST_F(SelectTranslator, LetsNoFunctionOfSqliteThrough) {
  for (const char* name :
       {"load_extension", "readfile", "zeroblob", "sqlite_version", "writefile"}) {
    ExpectError({std::string("SELECT ") + name + "(1)", 195,
                 "'" + std::string(name) + "' is not a recognized built-in function name."});
  }
  ExpectError({"SELECT [load_extension]('x')", 102, "near '('."});
  ExpectError({"SELECT LEN()", 174, "The len function requires 1 argument(s)."});
  ExpectError({"SELECT MAX(1, 2)", 174, "The max function requires 1 argument(s)."});
  ExpectError({"SELECT COALESCE(1)", 189, "The coalesce function requires 2 to"});
}

// A word that only SQLite knows is a name here, and a name cannot stand there.
TEST_F(SelectTranslator, LetsNoSyntaxOfSqliteThrough) {
  ExpectError({"SELECT * FROM backupset b LIMIT 5", 102, "near 'LIMIT'."});
  ExpectError({"SELECT type GLOB 'x' FROM backupset", 102, "near 'x'."});
  ExpectError({"SELECT * FROM backupset ORDER BY type OFFSET 1 ROWS", 102, "near 'OFFSET'."});
  ExpectError({"SELECT * INTO t FROM backupset", 156, "keyword 'INTO'."});
  ExpectError({"SELECT * FROM backupset b INDEXED BY i", 102, "near 'INDEXED'."});
  EXPECT_EQ(ParseOne<SelectStatement>("SELECT [a\"b]]c] AS [it's]").sqlite_text,
            "SELECT \"a\"\"b]c\" AS [it's]");
  EXPECT_EQ(Eval("'x''; DROP TABLE t; --'"), "x'; DROP TABLE t; --");
}

TEST_F(SelectTranslator, SaysWhereTheSyntaxBreaks) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {"SELECT", 102, "near 'SELECT'."},
           {"SELECT *\nFROM", 102, "near 'FROM'.", 2},
           {"SELECT FROM backupset", 156, "keyword 'FROM'."},
           {"SELECT a, FROM backupset", 156, "keyword 'FROM'."},
           {"SELECT (1", 102, "near '1'."},
           {"SELECT 1)", 102, "near ')'."},
           {"SELECT @x", 102, "near '@x'."},
           {"SELECT * FROM backupset WHERE", 102, "near 'WHERE'."},
           {"SELECT * FROM backupset WHERE a = = 1", 102, "near '='."},
           {"SELECT * FROM backupset WHERE a NOT 1", 102, "near '1'."},
           {"SELECT * FROM backupset JOIN sys.databases", 102, "near 'databases'."},
           {"SELECT * FROM backupset CROSS APPLY x", 102, "near 'APPLY'."},
           {"SELECT * FROM backupset GROUP type", 102, "near 'type'."},
           {"SELECT CASE END", 156, "keyword 'END'."},
           {"SELECT CASE WHEN 1 = 1 THEN 2", 102, "near '2'."},
           {"SELECT CAST(1 AS)", 102, "near ')'."},
           {"SELECT a ^ b", 102, "near '^'."},
           {"WITH x AS SELECT 1", 156, "keyword 'SELECT'."},
           {"WITH x AS (SELECT 1) DELETE FROM x", 156, "keyword 'DELETE'."},
           {"SELECT 1 UNION", 102, "near 'UNION'."}}) {
    ExpectError(bad);
  }
}

TEST_F(SelectTranslator, LimitsNesting) {
  const auto nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '(') + "1" +
           std::string(static_cast<std::size_t>(depth), ')');
  };
  EXPECT_EQ(Eval(nested(40)), "1");
  ExpectError({"SELECT " + nested(41), 191, "nested too deeply"});
  ExpectError({"SELECT " + nested(100'000), 191, "nested too deeply"});
  std::string queries = "SELECT 1 AS a";
  for (int i = 0; i < 15; ++i) {
    queries = "SELECT a FROM (" + queries + ") x";
  }
  EXPECT_THAT(Run(queries), ElementsAre("1"));
}

// DATEADD names its argument three times in SQLite's words.
TEST_F(SelectTranslator, BoundsWhatAnExpressionGrowsTo) {
  std::string date = "GETDATE()";
  for (int i = 0; i < 30; ++i) {
    date = "DATEADD(month, 1, " + date + ")";
  }
  ExpectError({"SELECT " + date, 191, "nested too deeply"});
}

}  // namespace
}  // namespace capstan::tsql
