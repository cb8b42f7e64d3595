// A full backup of an SQLite database that goes on with what an interrupted one has copied.

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/writers/byte_ranges.h"
#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_chain.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

using Frames = std::vector<std::pair<Extent, std::string>>;

// What comes of a backup that goes on: which bytes were kept, and the image that it makes.
struct Restarted {
  std::size_t kept_count = 0;  // of frames
  std::uint64_t read_bytes = 0;
  std::string image;
};

class SqliteRestartedBackup : public testing::Test {
 protected:
  // What an interrupted backup has copied: the database as it is now, in frames.
  Frames Copy(std::uint32_t length_max = 50000) {
    auto set = TakeSet(writer_, path_, {.commit = false, .length_max = length_max});
    EXPECT_THAT(set, IsOk());
    return set.ok() ? std::move(set->extents) : Frames();
  }
  static Extent ExtentAt(std::uint64_t offset, std::size_t length) {
    return {.file_index = 0, .offset = offset, .length = static_cast<std::uint32_t>(length)};
  }
  static Result<bool> Keeps(BackupSession& session, const Extent& extent,
                            const std::string& bytes) {
    return session.Keeps(extent, std::as_bytes(std::span(bytes)));
  }

  // Every byte of the database is kept or comes, and not both. `there`: what was kept before.
  Result<Restarted> GoOn(BackupSession& session, const Frames& frames, ByteRanges there = {}) {
    Restarted restarted;
    const std::uint64_t size = session.description().files[0].size_bytes;
    restarted.image.assign(size, '\xee');
    constexpr std::uint32_t kLengthMax = 30000;
    for (const auto& [extent, bytes] : frames) {
      CAPSTAN_ASSIGN_OR_RETURN(const bool kept, Keeps(session, extent, bytes));
      if (kept) {
        ++restarted.kept_count;
        restarted.image.replace(extent.offset, bytes.size(), bytes);
        EXPECT_TRUE(there.Add({extent.offset, extent.offset + extent.length}));
      }
    }
    while (true) {
      CAPSTAN_ASSIGN_OR_RETURN(const auto extent, session.NextExtent(0, kLengthMax));
      if (!extent) {
        break;
      }
      EXPECT_LE(extent->length, kLengthMax);
      EXPECT_TRUE(there.Add({extent->offset, extent->offset + extent->length}));
      const auto target = std::as_writable_bytes(std::span(restarted.image));
      CAPSTAN_RETURN_IF_ERROR(
          session.ReadExtent(*extent, target.subspan(extent->offset, extent->length)));
      restarted.read_bytes += extent->length;
    }
    EXPECT_EQ(there.CountIn({0, size}), size);
    CAPSTAN_RETURN_IF_ERROR(session.End());
    return restarted;
  }
  Result<Restarted> GoOn(const Frames& frames, const BackupOptions& options = {}) {
    CAPSTAN_ASSIGN_OR_RETURN(auto session, writer_.BeginBackup(path_, "db", options));
    return GoOn(*session, frames);
  }

