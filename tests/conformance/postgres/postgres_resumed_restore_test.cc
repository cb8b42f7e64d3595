// A restore of a real cluster that is interrupted and gone on with (S0-50): each call of a session
// that makes this possible, and each as it fails.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/postgres_set.h"
#include "server/writers/postgres/postgres_writer.h"
#include "server/writers/postgres/restoring_state.h"
#include "tests/support/cluster_restore.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;
using test::kRestoreName;
using test::MessageHas;
using test::PostgresCluster;
using test::TakenSet;
using testing::HasSubstr;
using testing::Not;

namespace fs = std::filesystem;

class PostgresResumedRestore : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!PostgresCluster::Available()) {
      return;
    }
    auto made = PostgresCluster::Create({.parent = fs::is_directory("/dev/shm") ? "/dev/shm" : ""});
    ASSERT_THAT(made, IsOk());
    cluster_ = std::move(made).value().release();
    writer_ = new PostgresWriter();
    ASSERT_THAT(cluster_->AddTablespace("fast"), IsOk());
    ASSERT_THAT(cluster_->Sql("CREATE TABLE t (n int PRIMARY KEY); "
                              "INSERT INTO t SELECT generate_series(1, 100); "
                              "CREATE TABLE big TABLESPACE fast AS SELECT g, repeat('x', 500) AS f "
                              "FROM generate_series(1, 8000) g"),
                IsOk());
    full_ = new TakenSet(Take({.kind = BackupKind::kFull}));
    ASSERT_THAT(cluster_->Sql("INSERT INTO t SELECT generate_series(101, 200)"), IsOk());
    differential_ =
        new TakenSet(Take({.kind = BackupKind::kDifferential,
                           .base = DifferentialBase{.backup_set_guid = Guid::Random(),
                                                    .lsns = full_->set.lsns,
                                                    .writer_data = full_->set.writer_data}}));
    ASSERT_GT(full_->set.extents.size(), 10U);
  }
  static void TearDownTestSuite() {
    delete differential_;
    delete full_;
    delete writer_;
    delete cluster_;
  }
  void SetUp() override {
    if (!PostgresCluster::Available()) {
      GTEST_SKIP() << "PostgreSQL 15 is not installed";
    }
    ASSERT_NE(differential_, nullptr);
    place_ = cluster_->folder() + "/restored";
    fast_ = place_ + "_fast";
    half_ = std::max(full_->set.extents.size() / 2, ExtentOfBig() + 1);
    Clear();
  }
  void TearDown() override {
    if (cluster_ != nullptr) {
      Clear();
    }
  }
  void Clear() const {
    fs::remove_all(place_);
    fs::remove_all(fast_);
    fs::remove_all(fast_ + "_2");
  }

  static TakenSet Take(const BackupOptions& options) {
    auto taken = test::TakeSet(*writer_, cluster_->conninfo(), options);
    EXPECT_THAT(taken, IsOk());
    return taken.ok() ? *std::move(taken) : TakenSet{};
  }
  std::vector<RestoreTarget> Targets() const {
    std::vector<RestoreTarget> targets;
    for (const DatabaseFile& file : full_->set.description.files) {
      targets.push_back({.file = file, .physical_name = place_ + "/pg_wal"});
    }
    targets[0].physical_name = place_;
    targets[1].physical_name = fast_;
    return targets;
  }
  Result<std::unique_ptr<RestoreSession>> Begin(RestoreOptions options = {}) const {
    return writer_->BeginRestore(Targets(), test::OptionsFor(*full_, std::move(options)));
  }
  Result<std::unique_ptr<RestoreSession>> Resume() const { return Begin({.resume = true}); }
  Status Write(RestoreSession& session, std::size_t from, std::size_t to) const {
    for (std::size_t i = from; i < to; ++i) {
      const auto& [extent, bytes] = full_->set.extents[i];
      CAPSTAN_RETURN_IF_ERROR(session.WriteExtent(extent, bytes));
    }
    return OkStatus();
  }
  // What an interruption leaves after a checkpoint of the first half.
  void LeaveHalf(const RestoreOptions& options = {}) const {
    auto session = Begin(options);
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT(Write(**session, 0, half_), IsOk());
    ASSERT_THAT((*session)->Checkpoint(), IsOk());
    EXPECT_TRUE((*session)->Keep());
  }
  // Whether the extent is there as it was backed up.
  static bool IsRight(RestoreSession& session, std::size_t index) {
    const auto& [extent, bytes] = full_->set.extents[index];
    std::vector<std::byte> found(bytes.size(), std::byte{1});
    EXPECT_THAT(session.ReadBack(extent, found), IsOk());
    return found == bytes;
  }
  Status GoOn(std::size_t adopted_count) const {
    CAPSTAN_ASSIGN_OR_RETURN(auto resumed, test::GoOnWithSet(*writer_, *full_, Targets(), {}));
    EXPECT_EQ(resumed.adopted_count, adopted_count);
    return resumed.session->Commit().status();
  }
  // A file of its own that lies in an extent of the first half, whose index it gives.
  static std::string FileOf(std::size_t index) {
    return DecodeBundle(full_->set.extents[index].second).value().front().entry.path;
  }
  // An extent of nothing but bytes of one file in the tablespace.
  static std::size_t ExtentOfBig() {
    for (std::size_t i = 0; i < full_->set.extents.size(); ++i) {
      const auto& [extent, bytes] = full_->set.extents[i];
      if (extent.file_index == 1 && DecodeBundle(bytes).value().size() == 1) {
        return i;
      }
    }
    ADD_FAILURE() << "there is none";
    return 0;
  }
  std::string PathOf(std::size_t index) const {
    const bool fast = full_->set.extents[index].first.file_index == 1;
    return (fast ? fast_ : place_) + "/" + FileOf(index);
  }
  bool IsThere(const std::string& name) const { return fs::exists(place_ + "/" + name); }
  bool NothingIsLeft() const {
    return fs::is_empty(place_) && (!fs::exists(fast_) || fs::is_empty(fast_));
  }

  // The restored cluster is sound, and has nothing of ours in it.
  void ExpectRestored() const {
    for (const auto& entry : fs::recursive_directory_iterator(place_)) {
      EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr("capstan")));
    }
    EXPECT_THAT(cluster_->Run("pg_checksums", {"--check", "-D", place_}), IsOk());
    auto restored = PostgresCluster::Adopt(place_);
    ASSERT_THAT(restored, IsOk());
    ASSERT_THAT((*restored)->Start(), IsOk()) << (*restored)->Log();
    EXPECT_EQ((*restored)
                  ->Sql("SELECT concat_ws(' ', (SELECT count(*) FROM t), (SELECT "
                        "count(*) FROM big))")
                  .value(),
              "100 8000");
    EXPECT_THAT((*restored)->Run("pg_amcheck", {"--install-missing", "-d", "postgres"}), IsOk());
    EXPECT_THAT((*restored)->Stop(), IsOk());
  }

  static PostgresCluster* cluster_;
  static PostgresWriter* writer_;
  static TakenSet* full_;
  static TakenSet* differential_;
  std::string place_;
  std::string fast_;
  std::size_t half_ = 0;
};

