// Statements about chains of backups: differential and log backups, restores that go on, points to
// stop at, and the database's own settings.
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/tsql/date_literal.h"
#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

using testing::ElementsAre;
using testing::Pair;

const std::string kLog = "BACKUP LOG d TO DISK='x' WITH ";
const std::string kRestore = "RESTORE DATABASE d FROM DISK='x' WITH ";

// S1-24, S1-28
TEST(ChainStatements, TakesDifferentialAndLogBackups) {
  EXPECT_TRUE(
      ParseOne<BackupStatement>("BACKUP DATABASE d TO DISK='x' WITH DIFFERENTIAL, COPY_ONLY")
          .differential);
  const auto log = ParseOne<BackupStatement>(
      "BACKUP LOG [d] TO DISK='x', DISK='y' MIRROR TO DISK='a', DISK='b' WITH FORMAT, NORECOVERY, "
      "COMPRESSION, RETAINDAYS = 3, STATS, RESTART");
  EXPECT_EQ(log.database, "d");
  EXPECT_TRUE(log.log);
  EXPECT_EQ(log.tail, LogTail::kNoRecovery);
  EXPECT_EQ(log.devices.size(), 2U);
  EXPECT_EQ(CommandName(log), "BACKUP LOG");
  EXPECT_EQ(ParseOne<BackupStatement>(kLog + "NO_TRUNCATE, COPY_ONLY").tail, LogTail::kNoTruncate);
  EXPECT_EQ(ParseOne<BackupStatement>("BACKUP LOG d TO DISK='x'").tail, LogTail::kNone);
}

TEST(ChainStatements, RefusesWhatLogBackupsCannotHave) {
  ExpectError({kLog + "DIFFERENTIAL", 3032, "(differential)"});
  ExpectError({kLog + "SNAPSHOT", 3032, "(snapshot)"});
  ExpectError({kLog + "STANDBY = 'f'", 3032, "(standby)"});
  ExpectError({kLog + "NO_TRUNCATE, NORECOVERY", 3031, "'norecovery'"});
  ExpectError({kLog + "REPLACE", 155, "'REPLACE' is not a recognized BACKUP option."});
  ExpectError({"BACKUP DATABASE d TO DISK='x' WITH NORECOVERY", 3032, "(norecovery)"});
  ExpectError({"BACKUP DATABASE d TO DISK='x' WITH NO_TRUNCATE", 3032, "(no_truncate)"});
  EXPECT_EQ(ErrorOf(kLog + "BUFFERCOUNT = 0").terminated, "BACKUP LOG");
}

// S1-44
TEST(ChainStatements, TakesSeveralDatabases) {
  const auto several =
      ParseOne<BackupStatement>("BACKUP DATABASES [a, my sales , c*] TO DISK='/b/<database>.bak'");
  EXPECT_THAT(several.databases, ElementsAre("a", "my sales", "c*"));
  EXPECT_TRUE(several.database.empty());
  EXPECT_FALSE(several.log);
  const auto others = ParseOne<BackupStatement>("BACKUP LOGS EXCLUDE [a] TO DISK='x'");
  EXPECT_TRUE(others.log);
  EXPECT_TRUE(others.exclude);
  EXPECT_THAT(ParseOne<BackupStatement>("BACKUP DATABASES [*] TO DISK='x'").databases,
              ElementsAre("*"));
  ExpectError({"BACKUP DATABASES [ , ] TO DISK='x'", 1038, "empty"});
  ExpectError({"BACKUP DATABASES a, b TO DISK='x'", 102, "near ','."});
}

