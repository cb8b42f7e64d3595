// The files of a snapshot come back: over nothing, over an old database, and not at all.

#include <gmock/gmock.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/snapshot_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using test::Application;
using test::HasCode;
using test::HasReason;
using test::IsOk;
using test::MessageHas;
using test::SnapshotFiles;
using testing::ElementsAre;
using testing::HasSubstr;

class MountSessionTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string source = directory_.Under("source.db");
    test::MakeDatabase(source, GetParam(), 100);
    Application application(source);
    application.Run("PRAGMA wal_autocheckpoint=0");
    test::InsertRows(application, 101, 50);  // in WAL mode they are in the WAL alone
    auto snapshot = SnapshotFiles::Take(writer_, source);
    ASSERT_THAT(snapshot, IsOk());
    snapshot_ = *std::move(snapshot);
  }
  bool wal() const { return snapshot_.files.size() == 2; }
  // A database that is to be replaced, with rows of its own in its WAL.
  void MakeOld() {
    test::RunInChild([&] {
      test::MakeDatabase(path_, "WAL", 3);
      ::_exit(0);
      return 0;
    });
  }
  Result<std::unique_ptr<MountSession>> Begin(bool replace) {
    return writer_.BeginMount(snapshot_.TargetsAt(path_),
                              {.replace = replace,
                               .job_name = "job-1",
                               .lock_deadline = Deadline::After(std::chrono::milliseconds(50))});
  }
  std::string RowsAtTarget() { return Application(path_).Ask("SELECT count(*) FROM t"); }
  // Nothing but these is in the folder beside the source.
  std::vector<std::string> Names() {
    std::vector<std::string> names = directory_.Leaves();
    std::erase_if(names, [](const std::string& name) { return name.starts_with("source.db"); });
    return names;
  }

  test::TemporaryDirectory directory_;
  const std::string path_ = directory_.Under("target.db");
  SqliteWriter writer_;
  SnapshotFiles snapshot_;
};
INSTANTIATE_TEST_SUITE_P(JournalModes, MountSessionTest, testing::Values("WAL", "DELETE"));

TEST_P(MountSessionTest, RecoversWhatWasPlacedWhereNothingWas) {
  auto session = Begin(/*replace=*/false);
  ASSERT_THAT(session, IsOk());
  snapshot_.PlaceAt(path_);

  ASSERT_THAT((*session)->Commit(), IsOk());

  EXPECT_THAT(Names(), ElementsAre("target.db")) << "the WAL is in the database now";
  EXPECT_EQ(test::FaultOf(path_), "");
  EXPECT_EQ(RowsAtTarget(), "150");
  EXPECT_EQ(writer_.info().state, WriterState::kStable);
  EXPECT_THAT((*session)->Commit(), HasCode(Code::kFailedPrecondition));
}

TEST_P(MountSessionTest, ReplacesAnOldDatabaseOnlyWhenAsked) {
  MakeOld();
  EXPECT_THAT(Begin(/*replace=*/false), HasReason(3156));
  EXPECT_EQ(RowsAtTarget(), "3");

  auto session = Begin(/*replace=*/true);
  ASSERT_THAT(session, IsOk());
  EXPECT_FALSE(std::filesystem::exists(path_)) << "the place is free for the client";
  snapshot_.PlaceAt(path_);
  ASSERT_THAT((*session)->Commit(), IsOk());
  session->reset();

  EXPECT_THAT(Names(), ElementsAre("target.db"));
  EXPECT_EQ(RowsAtTarget(), "150");
}

TEST_P(MountSessionTest, RefusesAnOldDatabaseThatIsInUse) {
  MakeOld();
  Application user(path_);
  user.Run("SELECT count(*) FROM t");

  EXPECT_THAT(Begin(/*replace=*/true), HasReason(3101));

  EXPECT_EQ(user.TryRun("INSERT INTO t VALUES (4, '', 10)"), SQLITE_OK);
  EXPECT_THAT(Names(), testing::Each(testing::Not(HasSubstr("capstan"))));
}

TEST_P(MountSessionTest, PutsTheOldDatabaseBackWhenGivenUp) {
  MakeOld();
  {
    auto session = Begin(/*replace=*/true);
    ASSERT_THAT(session, IsOk());
    snapshot_.PlaceAt(path_);
    const auto said = (*session)->PutBack();
    ASSERT_THAT(said, IsOk());
    EXPECT_THAT(*said, HasSubstr("is there again"));
  }
  EXPECT_THAT(Names(), ElementsAre("target.db"));
  EXPECT_EQ(RowsAtTarget(), "3");
}

