#include "server/writers/page_cache_guard.h"

#include <algorithm>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "tests/support/sqlite_fixture.h"
#include "tests/support/temporary_directory.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

constexpr std::uint64_t kFileBytes = 20 << 20;  // two and a half windows
constexpr std::uint64_t kReadBytes = 1 << 20;
constexpr long kTmpfsMagic = 0x01021994;

class PageCacheGuardTest : public testing::Test {
 protected:
  void SetUp() override {
    struct statfs info {};
    ASSERT_EQ(::statfs(scratch_.path().c_str(), &info), 0);
    if (info.f_type == kTmpfsMagic) {
      GTEST_SKIP() << "files of a tmpfs are always resident";
    }
    WriteWhole(path_, std::string(kFileBytes, 'x'));
    fd_ = UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    ::fsync(fd_.get());
    ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
    ASSERT_EQ(ResidentBytes(0, kFileBytes), 0U);
  }

  void Read(std::uint64_t offset, std::uint64_t length) {
    std::vector<char> buffer(length);
    ASSERT_EQ(::pread(fd_.get(), buffer.data(), length, static_cast<off_t>(offset)),
              static_cast<ssize_t>(length));
  }

  void ReadAllThrough(PageCacheGuard& guard) {
    for (std::uint64_t offset = 0; offset < kFileBytes; offset += kReadBytes) {
      guard.Advance(offset + kReadBytes - 1);
      Read(offset, kReadBytes);
      guard.Done(offset, kReadBytes);
    }
  }

  std::uint64_t ResidentBytes(std::uint64_t offset, std::uint64_t length) const {
    void* const address =
        ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd_.get(), static_cast<off_t>(offset));
    std::vector<unsigned char> resident(length / 4096);
    EXPECT_EQ(::mincore(address, length, resident.data()), 0);
    ::munmap(address, length);
    return 4096 * static_cast<std::uint64_t>(
                      std::ranges::count_if(resident, [](unsigned char r) { return r & 1; }));
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("file");
  UniqueFd fd_;
};

TEST_F(PageCacheGuardTest, DropsWhatOnlyTheReaderBroughtIn) {
  PageCacheGuard guard(fd_.get(), kFileBytes, true);

  ReadAllThrough(guard);

  EXPECT_LT(ResidentBytes(0, kFileBytes), kFileBytes / 20);
}

TEST_F(PageCacheGuardTest, KeepsWhatWasThereBefore) {
  ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_RANDOM);  // no read-ahead around the hot megabyte
  constexpr std::uint64_t kHot = 9 << 20;
  Read(kHot, kReadBytes);
  PageCacheGuard guard(fd_.get(), kFileBytes, true);

  ReadAllThrough(guard);

  EXPECT_EQ(ResidentBytes(kHot, kReadBytes), kReadBytes);
  EXPECT_LT(ResidentBytes(0, kFileBytes), kReadBytes + kFileBytes / 10);
}

TEST_F(PageCacheGuardTest, NeitherReadsNorWaitsForWhatIsPassedOver) {
  ByteRanges passed_over;
  ASSERT_TRUE(passed_over.Add({kReadBytes, 17 * kReadBytes}));  // one window and parts of two
  PageCacheGuard guard(fd_.get(), kFileBytes, true);
  guard.PassOver(passed_over);
  constexpr std::uint64_t kLast = 17 * kReadBytes;

  guard.Advance(kReadBytes - 1);
  Read(0, kReadBytes);
  guard.Done(0, kReadBytes);
  EXPECT_LT(ResidentBytes(0, 8 * kReadBytes), kReadBytes) << "the first window is through";
  guard.Advance(kFileBytes - 1);
  EXPECT_EQ(ResidentBytes(8 * kReadBytes, 8 * kReadBytes), 0U);
  for (std::uint64_t offset = kLast; offset < kFileBytes; offset += kReadBytes) {
    Read(offset, kReadBytes);
    guard.Done(offset, kReadBytes);
  }

  EXPECT_LT(ResidentBytes(0, kFileBytes), kReadBytes);
}

TEST_F(PageCacheGuardTest, VisitsLeaveNothingAndReadNothingElse) {
  constexpr std::uint64_t kBegin = 5 * kReadBytes;
  constexpr std::uint64_t kEnd = 8 * kReadBytes;
  for (const bool drop_behind : {false, true}) {
    ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
    {
      PageCacheVisit visit(fd_.get(), {kBegin, kEnd}, drop_behind);
      for (std::uint64_t offset = kBegin; offset < kEnd; offset += kReadBytes / 4) {
        visit.Advance(offset);
        Read(offset, kReadBytes / 4);
      }
      EXPECT_EQ(ResidentBytes(kBegin, kEnd - kBegin), kEnd - kBegin);
    }
    EXPECT_EQ(ResidentBytes(kBegin, kEnd - kBegin), drop_behind ? 0U : kEnd - kBegin);
    EXPECT_EQ(ResidentBytes(0, kBegin) + ResidentBytes(kEnd, kFileBytes - kEnd), 0U);
  }
}

// At no page's boundary.
TEST_F(PageCacheGuardTest, VisitsKeepWhatWasThereBefore) {
  ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_RANDOM);
  constexpr std::uint64_t kHot = 9 << 20;
  Read(kHot, kReadBytes);
  {
    PageCacheVisit visit(fd_.get(), {kHot - 2 * kReadBytes - 100, kHot + 3 * kReadBytes + 100},
                         true);
    visit.Advance(kHot - 2 * kReadBytes - 100);
    Read(kHot - 2 * kReadBytes - 100, 5 * kReadBytes + 200);
  }

  EXPECT_EQ(ResidentBytes(kHot, kReadBytes), kReadBytes);
  EXPECT_LT(ResidentBytes(0, kFileBytes), 2 * kReadBytes);
}

TEST_F(PageCacheGuardTest, KeepsEverythingWhenToldTo) {
  PageCacheGuard guard(fd_.get(), kFileBytes, false);

  ReadAllThrough(guard);

  EXPECT_EQ(ResidentBytes(0, kFileBytes), kFileBytes);
}

}  // namespace
}  // namespace capstan::writers
