#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

TEST(CredentialParser, CreatesAltersAndDrops) {
  const auto create = ParseOne<CredentialStatement>(
      "CREATE CREDENTIAL [s3://host:7480/backups] WITH IDENTITY = 'S3 Access Key', "
      "SECRET = N'id:secret';");
  EXPECT_EQ(create.action, CredentialAction::kCreate);
  EXPECT_EQ(create.name, "s3://host:7480/backups");
  EXPECT_EQ(create.identity, "S3 Access Key");
  EXPECT_EQ(create.secret, "id:secret");

  EXPECT_EQ(ParseOne<CredentialStatement>(
                "alter credential [s3://b] with identity='S3 Access Key', secret='x:y'")
                .action,
            CredentialAction::kAlter);

  const auto drop = ParseOne<CredentialStatement>("DROP CREDENTIAL [s3://backups]");
  EXPECT_EQ(drop.action, CredentialAction::kDrop);
  EXPECT_EQ(drop.name, "s3://backups");
}

TEST(CredentialParser, KeepsTheSecretOutOfTheTextForRecords) {
  const std::vector<Statement> statements = ParseAll(
      "CREATE CREDENTIAL [s3://b] WITH IDENTITY = 'S3 Access Key', SECRET = 'id:secret';"
      "ALTER CREDENTIAL [s3://b] WITH IDENTITY = 'S3 Access Key', SECRET = 'id:secret'");

  ASSERT_EQ(statements.size(), 2U);
  EXPECT_EQ(statements[0].text, "CREATE CREDENTIAL *secret*");
  EXPECT_EQ(statements[1].text, "ALTER CREDENTIAL *secret*");
}

TEST(CredentialParser, RefusesHalfAStatement) {
  for (const char* const text :
       {"CREATE CREDENTIAL", "CREATE CREDENTIAL [s3://b]", "CREATE CREDENTIAL [s3://b] WITH",
        "CREATE CREDENTIAL [s3://b] WITH IDENTITY = 'S3 Access Key'",
        "CREATE CREDENTIAL [s3://b] WITH SECRET = 'id:secret'",
        "CREATE CREDENTIAL [s3://b] WITH IDENTITY = 'S3 Access Key' SECRET = 'id:secret'",
        "DROP CREDENTIAL"}) {
    EXPECT_EQ(ErrorOf(text).status.code(), Code::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace capstan::tsql
