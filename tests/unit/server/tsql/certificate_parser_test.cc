#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

TEST(CertificateParser, Creates) {
  const auto certificate = ParseOne<CertificateStatement>(
      "CREATE CERTIFICATE [backup key] WITH SUBJECT = 'Backups of host1';");
  EXPECT_EQ(certificate.action, CertificateAction::kCreate);
  EXPECT_EQ(certificate.name, "backup key");
  EXPECT_EQ(certificate.subject, "Backups of host1");
}

TEST(CertificateParser, Imports) {
  const auto certificate = ParseOne<CertificateStatement>(
      "create certificate c from file = '/c.pem' with private key (file = '/k.pem')");
  EXPECT_EQ(certificate.action, CertificateAction::kImport);
  EXPECT_EQ(certificate.file, "/c.pem");
  EXPECT_EQ(certificate.key_file, "/k.pem");
  EXPECT_EQ(ParseOne<CertificateStatement>("CREATE CERTIFICATE c FROM FILE = '/c.pem'").key_file,
            "");
}

TEST(CertificateParser, ExportsAndDrops) {
  const auto certificate = ParseOne<CertificateStatement>(
      "BACKUP CERTIFICATE c TO FILE = N'/c.pem' WITH PRIVATE KEY (FILE = N'/k.pem')");
  EXPECT_EQ(certificate.action, CertificateAction::kExport);
  EXPECT_EQ(certificate.file, "/c.pem");
  EXPECT_EQ(certificate.key_file, "/k.pem");
  EXPECT_EQ(ParseOne<CertificateStatement>("DROP CERTIFICATE c").action, CertificateAction::kDrop);
}

TEST(CertificateParser, LeavesWhatFollowsAlone) {
  EXPECT_EQ(ParseAll("BACKUP CERTIFICATE c TO FILE = 'f' WITH x AS (SELECT 1 AS a) SELECT a FROM x")
                .size(),
            2U);
}

TEST(CertificateParser, TakesDatesAndThePasswordsOfKeyFiles) {
  const auto created = ParseOne<CertificateStatement>(
      "CREATE CERTIFICATE c WITH SUBJECT = 's', START_DATE = '20300101', EXPIRY_DATE = '1/1/2031'");
  EXPECT_GT(created.start_unix_s, 0);
  EXPECT_GT(created.expiry_unix_s, created.start_unix_s);
  const auto statements = ParseAll(
      "CREATE CERTIFICATE c FROM FILE = 'f' WITH PRIVATE KEY (FILE = 'k', DECRYPTION BY PASSWORD = "
      "'one');\nBACKUP CERTIFICATE c TO FILE = 'f' WITH PRIVATE KEY (FILE = 'k', ENCRYPTION BY "
      "PASSWORD = N'two')");
  ASSERT_EQ(statements.size(), 2U);
  EXPECT_EQ(std::get<CertificateStatement>(statements[0].body).key_file_passphrase, "one");
  EXPECT_EQ(std::get<CertificateStatement>(statements[1].body).key_file_passphrase, "two");
  EXPECT_NE(statements[1].text.find("PASSWORD = '***')"), std::string::npos);
}

TEST(CertificateParser, RefusesWhatCapstanHasNot) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {"CREATE CERTIFICATE c ENCRYPTION BY PASSWORD = 'p' WITH SUBJECT = 's'", 3032,
            "(encryption by password)"},
           {"CREATE CERTIFICATE c AUTHORIZATION u WITH SUBJECT = 's'", 3032, "(authorization)"},
           {"CREATE CERTIFICATE c FROM FILE = 'f' WITH PRIVATE KEY (FILE = 'k', ENCRYPTION BY "
            "PASSWORD = 'p')",
            3032, "(encryption by password)"},
           {"BACKUP CERTIFICATE c TO FILE = 'f' WITH PRIVATE KEY (FILE = 'k', DECRYPTION BY "
            "PASSWORD = 'p')",
            3032, "(decryption by password)"},
           {"CREATE CERTIFICATE c WITH SUBJECT = 's', EXPIRY_DATE = 'never'", 3217,
            "EXPIRY_DATE"}}) {
    ExpectError(bad);
  }
}

TEST(CertificateParser, SaysWhereTheSyntaxBreaks) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {"CREATE CERTIFICATE", 102, "near 'CERTIFICATE'."},
           {"CREATE CERTIFICATE []", 1038, "missing or empty"},
           {"CREATE CERTIFICATE c", 102, "near 'c'."},
           {"CREATE CERTIFICATE c WITH SUBJECT = s", 102, "near 's'."},
           {"CREATE CERTIFICATE c WITH SUBJECT = 's', COLOUR = 1", 102, "near 'COLOUR'."},
           {"CREATE CERTIFICATE c FROM FILE = ''", 15208, "private key file is not valid"},
           {"BACKUP CERTIFICATE c", 102, "near 'c'."},
           {"BACKUP CERTIFICATE c TO DISK = 'x'", 156, "keyword 'DISK'."},
           {"BACKUP CERTIFICATE c TO FILE = 'x' WITH PRIVATE KEY FILE = 'y'", 156, "'FILE'"},
           {"ALTER CERTIFICATE c", 156, "keyword 'ALTER'."},
           {"DROP CERTIFICATE 'c'", 102, "near 'c'."}}) {
    ExpectError(bad);
  }
}

}  // namespace
}  // namespace capstan::tsql
