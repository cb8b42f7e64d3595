#include "server/coordinator/statement_requests.h"

#include <gtest/gtest.h>

#include "server/tsql/parser.h"

namespace capstan::coordinator {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;
constexpr std::int64_t kDay = 86'400;

template <typename T>
T Parsed(const std::string& text) {
  auto parsed = tsql::ParseBatch(text);
  EXPECT_EQ(parsed.index(), 0u) << text;
  return std::get<T>(std::get<0>(parsed).at(0).body);
}

engine::BackupRequest Backup(const std::string& options, const BackupDefaults& defaults = {},
                             const std::string& to = "DISK='/a'") {
  const auto statement = Parsed<tsql::BackupStatement>("BACKUP DATABASE d TO " + to + options);
  return BackupRequestOf(
      statement, TransferRequestOf(statement.devices, statement.transfer, {51, "dba"}, "text"),
      defaults, kNow);
}

TEST(BackupRequest, TakesWhatTheStatementSays) {
  const engine::BackupRequest request = Backup(
      " MIRROR TO DISK='/b' WITH FORMAT, SKIP, CONTINUE_AFTER_ERROR, COPY_ONLY, "
      "COMPRESSION (ALGORITHM = LZ4, LEVEL = HIGH), NAME='n', MEDIANAME='m', CHECKSUM");

  EXPECT_EQ(request.media_use, engine::MediaUse::kFormat);
  EXPECT_EQ(request.mirrors, (std::vector<std::vector<std::string>>{{"/b"}}));
  EXPECT_TRUE(request.skip && request.continue_after_error && request.copy_only);
  EXPECT_EQ(request.compression, true);
  EXPECT_EQ(request.compression_settings.algorithm, transform::Algorithm::kLz4);
  EXPECT_EQ(request.compression_settings.level, transform::Level::kHigh);
  EXPECT_EQ(request.transfer.checksum, true);
  EXPECT_EQ(request.transfer.user_name, "dba");
  EXPECT_EQ(Backup(" WITH INIT").media_use, engine::MediaUse::kOverwrite);
  EXPECT_EQ(Backup("").media_use, engine::MediaUse::kAppend);
}

// S3-04
TEST(BackupRequest, KeepsStatementAndDefaultOfCompressionApart) {
  for (const bool by_default : {false, true}) {
    const BackupDefaults defaults{.compression = by_default};
    EXPECT_EQ(Backup("", defaults).compression, std::nullopt);
    EXPECT_EQ(Backup("", defaults).compression_default, by_default);
    EXPECT_EQ(Backup(" WITH COMPRESSION", defaults).compression, true);
    EXPECT_EQ(Backup(" WITH NO_COMPRESSION", defaults).compression, false);
  }
  const BackupDefaults lz4{.algorithm = transform::Algorithm::kLz4};
  EXPECT_EQ(Backup(" WITH COMPRESSION", lz4).compression_settings.algorithm,
            transform::Algorithm::kLz4);
  EXPECT_EQ(Backup(" WITH COMPRESSION (ALGORITHM = ZSTD)", lz4).compression_settings.algorithm,
            transform::Algorithm::kZstd);
}

// S0-30
TEST(BackupRequest, ChecksumsByDefaultUnlessTheStatementSaysOtherwise) {
  const BackupDefaults defaults{.checksum = true};
  EXPECT_EQ(Backup("").transfer.checksum, std::nullopt);
  EXPECT_EQ(Backup("", defaults).transfer.checksum, true);
  EXPECT_EQ(Backup(" WITH NO_CHECKSUM", defaults).transfer.checksum, false);
}

TEST(BackupRequest, GivesSnapshotsNeitherChecksumsNorCompression) {
  const engine::BackupRequest request =
      Backup(" WITH SNAPSHOT", {.compression = true, .checksum = true}, "VIRTUAL_DEVICE='v'");
  EXPECT_EQ(request.transfer.checksum, std::nullopt);
  EXPECT_FALSE(request.compression_default);
}

TEST(BackupRequest, ExpiresByDaysThenByDateThenByTheServersRetention) {
  const BackupDefaults month{.retention_days = 30};
  EXPECT_EQ(Backup("").expiration_unix_s, 0);
  EXPECT_EQ(Backup("", month).expiration_unix_s, kNow + 30 * kDay);
  EXPECT_EQ(Backup(" WITH RETAINDAYS = 2", month).expiration_unix_s, kNow + 2 * kDay);
  EXPECT_EQ(Backup(" WITH RETAINDAYS = 0", month).expiration_unix_s, 0);
  const std::int64_t date = Backup(" WITH EXPIREDATE = '20301231'", month).expiration_unix_s;
  EXPECT_NEAR(static_cast<double>(date), 1'924'905'600.0, static_cast<double>(kDay));
  EXPECT_EQ(Backup(" WITH EXPIREDATE = '20301231', RETAINDAYS = 1").expiration_unix_s, kNow + kDay);
}

TEST(BackupRequest, SaysByWhatToEncrypt) {
  EXPECT_FALSE(Backup("").encryption.has_value());
  const auto by_certificate =
      Backup(" WITH ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = c)").encryption;
  EXPECT_EQ(std::get<transform::CertificateName>(by_certificate->encryptor).name, "c");
  const auto by_variable =
      Backup(" WITH ENCRYPTION (ALGORITHM = AES_256, PASSPHRASE FROM ENVIRONMENT 'K')").encryption;
  const auto secret = std::get<transform::Secret>(by_variable->encryptor);
  EXPECT_EQ(secret.from, transform::Secret::From::kEnvironment);
  EXPECT_EQ(secret.name, "K");
}

TEST(RestoreRequest, TakesWhatTheStatementSays) {
  const auto statement = Parsed<tsql::RestoreStatement>(
      "RESTORE DATABASE d FROM DISK='/a' WITH FILE = 3, MEDIANAME='m', MEDIAPASSWORD='p', "
      "CONTINUE_AFTER_ERROR, PASSPHRASE FROM FILE '/k', MOVE 'd' TO '/d.db'");
  const engine::RestoreRequest request = RestoreRequestOf(
      statement, TransferRequestOf(statement.devices, statement.transfer, {51, "dba"}, "text"));

  EXPECT_EQ(request.file_number, 3);
  EXPECT_EQ(request.media_name, "m");
  EXPECT_EQ(request.transfer.media_password, "p");
  EXPECT_TRUE(request.continue_after_error);
  EXPECT_EQ(request.passphrase->name, "/k");
  EXPECT_EQ(request.moves.size(), 1u);
}

TEST(VerifyRequest, TakesWhatTheStatementSays) {
  const auto statement = Parsed<tsql::RestoreQueryStatement>(
      "RESTORE VERIFYONLY FROM DISK='/a' WITH FILE = 2, SAMPLE = 5 PERCENT, LOADHISTORY, "
      "CONTINUE_AFTER_ERROR, MEDIAPASSWORD='p', PASSPHRASE FROM FILE '/k'");
  const engine::VerifyRequest request = VerifyRequestOf(
      statement, TransferRequestOf(statement.devices, statement.transfer, {51, "dba"}, "text"));

  EXPECT_EQ(request.file_number, 2);
  EXPECT_EQ(request.sample_percent, 5.0);
  EXPECT_TRUE(request.load_history && request.continue_after_error);
  EXPECT_EQ(request.transfer.media_password, "p");
  EXPECT_EQ(request.passphrase->name, "/k");
}

}  // namespace
}  // namespace capstan::coordinator
