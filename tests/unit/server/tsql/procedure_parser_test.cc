#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

TEST(ProcedureParser, AttachesByNameAndByPosition) {
  for (const char* batch :
       {"EXEC sp_attach_db @dbname = N'sales', @filename1 = N'sqlite:/srv/sales.db'",
        "EXECUTE sp_attach_db N'sales', N'sqlite:/srv/sales.db';",
        "exec SP_ATTACH_DB @filename1='sqlite:/srv/sales.db', @DBNAME='sales'",
        "EXEC sp_attach_db 'sales', @filename1 = 'sqlite:/srv/sales.db'",
        "EXEC master.dbo.sp_attach_db sales, 'sqlite:/srv/sales.db'",
        "EXEC master..sp_attach_db [sales], 'sqlite:/srv/sales.db'",
        "sp_attach_db 'sales', 'sqlite:/srv/sales.db'"}) {
    const auto attach = ParseOne<AttachStatement>(batch);
    EXPECT_EQ(attach.database, "sales") << batch;
    EXPECT_EQ(attach.location, "sqlite:/srv/sales.db") << batch;
  }
}

TEST(ProcedureParser, Detaches) {
  EXPECT_EQ(ParseOne<DetachStatement>("EXEC sp_detach_db 'Sales'").database, "Sales");
  EXPECT_EQ(
      ParseOne<DetachStatement>("EXEC sp_detach_db @dbname=N'a', @skipchecks='true'").database,
      "a");
}

TEST(ProcedureParser, RefusesWrongArguments) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {"EXEC sp_attach_db", 201,
            "Procedure or function 'sp_attach_db' expects parameter '@dbname', which was not "
            "supplied."},
           {"EXEC sp_attach_db 'a'", 201, "'@filename1'"},
           {"EXEC sp_attach_db 'a', 'b', 'c'", 8144,
            "Procedure or function sp_attach_db has too many arguments specified."},
           {"EXEC sp_attach_db 'a', 'b',\n@filename2 = 'c'", 8145,
            "@filename2 is not a parameter for procedure sp_attach_db.", 2},
           {"EXEC sp_attach_db @dbname='a', 'b'", 119, "Must pass parameter number 2"},
           {"EXEC sp_attach_db 'a', @dbname='b'", 8143, "'@dbname' was supplied multiple times"},
           {"EXEC sp_attach_db '', 'b'", 1038, "name is missing or empty"},
           {"EXEC sp_detach_db ''", 1038, "name is missing or empty"},
           {"EXEC sp_detach_db '" + std::string(129, 'x') + "'", 103, "Maximum length is 128"},
           {"EXEC sp_detach_db @name", 102, "near '@name'."},
           {"EXEC sp_detach_db NULL", 156, "keyword 'NULL'."},
           {"EXEC sp_detach_db 'a' 'b'", 102, "near 'b'."},
           {"EXEC sp_detach_db 'a',", 102, "near ','."}}) {
    ExpectError(bad);
  }
}

// S0-14
TEST(ProcedureParser, MeasuresDevices) {
  const auto plain = ParseOne<DeviceBenchStatement>("EXEC sp_device_bench '/backup'");
  EXPECT_EQ(plain.target, "/backup");
  EXPECT_EQ(plain.device_class, DeviceClass::kDisk);
  EXPECT_EQ(plain.size_mb, 1024U);
  EXPECT_EQ(plain.transfer_size, 1U << 20);
  EXPECT_TRUE(plain.read);
  const auto full = ParseOne<DeviceBenchStatement>(
      "EXEC sp_device_bench @target = N's3://b/p', @class = N'url', @size_mb = 64, "
      "@transfer_size = 131072, @read = 0");
  EXPECT_EQ(full.device_class, DeviceClass::kUrl);
  EXPECT_EQ(full.size_mb, 64U);
  EXPECT_EQ(full.transfer_size, 131072U);
  EXPECT_FALSE(full.read);
  for (const char* wrong :
       {"''", "'/b', 'TAPE'", "'/b', @size_mb = 0", "'/b', @size_mb = 1048577",
        "'/b', @size_mb = 'x'", "'/b', @transfer_size = 65535", "'/b', @transfer_size = 65537",
        "'/b', @transfer_size = 4259840", "'/b', @read = 2"}) {
    ExpectError({std::string("EXEC sp_device_bench ") + wrong, 3217, ""});
  }
}

