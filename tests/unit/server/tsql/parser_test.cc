#include "server/tsql/parser.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

TEST(ParseBatch, TakesAnEmptyBatch) {
  for (const char* batch : {"", " \n", "-- nothing", ";", "; ;;"}) {
    EXPECT_TRUE(ParseAll(batch).empty()) << batch;
  }
}

TEST(ParseBatch, SplitsStatementsWithAndWithoutSemicolons) {
  const std::vector<Statement> statements = ParseAll(
      "PRINT 'a'\nBACKUP DATABASE d TO DISK='x' WITH INIT; ;\n\nSELECT 1 SELECT 2\n"
      "EXEC sp_detach_db d KILL 51 RESTORE LABELONLY FROM DISK='x'");

  ASSERT_EQ(statements.size(), 7U);
  EXPECT_EQ(statements[0].line, 1);
  EXPECT_EQ(statements[1].line, 2);
  EXPECT_EQ(statements[2].line, 4);
  EXPECT_EQ(statements[6].line, 5);
  EXPECT_EQ(statements[0].text, "PRINT 'a'");
  EXPECT_EQ(statements[1].text, "BACKUP DATABASE d TO DISK='x' WITH INIT");
  EXPECT_EQ(statements[2].text, "SELECT 1");
  EXPECT_EQ(statements[6].text, "RESTORE LABELONLY FROM DISK='x'");
}

TEST(ParseBatch, KeepsTheTextAsWritten) {
  const std::vector<Statement> statements =
      ParseAll("/* a */ BACKUP  DATABASE /* b */ [d]\n TO DISK = N'x' ; -- c");

  ASSERT_EQ(statements.size(), 1U);
  EXPECT_EQ(statements[0].text, "BACKUP  DATABASE /* b */ [d]\n TO DISK = N'x'");
}

TEST(ParseBatch, GivesNothingWhenOneStatementIsWrong) {
  ExpectError({"PRINT 'a';\nPRINT 'b';\nPRINT c", 102, "near 'c'.", 3});
}

TEST(ParseBatch, Prints) {
  EXPECT_EQ(ParseOne<PrintStatement>("PRINT N'it''s' + ' ' + 'so'").text, "it's so");
  EXPECT_EQ(ParseOne<PrintStatement>("print 5").text, "5");
  ExpectError({"PRINT", 102, "near 'PRINT'."});
  ExpectError({"PRINT 'a' +", 102, "near '+'."});
  ExpectError({"PRINT @x", 102, "near '@x'."});
}

TEST(ParseBatch, Kills) {
  EXPECT_EQ(ParseOne<KillStatement>("KILL 51").session_id, 51);
  ExpectError({"KILL", 102, "near 'KILL'."});
  ExpectError({"KILL -1", 102, "near '-'."});
  ExpectError({"KILL 1.5", 102, "near '1.5'."});
  ExpectError({"KILL 'x'", 102, "near 'x'."});
  ExpectError({"KILL 99999999999999999999", 102, "near '99999999999999999999'."});
}

TEST(ParseBatch, KnowsNoOtherStatements) {
  for (const char* keyword : {"INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "USE", "SET",
                              "DECLARE", "IF", "WHILE", "MERGE", "TRUNCATE"}) {
    ExpectError({std::string(keyword) + " x", 156,
                 "Incorrect syntax near the keyword '" + std::string(keyword) + "'."});
  }
  for (const char* word : {"PRAGMA", "ATTACH", "VACUUM", "REPLACE"}) {
    ExpectError(
        {"PRINT 'a'\n" + std::string(word) + " x", 102, "near '" + std::string(word) + "'.", 2});
  }
  ExpectError({"SELECT 1; DROP TABLE t", 156, "keyword 'DROP'."});
  ExpectError({"SELECT 1 DELETE FROM t", 156, "keyword 'DELETE'."});
  ExpectError({")", 102, "near ')'."});
}

TEST(ParseBatch, ReportsWhatIsNotClosed) {
  ExpectError(
      {"PRINT 'a'\nPRINT 'b", 105, "Unclosed quotation mark after the character string 'b'.", 2});
  ExpectError({"PRINT 'a' /* b", 113, "Missing end comment mark '*/'."});
}

}  // namespace
}  // namespace capstan::tsql