PostgresCluster* PostgresResumedRestore::cluster_ = nullptr;
PostgresWriter* PostgresResumedRestore::writer_ = nullptr;
TakenSet* PostgresResumedRestore::full_ = nullptr;
TakenSet* PostgresResumedRestore::differential_ = nullptr;

TEST_F(PostgresResumedRestore, GoesOnWithWhatWasKept) {
  LeaveHalf();
  EXPECT_TRUE(writer_->KeepRestore(place_, kRestoreName).value());
  EXPECT_FALSE(writer_->KeepRestore(fast_, kRestoreName).value()) << "the cluster is at its place";
  EXPECT_FALSE(fs::is_empty(fast_)) << "and stays whole all the same";

  ASSERT_THAT(GoOn(half_), IsOk());

  ExpectRestored();
  EXPECT_FALSE(writer_->KeepRestore(place_, kRestoreName).value());
}

TEST_F(PostgresResumedRestore, GoesOnMoreThanOnce) {
  LeaveHalf();
  for (std::size_t i = half_; i < half_ + 3; ++i) {
    auto session = Resume();
    ASSERT_THAT(session, IsOk());
    EXPECT_TRUE(IsRight(**session, i - 1));
    EXPECT_FALSE(IsRight(**session, i));
    ASSERT_THAT(Write(**session, i, i + 1), IsOk());
    ASSERT_THAT((*session)->Checkpoint(), IsOk());
    EXPECT_TRUE((*session)->Keep());
  }
  ASSERT_THAT(GoOn(half_ + 3), IsOk());
  ExpectRestored();
}