  BackupOptions WithChecksum() {
    return {.on_page_error = [this](const PageError& error) {
      bad_pages_.push_back(error.page);
      return OkStatus();
    }};
  }
  // In rollback mode; the page is one that no tree needs to be opened.
  void DamagePage(std::uint32_t page) const {
    std::string bytes = ReadWhole(path_);
    bytes.at((page - 1) * std::size_t{4096}) = '\x55';
    WriteWhole(path_, bytes);
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  SqliteWriter writer_;
  std::vector<std::uint64_t> bad_pages_;
};

TEST_F(SqliteRestartedBackup, KeepsEverythingIfNothingHasChanged) {
  for (const char* mode : {"WAL", "DELETE"}) {
    std::filesystem::remove(path_);
    MakeDatabase(path_, mode, 3000);
    Application application(path_);
    application.Run("PRAGMA wal_autocheckpoint=0");
    InsertRows(application, 3001, 1000);
    Frames frames = Copy();
    std::shuffle(frames.begin(), frames.end(), std::minstd_rand(1));

    const auto restarted = GoOn(frames);

    ASSERT_THAT(restarted, IsOk());
    EXPECT_EQ(restarted->kept_count, frames.size()) << mode;
    EXPECT_EQ(restarted->read_bytes, 0U);
    EXPECT_TRUE(restarted->image == BackUp(writer_, path_).value());
  }
}

// Between the two everything was moved from the WAL into the file, and pages were freed.
TEST_F(SqliteRestartedBackup, ReadsWhatHasChangedAndNothingElse) {
  MakeDatabase(path_, "WAL", 5000);
  Application application(path_);
  application.Run("PRAGMA wal_autocheckpoint=0");
  InsertRows(application, 5001, 1000);
  const Frames frames = Copy();
  application.Run("PRAGMA wal_checkpoint(TRUNCATE)");
  application.Run("UPDATE t SET payload = hex(randomblob(100)) WHERE id IN (1, 2500)");
  application.Run("CREATE TABLE gone AS SELECT * FROM t");
  application.Run("DROP TABLE gone");

  const auto restarted = GoOn(frames);

  ASSERT_THAT(restarted, IsOk());
  EXPECT_GT(restarted->kept_count, frames.size() / 2);
  EXPECT_LT(restarted->kept_count, frames.size());
  EXPECT_TRUE(restarted->image == BackUp(writer_, path_).value());
  WriteWhole(scratch_.Under("copy.db"), restarted->image);
  EXPECT_EQ(FaultOf(scratch_.Under("copy.db")), "");
}

// What was deleted is not in the interrupted backup either, in other pages maybe.
TEST_F(SqliteRestartedBackup, KeepsFreePagesAsZeros) {
  MakeDatabase(path_, "DELETE", 3000);
  Application application(path_);
  application.Run("PRAGMA secure_delete=OFF");
  application.Run("CREATE TABLE gone AS SELECT * FROM t");
  const Frames before = Copy();
  application.Run("DROP TABLE gone");
  const Frames frames = Copy();

  const auto from_before = GoOn(before);
  const auto restarted = GoOn(frames);

  ASSERT_THAT(from_before, IsOk());
  EXPECT_LT(from_before->kept_count, before.size());
  ASSERT_THAT(restarted, IsOk());
  EXPECT_EQ(restarted->kept_count, frames.size());
  EXPECT_TRUE(restarted->image == from_before->image);
}

TEST_F(SqliteRestartedBackup, KeepsAnyStretchOnce) {
  MakeDatabase(path_, "WAL", 1000);
  const std::string image = BackUp(writer_, path_).value();
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  const auto keeps = [&](std::uint64_t offset, std::size_t length) {
    return Keeps(**session, ExtentAt(offset, length), image.substr(offset, length)).value();
  };

  EXPECT_TRUE(keeps(10001, 5000));
  EXPECT_FALSE(keeps(10001, 5000)) << "again";
  EXPECT_FALSE(keeps(10000, 2));
  EXPECT_FALSE(keeps(15000, 10000));
  EXPECT_TRUE(keeps(15001, 1));
  EXPECT_TRUE(keeps(0, 10001));
  EXPECT_TRUE(keeps(image.size() - 7, 7));

  ByteRanges there;
  ASSERT_TRUE(there.Add({0, 15002}) && there.Add({image.size() - 7, image.size()}));
  const auto restarted = GoOn(**session, {}, there);
  ASSERT_THAT(restarted, IsOk());
  EXPECT_EQ(restarted->read_bytes, image.size() - 15002 - 7);
}

TEST_F(SqliteRestartedBackup, KeepsNothingThatTheViewDoesNotHold) {
  MakeDatabase(path_, "WAL", 1000);
  const std::string image = BackUp(writer_, path_).value();
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  std::string changed = image.substr(0, 8192);
  changed.back() ^= 1;
  const std::string beyond = image.substr(image.size() - 4096) + std::string(4096, '\0');

  for (const auto& [extent, bytes] :
       Frames{{ExtentAt(0, 8192), changed},
              {ExtentAt(image.size() - 4096, 8192), beyond},
              {ExtentAt(image.size(), 4096), std::string(4096, '\0')},
              {ExtentAt(~std::uint64_t{0} - 100, 4096), std::string(4096, '\0')},
              {ExtentAt(0, 0), ""},
              {ExtentAt(0, 4096), image.substr(0, 8192)},
              {{.file_index = 1, .offset = 0, .length = 4096}, image.substr(0, 4096)}}) {
    EXPECT_FALSE(Keeps(**session, extent, bytes).value()) << extent.offset;
  }

  const auto restarted = GoOn(**session, {});
  ASSERT_THAT(restarted, IsOk());
  EXPECT_TRUE(restarted->image == image);
}

TEST_F(SqliteRestartedBackup, OfADatabaseThatHasAnotherSize) {
  MakeDatabase(path_, "DELETE", 4000);
  const Frames frames = Copy();
  Application application(path_);
  for (const char* change :
       {"INSERT INTO t SELECT id + 4000, hex(randomblob(100)), 0 FROM t",
        "DELETE FROM t WHERE id > 500", "VACUUM", "PRAGMA page_size=1024", "VACUUM"}) {
    SCOPED_TRACE(change);
    application.Run(change);

    const auto restarted = GoOn(frames);

    ASSERT_THAT(restarted, IsOk());
    EXPECT_TRUE(restarted->image == BackUp(writer_, path_).value());
  }
}

TEST_F(SqliteRestartedBackup, SeveralThreadsMayAskAtOnce) {
  MakeDatabase(path_, "WAL", 20000);
  Frames frames = Copy();
  const std::string image = BackUp(writer_, path_).value();
  for (std::size_t at = 20000; at < image.size(); at += 100000) {  // overlap two of them
    const std::string bytes = image.substr(at, 50000);
    frames.emplace_back(ExtentAt(at, bytes.size()), bytes);
  }
  std::shuffle(frames.begin(), frames.end(), std::minstd_rand(3));
  auto session = writer_.BeginBackup(path_, "db", WithChecksum());
  ASSERT_THAT(session, IsOk());

  std::atomic<std::size_t> next{0};
  std::atomic<int> failures{0};
  std::vector<std::atomic<bool>> kept(frames.size());
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (std::size_t k = next++; k < frames.size(); k = next++) {
          const auto answer = Keeps(**session, frames[k].first, frames[k].second);
          failures += answer.ok() ? 0 : 1;
          kept[k] = answer.ok() && *answer;
        }
      });
    }
  }

  EXPECT_EQ(failures, 0);
  ByteRanges there;
  for (std::size_t k = 0; k < frames.size(); ++k) {
    const Extent& extent = frames[k].first;
    EXPECT_TRUE(!kept[k] || there.Add({extent.offset, extent.offset + extent.length}));
  }
  const auto restarted = GoOn(**session, {}, there);
  ASSERT_THAT(restarted, IsOk());
  EXPECT_EQ(restarted->read_bytes, image.size() - there.CountIn({0, image.size()}));
  EXPECT_TRUE(bad_pages_.empty()) << bad_pages_.front();
}

