#include "server/writers/sqlite/sqlite_restore_session.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

using Leaves = std::vector<std::string>;

class SqliteRestore : public testing::Test {
 protected:
  void SetUp() override {
    TemporaryDirectory other;
    MakeDatabase(other.Under("source.db"), "WAL", 1000);
    const auto image = BackUp(writer_, other.Under("source.db"));
    ASSERT_THAT(image, IsOk());
    image_ = *image;
  }

  std::string Rows() { return Application(path_).Ask("SELECT count(*) FROM t"); }

  Result<std::unique_ptr<RestoreSession>> Begin(bool replace = true) {
    const RestoreTarget target = TargetFor(path_, image_);
    return writer_.BeginRestore(
        {&target, 1}, {.replace = replace, .job_name = "job-1", .lock_deadline = Deadline::Now()});
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  SqliteWriter writer_;
  std::string image_;
};

TEST_F(SqliteRestore, CreatesDatabaseForItsOwnerOnly) {
  EXPECT_THAT(Restore(writer_, path_, image_, false), IsOk());

  EXPECT_TRUE(ReadWhole(path_) == image_);
  EXPECT_EQ(FaultOf(path_), "");
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  EXPECT_EQ(info.st_uid, ::getuid());  // S0-36: the service account's, whoever asked for it
}

TEST_F(SqliteRestore, ReplacesDatabaseThatNobodyUses) {
  for (const char* mode : {"WAL", "DELETE", "PERSIST"}) {
    std::filesystem::remove(path_);
    MakeDatabase(path_, mode, 50);
    ::chmod(path_.c_str(), 0640);

    EXPECT_THAT(Restore(writer_, path_, image_, true), IsOk()) << mode;

    struct stat info {};
    ASSERT_EQ(::stat(path_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0640U);
    EXPECT_EQ(Rows(), "1000");
    EXPECT_EQ(FaultOf(path_), "");
    EXPECT_EQ(scratch_.Leaves(), Leaves{"a.db"});
  }
}

TEST_F(SqliteRestore, KeepsOwnerOfReplacedDatabase) {
  if (::getuid() != 0) {
    GTEST_SKIP() << "only root can give files away";
  }
  MakeDatabase(path_, "WAL", 50);
  ASSERT_EQ(::chown(path_.c_str(), 1234, 2345), 0);

  EXPECT_THAT(Restore(writer_, path_, image_, true), IsOk());

  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 1234U);
  EXPECT_EQ(info.st_gid, 2345U);
}

TEST_F(SqliteRestore, ReplacesTheFileBehindASymbolicLink) {
  const std::string real = scratch_.Under("real.db");
  MakeDatabase(real, "WAL", 50);
  std::filesystem::create_symlink(real, path_);

  EXPECT_THAT(Restore(writer_, path_, image_, true), IsOk());

  EXPECT_TRUE(std::filesystem::is_symlink(path_));
  EXPECT_TRUE(ReadWhole(real) == image_);
}

TEST_F(SqliteRestore, ReplacesWreckWithoutReplayingItsWal) {
  ASSERT_EQ(RunInChild([&] {
              MakeDatabase(path_, "WAL", 300);
              auto* const application = new Application(path_);
              application->Run("UPDATE t SET sum = sum + 1 WHERE id = 5");
              return 0;
            }),
            0);
  const int fd = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(::pwrite(fd, std::string(4096, 'x').data(), 4096, 0), 4096);
  ::close(fd);

  EXPECT_THAT(Restore(writer_, path_, image_, true), IsOk());

  EXPECT_EQ(scratch_.Leaves(), Leaves{"a.db"});
  EXPECT_EQ(FaultOf(path_), "");
  EXPECT_EQ(Rows(), "1000");
}

TEST_F(SqliteRestore, ReplacesEmptyFile) {
  WriteWhole(path_, "");

  EXPECT_THAT(Restore(writer_, path_, image_, true), IsOk());
  EXPECT_EQ(Rows(), "1000");
}

TEST_F(SqliteRestore, DatabaseInUseStaysAsItIs) {
  for (const char* mode : {"WAL", "DELETE"}) {
    std::filesystem::remove(path_);
    MakeDatabase(path_, mode, 50);
    {
      Application application(path_);
      application.Run("BEGIN");
      ASSERT_EQ(application.Ask("SELECT count(*) FROM t"), "50");

      EXPECT_THAT(Restore(writer_, path_, image_, true), HasReason(3101)) << mode;

      application.Run("COMMIT");
      application.Run("DELETE FROM t WHERE id = 50");
    }
    EXPECT_EQ(Rows(), "49");
    EXPECT_EQ(FaultOf(path_), "");
    EXPECT_EQ(scratch_.Leaves(), Leaves{"a.db"});
  }
}

TEST_F(SqliteRestore, IdleConnectionOfAnotherProcessCountsAsUseInWalMode) {
  MakeDatabase(path_, "WAL", 50);
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  ForkedProcess idle([&] {
    Application application(path_);
    const bool one = application.Ask("SELECT count(*) FROM t") == "50";
    (void)!::write(ready[1], "x", 1);
    ::pause();
    return one ? 0 : 1;
  });
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);

