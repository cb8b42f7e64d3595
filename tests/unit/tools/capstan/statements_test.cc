#include "tools/capstan/statements.h"

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::cli {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;

constexpr std::string_view kHere = "/home/dba";

TEST(Quoting, DoublesWhatWouldEndTheName) {
  EXPECT_EQ(QuoteIdentifier("sales"), "[sales]");
  EXPECT_EQ(QuoteIdentifier("x]] DROP [y"), "[x]]]] DROP [y]");
  EXPECT_EQ(QuoteIdentifier("a'b\nc"), "[a'b\nc]");
  EXPECT_EQ(QuoteString("it's"), "N'it''s'");
  EXPECT_EQ(QuoteString("''"), "N''''''");
  EXPECT_EQ(QuoteString("\xC3\xBC]"), "N'\xC3\xBC]'");
  EXPECT_EQ(QuoteString(""), "N''");
}

TEST(DeviceBenchStatement, SaysWhatDiffersFromTheDefault) {
  EXPECT_EQ(DeviceBenchStatement({.target = {TargetClass::kDisk, "/a'b"}, .size_mb = 64}),
            "EXEC sp_device_bench @target = N'/a''b', @class = N'DISK', @size_mb = 64");
  EXPECT_EQ(DeviceBenchStatement({.target = {TargetClass::kUrl, "s3://b/p"},
                                  .size_mb = 1,
                                  .transfer_size = 65536,
                                  .read = false}),
            "EXEC sp_device_bench @target = N's3://b/p', @class = N'URL', @size_mb = 1, "
            "@transfer_size = 65536, @read = 0");
}

TEST(BackupStatement, SaysTheLimitOfTheRate) {
  BackupOptions options;
  options.database = "d";
  options.targets = {{TargetClass::kDisk, "/a"}};
  options.transfer.max_rate_mb = 40;
  EXPECT_NE(BackupStatement(options).find("MAXRATE = 40"), std::string::npos);
}

TEST(AbsolutePath, StandsOnTheWorkingDirectoryUnlessItIsAbsolute) {
  EXPECT_EQ(AbsolutePath("a.bak", kHere), "/home/dba/a.bak");
  EXPECT_EQ(AbsolutePath("../x/./a.bak", kHere), "/home/x/a.bak");
  EXPECT_EQ(AbsolutePath("/srv//a.bak", kHere), "/srv/a.bak");
  EXPECT_EQ(AbsolutePath("../../../a", kHere), "/a");
}

struct TargetCase {
  std::string_view text;
  TargetClass target_class;
  std::string_view name;
};

class ParseTargetForms : public testing::TestWithParam<TargetCase> {};

TEST_P(ParseTargetForms, AreUnderstood) {
  const Result<Target> target = ParseTarget(GetParam().text, kHere);

  ASSERT_THAT(target, IsOk());
  EXPECT_EQ(target->target_class, GetParam().target_class);
  EXPECT_EQ(target->name, GetParam().name);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, ParseTargetForms,
    testing::Values(TargetCase{"a.bak", TargetClass::kDisk, "/home/dba/a.bak"},
                    TargetCase{"/srv/a.bak", TargetClass::kDisk, "/srv/a.bak"},
                    TargetCase{"disk:tape:1", TargetClass::kDisk, "/home/dba/tape:1"},
                    TargetCase{"./x://y", TargetClass::kDisk, "/home/dba/x:/y"},
                    TargetCase{"s3://b/k//l", TargetClass::kUrl, "s3://b/k//l"},
                    TargetCase{"https://h/b", TargetClass::kUrl, "https://h/b"},
                    TargetCase{"tape:\\\\.\\Tape0", TargetClass::kTape, "\\\\.\\Tape0"},
                    TargetCase{"vdi:Vendor 1", TargetClass::kVirtualDevice, "Vendor 1"}));

TEST(ParseTarget, RefusesATargetWithoutName) {
  for (const char* const text : {"", "disk:", "tape:", "vdi:", "s3://"}) {
    EXPECT_THAT(ParseTarget(text, kHere), HasCode(Code::kInvalidArgument)) << text;
  }
}

TEST(ParseDatabaseLocation, MakesTheFileOfSqliteAbsolute) {
  EXPECT_EQ(*ParseDatabaseLocation("sqlite:a.db", kHere), "sqlite:/home/dba/a.db");
  EXPECT_EQ(*ParseDatabaseLocation("sqlite:/srv/a:b.db", kHere), "sqlite:/srv/a:b.db");
  EXPECT_EQ(*ParseDatabaseLocation("postgres:host=h", kHere), "postgres:host=h");
}

TEST(ParseDatabaseLocation, RefusesAPathWithoutScheme) {
  for (const char* const text : {"", "/srv/a.db", "/srv/a:b.db", "a.db", "sqlite:", ":x"}) {
    EXPECT_THAT(ParseDatabaseLocation(text, kHere), HasCode(Code::kInvalidArgument)) << text;
  }
  EXPECT_EQ(ParseDatabaseLocation("a.db", kHere).status().hint(),
            "write sqlite:PATH, for example sqlite:a.db");
}

TEST(ParseMove, SplitsAtTheFirstEqualsSign) {
  const auto move = ParseMove("sales data=new=1.db", kHere);

  ASSERT_THAT(move, IsOk());
  EXPECT_EQ(move->first, "sales data");
  EXPECT_EQ(move->second, "/home/dba/new=1.db");
  EXPECT_THAT(ParseMove("sales", kHere), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(ParseMove("=x", kHere), MessageHas("what moves where"));
  EXPECT_THAT(ParseMove("x=", kHere), HasCode(Code::kInvalidArgument));
}

TEST(ChainStatements, SayWhatTheServerIsToFind) {
  BackupOptions backup{
      .database = "d", .targets = {{.name = "/x"}}, .transfer = {.stats_percent = 0}};
  backup.log = true;
  backup.tail = "NORECOVERY";
  EXPECT_EQ(BackupStatement(backup), "BACKUP LOG [d] TO DISK = N'/x' WITH NORECOVERY");
  backup.log = false;
  backup.tail = "";
  backup.differential = true;
  EXPECT_EQ(BackupStatement(backup), "BACKUP DATABASE [d] TO DISK = N'/x' WITH DIFFERENTIAL");
  RestoreOptions restore{.database = "d", .transfer = {.stats_percent = 0}};
  restore.from_catalog = true;
  restore.source_database = "e'f";
  restore.stop_at = "2030-01-01";
  restore.plan_only = true;
  restore.data_folder = "/srv";
  EXPECT_EQ(RestoreStatement(restore),
            "RESTORE DATABASE [d] FROM CATALOG SOURCE = N'e''f' WITH MOVE DATAFILES TO N'/srv', "
            "STOPAT = N'2030-01-01', PLANONLY");
  RestoreOptions recover{.database = "d"};
  recover.recover_only = true;
  EXPECT_EQ(RestoreStatement(recover), "RESTORE DATABASE [d] WITH RECOVERY");
  recover.standby = "/u";
  EXPECT_EQ(RestoreStatement(recover), "RESTORE DATABASE [d] WITH STANDBY = N'/u'");
}

TEST(ChainStatements, SayWhatIsKept) {
  EXPECT_EQ(ExpireStatement({.keep_full = 2, .dry_run = true, .databases = {"a", "b"}}),
            "EXEC sp_expire_backups @keep_full = 2, @dry_run = 1, @database = N'a', "
            "@database2 = N'b'");
  EXPECT_EQ(ExpireStatement({.keep_days = 14}), "EXEC sp_expire_backups @keep_days = 14");
  EXPECT_EQ(DiscoverStatement({"/a", "/b"}), "EXEC sp_discover_databases N'/a', N'/b'");
  EXPECT_EQ(AlterDatabaseStatement("d", "full", "none"),
            "ALTER DATABASE [d] SET RECOVERY full, BACKUP_PREFERENCE = none");
}

TEST(BackupStatement, NamesOnlyWhatWasAskedFor) {
  BackupOptions options;
  options.database = "sales";
  options.targets = {{TargetClass::kDisk, "/b/a.bak"}};

  EXPECT_EQ(BackupStatement(options),
            "BACKUP DATABASE [sales] TO DISK = N'/b/a.bak' WITH STATS = 10");
  options.transfer.stats_percent = 0;
  EXPECT_EQ(BackupStatement(options), "BACKUP DATABASE [sales] TO DISK = N'/b/a.bak'");
}

TEST(BackupStatement, CarriesEveryOption) {
  BackupOptions options;
  options.database = "a]b";
  options.targets = {{TargetClass::kUrl, "s3://b/1"}, {TargetClass::kUrl, "s3://b/it's"}};
  options.transfer = {.buffer_count = 15,
                      .max_transfer_size = 1048576,
                      .block_size = 4096,
                      .checksum = true,
                      .stats_percent = 5};
  options.format = options.init = options.copy_only = options.restart = true;
  options.name = "n'1";
  options.description = "d";
  options.media_name = "m";
  options.media_description = "md";

  EXPECT_EQ(BackupStatement(options),
            "BACKUP DATABASE [a]]b] TO URL = N's3://b/1', URL = N's3://b/it''s' WITH COPY_ONLY, "
            "FORMAT, INIT, RESTART, NAME = N'n''1', DESCRIPTION = N'd', MEDIANAME = N'm', "
            "MEDIADESCRIPTION = N'md', CHECKSUM, BUFFERCOUNT = 15, MAXTRANSFERSIZE = 1048576, "
            "BLOCKSIZE = 4096, STATS = 5");
}

TEST(RestoreStatement, MovesAndReplaces) {
  RestoreOptions options;
  options.database = "sales";
  options.sources = {{TargetClass::kTape, "T0"}, {TargetClass::kTape, "T1"}};
  options.replace = options.restart = true;
  options.file_number = 3;
  options.moves = {{"data", "/n/a.db"}, {"l'og", "/n/b.db"}};
  options.transfer.checksum = false;

  EXPECT_EQ(RestoreStatement(options),
            "RESTORE DATABASE [sales] FROM TAPE = N'T0', TAPE = N'T1' WITH FILE = 3, "
            "MOVE N'data' TO N'/n/a.db', MOVE N'l''og' TO N'/n/b.db', REPLACE, RESTART, "
            "NO_CHECKSUM, "
            "STATS = 10");
  EXPECT_EQ(FileListStatement(options),
            "RESTORE FILELISTONLY FROM TAPE = N'T0', TAPE = N'T1' WITH FILE = 3");
  EXPECT_EQ(VerifyStatement(options),
            "RESTORE VERIFYONLY FROM TAPE = N'T0', TAPE = N'T1' WITH FILE = 3, NO_CHECKSUM, "
            "STATS = 10");
}

TEST(OtherStatements, QuoteTheirNames) {
  EXPECT_EQ(AttachStatement("it's", "sqlite:/a b'.db"),
            "EXEC sp_attach_db @dbname = N'it''s', @filename1 = N'sqlite:/a b''.db'");
  EXPECT_EQ(DetachStatement("it's"), "EXEC sp_detach_db @dbname = N'it''s'");
  EXPECT_EQ(KillStatement(51), "KILL 51");
  EXPECT_NE(HistoryStatement("it's", 7).find("SELECT TOP (7) "), std::string::npos);
  EXPECT_NE(HistoryStatement("it's", 7).find(" WHERE database_name = N'it''s' ORDER BY "),
            std::string::npos);
  EXPECT_EQ(HistoryStatement("", 7).find("WHERE"), std::string::npos);
  EXPECT_NE(HistoryDevicesStatement({"3", "5"}).find("IN (3, 5)"), std::string::npos);
}

}  // namespace
}  // namespace capstan::cli
