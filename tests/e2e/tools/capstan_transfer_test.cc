// backup, restore and verify beyond their plain forms: which statements they send, and in which
// order. What it cannot show: that the real server understands them (tests/e2e/test_media_sets.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/tools/capstan_fixture.h"

namespace capstan::test {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class CapstanTransfer : public Capstan {
 protected:
  // A server whose newest backup of any database is file 3 of media set 7.
  void KnowsABackup() {
    server_->Answer("FROM msdb.dbo.backupset",
                    {Columns({"media_set_id int", "position int", "backup_finish_date datetime",
                              "backup_set_uuid uniqueidentifier"}),
                     Values({"7", "3", "2026-11-21 09:00:00.000", "GUID-3"})});
    server_->Answer("FROM msdb.dbo.backupmediafamily",
                    {Columns({"media_set_id int", "family_sequence_number tinyint",
                              "physical_device_name nvarchar(260)", "device_type tinyint"}),
                     Values({"7", "1", "/b/a1", "2"}), Values({"7", "1", "/mirror/a1", "2"}),
                     Values({"7", "2", "/b/a2", "2"})});
  }

  // What RESTORE HEADERONLY of a medium answers: sets 1 to 3, of which the last has that identity.
  void KnowsHeadersOf(const std::string& medium, const char* last) {
    server_->Answer("HEADERONLY FROM DISK = N'" + medium,
                    {Columns({"Position smallint", "BackupSetGUID uniqueidentifier"}),
                     Values({"1", "GUID-1"}), Values({"2", "GUID-2"}), Values({"3", last})});
  }

