#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

TEST(LoginParser, CreatesAltersAndDrops) {
  const auto create = ParseOne<LoginStatement>(
      "CREATE LOGIN [backup operator] WITH PASSWORD = N'it''s', "
      "CHECK_POLICY = OFF, CHECK_EXPIRATION = OFF;");
  EXPECT_EQ(create.action, LoginAction::kCreate);
  EXPECT_EQ(create.name, "backup operator");
  EXPECT_EQ(create.password, "it's");

  const auto alter = ParseOne<LoginStatement>("alter login sa with password='x'");
  EXPECT_EQ(alter.action, LoginAction::kAlter);
  EXPECT_EQ(alter.name, "sa");
  EXPECT_EQ(alter.password, "x");

  const auto drop = ParseOne<LoginStatement>("DROP LOGIN sa");
  EXPECT_EQ(drop.action, LoginAction::kDrop);
  EXPECT_EQ(drop.name, "sa");
}

TEST(LoginParser, KeepsThePasswordOutOfTheTextForRecords) {
  const std::vector<Statement> statements = ParseAll(
      "CREATE LOGIN a WITH PASSWORD = 'secret'; ALTER LOGIN a WITH PASSWORD = 'secret'\n"
      "DROP LOGIN a");

  ASSERT_EQ(statements.size(), 3U);
  for (const Statement& statement : statements) {
    EXPECT_EQ(statement.text.find("secret"), std::string::npos) << statement.text;
  }
  EXPECT_EQ(statements[0].text, "CREATE LOGIN *password*");
  EXPECT_EQ(statements[1].text, "ALTER LOGIN *password*");
  EXPECT_EQ(statements[2].text, "DROP LOGIN a");
}

TEST(LoginParser, NamesWhatIsNotSupported) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {"CREATE LOGIN [D\\u] FROM WINDOWS", 3032, "(FROM)"},
           {"ALTER LOGIN a DISABLE", 3032, "(DISABLE)"},
           {"ALTER LOGIN a WITH NAME = b", 3032, "(NAME)"},
           {"CREATE LOGIN a WITH PASSWORD = 'x' MUST_CHANGE", 3032, "(MUST_CHANGE)"},
           {"ALTER LOGIN a WITH PASSWORD = 'x' OLD_PASSWORD = 'y'", 3032, "(OLD_PASSWORD)"},
           {"CREATE LOGIN a WITH PASSWORD = 'x',\nSID = 5", 3032, "(SID)", 2},
           {"CREATE LOGIN a WITH PASSWORD = 'x', CHECK_POLICY = ON", 3032, "(CHECK_POLICY)"}}) {
    ExpectError(bad);
  }
}

TEST(LoginParser, RefusesBadSyntax) {
  for (const BadBatch& bad :
       std::vector<BadBatch>{{"CREATE LOGIN", 102, "near 'LOGIN'."},
                             {"CREATE LOGIN 'a' WITH PASSWORD = 'x'", 102, "near 'a'."},
                             {"CREATE LOGIN [] WITH PASSWORD = 'x'", 1038, "name is missing"},
                             {"CREATE LOGIN " + std::string(129, 'x') + " WITH PASSWORD = 'x'", 103,
                              "Maximum length is 128"},
                             {"CREATE LOGIN a", 102, "near 'a'."},
                             {"CREATE LOGIN a WITH PASSWORD 'x'", 102, "near 'x'."},
                             {"CREATE LOGIN a WITH PASSWORD = x", 102, "near 'x'."},
                             {"DROP LOGIN a b", 102, "near 'b'."},
                             {"CREATE TABLE a", 156, "keyword 'CREATE'."}}) {
    ExpectError(bad);
  }
}

}  // namespace
}  // namespace capstan::tsql