TEST_P(MountSessionTest, LeavesWhatTheClientPlacedWhereNothingWas) {
  auto session = Begin(/*replace=*/false);
  ASSERT_THAT(session, IsOk());
  snapshot_.PlaceAt(path_);

  const auto said = (*session)->PutBack();

  ASSERT_THAT(said, IsOk());
  EXPECT_THAT(*said, HasSubstr("is still there"));
  EXPECT_TRUE(std::filesystem::exists(path_));
}

// Each is refused with its reason, and the old database is back afterwards.
TEST_P(MountSessionTest, RefusesFilesThatAreNotThoseOfTheSnapshot) {
  struct Fault {
    const char* what;
    std::function<void()> make;
    bool wal_only = false;
  };
  const std::string log = path_ + "-wal";
  const auto flip = [](const std::string& path, std::size_t at) {
    std::string bytes = test::ReadWhole(path);
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    test::WriteWhole(path, bytes);
  };
  const std::vector<Fault> faults = {
      {"nothing was placed", [&] { std::filesystem::remove(path_); }},
      {"bytes instead of", [&] { std::filesystem::resize_file(path_, 4096); }},
      {"its header or its pages are others", [&] { flip(path_, 27); }},
      {"its header or its pages are others", [&] { flip(path_, snapshot_.bytes[0].size() - 1); }},
      {"not a regular file",
       [&] {
         std::filesystem::remove(path_);
         std::filesystem::create_directory(path_);
       }},
      {"the snapshot has no such file", [&] { test::WriteWhole(path_ + "-journal", "journal"); }},
      {"nothing was placed", [&] { std::filesystem::remove(log); }, true},
      {"bytes instead of", [&] { std::filesystem::resize_file(log, 5000); }, true},
      {"its header or its last frame", [&] { flip(log, 16); }, true},
      {"its WAL is damaged before frame", [&] { flip(log, 200); }, true},
  };
  MakeOld();
  for (const Fault& fault : faults) {
    if (fault.wal_only && !wal()) {
      continue;
    }
    SCOPED_TRACE(fault.what);
    auto session = Begin(/*replace=*/true);
    ASSERT_THAT(session, IsOk());
    snapshot_.PlaceAt(path_);
    fault.make();

    EXPECT_THAT((*session)->Commit(), MessageHas(fault.what));
    EXPECT_EQ(writer_.info().state, WriterState::kFailed);
    if (std::filesystem::is_directory(path_)) {
      std::filesystem::remove(path_);
    }
    session->reset();

    EXPECT_THAT(Names(), ElementsAre("target.db"));
    EXPECT_EQ(RowsAtTarget(), "3");
  }
}

TEST_P(MountSessionTest, KeepsTheOldDatabaseAsideWhileSomebodyUsesWhatWasPlaced) {
  MakeOld();
  auto session = Begin(/*replace=*/true);
  ASSERT_THAT(session, IsOk());
  snapshot_.PlaceAt(path_);
  {
    Application user(path_);
    user.Run("BEGIN IMMEDIATE");

    const auto said = (*session)->PutBack();

    EXPECT_THAT(said, HasReason(3101));
    EXPECT_THAT(std::string(said.status().hint()), HasSubstr("capstan-aside-database"));
  }
  session->reset();
  EXPECT_THAT(writer_.DiscardRestore(path_, "job-1"), IsOk());
  EXPECT_EQ(RowsAtTarget(), "3");
}

TEST_P(MountSessionTest, PlansTheLogBesideTheDatabase) {
  auto targets = snapshot_.TargetsAt(path_);
  if (!wal()) {
    EXPECT_THAT(writer_.PlanMount(targets), IsOk());
    targets.push_back(targets[0]);
    EXPECT_THAT(writer_.PlanMount(targets), HasCode(Code::kInvalidArgument));
    return;
  }
  targets[1].physical_name.clear();
  const auto planned = writer_.PlanMount(targets);
  ASSERT_THAT(planned, IsOk());
  EXPECT_EQ((*planned)[1].physical_name, path_ + "-wal");

  targets[1].physical_name = directory_.Under("elsewhere");
  EXPECT_THAT(writer_.PlanMount(targets), HasReason(3156));
}

TEST(MountSession, RefusesAMissingFolder) {
  test::TemporaryDirectory directory;
  SqliteWriter writer;
  const RestoreTarget target{.file = {.logical_name = "db", .size_bytes = 4096},
                             .physical_name = directory.Under("no/where.db")};
  EXPECT_THAT(writer.BeginMount({&target, 1}, {.job_name = "j"}), HasReason(65006));
}

}  // namespace
}  // namespace capstan::writers
