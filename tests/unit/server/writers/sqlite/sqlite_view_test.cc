#include "server/writers/sqlite/sqlite_view.h"

#include <gtest/gtest.h>

#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

class SqliteViewTest : public testing::Test {
 protected:
  void SetUp() override {
    MakeDatabase(path_, "WAL", 100);
    other_ = std::make_unique<OtherProcess>(path_);
  }

  std::string ReadWholeView(const SqliteView& view) {
    std::string image(view.size_bytes(), '\0');
    EXPECT_THAT(view.Read(0, std::as_writable_bytes(std::span(image))), IsOk());
    return image;
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  std::unique_ptr<OtherProcess> other_;
};

TEST_F(SqliteViewTest, IsTheSameWithAndWithoutFence) {
  Application application(path_);
  application.Run("PRAGMA wal_autocheckpoint=0");
  InsertRows(application, 101, 300);

  const auto fenced = SqliteView::Open(path_, {.tries_without_fence = 0});
  const auto free = SqliteView::Open(path_, {});

  ASSERT_THAT(fenced, IsOk());
  ASSERT_THAT(free, IsOk());
  EXPECT_TRUE(ReadWholeView(*fenced) == ReadWholeView(*free));
  EXPECT_EQ(fenced->wal_header(), free->wal_header());
}

TEST_F(SqliteViewTest, FenceIsLetGoAtOnce) {
  const auto view = SqliteView::Open(path_, {.tries_without_fence = 0});
  ASSERT_THAT(view, IsOk());

  EXPECT_EQ(other_->TryRun("DELETE FROM t WHERE id = 1"), SQLITE_OK);
}

TEST_F(SqliteViewTest, WriterHoldsUpTheFenceButNotAView) {
  Application application(path_);
  application.Run("BEGIN IMMEDIATE");
  const Deadline now = Deadline::Now();

  EXPECT_THAT(SqliteView::Open(path_, {.lock_deadline = now}), IsOk());
  EXPECT_THAT(SqliteView::Open(path_, {.lock_deadline = now, .tries_without_fence = 0}),
              MessageHas("database is locked"));
}

// Whether everything is in the file when the view is taken decides which of SQLite's read locks it
// gets, and with it what others may do meanwhile. Neither may change what the view shows.
TEST_F(SqliteViewTest, StaysWhileOthersRestartTheWalOrFillIt) {
  for (const bool checkpointed : {true, false}) {
    Application application(path_);
    application.Run("PRAGMA wal_autocheckpoint=0");
    application.Run("UPDATE t SET payload = hex(randomblob(100))");
    if (checkpointed) {
      application.Run("PRAGMA wal_checkpoint(FULL)");
    }
    const auto view = SqliteView::Open(path_, {});
    ASSERT_THAT(view, IsOk());
    const std::string before = ReadWholeView(*view);

    for (const char* mode : {"PASSIVE", "FULL", "RESTART", "TRUNCATE"}) {
      ASSERT_EQ(other_->TryRun("UPDATE t SET payload = hex(randomblob(100))"), SQLITE_OK);
      (void)other_->TryRun(std::string("PRAGMA wal_checkpoint(") + mode + ")");
    }

    EXPECT_TRUE(ReadWholeView(*view) == before) << "checkpointed: " << checkpointed;
    EXPECT_THAT(view->Verify(), IsOk());
  }
}

}  // namespace
}  // namespace capstan::writers
