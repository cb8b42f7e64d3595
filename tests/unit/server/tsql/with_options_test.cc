#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/tsql/date_literal.h"
#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

const std::string kBackup = "BACKUP DATABASE d TO DISK='x' WITH ";
const std::string kRestore = "RESTORE DATABASE d FROM DISK='x' WITH ";

TEST(WithOptions, NamesTheWordThatIsNoOption) {
  ExpectError({kBackup + "INIT,\nFOO", 155, "'FOO' is not a recognized BACKUP option.", 2});
  ExpectError({kBackup + "foo = 5", 155, "'foo' is not a recognized BACKUP option."});
  ExpectError({kRestore + "FOO", 155, "'FOO' is not a recognized RESTORE option."});
  ExpectError({kBackup + "REPLACE", 155, "'REPLACE' is not a recognized BACKUP option."});
  ExpectError({kRestore + "INIT", 155, "'INIT' is not a recognized RESTORE option."});
  ExpectError({"RESTORE LABELONLY FROM DISK='x' WITH COPY_ONLY", 155, "RESTORE option."});
}

TEST(WithOptions, RefusesOptionsThatExcludeEachOther) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {kBackup + "FORMAT,\nNOFORMAT", 3031,
            "Option 'noformat' conflicts with option(s) 'format'.", 2},
           {kBackup + "NOFORMAT, FORMAT", 3031,
            "Option 'format' conflicts with option(s) 'noformat'"},
           {kBackup + "INIT, NOINIT", 3031, "'noinit' conflicts with option(s) 'init'"},
           {kBackup + "FORMAT, NOINIT", 3031, "'noinit' conflicts with option(s) 'format'"},
           {kBackup + "SKIP, NOSKIP", 3031, "'noskip'"},
           {kBackup + "CHECKSUM, STATS, NO_CHECKSUM", 3031, "'no_checksum'"},
           {kBackup + "REWIND, NOREWIND", 3031, "'norewind'"},
           {kBackup + "UNLOAD, NOUNLOAD", 3031, "'nounload'"},
           {kBackup + "NOREWIND, UNLOAD", 3031, "'unload'"},
           {kBackup + "COMPRESSION, NO_COMPRESSION", 3031, "'no_compression'"},
           {kBackup + "SNAPSHOT, COMPRESSION", 3031, "'compression'"},
           {kBackup + "EXPIREDATE = '20300101', EXPIREDATE = '20300101'", 3031, "'expiredate'"},
           {kBackup + "STOP_ON_ERROR, CONTINUE_AFTER_ERROR", 3031, "'continue_after_error'"},
           {kBackup + "NAME='a', NAME='b'", 3031, "Option 'name' conflicts with option(s) 'name'"},
           {kRestore + "RECOVERY, NORECOVERY", 3031, "'norecovery'"},
           {kRestore + "NORECOVERY, STANDBY='x'", 3031, "'standby'"},
           {kRestore + "FILE=1, FILE=2", 3031, "'file'"}}) {
    ExpectError(bad);
  }
}

TEST(WithOptions, ListsAllThatIsNotSupported) {
  ExpectError({kBackup + "INIT,\nMETADATA_ONLY, PASSWORD = 'x'", 3032,
               "One or more of the options (metadata_only, password) are not supported for this "
               "statement. Review the documentation for supported options.",
               2});
  EXPECT_EQ(ErrorOf(kBackup + "METADATA_ONLY").status.hint(),
            "this version of Capstan does not support METADATA_ONLY");
}

TEST(WithOptions, ParsesWhatItRefuses) {
  for (const char* option : {"PASSWORD = 'p'", "MEDIAPASSWORD = 'p'", "METADATA_ONLY", "NORECOVERY",
                             "CREDENTIAL = 'c'", "STANDBY = 'f'", "NO_TRUNCATE", "FILE_SNAPSHOT"}) {
    ExpectError({kBackup + option + ", STATS = 10", 3032, "not supported"});
  }
  ExpectError({kBackup + "METADATA_ONLY (A = (B)", 102, "near ')'."});
  ExpectError({kBackup + "PASSWORD = )", 102, "near ')'."});
  ExpectError({kRestore + "STOPATMARK = 'x' AFTER y", 102, "near 'y'."});
}