TEST_F(PostgresResumedRestore, IsNoClusterUntilItIsWhole) {
  LeaveHalf();
  EXPECT_TRUE(IsThere("capstan.restoring"));
  EXPECT_FALSE(IsThere("global/pg_control") || IsThere("global/capstan.pg_control"));
  EXPECT_THAT(writer_->Recover(place_, {}), HasReason(3117));
  auto targets = Targets();
  EXPECT_THAT(test::RestoreSet(*writer_, *differential_, targets, {}), HasReason(3117));
  auto adopted = PostgresCluster::Adopt(place_);
  ASSERT_THAT(adopted, IsOk());
  EXPECT_THAT((*adopted)->Start(), Not(IsOk()));
}

TEST_F(PostgresResumedRestore, WhatWasNotAdoptedIsMissing) {
  LeaveHalf();
  auto session = Resume();
  ASSERT_THAT(session, IsOk());
  EXPECT_TRUE(IsRight(**session, 0));
  (*session)->Adopt(full_->set.extents[1].first);  // nobody has looked at it
  ASSERT_THAT(Write(**session, half_, full_->set.extents.size()), IsOk());

  EXPECT_THAT((*session)->Commit(), HasCode(Code::kDataLoss));

  session->reset();
  EXPECT_TRUE(NothingIsLeft()) << "it was not kept";
}

TEST_F(PostgresResumedRestore, MayWriteAgainWhatIsThere) {
  LeaveHalf();
  auto session = Resume();
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT(Write(**session, 0, full_->set.extents.size()), IsOk());
  EXPECT_THAT((*session)->Commit(), IsOk());
  ExpectRestored();
}

TEST_F(PostgresResumedRestore, CanBeKeptAfterACommitThatFailed) {
  {
    auto session = Begin();
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT(Write(**session, 0, half_), IsOk());
    ASSERT_THAT((*session)->Checkpoint(), IsOk());
    EXPECT_THAT((*session)->Commit(), HasCode(Code::kDataLoss));
    EXPECT_TRUE((*session)->Keep());
  }
  ASSERT_THAT(GoOn(half_), IsOk());
  ExpectRestored();
}