TEST(ChainStatements, TakesHowADatabaseIsLeft) {
  EXPECT_EQ(ParseOne<RestoreStatement>(kRestore + "RECOVERY").end, RestoreEnd::kRecovery);
  const auto more = ParseOne<RestoreStatement>(kRestore + "NORECOVERY, REPLACE");
  EXPECT_EQ(more.end, RestoreEnd::kNoRecovery);
  EXPECT_FALSE(more.log);
  const auto log = ParseOne<RestoreStatement>(
      "RESTORE LOG d FROM DISK='x' WITH FILE = 4, STANDBY = '/srv/undo', PLANONLY");
  EXPECT_TRUE(log.log);
  EXPECT_TRUE(log.plan_only);
  EXPECT_EQ(log.file_number, 4);
  EXPECT_EQ(log.end, RestoreEnd::kStandby);
  EXPECT_EQ(CommandName(log), "RESTORE LOG");
  ExpectError({kRestore + "STANDBY = ''", 3217, "for STANDBY parameter"});
  ExpectError({kRestore + "STANDBY = 'f', RECOVERY", 3031, "'recovery'"});
}

// S1-61
TEST(ChainStatements, RecoversWithoutDevices) {
  const auto recover = ParseOne<RestoreStatement>("RESTORE DATABASE d WITH RECOVERY");
  EXPECT_EQ(recover.from, RestoreFrom::kNothing);
  EXPECT_EQ(ParseOne<RestoreStatement>("RESTORE LOG d WITH STANDBY='f', STOPAT='2030-01-01'").end,
            RestoreEnd::kStandby);
  ExpectError({"RESTORE DATABASE d WITH STATS", 3207, "at least one backup device"});
  ExpectError({"RESTORE DATABASE d WITH RECOVERY, REPLACE", 3032, "(replace)"});
}

