// A full backup of a real cluster that goes on with what an interrupted one has copied: what comes
// out is started with stock PostgreSQL and checked by its own tools.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "server/writers/byte_ranges.h"
#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/postgres_writer.h"
#include "tests/support/cluster_copy.h"
#include "tests/support/cluster_load.h"
#include "tests/support/cluster_restore.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/status_matchers.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

using test::ClusterLoad;
using test::ClusterSet;
using test::CopyOptions;
using test::HasCode;
using test::IsOk;
using test::PostgresCluster;

namespace fs = std::filesystem;

using Frames = std::vector<std::pair<Extent, std::vector<std::byte>>>;
constexpr std::uint32_t kPageBytes = 8192;

// A backup that has gone on.
struct Restarted {
  std::vector<bool> kept;  // of each frame that was offered
  std::size_t kept_count = 0;
  Frames read;     // what came, the tail among it
  ClusterSet set;  // both
};

class PostgresRestartedBackup : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!PostgresCluster::Available()) {
      return;
    }
    auto made = PostgresCluster::Create({.settings = {"max_wal_size = 64MB", "autovacuum = off"},
                                         .parent = fs::is_directory("/dev/shm") ? "/dev/shm" : ""});
    ASSERT_THAT(made, IsOk());
    cluster_ = std::move(made).value().release();
    ASSERT_THAT(cluster_->AddTablespace("fast"), IsOk());
    ASSERT_THAT(cluster_->Sql("CREATE DATABASE shop"), IsOk());
    ASSERT_THAT(cluster_->Run("pgbench", {"-i", "-q", "-s", "2", "shop"}), IsOk());
    ASSERT_THAT(
        cluster_->Sql("CREATE EXTENSION amcheck; CREATE TABLE notes (a text) TABLESPACE fast; "
                      "INSERT INTO notes SELECT repeat('n', 900) FROM generate_series(1, 2000);"
                      "CREATE TABLE cold AS SELECT i, repeat('c', 500) AS b FROM "
                      "generate_series(1, 20000) i; CREATE INDEX ON cold (i); "
                      "CREATE TABLE shrinking AS SELECT i FROM generate_series(1, 20000) i; "
                      "CREATE TABLE growing AS SELECT i FROM generate_series(1, 20000) i; "
                      "CREATE TABLE going AS SELECT i FROM generate_series(1, 20000) i",
                      "shop"),
        IsOk());
    ASSERT_THAT(cluster_->Sql("VACUUM FREEZE", "shop"), IsOk());
    ASSERT_THAT(cluster_->Sql("CHECKPOINT"), IsOk());
  }
  static void TearDownTestSuite() { delete cluster_; }
  void SetUp() override {
    if (!PostgresCluster::Available()) {
      GTEST_SKIP() << "PostgreSQL 15 is not installed";
    }
    ASSERT_NE(cluster_, nullptr);
  }

  Result<std::unique_ptr<BackupSession>> Begin() {
    return writer_.BeginBackup(cluster_->conninfo(), "shop",
                               {.on_page_error = [this](const PageError& error) {
                                 const std::lock_guard<std::mutex> lock(mutex_);
                                 page_errors_.push_back(error);
                                 return OkStatus();
                               }});
  }
  // What an interrupted backup had copied when it was nearly done.
  Frames Copy(const CopyOptions& options = {}) {
    auto session = writer_.BeginBackup(cluster_->conninfo(), "shop", {});
    EXPECT_THAT(session, IsOk());
    auto set = test::ReadCluster(**session, options);
    EXPECT_THAT(set, IsOk());
    log_index_ = static_cast<std::uint32_t>(set->description.files.size() - 1);
    return std::move(set->extents);
  }

  // Offers the frames from several threads, in any order, and reads the rest.
  Result<Restarted> GoOn(BackupSession& session, const Frames& frames,
                         const CopyOptions& options = {}) {
    Restarted restarted;
    restarted.kept.resize(frames.size());
    std::mutex mutex;
    Status failure;
    std::atomic<std::size_t> next = 0;
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
          for (std::size_t k = next++; k < frames.size(); k = next++) {
            const auto kept = session.Keeps(frames[k].first, frames[k].second);
            const std::lock_guard<std::mutex> lock(mutex);
            if (!kept.ok()) {
              failure = kept.status();
            }
            restarted.kept[k] = kept.ok() && *kept;
          }
        });
      }
    }
    CAPSTAN_RETURN_IF_ERROR(failure);
    CAPSTAN_ASSIGN_OR_RETURN(restarted.set, test::ReadCluster(session, options));
    restarted.read = restarted.set.extents;
    for (std::size_t k = 0; k < frames.size(); ++k) {
      if (restarted.kept[k]) {
        restarted.set.extents.push_back(frames[k]);
        ++restarted.kept_count;
      }
    }
    ExpectOneOfEverything(frames, restarted);
    return restarted;
  }
  Result<Restarted> GoOn(const Frames& frames, const CopyOptions& options = {}) {
    CAPSTAN_ASSIGN_OR_RETURN(auto session, Begin());
    return GoOn(*session, frames, options);
  }

  // The set is one that a backup could have made by itself: each byte of each file once, in bundles
  // that each have a place of their own.
  static void ExpectOneOfEverything(const Frames& offered, const Restarted& restarted) {
    const ClusterSet& set = restarted.set;
    std::vector<ByteRanges> bundles(set.description.files.size());
    std::map<std::pair<std::uint32_t, std::string>, ByteRanges> files;
    for (const auto& [extent, bytes] : set.extents) {
      EXPECT_TRUE(bundles[extent.file_index].Add({extent.offset, extent.offset + extent.length}));
      EXPECT_LE(extent.offset + extent.length, set.description.files[extent.file_index].size_bytes);
      const auto parts = DecodeBundle(bytes);
      ASSERT_THAT(parts, IsOk());
      for (const BundlePart& part : *parts) {
        const BundleEntry& entry = part.entry;
        const std::uint32_t place =
            extent.file_index + 1 == set.description.files.size() ? 0 : extent.file_index;
        ByteRanges& ranges = files[{place, entry.path}];
        EXPECT_TRUE(entry.length == 0 || ranges.Add({entry.offset, entry.offset + entry.length}))
            << entry.path << " " << entry.offset;
      }
    }
    for (const auto& [extent, bytes] : restarted.read) {
      for (const auto& frame : offered) {
        EXPECT_TRUE(frame.first.file_index != extent.file_index ||
                    frame.first.offset + frame.first.length <= extent.offset)
            << "new bundles lie behind all that were offered";
      }
    }
    const auto manifest = test::ManifestOf(set);
    ASSERT_THAT(manifest, IsOk());
    for (const ClusterManifest::File& file : manifest->files) {
      ASSERT_TRUE(files.contains({file.place, file.path})) << file.path;
      const ByteRanges& ranges = files[{file.place, file.path}];
      EXPECT_EQ(ranges.CountIn({0, file.size_bytes}), file.size_bytes) << file.path;
    }
  }

  // By the writer, and started.
  Result<std::unique_ptr<PostgresCluster>> Restore(const Restarted& restarted) {
    const std::string folder = fmt::format("{}/copy{}", cluster_->folder(), copy_number_++);
    std::vector<RestoreTarget> targets;
    for (const DatabaseFile& file : restarted.set.description.files) {
      targets.push_back(
          {.file = file, .physical_name = fmt::format("{}_{}", folder, file.file_id)});
    }
    targets.front().physical_name = folder;
    targets.back().physical_name = folder + "/pg_wal";
    CAPSTAN_RETURN_IF_ERROR(
        test::RestoreSet(writer_, {.set = restarted.set}, targets, {}).status());
    CAPSTAN_ASSIGN_OR_RETURN(auto copy, PostgresCluster::Adopt(folder));
    CAPSTAN_RETURN_IF_ERROR(copy->Start());
    return copy;
  }
  static void ExpectSound(PostgresCluster& copy) {
    EXPECT_THAT(copy.Run("pg_amcheck", {"--database=shop", "--no-dependent-toast"}), IsOk());
    // What pgbench's transactions keep equal.
    const auto sums = copy.Sql(
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM "
        "pgbench_branches) AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) "
        "FROM pgbench_branches) AND (SELECT coalesce(sum(delta), 0) FROM pgbench_history) = "
        "(SELECT sum(bbalance) FROM pgbench_branches)",
        "shop");
    ASSERT_THAT(sums, IsOk());
    EXPECT_EQ(*sums, "t");
    EXPECT_EQ(copy.Sql("SELECT count(*) FROM cold", "shop").value(), "20000");
    EXPECT_THAT(copy.Stop(), IsOk());
    const auto checked = copy.Run("pg_checksums", {"-D", copy.data_directory()});
    ASSERT_THAT(checked, IsOk());
    EXPECT_NE(checked->find("Bad checksums:  0"), std::string::npos) << *checked;
  }

  static std::string PathOf(const std::string& table) {
    return cluster_->Sql(fmt::format("SELECT pg_relation_filepath('{}')", table), "shop").value();
  }
  static std::set<std::string> PathsOf(const Frames& frames) {
    std::set<std::string> paths;
    for (const auto& [extent, bytes] : frames) {
      const auto parts = DecodeBundle(bytes);
      for (const BundlePart& part : *parts) {
        paths.insert(part.entry.path);
      }
    }
    return paths;
  }

  static inline PostgresCluster* cluster_ = nullptr;
  static inline int copy_number_ = 0;
  PostgresWriter writer_;
  std::mutex mutex_;
  std::vector<PageError> page_errors_;
  std::uint32_t log_index_ = 0;
};