  EXPECT_THAT(Restore(writer_, path_, image_, true), HasReason(3101));

  idle.Kill();
  EXPECT_THAT(Restore(writer_, path_, image_, true), IsOk());
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(SqliteRestore, WreckInUseStaysAsItIs) {
  WriteWhole(path_, std::string(50000, 'g'));
  int ready[2];
  int done[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(done), 0);
  ForkedProcess locker([&] {
    const int fd = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    struct flock lock {};
    lock.l_type = F_RDLCK;
    lock.l_start = kSqliteLockBytesOffset + 2;
    lock.l_len = 510;
    const int result = ::fcntl(fd, F_SETLK, &lock);
    (void)!::write(ready[1], "x", 1);
    ::pause();
    return result;
  });
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);

  EXPECT_THAT(Restore(writer_, path_, image_, true), HasReason(3101));

  EXPECT_TRUE(ReadWhole(path_) == std::string(50000, 'g'));
  for (const int fd : {ready[0], ready[1], done[0], done[1]}) {
    ::close(fd);
  }
}

// An idle connection in rollback mode holds no lock and cannot be seen. It must not be able to harm
// the new database.
TEST_F(SqliteRestore, IdleConnectionInRollbackModeIsToldThatItsDatabaseIsGone) {
  MakeDatabase(path_, "DELETE", 50);
  Application idle(path_);
  ASSERT_EQ(idle.Ask("SELECT count(*) FROM t"), "50");

  ASSERT_THAT(Restore(writer_, path_, image_, true), IsOk());

  EXPECT_THAT(idle.Ask("SELECT count(*) FROM t"), testing::HasSubstr("not a database"));
  EXPECT_NE(idle.TryRun("DELETE FROM t"), SQLITE_OK);
  EXPECT_TRUE(ReadWhole(path_) == image_);
}

TEST_F(SqliteRestore, HardLinkToReplacedDatabaseStaysUsable) {
  MakeDatabase(path_, "DELETE", 50);
  const std::string link = scratch_.Under("link.db");
  ASSERT_EQ(::link(path_.c_str(), link.c_str()), 0);

  ASSERT_THAT(Restore(writer_, path_, image_, true), IsOk());

  EXPECT_EQ(Application(link).Ask("SELECT count(*) FROM t"), "50");
}

TEST_F(SqliteRestore, DoesNotReplaceUnlessTold) {
  MakeDatabase(path_, "WAL", 50);

  EXPECT_THAT(Begin(false), HasReason(3156));
  EXPECT_EQ(Rows(), "50");
  EXPECT_EQ(scratch_.Leaves(), Leaves{"a.db"});
}

TEST_F(SqliteRestore, DoesNotReplaceAFileThatCameMeanwhile) {
  auto session = Begin(false);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT(WriteImage(**session, image_), IsOk());
  MakeDatabase(path_, "DELETE", 50);

  EXPECT_THAT((*session)->Commit(), HasReason(3156));
  session->reset();

  EXPECT_EQ(Rows(), "50");
  EXPECT_EQ(scratch_.Leaves(), Leaves{"a.db"});
}

TEST_F(SqliteRestore, RefusesWhatIsNoWholeDatabase) {
  MakeDatabase(path_, "WAL", 50);
  const std::string garbage(image_.size(), 'g');
  const std::string shorter = image_.substr(0, image_.size() - 4096);
  for (const std::string& image : {garbage, shorter, image_ + image_, image_.substr(0, 50)}) {
    EXPECT_THAT(Restore(writer_, path_, image, true),
                MessageHas("what was restored is no whole database"));
    EXPECT_EQ(Rows(), "50");
    EXPECT_EQ(scratch_.Leaves(), Leaves{"a.db"});
  }
}

TEST_F(SqliteRestore, RefusesToCommitWhatWasNotAllWritten) {
  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->WriteExtent({0, 0, 4096}, std::as_bytes(std::span(image_).first(4096))),
              IsOk());

  EXPECT_THAT((*session)->Commit(), MessageHas("4096 of"));
}

