#include "server/catalog/query_error.h"

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::catalog {
namespace {

using test::HasCode;
using test::HasReason;
using test::MessageHas;

TEST(QueryError, GivesTablesTheNameThatTheRequesterWrote) {
  EXPECT_EQ(RequesterTableName("msdb_dbo_backupset"), "msdb.dbo.backupset");
  EXPECT_EQ(RequesterTableName("msdb__backupset"), "msdb..backupset");
  EXPECT_EQ(RequesterTableName("sys_dm_exec_requests"), "sys.dm_exec_requests");
  EXPECT_EQ(RequesterTableName("main.my_table"), "my_table");
}

TEST(QueryError, KeepsSqlitesTextWhereSqlServerHasNoMessage) {
  EXPECT_THAT(PrepareError("incomplete input"),
              testing::AllOf(HasCode(Code::kInvalidArgument), HasReason(0),
                             MessageHas("incomplete input")));
}

TEST(QueryError, TakesTheTokenOutOfASyntaxError) {
  EXPECT_THAT(PrepareError("near \"FROM\": syntax error"),
              testing::AllOf(HasReason(102), MessageHas("near 'FROM'.")));
  EXPECT_THAT(PrepareError("unrecognized token: \"#\""),
              testing::AllOf(HasReason(102), MessageHas("near '#'.")));
  EXPECT_THAT(PrepareError("near \""), HasReason(0));
}

}  // namespace
}  // namespace capstan::catalog