TEST_F(PostgresRestartedBackup, ReadsItsTailAloneIfNothingHasChanged) {
  ASSERT_THAT(cluster_->Sql("CHECKPOINT"), IsOk());
  Frames frames = Copy();
  std::shuffle(frames.begin(), frames.end(), std::mt19937(1));

  const auto restarted = GoOn(frames);

  ASSERT_THAT(restarted, IsOk());
  for (std::size_t k = 0; k < frames.size(); ++k) {
    EXPECT_EQ(restarted->kept[k], frames[k].first.file_index != log_index_);
  }
  EXPECT_TRUE(std::ranges::all_of(
      restarted->read, [this](const auto& frame) { return frame.first.file_index == log_index_; }));
  EXPECT_TRUE(page_errors_.empty());
  auto copy = Restore(*restarted);
  ASSERT_THAT(copy, IsOk());
  ExpectSound(**copy);
}

// Interrupted, then work, then gone on with amid work; in frames of two sizes.
TEST_F(PostgresRestartedBackup, AmidWorkIsSound) {
  for (const std::uint32_t extent_bytes_max : {1U << 20, 60'000U}) {
    SCOPED_TRACE(extent_bytes_max);
    auto load = std::make_unique<ClusterLoad>(*cluster_);
    const CopyOptions options{.extent_bytes_max = extent_bytes_max, .shared_volumes = true};
    Frames frames = Copy(options);
    std::shuffle(frames.begin(), frames.end(), std::mt19937(extent_bytes_max));
    frames.resize(frames.size() * 2 / 3);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));  // for the work, not for luck

    const auto restarted = GoOn(frames, options);

    load.reset();
    ASSERT_THAT(restarted, IsOk());
    EXPECT_GT(restarted->kept_count, 0U);
    EXPECT_LT(restarted->kept_count, frames.size());
    EXPECT_TRUE(page_errors_.empty()) << page_errors_[0].file << " " << page_errors_[0].cause;
    auto copy = Restore(*restarted);
    ASSERT_THAT(copy, IsOk());
    ExpectSound(**copy);
  }
}

