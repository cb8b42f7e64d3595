#include "server/messages/messages.h"

#include <cerrno>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan {
namespace {

using test::HasCode;
using test::HasReason;

// S1-13, S3-30
TEST(Messages, SayThatABackupEnds) {
  const Status status = SqlError(3013, "BACKUP DATABASE");

  EXPECT_EQ(status.message(), "BACKUP DATABASE is terminating abnormally.");
  EXPECT_THAT(status, HasReason(3013));
  EXPECT_THAT(status, HasCode(Code::kAborted));
}

// S0-01, S3-19
TEST(Messages, ReportPagesSecondsAndRateAsSqlServerDoes) {
  EXPECT_EQ(MessageText(3014, "RESTORE DATABASE", 315, 0, 372, 6, 604),
            "RESTORE DATABASE successfully processed 315 pages in 0.372 seconds (6.604 MB/sec).");
  EXPECT_EQ(MessageText(3014, "BACKUP DATABASE", 162, 6, 211, 0, 203),
            "BACKUP DATABASE successfully processed 162 pages in 6.211 seconds (0.203 MB/sec).");
  EXPECT_EQ(MessageText(3014, "BACKUP DATABASE", 1, 0, 7, 0, 1),
            "BACKUP DATABASE successfully processed 1 pages in 0.007 seconds (0.001 MB/sec).");
}

// S3-15, S3-17
TEST(Messages, InformAboutProgressAndFiles) {
  EXPECT_EQ(MessageText(3211, 10), "10 percent processed.");
  EXPECT_EQ(MessageText(4035, 2, "test", "test_log", 2),
            "Processed 2 pages for database 'test', file 'test_log' on file 2.");
  EXPECT_EQ(MessageText(3262, 1), "The backup set on file 1 is valid.");
}

// S0-33, S1-57
TEST(Messages, NameTheDeviceAndTheCause) {
  const Status status = SqlError(3201, "/srv/a.bak", OsErrorText(EACCES));

  EXPECT_EQ(status.message(),
            "Cannot open backup device '/srv/a.bak'. Operating system error 5(Access is denied.).");
  EXPECT_THAT(status, HasCode(Code::kUnavailable));
}

// S0-17, S0-25..S0-27, S1-12, S1-59
TEST(Messages, KeepSqlServersWords) {
  EXPECT_EQ(SqlError(701).message(), "There is insufficient system memory to run this query.");
  EXPECT_EQ(SqlError(3205, 64).message(),
            "Too many backup devices specified for backup or restore; only 64 are allowed.");
  EXPECT_EQ(SqlError(3031, "noinit", "init").message(),
            "Option 'noinit' conflicts with option(s) 'init'. Remove the conflicting option and "
            "reissue the statement.");
  EXPECT_EQ(SqlError(3169, "2", "1").message(),
            "The database was backed up on a server running version 2. That version is "
            "incompatible with this server, which is running version 1. Either restore the "
            "database on a server that supports the backup, or use a backup that is compatible "
            "with this server.");
  EXPECT_EQ(SqlError(3241, "a").message(),
            "The media family on device 'a' is incorrectly formed. Capstan cannot process this "
            "media family.");
  EXPECT_EQ(SqlError(3242, "a").message(),
            "The file on device 'a' is not a valid Microsoft Tape Format backup set.");
}

TEST(Messages, KnowSeverityAndState) {
  const MessageInfo* info = FindMessage(701);

  ASSERT_NE(info, nullptr);
  EXPECT_EQ(info->severity, 17);
  EXPECT_EQ(info->state, 1);
  EXPECT_EQ(FindMessage(102)->severity, 15);
  EXPECT_EQ(FindMessage(3014)->severity, 0);
}

TEST(Messages, AreNullWhereTheNumberIsUnknown) {
  EXPECT_EQ(FindMessage(0), nullptr);
  EXPECT_EQ(FindMessage(-1), nullptr);
  EXPECT_EQ(FindMessage(3012), nullptr);
  EXPECT_EQ(FindMessage(1 << 30), nullptr);
}

TEST(MessagesDeathTest, RefuseToRaiseWhatIsUnknownOrNoError) {
  EXPECT_DEATH((void)SqlError(1), "");
  EXPECT_DEATH((void)SqlError(3211, 10), "");
}

// S4-55
TEST(Messages, SayThatADatabaseIsFrozenAndResumed) {
  EXPECT_EQ(MessageText(3197, "sales"),
            "I/O is frozen on database sales. No user action is required. However, if I/O is not "
            "resumed promptly, you could cancel the backup.");
  EXPECT_EQ(MessageText(3198, "sales"),
            "I/O was resumed on database sales. No user action is required.");
  EXPECT_EQ(SqlError(3276).message(),
            "WITH SNAPSHOT can be used only if the backup set was created WITH SNAPSHOT.");
}

TEST(OsErrorText, PrintsNumberAndText) {
  EXPECT_EQ(OsErrorText(ENOENT), "2(No such file or directory)");
  EXPECT_EQ(OsErrorText(ENOSPC), "28(No space left on device)");
}

TEST(OsErrorText, SaysAccessIsDeniedAsSqlServerOnLinuxDoes) {
  EXPECT_EQ(OsErrorText(EACCES), "5(Access is denied.)");
  EXPECT_EQ(OsErrorText(EPERM), "5(Access is denied.)");
}

}  // namespace
}  // namespace capstan
