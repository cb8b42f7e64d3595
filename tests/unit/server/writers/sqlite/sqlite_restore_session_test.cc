#include "server/writers/sqlite/sqlite_restore_session.h"

#include <gtest/gtest.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

TEST(SqliteRestore, ReplacesDatabaseThatNobodyUses) {
  ScratchDirectory scratch;
  const std::string path = scratch.File("a.db");
  MakeDatabase(path, "WAL", 100);
  SqliteWriter writer;
  const auto image = BackUp(writer, path);
  ASSERT_THAT(image, IsOk());
  {
    Application application(path);
    InsertRows(application, 101, 50);
  }

  EXPECT_THAT(Restore(writer, path, *image, true), IsOk());

  EXPECT_EQ(FaultOf(path), "");
  EXPECT_EQ(Application(path).Ask("SELECT count(*) FROM t"), "100");
  EXPECT_EQ(scratch.Leaves(), std::vector<std::string>{"a.db"});
}

}  // namespace
}  // namespace capstan::writers