// S3-09, S3-10
TEST(ProcedureParser, Configures) {
  EXPECT_EQ(ParseOne<ConfigureStatement>("sp_configure").option, "");
  const auto show =
      ParseOne<ConfigureStatement>("-- why\nsp_configure 'backup compression default'");
  EXPECT_EQ(show.option, "backup compression default");
  EXPECT_FALSE(show.value.has_value());
  EXPECT_EQ(ParseOne<ConfigureStatement>("EXEC sp_configure 'media retention', 30;").value, 30);
  EXPECT_EQ(
      ParseOne<ConfigureStatement>("EXEC sys.sp_configure @configvalue = -1, @configname = N'x'")
          .value,
      -1);
  EXPECT_EQ(ParseAll("EXEC sp_configure 'x', 1 RECONFIGURE WITH OVERRIDE SELECT 1").size(), 3U);
  ParseOne<ReconfigureStatement>("reconfigure;");
  ExpectError({"EXEC sp_configure 'x', 'y'", 15129, "'y' is not a valid value"});
  ExpectError({"EXEC sp_configure 'x', 1, 2", 8144, "too many arguments"});
  ExpectError({"RECONFIGURE OVERRIDE", 102, "near 'OVERRIDE'."});
}

// S0-35, S0-55
TEST(ProcedureParser, TakesPathsAndDatabases) {
  EXPECT_EQ(ParseOne<CreateFolderStatement>("EXEC master.dbo.xp_create_subdir N'E:\\b'").path,
            "E:\\b");
  EXPECT_EQ(
      ParseOne<LoadHistoryStatement>("EXEC sp_load_history @path = '/b', @path16 = '/c'").paths,
      (std::vector<std::string>{"/b", "/c"}));
  EXPECT_EQ(ParseOne<SpaceUsedStatement>("EXEC sp_spaceused @dbname = 'sales'").database, "sales");
  ExpectError({"EXEC sp_spaceused", 201, "'@dbname'"});
  ExpectError({"EXEC sp_spaceused 'customers'", 201, "'@dbname'"});
  ExpectError({"EXEC sp_spaceused 'customers', @dbname='d'", 3032, "(@objname)"});
  ExpectError({"EXEC xp_create_subdir ''", 3217, "@path"});
  ExpectError({"EXEC sp_load_history", 201, "'@path'"});
  ExpectError({"EXEC sp_load_history '/b', ''", 3217, "@path2"});
}

TEST(ProcedureParser, DoesNotFindOtherProcedures) {
  ExpectError(
      {"\nEXEC xp_cmdshell 'ls'", 2812, "Could not find stored procedure 'xp_cmdshell'.", 2});
  ExpectError({"EXEC master..sp_who", 2812, "'master..sp_who'"});
  ExpectError({"hello", 2812, "'hello'"});
}

TEST(ProcedureParser, SaysWhereTheSyntaxBreaks) {
  ExpectError({"EXEC", 102, "near 'EXEC'."});
  ExpectError({"EXEC ('PRINT 1')", 102, "near '('."});
  ExpectError({"EXEC @rc = sp_detach_db 'a'", 102, "near '@rc'."});
  ExpectError({"EXEC a.b.c.d", 102, "near 'd'."});
  ExpectError({"EXEC a..", 102, "near '.'."});
  ExpectError({"BAKUP DATABASE d TO DISK='x'", 156, "keyword 'DATABASE'."});
}

}  // namespace
}  // namespace capstan::tsql