TEST(WithOptions, TakesValuesAtTheEndsOfTheirRanges) {
  const auto low = ParseOne<BackupStatement>(
      kBackup + "BUFFERCOUNT=1, MAXTRANSFERSIZE=65536, BLOCKSIZE=512, STATS=1");
  EXPECT_EQ(low.transfer.buffer_count, 1U);
  EXPECT_EQ(low.transfer.max_transfer_size, 65536U);
  EXPECT_EQ(low.transfer.block_size, 512U);
  EXPECT_EQ(low.transfer.stats_percent, 1);
  const auto high = ParseOne<BackupStatement>(
      kBackup + "BUFFERCOUNT=2147483647, MAXTRANSFERSIZE=4194304, BLOCKSIZE=65536, STATS=100");
  EXPECT_EQ(high.transfer.buffer_count, 2147483647U);
  EXPECT_EQ(high.transfer.max_transfer_size, 4194304U);
  EXPECT_EQ(high.transfer.block_size, 65536U);
  EXPECT_EQ(high.transfer.stats_percent, 100);
}

TEST(WithOptions, RefusesValuesOutOfRange) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {kBackup + "STATS = 0", 3250,
            "The value '0' is not within range for the STATS parameter."},
           {kBackup + "STATS = 101", 3250, "'101'"},
           {kBackup + "BUFFERCOUNT = 0", 3250, "'0' is not within range for the BUFFERCOUNT"},
           {kBackup + "BUFFERCOUNT = 2147483648", 3250, "'2147483648'"},
           {kBackup + "BUFFERCOUNT = 99999999999999999999999", 3250, "'99999999999999999999999'"},
           {kBackup + "BLOCKSIZE = 256", 3250, "'256'"},
           {kBackup + "BLOCKSIZE = 131072", 3250, "'131072'"},
           {kBackup + "INIT,\nBLOCKSIZE = 1000", 3253, "power of 2", 2},
           {kBackup + "MAXTRANSFERSIZE = 1024", 3250, "'1024'"},
           {kBackup + "MAXTRANSFERSIZE = 4259840", 3250, "'4259840'"},
           {kBackup + "MAXTRANSFERSIZE = 100000", 3217,
            "Invalid value specified for MAXTRANSFERSIZE parameter."},
           {kBackup + "RETAINDAYS = 100000", 3250, "'100000'"},
           {kBackup + "EXPIREDATE = 'soon'", 3217, "for EXPIREDATE parameter"},
           {kRestore + "FILE = 0", 3250, "'0' is not within range for the FILE parameter."},
           {kRestore + "FILE = 65536", 3250, "'65536'"}}) {
    ExpectError(bad);
  }
}

TEST(WithOptions, LimitsTheRate) {
  EXPECT_EQ(ParseOne<BackupStatement>(kBackup + "MAXRATE = 40").transfer.max_rate_mb, 40U);
  EXPECT_EQ(ParseOne<RestoreStatement>(kRestore + "maxrate = 1").transfer.max_rate_mb, 1U);
  EXPECT_EQ(ParseOne<BackupStatement>(kBackup + "INIT").transfer.max_rate_mb, std::nullopt);
  ExpectError({kBackup + "MAXRATE = 0", 3250, "MAXRATE"});
  ExpectError({kBackup + "MAXRATE = 1048577", 3250, "MAXRATE"});
  ExpectError({kBackup + "MAXRATE", 102, ""});
  ExpectError({kBackup + "MAXRATE = 1, MAXRATE = 2", 3031, "'maxrate'"});
}

TEST(WithOptions, LimitsTextsInCharacters) {
  std::string umlauts;
  for (int i = 0; i < 128; ++i) {
    umlauts += "ü";
  }
  const std::string long_text(255, 'x');
  EXPECT_EQ(ParseOne<BackupStatement>(kBackup + "NAME='" + umlauts + "'").name, umlauts);
  EXPECT_EQ(ParseOne<BackupStatement>(kBackup + "MEDIANAME='" + umlauts + "'").media_name, umlauts);
  EXPECT_EQ(ParseOne<BackupStatement>(kBackup + "DESCRIPTION='" + long_text + "'").description,
            long_text);
  ExpectError({kBackup + "NAME='" + umlauts + "x'", 3217, "for NAME parameter"});
  ExpectError({kBackup + "MEDIANAME='" + umlauts + "x'", 3217, "for MEDIANAME parameter"});
  ExpectError({kBackup + "DESCRIPTION='" + long_text + "x'", 3217, "for DESCRIPTION"});
  ExpectError({kBackup + "MEDIADESCRIPTION='" + long_text + "x'", 3217, "for MEDIADESCRIPTION"});
}

