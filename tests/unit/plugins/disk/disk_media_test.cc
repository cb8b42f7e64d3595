// What the disk plugin makes of files, names and links when all goes well, and of crashes.
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <fstream>
#include <optional>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/support/child_process.h"
#include "tests/unit/plugins/disk/disk_fixture.h"

namespace capstan::test {
namespace {

using DiskMedia = DiskTest;

struct stat StatOf(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status;
}

// From here on, io_uring_setup fails with EPERM, as under many a container's filter.
bool ForbidUring() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_F(DiskMedia, FallsBackToThreadsWhereUringIsForbidden) {
  EXPECT_EQ(RunInChild([&]() -> std::string {
              if (!ForbidUring()) {
                return "no seccomp";
              }
              auto device = Open(CAPSTAN_OPEN_REPLACE, target_);
              if (!device.ok()) {
                return device.status().ToString();
              }
              const std::string mode = (*device)->status().mode;
              const bool written = WriteBytes(**device, 0, buffer_.bytes()) == 0 &&
                                   RunRequest(**device, CAPSTAN_OP_COMPLETE) == 0;
              const bool closed = (*device)->Close(CAPSTAN_OUTCOME_DONE).ok();
              return mode.rfind("pread/pwrite", 0) == 0 && written && closed ? "" : "mode " + mode;
            }),
            "");
  EXPECT_TRUE(HoldsBuffer(target_));
}

// Bytes that this process had fetched from storage.
std::uint64_t FetchedBytes() {
  std::ifstream counters("/proc/self/io");
  std::string name;
  std::uint64_t value = 0;
  while (counters >> name >> value) {
    if (name == "read_bytes:") {
      return value;
    }
  }
  return 0;
}

// Pages of a file in the page cache; nullopt where the kernel cannot tell (before Linux 6.5).
std::optional<std::uint64_t> CachedPages(const std::string& path) {
  constexpr long kCachestat = 451;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::uint64_t range[2] = {0, 0};  // to the end
  std::uint64_t found[5] = {};
  const bool known = ::syscall(kCachestat, fd, range, found, 0) == 0;
  ::close(fd);
  return known ? std::optional(found[0]) : std::nullopt;
}

// As WriteBytes: the completion code.
std::uint32_t ReadBytes(agent::MediaDevice& device, const MediaBuffer& target) {
  MediaRequest request;
  EXPECT_THAT(request.Read(device, 0, {target.data(), target.size()}), IsOk());
  return request.Wait().completion_code;
}

TEST_F(DiskMedia, ReadsFromThePageCacheWhatIsThere) {
  ASSERT_THAT(WriteMedium(target_), IsOk());
  EXPECT_TRUE(HoldsBuffer(target_));  // brings it in
  if (!CachedPages(target_)) {
    GTEST_SKIP() << "no cachestat here";
  }
  auto device = Open(CAPSTAN_OPEN_READ, target_);
  ASSERT_THAT(device, IsOk());
  MediaBuffer read(65536, 0);
  const std::uint64_t before = FetchedBytes();

  EXPECT_EQ(ReadBytes(**device, read), 0U);

  EXPECT_EQ(FetchedBytes(), before);
  EXPECT_TRUE(std::ranges::equal(read.bytes(), buffer_.bytes()));
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

TEST_F(DiskMedia, ReadsAroundThePageCacheWhatIsNotThere) {
  ASSERT_THAT(WriteMedium(target_), IsOk());
  auto device = Open(CAPSTAN_OPEN_READ, target_);
  ASSERT_THAT(device, IsOk());
  if (std::string((*device)->status().mode).find("direct") == std::string::npos ||
      !CachedPages(target_)) {
    GTEST_SKIP() << "no direct I/O, or no cachestat, here";
  }
  MediaBuffer read(65536, 0);

  EXPECT_EQ(ReadBytes(**device, read), 0U);

  EXPECT_EQ(CachedPages(target_), 0U);
  EXPECT_TRUE(std::ranges::equal(read.bytes(), buffer_.bytes()));
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

TEST_F(DiskMedia, NullSwallowsEverythingAndHasNoEnd) {
  // Where it is an ordinary file, by accident, the test would replace it.
  ASSERT_TRUE(S_ISCHR(StatOf("/dev/null").st_mode));
  const auto writer = Open(CAPSTAN_OPEN_REPLACE, "/dev/null");
  ASSERT_THAT(writer, IsOk());
  EXPECT_EQ((*writer)->status().mode, "null");
  EXPECT_EQ(WriteBytes(**writer, 1LL << 40, buffer_.bytes()), 0U);
  EXPECT_EQ(RunRequest(**writer, CAPSTAN_OP_FLUSH), 0U);
  EXPECT_EQ(RunRequest(**writer, CAPSTAN_OP_COMPLETE), 0U);
  EXPECT_THAT((*writer)->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  EXPECT_TRUE(S_ISCHR(StatOf("/dev/null").st_mode));

  const auto reader = Open(CAPSTAN_OPEN_READ, "/dev/null");
  ASSERT_THAT(reader, IsOk());
  MediaRequest read;
  ASSERT_THAT(read.Read(**reader, 0, {buffer_.data(), buffer_.size()}), IsOk());
  EXPECT_EQ(read.Wait().completion_code, 38U);
  EXPECT_EQ(read.request.bytes_transferred, 0U);
  EXPECT_THAT((*reader)->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

TEST_F(DiskMedia, MediumIsNotForEverybody) {
  const mode_t before = ::umask(0);
  EXPECT_THAT(WriteMedium(target_), IsOk());
  ::umask(before);

  EXPECT_EQ(StatOf(target_).st_mode & 07777U, 0640U);
}

TEST_F(DiskMedia, LinkIsFollowedAndStays) {
  const std::string link = directory_.Under("link.bak");
  ASSERT_EQ(::symlink("medium.bak", link.c_str()), 0);

  EXPECT_THAT(WriteMedium(link), IsOk());  // the link dangles at first
  EXPECT_THAT(WriteMedium(link, CAPSTAN_OPEN_REPLACE, "t2"), IsOk());

  EXPECT_TRUE(S_ISLNK(StatOf(link).st_mode));
  EXPECT_TRUE(S_ISREG(StatOf(target_).st_mode));
  EXPECT_TRUE(HoldsBuffer(link));
}

TEST_F(DiskMedia, LongestNameIsWrittenAndRecovered) {
  const std::string target = directory_.Under(std::string(255, 'n'));

  EXPECT_THAT(WriteMedium(target), IsOk());
  const auto device = Open(CAPSTAN_OPEN_REPLACE, target, "kept");
  ASSERT_THAT(device, IsOk());
  ASSERT_THAT((*device)->Close(CAPSTAN_OUTCOME_KEEP), IsOk());
  EXPECT_THAT(plugin().Recover(target, "kept", CAPSTAN_RECOVER_COMMIT), IsOk());
  EXPECT_EQ(Contents(target), "");
}

TEST_F(DiskMedia, WhatWasAllocatedAheadIsGivenBack) {
  auto device = plugin().Open(
      {.mode = CAPSTAN_OPEN_REPLACE, .target = target_, .token = "t1", .size_estimate = 64U << 20});
  ASSERT_THAT(device, IsOk());
  EXPECT_EQ(StatOf(partial_).st_size, 0);
  ASSERT_EQ(WriteBytes(**device, 0, buffer_.bytes()), 0U);
  ASSERT_EQ(RunRequest(**device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT((*device)->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  EXPECT_LE(StatOf(target_).st_blocks * 512, 1 << 20);
}

TEST_F(DiskMedia, EstimateBeyondTheDiskIsNoError) {
  auto device = plugin().Open({.mode = CAPSTAN_OPEN_REPLACE,
                               .target = target_,
                               .token = "t1",
                               .size_estimate = 1ULL << 60});
  ASSERT_THAT(device, IsOk());

  EXPECT_EQ(WriteBytes(**device, 0, buffer_.bytes()), 0U);
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

TEST_F(DiskMedia, EndThatIsNoMultipleOfAPageIsReadExactly) {
  std::ofstream(target_) << BufferText().substr(0, 10001);
  const auto device = Open(CAPSTAN_OPEN_READ, target_);
  ASSERT_THAT(device, IsOk());
  const MediaBuffer read(65536);
  MediaRequest request;

  ASSERT_THAT(request.Read(**device, 8192, {read.data(), read.size()}), IsOk());

  EXPECT_EQ(request.Wait().completion_code, 38U);
  ASSERT_EQ(request.request.bytes_transferred, 10001U - 8192U);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(read.data()), 10001 - 8192),
            BufferText().substr(8192, 10001 - 8192));
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

TEST_F(DiskMedia, FailedWriteIsForgottenOnlyByClearError) {
  const auto device = Open(CAPSTAN_OPEN_REPLACE, target_);
  ASSERT_THAT(device, IsOk());
  // Far beyond what ext4, XFS or tmpfs take, and within the range of the call.
  ASSERT_EQ(WriteBytes(**device, (1LL << 62), buffer_.bytes()), 223U);

  EXPECT_EQ(RunRequest(**device, CAPSTAN_OP_COMPLETE), 223U);
  EXPECT_EQ(RunRequest(**device, CAPSTAN_OP_CLEAR_ERROR), 0U);
  EXPECT_EQ(WriteBytes(**device, 0, buffer_.bytes()), 0U);
  EXPECT_EQ(RunRequest(**device, CAPSTAN_OP_COMPLETE), 0U);
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  EXPECT_TRUE(HoldsBuffer(target_));
}

// The crash of a file system without RENAME_NOREPLACE: linked, not yet unlinked.
TEST_F(DiskMedia, RecoverFinishesAHalfDoneLink) {
  for (const auto action : {CAPSTAN_RECOVER_COMMIT, CAPSTAN_RECOVER_DISCARD}) {
    auto device = Open(CAPSTAN_OPEN_CREATE, target_);
    ASSERT_THAT(device, IsOk());
    ASSERT_EQ(WriteBytes(**device, 0, buffer_.bytes()), 0U);
    ASSERT_THAT((*device)->Close(CAPSTAN_OUTCOME_KEEP), IsOk());
    ASSERT_EQ(::link(partial_.c_str(), target_.c_str()), 0);

    EXPECT_THAT(plugin().Recover(target_, "t1", action), IsOk());

    EXPECT_FALSE(std::filesystem::exists(partial_));
    EXPECT_EQ(std::filesystem::exists(target_), action == CAPSTAN_RECOVER_COMMIT);
    std::filesystem::remove(target_);
  }
}

TEST_F(DiskMedia, RecoverLeavesSomebodyElsesMediumAlone) {
  ASSERT_THAT(WriteMedium(target_, CAPSTAN_OPEN_REPLACE, "other"), IsOk());
  char value[16];
  if (::getxattr(target_.c_str(), "user.capstan.token", value, sizeof(value)) < 0) {
    GTEST_SKIP() << "no user attributes here, by which a medium knows its token";
  }

  EXPECT_EQ(plugin().Recover(target_, "mine", CAPSTAN_RECOVER_COMMIT).os_error(), ESTALE);
  EXPECT_THAT(plugin().Recover(target_, "mine", CAPSTAN_RECOVER_DISCARD), IsOk());

  EXPECT_TRUE(HoldsBuffer(target_));
}

TEST_F(DiskMedia, RecoverRefusesAConstructionThatIsAlive) {
  const auto device = Open(CAPSTAN_OPEN_REPLACE, target_);
  ASSERT_THAT(device, IsOk());

  EXPECT_EQ(plugin().Recover(target_, "t1", CAPSTAN_RECOVER_DISCARD).os_error(), EBUSY);
  EXPECT_EQ(plugin().Recover(target_, "t1", CAPSTAN_RECOVER_COMMIT).os_error(), EBUSY);

  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

// A later backup has replaced the medium before the earlier job is undone.
TEST_F(DiskMedia, LateDiscardSparesTheSuccessor) {
  const auto first = Open(CAPSTAN_OPEN_REPLACE, target_);
  ASSERT_THAT(first, IsOk());
  ASSERT_EQ(RunRequest(**first, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(WriteMedium(target_, CAPSTAN_OPEN_REPLACE, "t2"), IsOk());

  EXPECT_THAT((*first)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());

  EXPECT_TRUE(HoldsBuffer(target_));
}

}  // namespace
}  // namespace capstan::test