// Nothing is believed: what has changed since is found, and restored again.
TEST_F(PostgresResumedRestore, FindsWhatIsNoLongerRight) {
  const std::size_t big = ExtentOfBig();
  const std::uint64_t offset =
      DecodeBundle(full_->set.extents[big].second).value().front().entry.offset;
  struct Case {
    const char* what;
    std::size_t index;
    std::function<void(const std::string& path)> change;
  };
  const std::vector<Case> cases = {
      {"a byte", big,
       [offset](const std::string& path) {
         std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
         file.seekp(static_cast<std::streamoff>(offset) + 1000);
         file.put('?');
       }},
      {"shorter", big, [offset](const std::string& path) { fs::resize_file(path, offset + 1); }},
      {"gone", 0, [](const std::string& path) { fs::remove(path); }},
      {"elsewhere", big,
       [](const std::string& path) {
         fs::rename(path, path + ".moved");
         fs::create_symlink(path + ".moved", path);
       }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    Clear();
    LeaveHalf();
    c.change(PathOf(c.index));
    {
      auto session = Resume();
      ASSERT_THAT(session, IsOk());
      EXPECT_FALSE(IsRight(**session, c.index));
      EXPECT_TRUE(IsRight(**session, 1));
      EXPECT_TRUE((*session)->Keep());
    }
    if (fs::is_symlink(PathOf(c.index))) {
      EXPECT_THAT(GoOn(0), HasReason(65006)) << "no link is written through";
      continue;
    }
    auto resumed = test::GoOnWithSet(*writer_, *full_, Targets(), {});
    ASSERT_THAT(resumed, IsOk());
    EXPECT_LT(resumed->adopted_count, half_);
    EXPECT_GT(resumed->adopted_count, 0U);
    ASSERT_THAT(resumed->session->Commit(), IsOk());
    resumed->session.reset();
    ExpectRestored();
  }
}

TEST_F(PostgresResumedRestore, HasNothingToGoOnWith) {
  EXPECT_THAT(Resume(), HasCode(Code::kNotFound)) << "no folder";
  EXPECT_FALSE(writer_->KeepRestore(place_, kRestoreName).value());
  LeaveHalf();

  RestoreOptions options = test::OptionsFor(*full_, {.resume = true});
  options.job_name = "8";
  EXPECT_THAT(writer_->BeginRestore(Targets(), options), HasCode(Code::kNotFound));
  EXPECT_FALSE(writer_->KeepRestore(place_, "8").value());
  EXPECT_THAT(writer_->DiscardRestore(place_, "8"), IsOk());

  options = test::OptionsFor(*full_, {.resume = true});
  PostgresSet other = DecodePostgresSet(options.writer_data).value();
  other.start_lsn += 1;
  options.writer_data = EncodePostgresSet(other).value();
  EXPECT_THAT(writer_->BeginRestore(Targets(), options), MessageHas("another backup set"));

  std::vector<RestoreTarget> targets = Targets();
  targets[1].physical_name += "_2";
  options = test::OptionsFor(*full_, {.resume = true});
  EXPECT_THAT(writer_->BeginRestore(targets, options), MessageHas("other folders"));
  targets = Targets();
  targets[2].physical_name = fast_ + "_2";
  EXPECT_THAT(writer_->BeginRestore(targets, options), MessageHas("other folders"));

  EXPECT_TRUE(writer_->KeepRestore(place_, kRestoreName).value()) << "all that changed nothing";
  fs::remove(place_ + "/capstan.extents");
  EXPECT_THAT(Resume(), HasCode(Code::kNotFound));
  EXPECT_FALSE(writer_->KeepRestore(place_, kRestoreName).value());
  EXPECT_TRUE(NothingIsLeft());
}

// What was there before it is reused, belongs to what is gone on with, and is given up with that.
TEST_F(PostgresResumedRestore, OfAClusterThatIsReplaced) {
  auto whole = Begin();
  ASSERT_THAT(whole, IsOk());
  ASSERT_THAT(Write(**whole, 0, full_->set.extents.size()), IsOk());
  ASSERT_THAT((*whole)->Commit(), IsOk());
  whole->reset();
  const std::string big = PathOf(ExtentOfBig());
  const auto size = fs::file_size(big);
  fs::resize_file(big, size + 3 * 8192);
  fs::create_directories(place_ + "/base/77777");
  std::ofstream(place_ + "/base/77777/1259") << "of a dropped database";

  LeaveHalf({.replace = true});
  EXPECT_FALSE(IsThere("global/pg_control"));
  ASSERT_THAT(GoOn(half_), IsOk());

  EXPECT_FALSE(IsThere("base/77777"));
  EXPECT_EQ(fs::file_size(big), size);
  ExpectRestored();

  LeaveHalf({.replace = true});
  EXPECT_THAT(writer_->DiscardRestore(place_, "8"), IsOk());
  EXPECT_TRUE(IsThere("base")) << "another job's";
  EXPECT_THAT(writer_->DiscardRestore(place_, kRestoreName), IsOk());
  EXPECT_TRUE(NothingIsLeft());
}

TEST_F(PostgresResumedRestore, AnotherRestoreTakesItsPlace) {
  LeaveHalf();
  {
    RestoreOptions options = test::OptionsFor(*full_, {});
    options.job_name = "8";
    auto session = writer_->BeginRestore(Targets(), options);
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT(Write(**session, 0, 1), IsOk());
    EXPECT_TRUE((*session)->Keep());
  }
  EXPECT_THAT(Resume(), HasCode(Code::kNotFound));
  EXPECT_THAT(writer_->DiscardRestore(place_, kRestoreName), IsOk());
  EXPECT_TRUE(writer_->KeepRestore(place_, "8").value());
  EXPECT_THAT(writer_->AbandonRestore(place_), IsOk());
  EXPECT_TRUE(NothingIsLeft());
}

TEST_F(PostgresResumedRestore, CheckpointsWhileOthersWrite) {
  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  std::atomic<std::size_t> next{0};
  std::atomic<int> running{2};
  const auto write = [&] {
    for (std::size_t i = next++; i < full_->set.extents.size(); i = next++) {
      EXPECT_THAT(Write(**session, i, i + 1), IsOk());
    }
    --running;
  };
  {
    std::jthread first(write);
    std::jthread second(write);
    do {
      EXPECT_THAT((*session)->Checkpoint(), IsOk());
    } while (running > 0);
  }
  EXPECT_TRUE((*session)->Keep());
  session->reset();
  ASSERT_THAT(GoOn(full_->set.extents.size()), IsOk());
  ExpectRestored();
}

TEST_F(PostgresResumedRestore, ACheckpointFailsIfAFileIsGone) {
  const std::size_t big = ExtentOfBig();
  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Checkpoint(), IsOk());
  ASSERT_THAT(Write(**session, big, big + 1), IsOk());
  fs::remove(PathOf(big));
  EXPECT_THAT((*session)->Checkpoint(), HasReason(65006));
}