TEST_F(PostgresRestartedBackup, FollowsFilesThatGrowShrinkGoAndCome) {
  const std::string growing = PathOf("growing");
  const std::string shrinking = PathOf("shrinking");
  const std::string going = PathOf("going");
  ASSERT_THAT(cluster_->Sql("CHECKPOINT"), IsOk());
  const Frames frames = Copy({.extent_bytes_max = 100'000});
  ASSERT_THAT(cluster_->Sql("INSERT INTO growing SELECT generate_series(20001, 40000); "
                            "DELETE FROM shrinking WHERE i > 10; DROP TABLE going; "
                            "CREATE TABLE coming AS SELECT generate_series(1, 777) AS i; "
                            "UPDATE cold SET b = 'changed' WHERE i = 7",
                            "shop"),
              IsOk());
  ASSERT_THAT(cluster_->Sql("VACUUM shrinking", "shop"), IsOk());
  ASSERT_THAT(cluster_->Sql("CHECKPOINT"), IsOk());

  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  // After the session began, and so before or behind what is kept, as it comes.
  ASSERT_THAT(cluster_->Sql("INSERT INTO growing SELECT generate_series(40001, 41000)", "shop"),
              IsOk());
  const auto restarted = GoOn(**session, frames);

  ASSERT_THAT(restarted, IsOk());
  EXPECT_GT(restarted->kept_count, frames.size() / 2);
  const std::set<std::string> read = PathsOf(restarted->read);
  EXPECT_TRUE(read.contains(growing));
  EXPECT_TRUE(read.contains(shrinking));
  EXPECT_TRUE(read.contains(PathOf("coming")));
  EXPECT_FALSE(read.contains(going));
  auto copy = Restore(*restarted);
  ASSERT_THAT(copy, IsOk());
  EXPECT_EQ((*copy)->Sql("SELECT count(*) FROM growing", "shop").value(), "41000");
  EXPECT_EQ((*copy)->Sql("SELECT count(*) FROM shrinking", "shop").value(), "10");
  EXPECT_EQ((*copy)->Sql("SELECT count(*) FROM coming", "shop").value(), "777");
  EXPECT_EQ((*copy)->Sql("SELECT to_regclass('going') IS NULL", "shop").value(), "t");
  EXPECT_EQ((*copy)->Sql("SELECT b FROM cold WHERE i = 7", "shop").value(), "changed");
  ExpectSound(**copy);
}

// What is kept changes before the rest is read: the log of this session has that.
TEST_F(PostgresRestartedBackup, LeavesToItsLogWhatChangesAfterItWasKept) {
  ASSERT_THAT(cluster_->Sql("CREATE TABLE fading AS SELECT i, repeat('f', 500) AS b FROM "
                            "generate_series(1, 5000) i; "
                            "CREATE TABLE fleeting AS SELECT generate_series(1, 20000) AS i; "
                            "CHECKPOINT",
                            "shop"),
              IsOk());
  const Frames frames = Copy();
  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  std::size_t kept_count = 0;
  Restarted restarted;
  restarted.kept.resize(frames.size());
  for (std::size_t k = 0; k < frames.size(); ++k) {
    restarted.kept[k] = (*session)->Keeps(frames[k].first, frames[k].second).value();
    kept_count += restarted.kept[k] ? 1 : 0;
  }
  ASSERT_GT(kept_count, frames.size() / 2);
  ASSERT_THAT(cluster_->Sql("UPDATE cold SET b = 'later' WHERE i % 100 = 0; "
                            "DELETE FROM fading WHERE i > 100; DROP TABLE fleeting; "
                            "INSERT INTO growing SELECT generate_series(1, 5000)",
                            "shop"),
              IsOk());
  ASSERT_THAT(cluster_->Sql("VACUUM fading", "shop"), IsOk());
  ASSERT_THAT(cluster_->Sql("CHECKPOINT"), IsOk());
  const std::string count = "SELECT count(*) FROM growing";
  const std::string grown = cluster_->Sql(count, "shop").value();

  auto set = test::ReadCluster(**session);

  ASSERT_THAT(set, IsOk());
  restarted.set = *std::move(set);
  restarted.read = restarted.set.extents;
  for (std::size_t k = 0; k < frames.size(); ++k) {
    if (restarted.kept[k]) {
      restarted.set.extents.push_back(frames[k]);
    }
  }
  ExpectOneOfEverything(frames, restarted);
  auto copy = Restore(restarted);
  ASSERT_THAT(copy, IsOk());
  EXPECT_EQ((*copy)->Sql("SELECT count(*) FROM cold WHERE b = 'later'", "shop").value(), "200");
  EXPECT_EQ((*copy)->Sql("SELECT count(*) FROM fading", "shop").value(), "100");
  EXPECT_EQ((*copy)->Sql("SELECT to_regclass('fleeting') IS NULL", "shop").value(), "t");
  EXPECT_EQ((*copy)->Sql(count, "shop").value(), grown);
  ExpectSound(**copy);
}

TEST_F(PostgresRestartedBackup, TellsOnceOfADamagedPage) {
  const std::string path = cluster_->data_directory() + "/" + PathOf("cold");
  ASSERT_THAT(cluster_->Sql("CHECKPOINT"), IsOk());
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  char good = 0;
  constexpr off_t kPlace = 5 * kPageBytes + 4000;
  ASSERT_EQ(::pread(fd.get(), &good, 1, kPlace), 1);
  const char bad = static_cast<char>(good ^ 0x10);
  ASSERT_EQ(::pwrite(fd.get(), &bad, 1, kPlace), 1);
  const Frames frames = Copy();

  const auto restarted = GoOn(frames);

  ASSERT_EQ(::pwrite(fd.get(), &good, 1, kPlace), 1);
  ASSERT_THAT(restarted, IsOk());
  ASSERT_EQ(page_errors_.size(), 1U);
  EXPECT_EQ(page_errors_[0].file, path);
  EXPECT_EQ(page_errors_[0].page, 5U);
  EXPECT_TRUE(PathsOf(restarted->read).contains(PathOf("cold"))) << "it was read to be judged";
  EXPECT_GT(restarted->kept_count, frames.size() / 2);
}

TEST_F(PostgresRestartedBackup, KeepsNothingTwiceAndNothingThatIsNoBundle) {
  const Frames frames = Copy();
  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  Frames offered = frames;
  std::uint64_t end = 0;
  for (const auto& [extent, bytes] : frames) {
    end = extent.file_index == 0 ? std::max(end, extent.offset + extent.length) : end;
  }
  for (std::size_t k = 0; k < frames.size(); k += 3) {
    offered.push_back(frames[k]);  // again, in the same place and in another one
    offered.push_back(frames[k]);
    offered.back().first.offset = end;
    end += frames[k].second.size();
    offered.back().first.file_index = 0;
    std::vector<std::byte> noise(1000 + k);
    std::ranges::generate(noise, [random = std::minstd_rand(7)]() mutable {
      return static_cast<std::byte>(random());
    });
    offered.push_back({{.offset = end, .length = static_cast<std::uint32_t>(noise.size())}, noise});
    end += noise.size();
  }
  offered.push_back({{.offset = ~std::uint64_t{0}, .length = 1}, {std::byte{1}}});
  offered.push_back({{.file_index = 9, .offset = 0, .length = 1}, {std::byte{1}}});

  // The last two are of nothing that comes.
  const auto restarted = GoOn(**session, Frames(offered.begin(), offered.end() - 2));

  ASSERT_THAT(restarted, IsOk());
  EXPECT_GT(restarted->kept_count, frames.size() / 2);
  EXPECT_LE(restarted->kept_count, frames.size());
  session = Begin();
  ASSERT_THAT(session, IsOk());
  for (std::size_t k = offered.size() - 2; k < offered.size(); ++k) {
    EXPECT_FALSE((*session)->Keeps(offered[k].first, offered[k].second).value());
  }
  const auto first = (*session)->NextExtent(0, 1 << 20);
  ASSERT_THAT(first, IsOk());
  EXPECT_EQ((*first)->offset, 0U);
}

TEST_F(PostgresRestartedBackup, KeepsNothingOnceItReadsOrIfItIsDifferential) {
  auto taken = test::TakeSet(writer_, cluster_->conninfo(), {});
  ASSERT_THAT(taken, IsOk());
  const auto& [extent, bytes] = taken->set.extents.front();
  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->NextExtent(0, 1 << 20), IsOk());
  EXPECT_THAT((*session)->Keeps(extent, bytes), HasCode(Code::kFailedPrecondition));
  session->reset();
  EXPECT_EQ(writer_.info().state, WriterState::kFailed);

  auto differential =
      writer_.BeginBackup(cluster_->conninfo(), "shop",
                          {.kind = BackupKind::kDifferential,
                           .base = DifferentialBase{.backup_set_guid = Guid::Random(),
                                                    .lsns = taken->set.lsns,
                                                    .writer_data = taken->set.writer_data}});
  ASSERT_THAT(differential, IsOk());
  EXPECT_FALSE((*differential)->Keeps(extent, bytes).value());
}

// The last, since the cluster has one more then. What was the log's place is a tablespace's.
TEST_F(PostgresRestartedBackup, OfAClusterThatHasAnotherTablespace) {
  const Frames frames = Copy();
  const std::string notes = PathOf("notes");
  ASSERT_THAT(cluster_->AddTablespace("other"), IsOk());
  ASSERT_THAT(cluster_->Sql("ALTER TABLE notes SET TABLESPACE other", "shop"), IsOk());
  ASSERT_THAT(cluster_->Sql("CHECKPOINT"), IsOk());

  const auto restarted = GoOn(frames);

  ASSERT_THAT(restarted, IsOk());
  EXPECT_EQ(restarted->set.description.files.size(), 4U);
  EXPECT_GT(restarted->kept_count, frames.size() / 2);
  for (std::size_t k = 0; k < frames.size(); ++k) {
    EXPECT_FALSE(restarted->kept[k] && frames[k].first.file_index == log_index_);
  }
  auto copy = Restore(*restarted);
  ASSERT_THAT(copy, IsOk());
  EXPECT_EQ((*copy)->Sql("SELECT count(*) > 0 FROM notes", "shop").value(), "t");
  ExpectSound(**copy);
}

}  // namespace
}  // namespace capstan::writers