TEST(WithOptions, SaysWhereTheSyntaxBreaks) {
  for (const BadBatch& bad :
       std::vector<BadBatch>{{kBackup, 102, "near 'WITH'."},
                             {kBackup + "INIT,", 102, "near ','."},
                             {kBackup + ", INIT", 102, "near ','."},
                             {kBackup + "INIT COPY_ONLY", 102, "near 'COPY_ONLY'."},
                             {kBackup + "(INIT)", 102, "near '('."},
                             {kBackup + "5", 102, "near '5'."},
                             {kBackup + "[INIT]", 102, "near 'INIT'."},
                             {kBackup + "SELECT", 156, "keyword 'SELECT'."},
                             {kBackup + "INIT = 1", 102, "near '='."},
                             {kBackup + "STATS =", 102, "near '='."},
                             {kBackup + "STATS = x", 102, "near 'x'."},
                             {kBackup + "STATS = 1.5", 102, "near '1.5'."},
                             {kBackup + "STATS = -5", 102, "near '-'."},
                             {kBackup + "STATS = '5'", 102, "near '5'."},
                             {kBackup + "BUFFERCOUNT", 102, "near 'BUFFERCOUNT'."},
                             {kBackup + "NAME = @n", 102, "near '@n'."},
                             {kBackup + "NAME x", 102, "near 'x'."}}) {
    ExpectError(bad);
  }
}

// S3-03, S3-05, S3-06
TEST(WithOptions, TakesWhatConcernsTheMediaOfABackup) {
  const auto backup =
      ParseOne<BackupStatement>(kBackup +
                                "FORMAT, INIT, SKIP, RETAINDAYS = 7, EXPIREDATE = '2030-01-01', "
                                "NO_COMPRESSION, CONTINUE_AFTER_ERROR, MEDIANAME = 'm'");
  EXPECT_TRUE(backup.format && backup.init && backup.skip && backup.continue_after_error);
  EXPECT_EQ(backup.retain_days, 7);
  EXPECT_EQ(backup.expire_date_unix_s, ParseDateLiteral("20300101"));
  ASSERT_TRUE(backup.compression.has_value());
  EXPECT_FALSE(backup.compression->on);
  const auto plain = ParseOne<BackupStatement>(kBackup + "NOFORMAT, NOINIT, NOSKIP");
  EXPECT_FALSE(plain.format || plain.init || plain.skip || plain.continue_after_error);
  EXPECT_FALSE(plain.compression || plain.encryption || plain.retain_days ||
               plain.expire_date_unix_s);
}

TEST(WithOptions, TakesWhatRestoresAsk) {
  const auto restore = ParseOne<RestoreStatement>(
      kRestore +
      "MEDIANAME = 'm', MEDIAPASSWORD = 'p', CONTINUE_AFTER_ERROR, RESTART, "
      "PASSPHRASE FROM ENVIRONMENT 'KEY'");
  EXPECT_EQ(restore.media_name, "m");
  EXPECT_EQ(restore.media_password, "p");
  EXPECT_TRUE(restore.continue_after_error);
  EXPECT_TRUE(restore.restart);
  ASSERT_TRUE(restore.passphrase.has_value());
  EXPECT_EQ(restore.passphrase->from, PassphraseClause::From::kEnvironment);
  EXPECT_EQ(restore.passphrase->name, "KEY");
  const auto verify = ParseOne<RestoreQueryStatement>(
      "RESTORE VERIFYONLY FROM DISK='x' WITH LOADHISTORY, SAMPLE = 12.5 PERCENT, CHECKSUM, "
      "MOVE 'a' TO '/b', CONTINUE_AFTER_ERROR, PASSPHRASE FROM FILE '/k', MEDIAPASSWORD = 'p'");
  EXPECT_TRUE(verify.load_history && verify.continue_after_error);
  EXPECT_EQ(verify.sample_percent, 12.5);
  EXPECT_EQ(verify.transfer.checksum, true);
  EXPECT_EQ(verify.moves.size(), 1U);
  EXPECT_EQ(verify.passphrase->name, "/k");
  EXPECT_EQ(ParseOne<RestoreQueryStatement>(
                "RESTORE LABELONLY FROM DISK='x' WITH MEDIAPASSWORD = 'p', MEDIANAME='m'")
                .media_password,
            "p");
}

TEST(WithOptions, RefusesSamplesThatAreNone) {
  const std::string verify = "RESTORE VERIFYONLY FROM DISK='x' WITH ";
  ExpectError({verify + "SAMPLE = 0 PERCENT", 3250, "'0' is not within range for the SAMPLE"});
  ExpectError({verify + "SAMPLE = 100.5 PERCENT", 3250, "'100.5'"});
  ExpectError({verify + "SAMPLE = 10", 102, "near '10'."});
  ExpectError({verify + "SAMPLE = x PERCENT", 102, "near 'x'."});
  ExpectError({"RESTORE HEADERONLY FROM DISK='x' WITH LOADHISTORY", 3032, "(loadhistory)"});
}

TEST(WithOptions, KeepsMediaPasswordsOutOfTheRecords) {
  const auto statements = ParseAll(
      "PRINT 'MEDIAPASSWORD'; RESTORE DATABASE d FROM DISK='x' WITH MEDIAPASSWORD = N'geheim', "
      "REPLACE");
  ASSERT_EQ(statements.size(), 2U);
  EXPECT_EQ(statements[1].text,
            "RESTORE DATABASE d FROM DISK='x' WITH MEDIAPASSWORD = '***', REPLACE");
}

