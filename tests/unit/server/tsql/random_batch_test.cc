// Random batches: the parser gives statements or an error with a known number, and never crashes.
// It cannot show that the answer is right, only that there is one.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "server/messages/messages.h"
#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

constexpr std::string_view kPieces[] = {
    "BACKUP",
    "DATABASE",
    "RESTORE",
    "LOG",
    "HEADERONLY",
    "VERIFYONLY",
    "TO",
    "FROM",
    "DISK",
    "TAPE",
    "URL",
    "=",
    "'x'",
    "N'y'",
    "''",
    "WITH",
    "INIT",
    "FORMAT",
    "NOINIT",
    "STATS",
    "10",
    "0",
    "BLOCKSIZE",
    "MOVE",
    "REPLACE",
    "COMPRESSION",
    "(",
    ")",
    ",",
    ";",
    "SELECT",
    "*",
    "TOP",
    "backupset",
    "sys",
    ".",
    "databases",
    "msdb",
    "dbo",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "IN",
    "LIKE",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "NULL",
    "IS",
    "CAST",
    "CONVERT",
    "AS",
    "int",
    "varchar",
    "DATEDIFF",
    "DATEADD",
    "day",
    "GETDATE",
    "ISNULL",
    "COUNT",
    "OVER",
    "PARTITION",
    "BY",
    "ORDER",
    "DESC",
    "GROUP",
    "HAVING",
    "JOIN",
    "LEFT",
    "ON",
    "UNION",
    "ALL",
    "EXISTS",
    "DISTINCT",
    "EXEC",
    "sp_attach_db",
    "@dbname",
    "@@VERSION",
    "KILL",
    "51",
    "PRINT",
    "+",
    "-",
    "/",
    "<>",
    "!=",
    "||",
    "[a b]",
    "\"q\"",
    "[",
    "\"",
    "'",
    "/*",
    "*/",
    "--",
    "\n",
    "GO",
    "0x1",
    "1.5",
    "é",
    "\xff",
    "‘",
    "@",
    "#t",
    "NOLOCK",
    "COLLATE",
    "USE",
    "INSERT",
    "MIRROR",
    "ENCRYPTION",
    "ALGORITHM",
    "AES_256",
    "SERVER",
    "ZSTD",
    "LEVEL",
    "PASSPHRASE",
    "FILE",
    "SAMPLE",
    "PERCENT",
    "EXPIREDATE",
    "'2030-12-31'",
    "CREATE",
    "DROP",
    "CERTIFICATE",
    "SUBJECT",
    "PRIVATE",
    "KEY",
    "RECONFIGURE",
    "sp_configure",
    "sp_spaceused",
};