TEST_F(SqliteRestore, RefusesExtentsThatDoNotFit) {
  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  const std::vector<std::byte> bytes(4096);

  for (const Extent& extent : {Extent{0, image_.size(), 4096}, Extent{1, 0, 4096},
                               Extent{0, 0, 4095}, Extent{0, ~std::uint64_t{0}, 4096}}) {
    EXPECT_THAT((*session)->WriteExtent(extent, bytes), HasCode(Code::kInvalidArgument));
  }
}

TEST_F(SqliteRestore, IsGoneWithoutCommit) {
  MakeDatabase(path_, "WAL", 50);
  {
    auto session = Begin();
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT(WriteImage(**session, image_), IsOk());
    EXPECT_EQ(scratch_.Leaves(), (Leaves{".a.db.job-1.capstan-restore", "a.db"}));
  }
  EXPECT_EQ(scratch_.Leaves(), Leaves{"a.db"});
  EXPECT_EQ(Rows(), "50");
}

TEST_F(SqliteRestore, CommitsOnce) {
  auto session = Begin();
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT(WriteImage(**session, image_), IsOk());
  ASSERT_THAT((*session)->Commit(), IsOk());

  EXPECT_THAT((*session)->Commit(), HasCode(Code::kFailedPrecondition));
  session->reset();
  EXPECT_EQ(Rows(), "1000");
}

TEST_F(SqliteRestore, TwoOfOneNameDoNotDisturbEachOther) {
  auto first = Begin();
  ASSERT_THAT(first, IsOk());

  EXPECT_THAT(Begin(), HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(writer_.DiscardRestore(path_, "job-1"), HasCode(Code::kFailedPrecondition));

  ASSERT_THAT(WriteImage(**first, image_), IsOk());
  EXPECT_THAT((*first)->Commit(), IsOk());
}

TEST_F(SqliteRestore, TakesOverWhatAnInterruptedOneLeft) {
  WriteWhole(scratch_.Under(".a.db.job-1.capstan-restore"), "half");

  EXPECT_THAT(Restore(writer_, path_, image_, false), IsOk());
  EXPECT_EQ(scratch_.Leaves(), Leaves{"a.db"});
}

TEST_F(SqliteRestore, DiscardForgetsOnlyItsOwnJob) {
  WriteWhole(scratch_.Under(".a.db.job-1.capstan-restore"), "half");
  WriteWhole(scratch_.Under(".a.db.job-2.capstan-restore"), "half");

  EXPECT_THAT(writer_.DiscardRestore(path_, "job-1"), IsOk());
  EXPECT_THAT(writer_.DiscardRestore(path_, "job-1"), IsOk());

  EXPECT_EQ(scratch_.Leaves(), Leaves{".a.db.job-2.capstan-restore"});
}

TEST_F(SqliteRestore, SaysWhatIsWrongWithTheTarget) {
  const auto begin = [&](const std::string& path, const std::string& job) {
    const RestoreTarget target = TargetFor(path, image_);
    return writer_.BeginRestore({&target, 1}, {.replace = true, .job_name = job});
  };
  EXPECT_THAT(begin(scratch_.Under("no/a.db"), "j"), MessageHas("2(No such file or directory)"));
  EXPECT_THAT(begin(scratch_.path(), "j"), MessageHas("Is a directory"));
  const std::string fifo = scratch_.Under("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(begin(fifo, "j"), HasReason(3156));
  EXPECT_THAT(begin("a.db", "j"), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(begin(path_, ""), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(begin(path_, "../j"), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(begin(path_, std::string(250, 'j')), MessageHas("File name too long"));
  EXPECT_THAT(writer_.BeginRestore({}, {.job_name = "j"}), HasCode(Code::kInvalidArgument));
}

TEST_F(SqliteRestore, FullDiskIsNoticedBeforeTheFirstByte) {
  const std::string disk = scratch_.Under("disk");
  std::filesystem::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "needs the right to mount a small tmpfs";
  }
  const RestoreTarget target = TargetFor(disk + "/a.db", image_);

  const auto session = writer_.BeginRestore({&target, 1}, {.job_name = "job-1"});

  EXPECT_THAT(session, HasReason(3257));
  EXPECT_THAT(session, MessageHas("requires " + std::to_string(image_.size()) +
                                  " additional free bytes, while only 65536"));
  EXPECT_TRUE(std::filesystem::is_empty(disk));
  ::umount(disk.c_str());
}

TEST_F(SqliteRestore, FileSizeLimitIsLikeAFullDisk) {
  EXPECT_EQ(RunInChild([&] {
              ::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{16384, 16384};
              ::setrlimit(RLIMIT_FSIZE, &limit);
              return Begin().status().reason() == 3257 && scratch_.Leaves().empty() ? 0 : 1;
            }),
            0);
}

}  // namespace
}  // namespace capstan::writers