// Syntax comes first: the value is only looked at when the clause can be read to its end.
TEST(WithOptions, ReportsSyntaxBeforeMeaning) {
  ExpectError({kBackup + "STATS = 0, DIFFERENTIAL, !", 102, "near '!'."});
}

TEST(WithOptions, SnapshotTakesOneVirtualDevice) {
  const auto backup = ParseOne<BackupStatement>(
      "BACKUP DATABASE d TO VIRTUAL_DEVICE = 'n' WITH SNAPSHOT, COPY_ONLY, NAME = 'x'");
  EXPECT_TRUE(backup.snapshot && backup.copy_only);
  const auto restore = ParseOne<RestoreStatement>(
      "RESTORE DATABASE d FROM VIRTUAL_DEVICE = 'n' WITH SNAPSHOT, REPLACE, MOVE 'd' TO '/x'");
  EXPECT_TRUE(restore.snapshot && restore.replace);
  EXPECT_EQ(restore.moves.size(), 1U);
  EXPECT_FALSE(ParseOne<BackupStatement>("BACKUP DATABASE d TO VIRTUAL_DEVICE = 'n'").snapshot);
  for (const char* devices :
       {"DISK = 'a'", "TAPE = 'a'", "VIRTUAL_DEVICE = 'a', VIRTUAL_DEVICE = 'b'"}) {
    const std::string text = "WITH SNAPSHOT must be used with only one virtual device.";
    ExpectError(
        {std::string("BACKUP DATABASE d\nTO ") + devices + " WITH SNAPSHOT", 3277, text, 2});
    ExpectError(
        {std::string("RESTORE DATABASE d\nFROM ") + devices + " WITH SNAPSHOT", 3277, text, 2});
  }
}

TEST(WithOptions, SnapshotRefusesWhatItCannotMean) {
  const std::string to = "BACKUP DATABASE d TO VIRTUAL_DEVICE = 'n' WITH ";
  ExpectError({to + "SNAPSHOT, CHECKSUM", 3031, "'checksum' conflicts with option(s) 'snapshot'"});
  ExpectError({to + "DIFFERENTIAL, SNAPSHOT", 3031, "'snapshot'"});
  ExpectError({"RESTORE HEADERONLY FROM VIRTUAL_DEVICE = 'n' WITH SNAPSHOT", 3032, "(snapshot)"});
  ExpectError({"RESTORE DATABASE MASTER FROM VIRTUAL_DEVICE = 'n' WITH SNAPSHOT", 3196,
               "RESTORE master WITH SNAPSHOT is not supported."});
}

// 3013 follows what is wrong with devices and values; what is wrong with the text stands alone.
TEST(WithOptions, SaysWhatIsTerminating) {
  const std::pair<const char*, const char*> cases[] = {
      {"BACKUP DATABASE d TO DISK='a', TAPE='b'", "BACKUP DATABASE"},                        // 3011
      {"BACKUP DATABASE d TO DISK=''", "BACKUP DATABASE"},                                   // 3044
      {"RESTORE DATABASE d", "RESTORE DATABASE"},                                            // 3207
      {"RESTORE HEADERONLY FROM logical", "RESTORE HEADERONLY"},                             // 3206
      {"RESTORE FILELISTONLY FROM DISK='a' WITH FILE=0", "RESTORE FILELIST"},                // 3250
      {"RESTORE VERIFYONLY FROM DISK='a' WITH BLOCKSIZE=1000", "VERIFY DATABASE"},           // 3253
      {"RESTORE LABELONLY FROM DISK='a' WITH MAXTRANSFERSIZE=100000", "RESTORE LABELONLY"},  // 3217
      {"BACKUP DATABASE d TO DISK='a' WITH SNAPSHOT", "BACKUP DATABASE"},                    // 3277
      {"BACKUP DATABASE d TO DISK='a' WITH INIT, NOINIT", ""},                               // 3031
      {"BACKUP DATABASE d TO DISK='a' WITH METADATA_ONLY", ""},                              // 3032
      {"BACKUP DATABASE d TO DISK='a' WITH COLOUR", ""},                                     // 155
      {"BACKUP DATABASE d TOO", ""},                                                         // 102
      {"RESTORE DATABASE d FROM DISK='a'; SELECT", ""},                                      // 102
  };
  for (const auto& [batch, terminated] : cases) {
    EXPECT_EQ(ErrorOf(batch).terminated, terminated) << batch;
  }
}

}  // namespace
}  // namespace capstan::tsql
