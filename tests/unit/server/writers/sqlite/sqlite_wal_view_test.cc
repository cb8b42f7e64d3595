#include "server/writers/sqlite/sqlite_wal_view.h"

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

constexpr std::size_t kFrameBytes = 24 + 4096;

// A database of which everything since the first checkpoint is in the WAL, in use.
class SqliteWalViewTest : public testing::Test {
 protected:
  void SetUp() override {
    MakeDatabase(path_, "WAL", 100);
    application_.Run("PRAGMA wal_autocheckpoint=0");
    InsertRows(application_, 101, 500);
    application_.Run("UPDATE t SET payload = hex(randomblob(100)) WHERE id % 7 = 0");
    wal_bytes_ = std::filesystem::file_size(path_ + "-wal");
    ASSERT_GT(wal_bytes_, 20 * kFrameBytes);
  }

  void FlipWalByte(std::uint64_t offset) {
    const int fd = ::open((path_ + "-wal").c_str(), O_RDWR | O_CLOEXEC);
    char byte = 0;
    ASSERT_EQ(::pread(fd, &byte, 1, static_cast<off_t>(offset)), 1);
    byte = static_cast<char>(byte ^ 0x10);
    ASSERT_EQ(::pwrite(fd, &byte, 1, static_cast<off_t>(offset)), 1);
    ::close(fd);
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  Application application_{path_};
  std::uint64_t wal_bytes_ = 0;
  SqliteWriter writer_;
};

TEST_F(SqliteWalViewTest, AnyCutIntoExtentsGivesTheSameBytes) {
  const auto whole = BackUp(writer_, path_, 1 << 24);
  ASSERT_THAT(whole, IsOk());
  for (const std::uint32_t length : {511U, 4095U, 4096U, 5000U, 65536U, 983040U}) {
    EXPECT_TRUE(*BackUp(writer_, path_, length) == *whole) << "extents of " << length;
  }
}

TEST_F(SqliteWalViewTest, PartsOfPagesAreOverlaidToo) {
  const auto whole = BackUp(writer_, path_);
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  for (const std::uint64_t offset : {100U, 4000U, 12345U}) {
    std::vector<std::byte> part(9000);
    ASSERT_THAT((*session)->ReadExtent({.offset = offset, .length = 9000}, part), IsOk());
    EXPECT_EQ(std::memcmp(part.data(), whole->data() + offset, part.size()), 0) << offset;
  }
}

TEST_F(SqliteWalViewTest, EqualsWhatACheckpointWouldMake) {
  const auto before = BackUp(writer_, path_);
  ASSERT_THAT(before, IsOk());
  application_.Run("PRAGMA wal_checkpoint(TRUNCATE)");

  EXPECT_TRUE(*before == ReadWhole(path_));
}

TEST_F(SqliteWalViewTest, ReadsFromTheWalWhatAPassiveCheckpointLeft) {
  // Another reader pins the WAL, so that the checkpoint stops half way.
  Application reader(path_);
  reader.Run("BEGIN");
  ASSERT_EQ(reader.Ask("SELECT count(*) FROM t"), "600");
  InsertRows(application_, 601, 300);
  application_.Run("PRAGMA wal_checkpoint(PASSIVE)");

  const auto image = BackUp(writer_, path_);

  ASSERT_THAT(image, IsOk());
  WriteWhole(scratch_.Under("copy.db"), *image);
  EXPECT_EQ(FaultOf(scratch_.Under("copy.db")), "");
  EXPECT_EQ(Application(scratch_.Under("copy.db")).Ask("SELECT count(*) FROM t"), "900");
}

TEST_F(SqliteWalViewTest, OnlyTheStateAtTheBeginningIsSeen) {
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  InsertRows(application_, 601, 3000);
  application_.Run("PRAGMA wal_checkpoint(PASSIVE)");

  const auto image = ReadAll(**session, 65536);

  ASSERT_THAT(image, IsOk());
  ASSERT_THAT((*session)->End(), IsOk());
  WriteWhole(scratch_.Under("copy.db"), *image);
  EXPECT_EQ(FaultOf(scratch_.Under("copy.db")), "");
  EXPECT_EQ(Application(scratch_.Under("copy.db")).Ask("SELECT count(*) FROM t"), "600");
}

TEST_F(SqliteWalViewTest, NoticesEveryKindOfForeignFrame) {
  const struct {
    std::uint64_t offset_in_frame;
    const char* message;
  } damages[] = {{3, "an unexpected page number"},
                 {8, "the salt of another generation"},
                 {16, "a wrong checksum"},
                 {24 + 2000, "a wrong checksum"}};
  for (const auto& damage : damages) {
    auto session = writer_.BeginBackup(path_, "db", {});
    ASSERT_THAT(session, IsOk());
    // The last frame is always part of the view.
    const std::uint64_t offset = wal_bytes_ - kFrameBytes + damage.offset_in_frame;
    FlipWalByte(offset);

    EXPECT_THAT(ReadAll(**session, 65536), MessageHas(damage.message));

    FlipWalByte(offset);
  }
  EXPECT_THAT(BackUp(writer_, path_), IsOk()) << "the flips were undone";
}

TEST_F(SqliteWalViewTest, NoticesWalOfAnotherGeneration) {
  FlipWalByte(17);
  EXPECT_THAT(writer_.BeginBackup(path_, "db", {}), MessageHas("does not belong to the index"));
  FlipWalByte(17);
}

TEST_F(SqliteWalViewTest, EndNoticesWalResetUnderTheView) {
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  FlipWalByte(13);

  EXPECT_THAT((*session)->End(), MessageHas("its WAL was reset during the backup"));
}

TEST_F(SqliteWalViewTest, NoticesTruncatedWal) {
  auto session = writer_.BeginBackup(path_, "db", {});
  ASSERT_THAT(session, IsOk());
  std::filesystem::resize_file(path_ + "-wal", wal_bytes_ - 1000);

  EXPECT_THAT(ReadAll(**session, 65536), MessageHas("its WAL: the file ends at byte"));
}

}  // namespace
}  // namespace capstan::writers
