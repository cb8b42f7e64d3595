#include "server/catalog/sqlite_connection.h"

#include <cstdio>

#include <gtest/gtest.h>

#include "tests/support/catalog_samples.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::catalog {
namespace {

using test::HasCode;
using test::IsOk;

class SqliteConnection : public testing::Test {
 protected:
  SqliteConnection() { std::fclose(std::fopen(path_.c_str(), "a")); }

  Connection Open(Connection::Mode mode = Connection::Mode::kReadWrite) {
    auto connection = Connection::Open(path_, mode);
    EXPECT_THAT(connection, IsOk());
    return std::move(connection).value();
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_.Under("x.db");
};

TEST_F(SqliteConnection, ReportsAMissingFile) {
  EXPECT_THAT(Connection::Open(directory_.Under("nosuch.db"), Connection::Mode::kReadOnly),
              HasCode(Code::kNotFound));
}

TEST_F(SqliteConnection, RefusesToWriteWhenReadOnly) {
  Connection connection = Open(Connection::Mode::kReadOnly);

  const Status status = connection.Execute("CREATE TABLE t (x)");

  EXPECT_THAT(status, HasCode(Code::kPermissionDenied));
  EXPECT_FALSE(status.hint().empty());
}

TEST_F(SqliteConnection, BindsEveryKindOfValue) {
  Connection connection = Open();
  ASSERT_THAT(connection.Execute("CREATE TABLE t (a, b, c, d, e)"), IsOk());

  ASSERT_THAT(connection.Run("INSERT INTO t VALUES (?, ?, ?, ?, ?)", 7, std::string_view(), true,
                             std::optional<std::string>(), std::optional<std::int64_t>(-1)),
              IsOk());

  EXPECT_EQ(connection
                .QueryInteger("SELECT a = 7 AND b = '' AND c = 1 AND d IS NULL AND e = -1 "
                              "FROM t")
                .value(),
            1);
}

TEST_F(SqliteConnection, ReportsABindingThatTheStatementHasNoPlaceFor) {
  Connection connection = Open();

  EXPECT_FALSE(connection.Run("SELECT ?", 1, 2).ok());
}

TEST_F(SqliteConnection, RollsBackWhatIsNotCommitted) {
  Connection connection = Open();
  ASSERT_THAT(connection.Execute("CREATE TABLE t (x)"), IsOk());
  {
    auto transaction = Transaction::Begin(connection);
    ASSERT_THAT(transaction, IsOk());
    ASSERT_THAT(connection.Run("INSERT INTO t VALUES (1)"), IsOk());
  }

  EXPECT_EQ(connection.QueryInteger("SELECT count(*) FROM t").value(), 0);
}

TEST_F(SqliteConnection, RefusesATransactionInsideAnother) {
  Connection connection = Open();
  auto outer = Transaction::Begin(connection);
  ASSERT_THAT(outer, IsOk());

  EXPECT_FALSE(Transaction::Begin(connection).ok());
}

TEST_F(SqliteConnection, TellsADuplicateFromOtherBrokenConstraints) {
  Connection connection = Open();
  ASSERT_THAT(connection.Execute("CREATE TABLE t (x UNIQUE NOT NULL)"), IsOk());
  ASSERT_THAT(connection.Run("INSERT INTO t VALUES (1)"), IsOk());

  EXPECT_THAT(connection.Run("INSERT INTO t VALUES (1)"), HasCode(Code::kAlreadyExists));
  EXPECT_THAT(connection.Run("INSERT INTO t VALUES (NULL)"), HasCode(Code::kInternal));
}

TEST_F(SqliteConnection, ReportsAQueryWithoutARow) {
  Connection connection = Open();

  EXPECT_THAT(connection.QueryInteger("SELECT 1 WHERE 0"), HasCode(Code::kNotFound));
}

TEST_F(SqliteConnection, ComparesDecimalTextByValue) {
  Connection connection = Open();
  const auto holds = [&](const std::string& comparison) {
    return connection.QueryInteger("SELECT " + comparison).value() == 1;
  };

  EXPECT_TRUE(holds("'9' < '10' COLLATE capstan_decimal"));
  EXPECT_TRUE(holds("'18446744073709551614' < '18446744073709551615' COLLATE capstan_decimal"));
  EXPECT_TRUE(holds("'007' = '7' COLLATE capstan_decimal"));
  EXPECT_TRUE(holds("'0' = '000' COLLATE capstan_decimal"));
  EXPECT_TRUE(holds("'5' > '' COLLATE capstan_decimal = 0"));
  EXPECT_TRUE(holds("'99' < 'x' COLLATE capstan_decimal"));
}

}  // namespace
}  // namespace capstan::catalog
