// What is special about going on with a file: why it cannot be, what was allocated ahead, and what
// stays when it fails. The rest is in resume_conformance.cc.
#include <cerrno>
#include <csignal>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/support/child_process.h"
#include "tests/unit/plugins/disk/disk_fixture.h"

namespace capstan::test {
namespace {

class DiskResume : public DiskTest {
 protected:
  // A construction of two blocks that nobody holds.
  void Keep(std::uint64_t size_estimate = 0) {
    auto device = plugin().Open({.mode = CAPSTAN_OPEN_CREATE,
                                 .target = target_,
                                 .token = "t1",
                                 .size_estimate = size_estimate});
    ASSERT_THAT(device, IsOk());
    ASSERT_EQ(WriteBytes(**device, 0, buffer_.bytes()), 0U);
    ASSERT_EQ(WriteBytes(**device, kBlock, buffer_.bytes()), 0U);
    ASSERT_THAT((*device)->Close(CAPSTAN_OUTCOME_KEEP), IsOk());
  }
  Result<std::unique_ptr<agent::MediaDevice>> Resume(const std::string& target,
                                                     const std::string& token = "t1",
                                                     std::uint64_t size_estimate = 0) {
    return plugin().Open({.mode = CAPSTAN_OPEN_REPLACE,
                          .target = target,
                          .token = token,
                          .size_estimate = size_estimate,
                          .resume = true});
  }
  void ExpectRefused(const Result<std::unique_ptr<agent::MediaDevice>>& result, int os_error,
                     const std::string& text) {
    EXPECT_EQ(result.status().os_error(), os_error) << result.status().message();
    EXPECT_THAT(result, MessageHas(text));
  }
  static std::int64_t SizeOf(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_size : -1;
  }

  static constexpr std::int64_t kBlock = 65536;
};

TEST_F(DiskResume, SaysWhyThereIsNothingToGoOnWith) {
  ExpectRefused(Resume(target_), ENOENT, partial_ + "' does not exist");
  ASSERT_THAT(WriteMedium(target_), IsOk());
  char value[16];
  if (::getxattr(target_.c_str(), "user.capstan.token", value, sizeof(value)) > 0) {
    ExpectRefused(Resume(target_), ENOENT, "token 't1' has completed it");
  }
  ExpectRefused(Resume(target_, "t2"), ENOENT, ".t2.capstan-partial' does not exist");

  const auto appending = Open(CAPSTAN_OPEN_APPEND, target_, "t3");
  ASSERT_THAT(appending, IsOk());
  ExpectRefused(Resume(target_, "t3"), ENOENT, "token 't3' has appended to it");
  EXPECT_THAT((*appending)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
  EXPECT_TRUE(HoldsBuffer(target_));
}

// The crash of a file system without RENAME_NOREPLACE: linked, not yet unlinked.
TEST_F(DiskResume, HalfDoneLinkIsComplete) {
  Keep();
  ASSERT_EQ(::link(partial_.c_str(), target_.c_str()), 0);

  ExpectRefused(Resume(target_), ENOENT, "token 't1' has completed it");

  EXPECT_THAT(plugin().Recover(target_, "t1", CAPSTAN_RECOVER_COMMIT), IsOk());
  EXPECT_EQ(SizeOf(target_), 2 * kBlock);
}

TEST_F(DiskResume, WhatKeepsNothingAndBadNamesAreRefused) {
  ExpectRefused(Resume("/dev/null"), ENOENT, "/dev/null");
  ExpectRefused(Resume(target_, "../x"), EINVAL, "../x");
  ExpectRefused(Resume(directory_.Under("nowhere/a.bak")), ENOENT, "nowhere");
  ASSERT_EQ(::symlink(target_.c_str(), partial_.c_str()), 0);
  ExpectRefused(Resume(target_), ELOOP, target_);
}

TEST_F(DiskResume, MissingRightsOnThePartialAreNamed) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root, to become somebody without rights";
  }
  constexpr uid_t kNobody = 65534;
  Keep();
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0777), 0);

  EXPECT_EQ(RunInChild([&]() -> std::string {
              if (::setresuid(kNobody, kNobody, kNobody) != 0) {
                return "no setuid";
              }
              const Status refused = Resume(target_).status();
              return refused.os_error() == EACCES ? "" : refused.ToString();
            }),
            "");
  EXPECT_EQ(SizeOf(partial_), 2 * kBlock);
}