// Of a frame that is kept as of one that is not.
TEST_F(SqliteRestartedBackup, TellsOfABadPageOnce) {
  MakeDatabase(path_, "DELETE", 3000);
  DamagePage(50);
  Frames frames = Copy(8192);
  ASSERT_THAT(GoOn(frames, WithChecksum()), IsOk());
  EXPECT_EQ(bad_pages_, std::vector<std::uint64_t>{50});

  constexpr std::uint64_t kPage = 49 * 4096;
  for (const std::uint64_t other : {kPage + 1, kPage - 1}) {  // in the page; in its neighbour
    bad_pages_.clear();
    Frames changed = frames;
    for (auto& [extent, bytes] : changed) {
      if (extent.offset <= other && other < extent.offset + extent.length) {
        ASSERT_TRUE(extent.offset <= kPage && kPage < extent.offset + extent.length);
        bytes[other - extent.offset] ^= 1;
      }
    }
    const auto restarted = GoOn(changed, WithChecksum());
    ASSERT_THAT(restarted, IsOk());
    EXPECT_EQ(restarted->kept_count, frames.size() - 1);
    EXPECT_EQ(bad_pages_, std::vector<std::uint64_t>{50}) << other;
  }
}

// Frames that begin and end amid pages, of which some are kept.
TEST_F(SqliteRestartedBackup, ChecksPagesOfWhichAPartIsKept) {
  MakeDatabase(path_, "DELETE", 3000);
  DamagePage(50);
  const std::string image = BackUp(writer_, path_).value();
  Frames frames;
  for (std::size_t at = 0; at < image.size(); at += 5000) {
    if (at % 3 != 0) {
      const std::string bytes = image.substr(at, 5000);
      frames.emplace_back(ExtentAt(at, bytes.size()), bytes);
    }
  }

  const auto restarted = GoOn(frames, WithChecksum());

  ASSERT_THAT(restarted, IsOk());
  EXPECT_EQ(restarted->kept_count, frames.size());
  EXPECT_EQ(bad_pages_, std::vector<std::uint64_t>{50});
}

