#include "server/writers/sqlite/sqlite_backup_session.h"

#include <gtest/gtest.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

TEST(SqliteBackup, CopiesFileAndWalOfDatabaseInUse) {
  ScratchDirectory scratch;
  const std::string path = scratch.File("a.db");
  MakeDatabase(path, "WAL", 2000);
  Application application(path);
  InsertRows(application, 2001, 500);
  SqliteWriter writer;

  const auto image = BackUp(writer, path);

  ASSERT_THAT(image, IsOk());
  WriteWhole(scratch.File("copy.db"), *image);
  EXPECT_EQ(FaultOf(scratch.File("copy.db")), "");
  EXPECT_EQ(Application(scratch.File("copy.db")).Ask("SELECT count(*) FROM t"), "2500");
}

}  // namespace
}  // namespace capstan::writers