  std::string Batch(std::size_t index) {
    const auto requests = server_->Requests();
    EXPECT_LT(index, requests.size());
    return index < requests.size() ? requests[index].batch() : "";
  }
};

TEST_F(CapstanTransfer, BackupSendsEveryOption) {
  EXPECT_EQ(
      BatchOf({"backup",
               "s",
               "--to",
               "/a",
               "--to",
               "/b",
               "--mirror",
               "/c",
               "--mirror",
               "/d",
               "--format",
               "--skip",
               "--compression=lz4:high",
               "--encrypt-certificate",
               "k]",
               "--expire-date",
               "2030-12-31",
               "--retain-days",
               "7",
               "--continue-after-error",
               "--stats",
               "0",
               "--no-verify"}),
      "BACKUP DATABASE [s] TO DISK = N'/a', DISK = N'/b' MIRROR TO DISK = N'/c', DISK = N'/d' "
      "WITH FORMAT, SKIP, CONTINUE_AFTER_ERROR, COMPRESSION (ALGORITHM = LZ4, LEVEL = HIGH), "
      "ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = [k]]]), EXPIREDATE = "
      "N'2030-12-31', RETAINDAYS = 7");
}

TEST_F(CapstanTransfer, BackupSaysWhereThePassphraseIsAndNeverWhatItIs) {
  EXPECT_EQ(BatchOf({"backup", "s", "--to", "/a", "--passphrase-file", "/etc/k", "--no-compression",
                     "--stats", "0", "--no-verify"}),
            "BACKUP DATABASE [s] TO DISK = N'/a' WITH NO_COMPRESSION, ENCRYPTION (ALGORITHM = "
            "AES_256, PASSPHRASE FROM FILE N'/etc/k')");
}

// S0-51
TEST_F(CapstanTransfer, BackupIsVerifiedWithItsMirrors) {
  server_->Answer("BACKUP", {Information("BACKUP DATABASE successfully processed")});
  server_->Answer("VERIFYONLY", {Information("The backup set on file 3 is valid.", 3262)});
  KnowsABackup();

  const ProcessResult result = Run({"backup", "s", "--to", "/a", "--mirror", "/m",
                                    "--passphrase-env", "K", "--checksum", "--stats", "0"});

  EXPECT_EQ(result.exit_status, 0) << result.error;
  EXPECT_EQ(Batch(2),
            "RESTORE VERIFYONLY FROM DISK = N'/a' WITH FILE = 3, PASSPHRASE FROM ENVIRONMENT N'K'");
  EXPECT_THAT(Batch(3), HasSubstr("FROM DISK = N'/m' WITH FILE = 3"));
  EXPECT_THAT(result.out, HasSubstr("Verifying file 3 on /a (--no-verify leaves this out).\n"));
}

TEST_F(CapstanTransfer, BackupThatDoesNotVerifyFails) {
  server_->Answer("BACKUP", {});
  server_->Answer("VERIFYONLY", {ErrorMessage(65004, "Damage.")}, Ending::kFailed);
  KnowsABackup();

  EXPECT_EQ(Run({"backup", "s", "--to", "/a"}).exit_status, 1);
}

TEST_F(CapstanTransfer, BackupToAVirtualDeviceIsNotVerified) {
  server_->Answer("BACKUP", {});

  const ProcessResult result = Run({"backup", "s", "--to", "vdi:V"});

  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(server_->Requests().size(), 1u);
  EXPECT_THAT(result.out, HasSubstr("Not verified"));
}

// S1-47
TEST_F(CapstanTransfer, NamesOfTargetsHaveTags) {
  server_->Answer("sys.servers", {Columns({"name nvarchar(128)"}), Values({"host/1"})});
  server_->Answer("BACKUP", {});

  const ProcessResult result =
      Run({"backup", "sa/les", "--to", "/b/{server}_{database}_{type}_{date}_{time}_{{x}}.bak",
           "--stats", "0", "--no-verify"});

  EXPECT_EQ(result.exit_status, 0) << result.error;
  EXPECT_THAT(Batch(1), MatchesRegex("BACKUP DATABASE \\[sa/les\\] TO DISK = "
                                     "N'/b/host_1_sa_les_FULL_[0-9]+_[0-9]+_.x.\\.bak'"));
  EXPECT_THAT(Run({"backup", "s", "--to", "/b/{day}"}).error,
              HasSubstr("HINT: tags are {database}, {type}, {server}, {date} and {time}"));
}

// S1-48
TEST_F(CapstanTransfer, RestoreTakesTheNewestBackupWithAllItsFamilies) {
  server_->Answer("RESTORE DATABASE", {});
  KnowsABackup();
  KnowsHeadersOf("/b/a1", "GUID-3");

  const ProcessResult result =
      Run({"restore", "copy", "--latest=it's", "--replace", "--stats", "0"});

  EXPECT_EQ(result.exit_status, 0) << result.error;
  EXPECT_THAT(Batch(0), HasSubstr("database_name = N'it''s'"));
  EXPECT_THAT(Batch(1), HasSubstr("IN (7)"));
  EXPECT_EQ(Batch(3),
            "RESTORE DATABASE [copy] FROM DISK = N'/b/a1', DISK = N'/b/a2' WITH FILE = 3, REPLACE");
  EXPECT_THAT(result.out, HasSubstr("The newest backup of 'it's' finished 2026-11-21 09:00:00.000: "
                                    "file 3 on /b/a1, /b/a2\n"));
}

TEST_F(CapstanTransfer, RestoreTakesTheMirrorOfACopyThatIsGone) {
  server_->Answer("RESTORE DATABASE", {});
  server_->Answer("HEADERONLY FROM DISK = N'/b/a1'", {ErrorMessage(3201, "Cannot open '/b/a1'.")},
                  Ending::kFailed);
  KnowsABackup();
  KnowsHeadersOf("/mirror/a1", "GUID-3");

  const ProcessResult result = Run({"restore", "copy", "--latest=s", "--stats", "0"});

  EXPECT_EQ(result.exit_status, 0) << result.error;
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(Batch(4),
            "RESTORE DATABASE [copy] FROM DISK = N'/mirror/a1', DISK = N'/b/a2' "
            "WITH FILE = 3");
  EXPECT_THAT(result.out, HasSubstr("'/b/a1' cannot be used: Cannot open '/b/a1'.\n"
                                    "Taking its mirror '/mirror/a1'.\n"));
}

// Another server has overwritten the first copy; of the second the data turn out to be damaged.
TEST_F(CapstanTransfer, RestoreTakesNoOtherBackupAndEndsWithTheLastCopy) {
  server_->Answer("RESTORE DATABASE", {ErrorMessage(65004, "Damage on device '/mirror/a1'.")},
                  Ending::kFailed);
  KnowsABackup();
  KnowsHeadersOf("/b/a1", "ANOTHER");
  KnowsHeadersOf("/mirror/a1", "GUID-3");

  const ProcessResult result = Run({"restore", "copy", "--latest=s", "--stats", "0"});

  EXPECT_EQ(result.exit_status, 1);
  EXPECT_EQ(server_->Requests().size(), 5U);
  EXPECT_THAT(result.out, HasSubstr("'/b/a1' cannot be used: It does not hold this backup"));
  EXPECT_THAT(result.error, HasSubstr("Damage on device '/mirror/a1'."));
}

TEST_F(CapstanTransfer, RestoreIsTriedFromTheMirrorOfADamagedCopy) {
  server_->Answer("RESTORE DATABASE [copy] FROM DISK = N'/b/a1'",
                  {ErrorMessage(65004, "Damage on device '/b/a1' at byte 5.")}, Ending::kFailed);
  server_->Answer("RESTORE DATABASE [copy] FROM DISK = N'/mirror/a1'", {});
  KnowsABackup();
  KnowsHeadersOf("/b/a1", "GUID-3");

  const ProcessResult result = Run({"restore", "copy", "--latest=s", "--stats", "0"});

  EXPECT_EQ(result.exit_status, 0) << result.error;
  EXPECT_THAT(result.error, HasSubstr("Damage on device"));
  EXPECT_THAT(result.out, HasSubstr("'/b/a1' cannot be used: The restore from it failed.\n"
                                    "Taking its mirror '/mirror/a1'.\n"));
}

TEST_F(CapstanTransfer, RestoreSaysThatThereIsNoBackup) {
  server_->Answer("FROM msdb.dbo.backupset", {Columns({"media_set_id int"})});

  const ProcessResult result = Run({"restore", "s", "--latest"});

  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.error, HasSubstr("has no backup of 's'"));
  EXPECT_THAT(result.error, HasSubstr("catalog rebuild"));
}

TEST_F(CapstanTransfer, VerifySendsSampleAndHistory) {
  EXPECT_EQ(
      BatchOf({"verify", "--from", "/a", "--file", "2", "--sample", "12.5", "--load-history",
               "--continue-after-error", "--passphrase-env", "K", "--stats", "0"}),
      "RESTORE VERIFYONLY FROM DISK = N'/a' WITH FILE = 2, LOADHISTORY, SAMPLE = 12.5 PERCENT, "
      "CONTINUE_AFTER_ERROR, PASSPHRASE FROM ENVIRONMENT N'K'");
}

TEST_F(CapstanTransfer, WindowsPathsAreTheServersToMap) {
  EXPECT_EQ(BatchOf({"verify", "--from", R"(E:\a.bak)", "--from", R"(\\server\share\b.bak)",
                     "--stats", "0"}),
            R"(RESTORE VERIFYONLY FROM DISK = N'E:\a.bak', DISK = N'\\server\share\b.bak')");
}

}  // namespace
}  // namespace capstan::test
