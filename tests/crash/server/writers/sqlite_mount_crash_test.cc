// A mount is killed at each of its crash points, on its way forward and on its way back, over an
// old database that is usable and over a wreck. After DiscardRestore, which the next start of the
// server does, the old database or the new one must be there, whole, with nothing of the other
// beside it. What this cannot show: the order in which a power cut loses what was not synced.
#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/snapshot_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

constexpr int kOldRows = 30;
constexpr int kNewRows = 100;

struct Case {
  const char* point;
  bool forward;  // to Commit, otherwise to PutBack
  bool wreck;    // the old database cannot be read, and has a WAL
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.point << (c.forward ? " of a commit" : " of a return")
       << (c.wreck ? " over a wreck" : "");
}

class SqliteMountCrash : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    MakeDatabase(source_, "WAL", kNewRows);
    SqliteWriter writer;
    auto snapshot = SnapshotFiles::Take(writer, source_);
    ASSERT_THAT(snapshot, IsOk());
    snapshot_ = *std::move(snapshot);
    RunInChild([&] {
      MakeDatabase(path_, "WAL", kOldRows);
      Application(path_).Run("SELECT 1");
      return 0;
    });
    if (GetParam().wreck) {
      WriteWhole(path_, std::string(20000, 'x'));
      WriteWhole(path_ + "-wal", "what the wreck had in its WAL");
    }
  }
  // 1000 + SIGKILL if the point was reached.
  int MountInChild() {
    return RunInChild([&] {
      ::setenv("CAPSTAN_CRASH_AT", (std::string("sqlite.mount.") + GetParam().point).c_str(), 1);
      SqliteWriter writer;
      auto session = writer.BeginMount(
          snapshot_.TargetsAt(path_),
          {.replace = true, .job_name = "job-1", .lock_deadline = Deadline::Now()});
      if (!session.ok()) {
        return 1;
      }
      snapshot_.PlaceAt(path_);
      return (GetParam().forward ? (*session)->Commit() : (*session)->PutBack().status()).ok() ? 0
                                                                                               : 2;
    });
  }

  TemporaryDirectory scratch_;
  const std::string source_ = scratch_.Under("source.db");
  const std::string path_ = scratch_.Under("target.db");
  SnapshotFiles snapshot_;
};

TEST_P(SqliteMountCrash, LeavesOldOrNewDatabaseAfterDiscard) {
  ASSERT_EQ(MountInChild(), 1000 + SIGKILL) << "the crash point was not reached";
  SqliteWriter writer;

  EXPECT_THAT(writer.DiscardRestore(path_, "job-1"), IsOk());
  EXPECT_THAT(writer.DiscardRestore(path_, "job-1"), IsOk()) << "idempotent";

  for (const std::string& leaf : scratch_.Leaves()) {
    EXPECT_EQ(leaf.find("capstan"), std::string::npos) << leaf;
  }
  const bool committed = std::string(GetParam().point) == "old_removed";
  if (GetParam().wreck && !committed) {
    EXPECT_EQ(ReadWhole(path_), std::string(20000, 'x'));
    EXPECT_EQ(ReadWhole(path_ + "-wal"), "what the wreck had in its WAL");
    return;
  }
  EXPECT_EQ(FaultOf(path_), "");
  EXPECT_EQ(Application(path_).Ask("SELECT count(*) FROM t"),
            std::to_string(committed ? kNewRows : kOldRows));
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (const bool wreck : {false, true}) {
    for (const char* point : {"cleared", "checked", "old_removed"}) {
      cases.push_back({point, true, wreck});
    }
    for (const char* point : {"placed_removed", "returning"}) {
      cases.push_back({point, false, wreck});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Everywhere, SqliteMountCrash, testing::ValuesIn(AllCases()));

}  // namespace
}  // namespace capstan::writers