TEST(ChainStatements, TakesPointsToStopAt) {
  const auto at = ParseOne<RestoreStatement>(kRestore + "STOPAT = '2030-12-31T18:00:30.25Z'");
  ASSERT_TRUE(at.stop.has_value());
  EXPECT_EQ(at.stop->kind, StopClause::Kind::kTime);
  EXPECT_EQ(at.stop->unix_us, 1'924'970'430'250'000);
  const auto mark = ParseOne<RestoreStatement>(
      kRestore + "STOPATMARK = N'nightly' AFTER '2030-12-31 18:00:30Z', NORECOVERY");
  EXPECT_EQ(mark.stop->kind, StopClause::Kind::kMark);
  EXPECT_EQ(mark.stop->mark, "nightly");
  EXPECT_EQ(mark.stop->unix_us, 1'924'970'430'000'000);
  EXPECT_FALSE(mark.stop->before);
  for (const char* lsn : {"lsn:22280792", "LSN:0x153FA58", "lsn:0/153fa58"}) {
    const auto stop = ParseOne<RestoreStatement>(kRestore + "STOPBEFOREMARK = '" + lsn + "'").stop;
    EXPECT_EQ(stop->kind, StopClause::Kind::kLsn) << lsn;
    EXPECT_EQ(stop->lsn, 22'280'792U) << lsn;
    EXPECT_TRUE(stop->before) << lsn;
  }
  EXPECT_EQ(ParseOne<RestoreStatement>(kRestore + "STOPATMARK = 'lsn:1/2'").stop->lsn,
            (1ULL << 32) + 2);
}

TEST(ChainStatements, RefusesPointsThatAreNone) {
  for (const char* option :
       {"STOPAT = 'yesterday'", "STOPAT = '2030-13-01'", "STOPAT = '2030-01-01 10:00 +99:00'",
        "STOPATMARK = ''", "STOPATMARK = 'lsn:'", "STOPATMARK = 'lsn:x'", "STOPATMARK = 'lsn:-1'",
        "STOPATMARK = 'lsn:0x1FFFFFFFFFFFFFFFF'", "STOPATMARK = 'lsn:1/2/3'",
        "STOPATMARK = 'lsn:1' AFTER '2030-01-01'", "STOPATMARK = 'm' AFTER 'then'"}) {
    ExpectError({kRestore + option, 3217, "Invalid value"});
  }
  ExpectError({kRestore + "STOPAT='2030-01-01', STOPATMARK='m'", 3031, "'stopatmark'"});
  ExpectError({kRestore + "STOPATMARK='m', STOPBEFOREMARK='m'", 3031, "'stopbeforemark'"});
  ExpectError({kRestore + "STOPATMARK = 'x' AFTER y", 102, "near 'y'."});
}

// S1-42, S1-43, S1-48
TEST(ChainStatements, TakesChainsThatAreFound) {
  const auto catalog = ParseOne<RestoreStatement>(
      "RESTORE DATABASE copy FROM CATALOG SOURCE = 'sales' LATEST_DIFF "
      "WITH MOVE DATAFILES TO '/srv/d', MOVE LOGFILES TO '/srv/l', MOVE 'a' TO '/x', MOVE 'b' TO "
      "'/y', NORECOVERY, PLANONLY");
  EXPECT_EQ(catalog.from, RestoreFrom::kCatalog);
  EXPECT_EQ(catalog.reach, ChainReach::kDifferential);
  EXPECT_EQ(catalog.source, "sales");
  EXPECT_EQ(catalog.data_folder, "/srv/d");
  EXPECT_EQ(catalog.log_folder, "/srv/l");
  EXPECT_THAT(catalog.moves, ElementsAre(Pair("a", "/x"), Pair("b", "/y")));
  EXPECT_EQ(ParseOne<RestoreStatement>("RESTORE DATABASE d FROM CATALOG").reach, ChainReach::kAll);
  EXPECT_EQ(ParseOne<RestoreStatement>("RESTORE DATABASE d FROM DISK='/b/*' LATEST_FULL").from,
            RestoreFrom::kNewest);
  EXPECT_EQ(ParseOne<RestoreStatement>("RESTORE LOG d FROM DISK='/b/*.trn'").from,
            RestoreFrom::kNewest);
  EXPECT_EQ(ParseOne<RestoreStatement>("RESTORE DATABASE d FROM DISK='/b/*.bak'").from,
            RestoreFrom::kDevices);
  ExpectError({kRestore + "MOVE DATAFILES TO 'a', MOVE DATAFILES TO 'b'", 3031, "'move'"});
  ExpectError({kRestore + "MOVE DATAFILES TO ''", 3217, "MOVE"});
  // S0-50 is not there yet: a restore that was interrupted begins anew.
}

// S1-23
TEST(ChainStatements, TakesSettingsOfADatabase) {
  using Model = AlterDatabaseStatement::RecoveryModel;
  using Preference = AlterDatabaseStatement::BackupPreference;
  EXPECT_EQ(ParseOne<AlterDatabaseStatement>("ALTER DATABASE [d] SET RECOVERY SIMPLE WITH NO_WAIT")
                .recovery_model,
            Model::kSimple);
  EXPECT_EQ(ParseOne<AlterDatabaseStatement>("ALTER DATABASE d SET RECOVERY BULK_LOGGED "
                                             "WITH ROLLBACK AFTER 5 SECONDS")
                .recovery_model,
            Model::kBulkLogged);
  const auto both = ParseOne<AlterDatabaseStatement>(
      "ALTER DATABASE d SET RECOVERY FULL, BACKUP_PREFERENCE = SECONDARY_ONLY");
  EXPECT_EQ(both.recovery_model, Model::kFull);
  EXPECT_EQ(both.backup_preference, Preference::kSecondaryOnly);
  ExpectError({"ALTER DATABASE d SET RECOVERY SOMETIMES", 102, "'SOMETIMES'"});
  ExpectError({"ALTER DATABASE d SET RECOVERY FULL, RECOVERY SIMPLE", 3031, "'recovery'"});
  ExpectError({"ALTER DATABASE d SET READ_ONLY", 3032, "(read_only)"});
  ExpectError({"ALTER DATABASE d MODIFY NAME = e", 3032, "(modify)"});
  EXPECT_EQ(ParseOne<DropDatabaseStatement>("DROP DATABASE d").database, "d");
  EXPECT_TRUE(ParseOne<DropDatabaseStatement>("DROP DATABASE IF EXISTS [d]").if_exists);
}

TEST(ChainStatements, TakesHelpAndProcedures) {
  EXPECT_TRUE(ParseOne<HelpStatement>("RESTORE HELP").restore);
  EXPECT_FALSE(ParseOne<HelpStatement>("BACKUP HELP").restore);
  const auto expire = ParseOne<ExpireStatement>(
      "EXEC sp_expire_backups @keep_days = 14, @dry_run = 1, @database = N'a', @database2 = 'b'");
  EXPECT_EQ(expire.keep_days, 14);
  EXPECT_FALSE(expire.keep_full.has_value());
  EXPECT_TRUE(expire.dry_run);
  EXPECT_THAT(expire.databases, ElementsAre("a", "b"));
  EXPECT_EQ(ParseOne<ExpireStatement>("EXEC sp_expire_backups 2").keep_full, 2);
  ExpectError({"EXEC sp_expire_backups", 201, "@keep_full"});
  ExpectError({"EXEC sp_expire_backups @keep_full = 1, @keep_days = 1", 201, "@keep_full"});
  ExpectError({"EXEC sp_expire_backups @keep_full = 0", 3217, "@keep_full"});
  ExpectError({"EXEC sp_expire_backups 1, @database = ''", 3217, "@database"});
  EXPECT_THAT(ParseOne<DiscoverStatement>("EXEC sp_discover_databases '/srv', '/var'").folders,
              ElementsAre("/srv", "/var"));
  EXPECT_TRUE(ParseOne<DiscoverStatement>("EXEC sp_discover_databases").folders.empty());
}

// S0-21
TEST(ChainStatements, AsksForThePreferredReplica) {
  const auto select = ParseOne<SelectStatement>(
      "SELECT name, sys.fn_hadr_backup_is_preferred_replica(name) FROM sys.databases");
  EXPECT_THAT(select.live_tables, ElementsAre("sys.databases"));
  EXPECT_NE(select.sqlite_text.find("fn_database = [name]"), std::string::npos)
      << select.sqlite_text;
  ExpectError({"SELECT sys.fn_hadr_backup_is_preferred_replica('a'", 102, "near"});
  ExpectError({"SELECT sys.fn_other('a')", 102, "near '('"});
}

// In a zone with a summer, so that one of the two would be wrong by an hour.
TEST(Moments, KnowZonesAndFractions) {
  ::setenv("TZ", "Europe/Berlin", 1);
  ::tzset();
  constexpr std::int64_t kSecond = 1'000'000;
  constexpr std::int64_t kSummer = 1'783'605'600;  // 2026-07-09 14:00 UTC
  for (const auto& [text, unix_us] : std::vector<std::pair<std::string, std::int64_t>>{
           {"2026-07-09 16:00", kSummer * kSecond},
           {"2026-07-09 16:00:00.000001", kSummer * kSecond + 1},
           {"2026-07-09T14:00:00Z", kSummer * kSecond},
           {"2026-07-09 14:00:00 z", kSummer * kSecond},
           {"2026-07-09T14:00:00.1234567Z", kSummer * kSecond + 123'456},
           {"2026-07-09 18:00+04:00", kSummer * kSecond},
           {"20260709 08:30:00.5 -0530", kSummer * kSecond + 500'000},
           {"Jul 9, 2026 4:00 PM", kSummer * kSecond},
           {"2026-07-09", (kSummer - 16 * 3600) * kSecond}}) {
    EXPECT_EQ(ParseMoment(text), unix_us) << text;
  }
  for (const char* text : {"", "Z", "2026-07-09Z", "2026-07-09 14:00 +2", "2026-07-09 14:00 +15:00",
                           "2026-07-09 14:00 +02:60", "2026-07-09 14:00 UTC", "14:00Z",
                           "2026-07-09 14:00:00.1234567890"}) {
    EXPECT_EQ(ParseMoment(text), std::nullopt) << text;
  }
  ::unsetenv("TZ");
  ::tzset();
}

}  // namespace
}  // namespace capstan::tsql