TEST_F(SqliteRestartedBackup, FailsWithTheErrorOfWhoIsToldOfABadPage) {
  {
    Application application(path_);
    application.Run("PRAGMA auto_vacuum=FULL");
  }
  {
    Application application(path_);
    application.Run("PRAGMA auto_vacuum=FULL");
    application.Run("CREATE TABLE t(id INTEGER PRIMARY KEY, payload TEXT, sum INTEGER)");
    InsertRows(application, 1, 1000);
  }
  DamagePage(2);  // of the pointer map
  const Frames frames = Copy();
  auto session = writer_.BeginBackup(path_, "db", {.on_page_error = [](const PageError&) {
                                       return Error(Code::kDataLoss, "enough");
                                     }});
  ASSERT_THAT(session, IsOk());

  EXPECT_THAT(GoOn(**session, frames), MessageHas("enough"));
  session->reset();
  EXPECT_EQ(writer_.info().state, WriterState::kFailed);
}

TEST_F(SqliteRestartedBackup, FailsIfTheViewCannotBeRead) {
  MakeDatabase(path_, "WAL", 1000);
  Application application(path_);
  application.Run("PRAGMA wal_autocheckpoint=0");
  InsertRows(application, 1001, 1000);
  const Frames frames = Copy();
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  const std::uintmax_t wal_bytes = std::filesystem::file_size(path_ + "-wal");
  {
    std::fstream wal(path_ + "-wal", std::ios::binary | std::ios::in | std::ios::out);
    wal.seekp(static_cast<std::streamoff>(wal_bytes - 2000));
    wal << std::string(100, 'x');
  }

  EXPECT_THAT(GoOn(**session, frames), HasReason(65005));
  session->reset();
  EXPECT_EQ(writer_.info().state, WriterState::kFailed);
}

TEST_F(SqliteRestartedBackup, KeepsNothingOnceItReads) {
  MakeDatabase(path_, "WAL", 1000);
  const Frames frames = Copy();
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->NextExtent(0, 4096), IsOk());

  EXPECT_THAT(Keeps(**session, frames[1].first, frames[1].second),
              HasCode(Code::kFailedPrecondition));
  ASSERT_THAT((*session)->End(), IsOk());
  EXPECT_FALSE(Keeps(**session, frames[1].first, frames[1].second).value());
}

TEST_F(SqliteRestartedBackup, IsFullOrKeepsNothing) {
  SqliteWriter writer(SqliteLogKeeper::Options{.folder = scratch_.Under("data")});
  MakeDatabase(path_, "WAL", 1000);
  const auto full = TakeFull(writer, path_);
  ASSERT_THAT(full, IsOk());
  auto session =
      writer.BeginBackup(path_, "db", {.kind = BackupKind::kDifferential, .base = full->AsBase()});
  ASSERT_THAT(session, IsOk());

  EXPECT_FALSE(Keeps(**session, full->extents[0].first, full->extents[0].second).value());
}