// Space that was allocated ahead is behind the end of the file, before and after.
TEST_F(DiskResume, WhatWasAllocatedAheadIsNoDataAndIsGivenBack) {
  constexpr std::uint64_t kEstimate = 64U << 20;
  Keep(kEstimate);
  auto device = Resume(target_, "t1", kEstimate);
  ASSERT_THAT(device, IsOk());
  EXPECT_EQ(SizeOf(partial_), 2 * kBlock);
  const MediaBuffer read(4096);
  MediaRequest behind;
  ASSERT_THAT(behind.Read(**device, 2 * kBlock, {read.data(), read.size()}), IsOk());
  EXPECT_EQ(behind.Wait().completion_code, CAPSTAN_E_END);

  ASSERT_EQ(WriteBytes(**device, 0, buffer_.bytes()), 0U);
  ASSERT_EQ(RunRequest(**device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT((*device)->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  EXPECT_TRUE(HoldsBuffer(target_));
  struct stat status {};
  ASSERT_EQ(::stat(target_.c_str(), &status), 0);
  EXPECT_LE(status.st_blocks * 512, 1 << 20);
}

// The note of where the medium ends needs a block behind what was left.
TEST_F(DiskResume, WantOfRoomForTheNoteFailsTheFlushAndLosesNothing) {
  Keep();

  EXPECT_EQ(RunInChild([&]() -> std::string {
              ::signal(SIGXFSZ, SIG_IGN);
              const auto device = Resume(target_);
              const rlimit limit{2 * kBlock, 2 * kBlock};
              if (!device.ok() || ::setrlimit(RLIMIT_FSIZE, &limit) != 0) {
                return "no device";
              }
              if (WriteBytes(**device, 0, buffer_.bytes()) != 0) {
                return "the write failed";
              }
              MediaRequest flush;
              if (!flush.Submit(**device, CAPSTAN_OP_FLUSH).ok() ||
                  flush.Wait().completion_code != CAPSTAN_E_FILE_TOO_LARGE) {
                return "got " + std::to_string(flush.request.completion_code);
              }
              return (*device)->Close(CAPSTAN_OUTCOME_KEEP).ok() ? "" : "not kept";
            }),
            "");

  EXPECT_EQ(SizeOf(partial_), 2 * kBlock);
  const auto again = Resume(target_);
  ASSERT_THAT(again, IsOk());
  EXPECT_THAT((*again)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

TEST_F(DiskResume, DeathAfterAFlushLeavesTheEndToRecovery) {
  Keep();
  EXPECT_NE(RunInChild([&]() -> std::string {
              const auto device = Resume(target_);
              if (!device.ok() || WriteBytes(**device, 0, buffer_.bytes()) != 0 ||
                  RunRequest(**device, CAPSTAN_OP_FLUSH) != 0) {
                return "not flushed";
              }
              ::kill(::getpid(), SIGKILL);
              return "";
            }).find("signal 9"),
            std::string::npos);
  EXPECT_GT(SizeOf(partial_), 2 * kBlock);

  EXPECT_THAT(plugin().Recover(target_, "t1", CAPSTAN_RECOVER_COMMIT), IsOk());

  EXPECT_TRUE(HoldsBuffer(target_));
  EXPECT_FALSE(std::filesystem::exists(partial_));
}

}  // namespace
}  // namespace capstan::test
