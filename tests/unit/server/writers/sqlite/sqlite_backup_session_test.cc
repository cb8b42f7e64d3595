#include "server/writers/sqlite/sqlite_backup_session.h"

#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

class SqliteBackup : public testing::Test {
 protected:
  // The reason why `path` cannot be backed up; the test fails if it can.
  std::string RefusalOf(const std::string& path) {
    const auto session = writer_.BeginBackup(path, "db", {.lock_deadline = Deadline::Now()});
    EXPECT_THAT(session, HasReason(65005));
    return std::string(session.status().message());
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  SqliteWriter writer_;
};

TEST_F(SqliteBackup, CopiesFileAndWalOfDatabaseInUse) {
  MakeDatabase(path_, "WAL", 2000);
  Application application(path_);
  InsertRows(application, 2001, 500);

  const auto image = BackUp(writer_, path_);

  ASSERT_THAT(image, IsOk());
  WriteWhole(scratch_.Under("copy.db"), *image);
  EXPECT_EQ(FaultOf(scratch_.Under("copy.db")), "");
  EXPECT_EQ(Application(scratch_.Under("copy.db")).Ask("SELECT count(*) FROM t"), "2500");
}

class SqliteBackupPageSize : public SqliteBackup, public testing::WithParamInterface<int> {};

TEST_P(SqliteBackupPageSize, CopyOfEveryModeIsWhole) {
  for (const char* mode : {"WAL", "DELETE", "TRUNCATE", "PERSIST"}) {
    const std::string path = scratch_.Under(mode);
    MakeDatabase(path, mode, 3000, GetParam());
    Application application(path);
    application.Run("PRAGMA wal_autocheckpoint=0");
    InsertRows(application, 3001, 1000);

    const auto image = BackUp(writer_, path, 100000);

    ASSERT_THAT(image, IsOk());
    WriteWhole(scratch_.Under("copy.db"), *image);
    EXPECT_EQ(FaultOf(scratch_.Under("copy.db")), "") << mode;
    EXPECT_EQ(Application(scratch_.Under("copy.db")).Ask("SELECT count(*) FROM t"), "4000");
  }
}

INSTANTIATE_TEST_SUITE_P(All, SqliteBackupPageSize,
                         testing::Values(512, 1024, 2048, 4096, 8192, 16384, 32768, 65536));

TEST_F(SqliteBackup, ExtentsFollowEachOtherInWholePages) {
  MakeDatabase(path_, "WAL", 500);
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  const std::uint64_t size = (*session)->description().files[0].size_bytes;

  std::uint64_t offset = 0;
  while (true) {
    const auto extent = (*session)->NextExtent(0, 10000);
    ASSERT_THAT(extent, IsOk());
    if (!*extent) {
      break;
    }
    EXPECT_EQ((*extent)->offset, offset);
    EXPECT_EQ((*extent)->length, std::min<std::uint64_t>(8192, size - offset));
    offset += (*extent)->length;
  }
  EXPECT_EQ(offset, size);
}

TEST_F(SqliteBackup, RefusesExtentsThatDoNotFit) {
  MakeDatabase(path_, "WAL", 10);
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  const std::uint64_t size = (*session)->description().files[0].size_bytes;
  std::vector<std::byte> buffer(4096);

  EXPECT_THAT((*session)->NextExtent(1, 4096), HasCode(Code::kInvalidArgument));
  EXPECT_THAT((*session)->NextExtent(0, 0), HasCode(Code::kInvalidArgument));
  for (const Extent& extent : {Extent{0, size, 4096}, Extent{1, 0, 4096}, Extent{0, 0, 4095},
                               Extent{0, ~std::uint64_t{0}, 4096}}) {
    EXPECT_THAT((*session)->ReadExtent(extent, buffer), HasCode(Code::kInvalidArgument));
  }
  ASSERT_THAT((*session)->End(), IsOk());
  EXPECT_THAT((*session)->ReadExtent({0, 0, 4096}, buffer), HasCode(Code::kInvalidArgument));
  EXPECT_THAT((*session)->NextExtent(0, 4096), HasCode(Code::kInvalidArgument));
  EXPECT_THAT((*session)->End(), IsOk()) << "ended is ended";
}

TEST_F(SqliteBackup, SeveralThreadsMayReadAtOnce) {
  MakeDatabase(path_, "WAL", 20000);
  Application application(path_);
  application.Run("PRAGMA wal_autocheckpoint=0");
  application.Run("UPDATE t SET payload = hex(randomblob(100)) WHERE id % 3 = 0");
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  std::vector<Extent> extents;
  while (auto extent = *(*session)->NextExtent(0, 50000)) {
    extents.push_back(*extent);
  }
  std::string image((*session)->description().files[0].size_bytes, '\0');

  std::atomic<std::size_t> next{0};
  std::atomic<int> failures{0};
  {
    std::vector<std::jthread> readers;
    for (int i = 0; i < 4; ++i) {
      readers.emplace_back([&] {
        for (std::size_t k = next++; k < extents.size(); k = next++) {
          const auto target = std::as_writable_bytes(std::span(image));
          failures +=
              (*session)
                      ->ReadExtent(extents[k], target.subspan(extents[k].offset, extents[k].length))
                      .ok()
                  ? 0
                  : 1;
        }
      });
    }
  }

  EXPECT_EQ(failures, 0);
  EXPECT_THAT((*session)->End(), IsOk());
  WriteWhole(scratch_.Under("copy.db"), image);
  EXPECT_EQ(FaultOf(scratch_.Under("copy.db")), "");
}

TEST_F(SqliteBackup, LeavesNothingBesideAClosedDatabase) {
  MakeDatabase(path_, "WAL", 100);
  const std::string before = ReadWhole(path_);

  ASSERT_THAT(BackUp(writer_, path_), IsOk());

  EXPECT_EQ(scratch_.Leaves(), std::vector<std::string>{"a.db"});
  EXPECT_TRUE(ReadWhole(path_) == before);
}

TEST_F(SqliteBackup, NeitherCheckpointsNorRemovesTheWalOfACrashedProgram) {
  ASSERT_EQ(RunInChild([&] {
              MakeDatabase(path_, "WAL", 100);
              auto* const application = new Application(path_);
              InsertRows(*application, 101, 100);
              return 0;
            }),
            0);
  const std::string file = ReadWhole(path_);
  const std::string wal = ReadWhole(path_ + "-wal");

  const auto image = BackUp(writer_, path_);

  ASSERT_THAT(image, IsOk());
  EXPECT_TRUE(ReadWhole(path_) == file);
  EXPECT_TRUE(ReadWhole(path_ + "-wal") == wal);
  WriteWhole(scratch_.Under("copy.db"), *image);
  EXPECT_EQ(Application(scratch_.Under("copy.db")).Ask("SELECT count(*) FROM t"), "200");
}

TEST_F(SqliteBackup, RollsBackAHotJournalFirst) {
  ASSERT_EQ(RunInChild([&] {
              MakeDatabase(path_, "DELETE", 300);
              auto* const application = new Application(path_);
              application->Run("PRAGMA cache_size=5");
              application->Run("BEGIN");
              application->Run("UPDATE t SET payload = hex(randomblob(150)), sum = 7");
              return 0;
            }),
            0);
  ASSERT_TRUE(std::filesystem::exists(path_ + "-journal"));

  const auto image = BackUp(writer_, path_);

  ASSERT_THAT(image, IsOk());
  WriteWhole(scratch_.Under("copy.db"), *image);
  EXPECT_EQ(FaultOf(scratch_.Under("copy.db")), "");
}

TEST_F(SqliteBackup, CommitsGoOnInWalModeAndWaitInRollbackMode) {
  for (const bool wal : {true, false}) {
    const std::string path = scratch_.Under(wal ? "w.db" : "r.db");
    MakeDatabase(path, wal ? "WAL" : "DELETE", 10);
    OtherProcess other(path);
    auto session = writer_.BeginBackup(path, "db", {});
    ASSERT_THAT(session, IsOk());

    EXPECT_EQ(other.TryRun("DELETE FROM t"), wal ? SQLITE_OK : SQLITE_BUSY);

    ASSERT_THAT((*session)->End(), IsOk());
    EXPECT_EQ(other.TryRun("DELETE FROM t"), SQLITE_OK);
  }
}

TEST_F(SqliteBackup, TakesThePagesThatTheHeaderCounts) {
  MakeDatabase(path_, "DELETE", 200);
  const std::string whole = ReadWhole(path_);
  WriteWhole(path_, whole + std::string(3 * 4096, 'x'));  // as SQLITE_FCNTL_CHUNK_SIZE leaves it

  const auto image = BackUp(writer_, path_);

  ASSERT_THAT(image, IsOk());
  EXPECT_TRUE(*image == whole);
}

TEST_F(SqliteBackup, FollowsSymbolicLinks) {
  MakeDatabase(path_, "WAL", 10);
  const std::string link = scratch_.Under("link.db");
  std::filesystem::create_symlink(path_, link);

  const auto description = writer_.Describe(link, "db");

  ASSERT_THAT(description, IsOk());
  EXPECT_EQ(description->files[0].physical_name, std::filesystem::canonical(path_).string());
}

TEST_F(SqliteBackup, TellsTwoNamesThatDifferInCaseApart) {
  // S0-44
  MakeDatabase(scratch_.Under("Ab"), "WAL", 10);
  MakeDatabase(scratch_.Under("AB"), "WAL", 20);

  const auto small = BackUp(writer_, scratch_.Under("Ab"));
  const auto large = BackUp(writer_, scratch_.Under("AB"));

  WriteWhole(scratch_.Under("copy1"), *small);
  WriteWhole(scratch_.Under("copy2"), *large);
  EXPECT_EQ(Application(scratch_.Under("copy1")).Ask("SELECT count(*) FROM t"), "10");
  EXPECT_EQ(Application(scratch_.Under("copy2")).Ask("SELECT count(*) FROM t"), "20");
}

TEST_F(SqliteBackup, SaysWhyThereIsNothingToRead) {
  EXPECT_EQ(RefusalOf(path_),
            "The database '" + path_ + "' cannot be read: 2(No such file or directory).");
  EXPECT_THAT(RefusalOf(scratch_.path()), testing::HasSubstr("it is a directory"));
  const std::string fifo = scratch_.Under("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(RefusalOf(fifo), testing::HasSubstr("it is not a regular file"));
  EXPECT_THAT(RefusalOf("relative.db"), testing::HasSubstr("its path is not absolute"));
  WriteWhole(path_, "");
  EXPECT_THAT(RefusalOf(path_), testing::HasSubstr("the file is empty"));
  WriteWhole(path_, std::string(100000, 'g'));
  EXPECT_THAT(RefusalOf(path_), testing::HasSubstr("file is not a database"));
  WriteWhole(path_, "SQLite format 3");
  EXPECT_THAT(RefusalOf(path_), testing::HasSubstr("file is not a database"));
}

TEST_F(SqliteBackup, RefusesTruncatedDatabase) {
  MakeDatabase(path_, "DELETE", 1000);
  std::filesystem::resize_file(path_, 8192);

  EXPECT_THAT(RefusalOf(path_), testing::HasSubstr("malformed"));
}

TEST_F(SqliteBackup, RefusesExclusiveLockingModeOfAnother) {
  for (const char* mode : {"WAL", "DELETE"}) {
    const std::string path = scratch_.Under(mode);
    MakeDatabase(path, mode, 10);
    Application application(path);
    application.Run("PRAGMA locking_mode=EXCLUSIVE");
    application.Run("DELETE FROM t WHERE id = 1");

    const auto session = writer_.BeginBackup(path, "db", {.lock_deadline = Deadline::Now()});

    EXPECT_THAT(session, MessageHas("database is locked"));
    EXPECT_THAT(std::string(session.status().hint()), testing::HasSubstr("EXCLUSIVE"));
  }
}

TEST_F(SqliteBackup, WaitsForALockAsLongAsItMay) {
  MakeDatabase(path_, "DELETE", 10);
  Application application(path_);
  application.Run("BEGIN EXCLUSIVE");
  const auto begin = std::chrono::steady_clock::now();

  const auto session = writer_.BeginBackup(
      path_, "db", {.lock_deadline = Deadline::After(std::chrono::milliseconds(50))});

  EXPECT_THAT(session, HasReason(65005));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(50));
}

// As root every file may be read: these run as nobody then.
TEST_F(SqliteBackup, SaysThatRightsAreMissing) {
  const std::string wal_path = scratch_.Under("w.db");
  MakeDatabase(path_, "DELETE", 10);
  MakeDatabase(wal_path, "WAL", 10);
  ::chmod(scratch_.path().c_str(), 0755);
  ::chmod(path_.c_str(), 0600);
  ::chmod(wal_path.c_str(), 0444);

  EXPECT_EQ(RunInChild([&] {
              if (::getuid() == 0 && ::setuid(65534) != 0) {
                return 1;
              }
              ::chmod(path_.c_str(), 0);
              const auto unreadable = writer_.BeginBackup(path_, "db", {});
              const auto wal = writer_.BeginBackup(wal_path, "db", {});
              const bool first =
                  unreadable.status().message().find("Access is denied") != std::string_view::npos;
              const bool second =
                  wal.ok() || wal.status().hint().find("write access") != std::string_view::npos;
              return (first ? 0 : 2) + (second ? 0 : 4);
            }),
            0);
}

}  // namespace
}  // namespace capstan::writers
