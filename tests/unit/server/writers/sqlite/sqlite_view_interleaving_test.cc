// What others do to a database between any two steps of taking a view of it. The stress test of
// SQLite databases in use meets such moments by chance; here each one is tried.
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "server/writers/sqlite/sqlite_view.h"
#include "tests/support/sqlite_barrier_hook.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

constexpr int kBarriersMax = 1000;

struct Interference {
  const char* name;
  int checkpoint_mode;  // of SQLite, -1: none
  int commits_before;   // of the checkpoint; each changes every page of the table
  int commits_after;
};

class SqliteViewInterleaving : public testing::TestWithParam<Interference> {
 protected:
  // A table of several pages with one value in all its rows, which stands in the WAL alone; that
  // before it is 0.
  void MakeDatabaseWithCommitInWal() {
    Application application(path_);
    application.Run("PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0");
    application.Run("PRAGMA synchronous=OFF");
    application.Run("CREATE TABLE bank(id INTEGER PRIMARY KEY, value INTEGER, filling TEXT)");
    application.Run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 12) "
        "INSERT INTO bank SELECT i, 0, hex(zeroblob(150)) FROM n");
    application.Run("PRAGMA wal_checkpoint(TRUNCATE)");
  }

  static void Commit(Application& application) {
    application.Run("UPDATE bank SET value = value + 1");
  }

  void Interfere(Application& application) {
    for (int i = 0; i < GetParam().commits_before; ++i) {
      Commit(application);
    }
    if (GetParam().checkpoint_mode >= 0) {
      sqlite3_wal_checkpoint_v2(application.handle(), nullptr, GetParam().checkpoint_mode, nullptr,
                                nullptr);
    }
    for (int i = 0; i < GetParam().commits_after; ++i) {
      Commit(application);
    }
  }

  std::string CopyOf(const SqliteView& view) {
    std::string image(view.size_bytes(), '\0');
    EXPECT_THAT(view.Read(0, std::as_writable_bytes(std::span(image))), IsOk());
    EXPECT_THAT(view.Verify(), IsOk());
    return image;
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  const std::string copy_ = scratch_.Under("copy.db");
};

// A checkpoint that knows a newer commit than the view leaves out pages that the newer one changed,
// and yet counts the older frames of them as backfilled. Read too late, that number made a mixture.
TEST_P(SqliteViewInterleaving, ViewIsOneStateWhereverOthersComeBetween) {
  int barriers = 1;
  for (int at = 1; at <= barriers; ++at) {
    ASSERT_LT(at, kBarriersMax);
    SCOPED_TRACE("at barrier " + std::to_string(at));
    std::filesystem::remove(path_);
    MakeDatabaseWithCommitInWal();
    Application application(path_, 0);
    application.Run("PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF");
    Commit(application);
    barriers = 0;
    const auto view = [&] {
      const SqliteBarrierHook hook([&] {
        if (++barriers == at) {
          Interfere(application);
        }
      });
      return SqliteView::Open(path_, {});
    }();
    ASSERT_THAT(view, IsOk());
    Interfere(application);

    const std::string image = CopyOf(*view);

    std::ofstream(copy_, std::ios::binary).write(image.data(), std::ssize(image));
    Application copied(copy_);
    EXPECT_EQ(copied.Ask("PRAGMA integrity_check"), "ok");
    EXPECT_EQ(copied.Ask("SELECT count(DISTINCT value) FROM bank"), "1");
    EXPECT_GE(copied.Ask("SELECT max(value) FROM bank"), "1");
  }
  EXPECT_GT(barriers, 4) << "nothing was interfered with";
}

INSTANTIATE_TEST_SUITE_P(
    Others, SqliteViewInterleaving,
    testing::Values(Interference{"Commit", -1, 1, 0},
                    Interference{"CommitAndCheckpoint", SQLITE_CHECKPOINT_PASSIVE, 1, 0},
                    Interference{"Checkpoint", SQLITE_CHECKPOINT_PASSIVE, 0, 0},
                    Interference{"CheckpointAndCommit", SQLITE_CHECKPOINT_PASSIVE, 0, 1},
                    Interference{"RestartOfTheWal", SQLITE_CHECKPOINT_RESTART, 1, 1},
                    Interference{"TruncationOfTheWal", SQLITE_CHECKPOINT_TRUNCATE, 1, 2}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace capstan::writers