std::uint64_t Seed() {
  const char* seed = std::getenv("CAPSTAN_TEST_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 10) : std::random_device()();
}

void ExpectAnAnswer(const std::string& batch) {
  const auto parsed = ParseBatch(batch);
  const auto lines = 1 + std::count(batch.begin(), batch.end(), '\n');
  if (const auto* error = std::get_if<ParseError>(&parsed)) {
    EXPECT_NE(FindMessage(error->status.reason()), nullptr) << batch;
    EXPECT_FALSE(error->status.message().empty()) << batch;
    EXPECT_GE(error->line, 1) << batch;
    EXPECT_LE(error->line, lines) << batch;
    return;
  }
  int line = 1;
  for (const Statement& statement : std::get<0>(parsed)) {
    EXPECT_GE(statement.line, line) << batch;
    line = statement.line;
    EXPECT_NE(batch.find(statement.text), std::string::npos) << batch;
  }
}

TEST(RandomBatch, OfKnownPiecesGetsAnAnswer) {
  const std::uint64_t seed = Seed();
  SCOPED_TRACE("CAPSTAN_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20'000 && !testing::Test::HasFailure(); ++round) {
    std::string batch;
    for (auto pieces = random() % 30; pieces > 0; --pieces) {
      batch += kPieces[random() % std::size(kPieces)];
      batch += random() % 8 == 0 ? "" : " ";
    }
    ExpectAnAnswer(batch);
    SplitBatches(batch);
  }
}

// Valid batches with a few bytes changed reach deeper than noise does.
TEST(RandomBatch, OfDamagedStatementsGetsAnAnswer) {
  const std::uint64_t seed = Seed();
  SCOPED_TRACE("CAPSTAN_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::string valid =
      "BACKUP DATABASE [d] TO DISK = N'a', DISK = 'b' WITH INIT, NAME = 'n', STATS = 5;\n"
      "BACKUP DATABASE d TO DISK = 'a' MIRROR TO DISK = 'b' WITH FORMAT, COMPRESSION (ALGORITHM = "
      "LZ4, LEVEL = LOW), EXPIREDATE = 'Dec 31, 2030 6PM', ENCRYPTION (ALGORITHM = AES_256, SERVER "
      "CERTIFICATE = c);\n"
      "RESTORE VERIFYONLY FROM DISK = 'a' WITH SAMPLE = 5 PERCENT, PASSPHRASE FROM FILE 'f'\n"
      "CREATE CERTIFICATE c FROM FILE = 'a' WITH PRIVATE KEY (FILE = 'b')\n"
      "RESTORE DATABASE d FROM DISK = 'a' WITH MOVE 'a' TO 'b', REPLACE, FILE = 2\n"
      "SELECT TOP (3) a.x, ISNULL(b.y, 'z') + 'q' FROM msdb.dbo.backupset a LEFT JOIN "
      "sys.databases b ON a.i = b.i WHERE a.x IN (SELECT CAST(1 AS decimal(5, 2))) ORDER BY 1\n"
      "EXEC sp_attach_db @dbname = 'x', @filename1 = 'sqlite:/y'; KILL 5; PRINT 'x' /* c */ -- d";
  ASSERT_FALSE(ParseAll(valid).empty());
  for (int round = 0; round < 20'000 && !testing::Test::HasFailure(); ++round) {
    std::string batch = valid;
    for (auto changes = 1 + random() % 4; changes > 0; --changes) {
      const std::size_t at = random() % batch.size();
      if (random() % 3 == 0) {
        batch.erase(at, 1 + random() % 5);
      } else {
        batch.insert(at, kPieces[random() % std::size(kPieces)]);
      }
    }
    ExpectAnAnswer(batch);
  }
}

// What the parser takes as a SELECT, SQLite can at least read: one statement, no syntax error.
TEST(RandomBatch, OfSelectsGivesSqliteNoSyntaxError) {
  constexpr std::string_view kSelectPieces[] = {
      "SELECT", "a",     ",",     "1",       "'x'",      "FROM",   "backupset", "b",
      "(",      ")",     "WHERE", "=",       "AND",      "NOT",    "IN",        "IS",
      "NULL",   "CASE",  "WHEN",  "THEN",    "END",      "+",      "-",         "TOP 1",
      "UNION",  "ORDER", "BY",    "DESC",    "GROUP",    "LEN(a)", "COUNT(*)",  "OVER",
      "*",      "AS",    "JOIN",  "ON",      "[c d]",    ".",      "LIKE",      "EXISTS",
      "HAVING", "LEFT",  "||",    "BETWEEN", "DISTINCT", "LIMIT",  "GLOB",      "ESCAPE"};
  const std::uint64_t seed = Seed();
  SCOPED_TRACE("CAPSTAN_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
  int selects = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::string batch = "SELECT a";
    for (auto pieces = random() % 12; pieces > 0; --pieces) {
      batch += " " + std::string(kSelectPieces[random() % std::size(kSelectPieces)]);
    }
    const auto parsed = ParseBatch(batch);
    if (!std::holds_alternative<std::vector<Statement>>(parsed)) {
      continue;
    }
    for (const Statement& statement : std::get<0>(parsed)) {
      const std::string& text = std::get<SelectStatement>(statement.body).sqlite_text;
      sqlite3_stmt* prepared = nullptr;
      sqlite3_prepare_v2(db, text.c_str(), -1, &prepared, nullptr);
      sqlite3_finalize(prepared);
      const std::string message = sqlite3_errmsg(db);
      EXPECT_EQ(message.find("syntax error"), std::string::npos) << batch << "\n" << text;
      EXPECT_EQ(message.find("unrecognized"), std::string::npos) << batch << "\n" << text;
      ++selects;
    }
  }
  EXPECT_GT(selects, 100);
  sqlite3_close(db);
}

TEST(RandomBatch, OfEveryPrefixGetsAnAnswer) {
  const std::string valid =
      "BACKUP DATABASE d TO DISK=N'a' WITH STATS=5; SELECT [a] FROM dbo.backupset WHERE b=0x1";
  for (std::size_t length = 0; length <= valid.size(); ++length) {
    ExpectAnAnswer(valid.substr(0, length));
  }
}

}  // namespace
}  // namespace capstan::tsql