TEST_F(PostgresResumedRestore, IsNotKeptIfItsMarkCannotBeWritten) {
  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT(Write(**session, 0, 1), IsOk());
  fs::create_directory(place_ + "/capstan.restoring.capstan");
  EXPECT_FALSE((*session)->Keep());
  session->reset();
  EXPECT_TRUE(NothingIsLeft());
}

TEST_F(PostgresResumedRestore, RefusesWhatDoesNotFit) {
  LeaveHalf();
  auto session = Resume();
  ASSERT_THAT(session, IsOk());
  Extent extent = full_->set.extents[0].first;
  std::vector<std::byte> bytes(extent.length - 1);
  EXPECT_THAT((*session)->ReadBack(extent, bytes), HasCode(Code::kInvalidArgument));
  extent.file_index = 3;
  bytes.resize(extent.length);
  EXPECT_THAT((*session)->ReadBack(extent, bytes), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(writer_->KeepRestore(place_, kRestoreName), HasReason(3101)) << "it is under way";
  EXPECT_THAT(Resume(), HasReason(3101));

  fs::resize_file(place_ + "/capstan.extents", 60);
  extent = full_->set.extents[0].first;
  EXPECT_THAT((*session)->ReadBack(extent, bytes), HasCode(Code::kDataLoss));
}

TEST_F(PostgresResumedRestore, OnlyFullBackupsHaveCheckpoints) {
  auto whole = Begin({.end = RestoreEnd::kNoRecovery});
  ASSERT_THAT(whole, IsOk());
  std::vector<std::byte> bytes(full_->set.extents[0].first.length);
  EXPECT_THAT((*whole)->ReadBack(full_->set.extents[0].first, bytes), HasCode(Code::kUnimplemented))
      << "it began anew";
  ASSERT_THAT(Write(**whole, 0, full_->set.extents.size()), IsOk());
  ASSERT_THAT((*whole)->Commit(), IsOk());
  EXPECT_THAT((*whole)->Checkpoint(), HasCode(Code::kFailedPrecondition));
  EXPECT_FALSE((*whole)->Keep());
  EXPECT_FALSE(IsThere("capstan.extents"));
  whole->reset();

  const auto options = test::OptionsFor(*differential_, {.end = RestoreEnd::kNoRecovery});
  auto session = writer_->BeginRestore(Targets(), options);
  ASSERT_THAT(session, IsOk());
  EXPECT_THAT((*session)->Checkpoint(), HasCode(Code::kUnimplemented));
  EXPECT_FALSE((*session)->Keep());
}

}  // namespace
}  // namespace capstan::writers