// The hashes of pages that were kept are the base's as well.
TEST_F(SqliteRestartedBackup, IsABaseForDifferentialOnes) {
  SqliteWriter writer(SqliteLogKeeper::Options{.folder = scratch_.Under("data")});
  MakeDatabase(path_, "DELETE", 5000);
  const Frames frames = Copy();
  Application application(path_);
  application.Run("UPDATE t SET payload = hex(randomblob(100)) WHERE id = 4000");
  auto session = writer.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  ChainSet full{.guid = Guid::Random()};
  full.writer_data = (*session)->writer_data();
  full.file = (*session)->description().files[0];
  const auto restarted = GoOn(**session, frames);
  ASSERT_THAT(restarted, IsOk());
  EXPECT_GT(restarted->kept_count, 1U);
  full.lsns = (*session)->lsns();
  full.extents.emplace_back(ExtentAt(0, restarted->image.size()), restarted->image);
  (*session)->Committed();
  session->reset();
  application.Run("UPDATE t SET payload = hex(randomblob(100)) WHERE id = 1000");

  const auto differential = TakeDifferential(writer, path_, full);

  ASSERT_THAT(differential, IsOk());
  EXPECT_LE(differential->bytes(), 4U * 4096);
  const std::string copy = scratch_.Under("copy.db");
  ASSERT_THAT(PutSet(writer, copy, full), IsOk());
  ASSERT_THAT(PutSet(writer, copy, *differential, {.end = RestoreEnd::kRecovery}), IsOk());
  EXPECT_EQ(FaultOf(copy), "");
  const std::string row = "SELECT payload FROM t WHERE id = 1000";
  EXPECT_EQ(Application(copy).Ask(row), application.Ask(row));
}

// An interrupted backup, hours of work, a backup that goes on while the work does, a restore.
TEST_F(SqliteRestartedBackup, RestoresToWhatTheDatabaseWasWhenItBegan) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    std::minstd_rand random(seed);
    const std::string path = scratch_.Under(fmt::format("{}.db", seed));
    MakeDatabase(path, seed % 4 == 0 ? "DELETE" : "WAL", 4000, seed % 2 == 0 ? 1024 : 4096);
    Application application(path);
    application.Run("PRAGMA wal_autocheckpoint=100");
    auto interrupted = writer_.BeginBackup(path, "db", {});
    ASSERT_THAT(interrupted, IsOk());
    Frames frames;
    for (int i = 0; i < 15; ++i) {
      const auto extent = (*interrupted)->NextExtent(0, 40000).value();
      ASSERT_TRUE(extent);
      std::string bytes(extent->length, '?');
      ASSERT_THAT((*interrupted)->ReadExtent(*extent, std::as_writable_bytes(std::span(bytes))),
                  IsOk());
      frames.emplace_back(*extent, bytes);
    }
    interrupted->reset();
    for (int i = 0; i < 3; ++i) {
      application.Run(fmt::format("UPDATE t SET payload = hex(randomblob(100)) WHERE id = {}",
                                  1 + random() % 4000));
    }
    InsertRows(application, 4001, 500);
    const std::string sum = "SELECT group_concat(payload) FROM t";
    const std::string contents = application.Ask(sum);

    auto session = writer_.BeginBackup(path, "db", {});
    ASSERT_THAT(session, IsOk());
    if (seed % 4 != 0) {
      application.Run("UPDATE t SET payload = 'later'");
      application.TryRun("PRAGMA wal_checkpoint");
    }
    const auto restarted = GoOn(**session, frames);
    ASSERT_THAT(restarted, IsOk());
    EXPECT_GT(restarted->kept_count, 5U);
    EXPECT_LT(restarted->kept_count, frames.size());
    session->reset();

    const std::string copy = scratch_.Under("copy.db");
    ASSERT_THAT(Restore(writer_, copy, restarted->image, true), IsOk());
    EXPECT_EQ(FaultOf(copy), "");
    EXPECT_TRUE(Application(copy).Ask(sum) == contents);
  }
}

}  // namespace
}  // namespace capstan::writers
