#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

const std::string kBackup = "BACKUP DATABASE d TO DISK='x' WITH ";

CompressionClause CompressionOf(const std::string& option) {
  return ParseOne<BackupStatement>(kBackup + option + ", STATS = 5")
      .compression.value_or(CompressionClause{.on = false});
}

TEST(CompressionClause, TakesAlgorithmAndLevelInAnyOrder) {
  const CompressionClause plain = CompressionOf("COMPRESSION");
  EXPECT_TRUE(plain.on);
  EXPECT_FALSE(plain.algorithm || plain.level);
  EXPECT_EQ(CompressionOf("COMPRESSION (ALGORITHM = ZSTD)").algorithm, CompressionAlgorithm::kZstd);
  const CompressionClause both = CompressionOf("compression(level = high, algorithm = lz4)");
  EXPECT_EQ(both.algorithm, CompressionAlgorithm::kLz4);
  EXPECT_EQ(both.level, CompressionLevel::kHigh);
  EXPECT_EQ(CompressionOf("COMPRESSION (LEVEL = MEDIUM)").level, CompressionLevel::kMedium);
  EXPECT_EQ(CompressionOf("COMPRESSION (LEVEL = LOW)").level, CompressionLevel::kLow);
}

TEST(CompressionClause, RefusesSqlServersAlgorithmsByName) {
  ExpectError({kBackup + "COMPRESSION (ALGORITHM = MS_XPRESS)", 3032, "(ms_xpress)"});
  ExpectError({kBackup + "COMPRESSION (ALGORITHM = QAT_DEFLATE)", 3032, "(qat_deflate)"});
  EXPECT_NE(ErrorOf(kBackup + "COMPRESSION (ALGORITHM = MS_XPRESS)").status.hint().find("ZSTD"),
            std::string_view::npos);
}

TEST(CompressionClause, SaysWhereTheSyntaxBreaks) {
  for (const BadBatch& bad :
       std::vector<BadBatch>{{kBackup + "COMPRESSION ()", 102, "near ')'."},
                             {kBackup + "COMPRESSION (ALGORITHM)", 102, "near ')'."},
                             {kBackup + "COMPRESSION (ALGORITHM = GZIP)", 102, "near 'GZIP'."},
                             {kBackup + "COMPRESSION (LEVEL = 3)", 102, "near '3'."},
                             {kBackup + "COMPRESSION (LEVEL = LOW, LEVEL = LOW)", 102, "near ')'."},
                             {kBackup + "COMPRESSION (ALGORITHM = ZSTD", 102, "near 'ZSTD'."},
                             {kBackup + "COMPRESSION = 1", 102, "near '='."}}) {
    ExpectError(bad);
  }
}

TEST(EncryptionClause, TakesACertificateOrWhereThePassphraseIs) {
  const auto by_certificate = ParseOne<BackupStatement>(
      kBackup + "ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = [my cert]), FORMAT");
  ASSERT_TRUE(by_certificate.encryption.has_value());
  EXPECT_EQ(by_certificate.encryption->certificate, "my cert");
  EXPECT_FALSE(by_certificate.encryption->passphrase.has_value());
  const auto by_file = ParseOne<BackupStatement>(
      kBackup + "ENCRYPTION (ALGORITHM = AES_256, PASSPHRASE FROM FILE '/etc/key')");
  ASSERT_TRUE(by_file.encryption && by_file.encryption->passphrase);
  EXPECT_EQ(by_file.encryption->passphrase->from, PassphraseClause::From::kFile);
  EXPECT_EQ(by_file.encryption->passphrase->name, "/etc/key");
  const auto by_variable = ParseOne<BackupStatement>(
      kBackup + "ENCRYPTION (ALGORITHM = AES_256, PASSPHRASE FROM ENVIRONMENT 'KEY')");
  EXPECT_EQ(by_variable.encryption->passphrase->from, PassphraseClause::From::kEnvironment);
}

TEST(EncryptionClause, RefusesWhatCapstanHasNot) {
  for (const std::string cipher : {"AES_128", "AES_192", "TRIPLE_DES_3KEY"}) {
    ExpectError({kBackup + "ENCRYPTION (ALGORITHM = " + cipher + ", SERVER CERTIFICATE = c)", 3032,
                 "not supported"});
  }
  ExpectError({kBackup + "ENCRYPTION (ALGORITHM = AES_256, SERVER ASYMMETRIC KEY = k)", 3032,
               "(asymmetric key)"});
}

TEST(EncryptionClause, HoldsNoPassphrase) {
  const ParseError error =
      ErrorOf(kBackup + "ENCRYPTION (ALGORITHM = AES_256, PASSPHRASE = 'secret')");
  EXPECT_EQ(error.status.reason(), 102);
  EXPECT_NE(error.status.hint().find("FROM FILE"), std::string_view::npos);
  EXPECT_EQ(std::string(error.status.ToString()).find("secret"), std::string::npos);
}

TEST(EncryptionClause, SaysWhereTheSyntaxBreaks) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {kBackup + "ENCRYPTION", 102, "near 'ENCRYPTION'."},
           {kBackup + "ENCRYPTION (ALGORITHM = AES_256)", 102, "near ')'."},
           {kBackup + "ENCRYPTION (ALGORITHM = ROT13, SERVER CERTIFICATE = c)", 102, "'ROT13'"},
           {kBackup + "ENCRYPTION (SERVER CERTIFICATE = c)", 102, "near 'SERVER'."},
           {kBackup + "ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = 'c')", 102, "'c'"},
           {kBackup + "ENCRYPTION (ALGORITHM = AES_256, PASSPHRASE FROM FILE '')", 3217,
            "PASSPHRASE"},
           {kBackup + "ENCRYPTION (ALGORITHM = AES_256, PASSPHRASE FROM 'x')", 102, "'x'"}}) {
    ExpectError(bad);
  }
}

}  // namespace
}  // namespace capstan::tsql
