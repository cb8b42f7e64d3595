// What disks and their owners do to a backup: every refusal names the medium and the reason.
#include <cerrno>
#include <chrono>
#include <csignal>
#include <future>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/child_process.h"
#include "tests/unit/plugins/disk/disk_fixture.h"

namespace capstan::test {
namespace {

constexpr uid_t kNobody = 65534;

// "" if the call failed with this errno and names `text`.
template <typename T>
std::string ExpectError(const T& result, int os_error, const std::string& text) {
  const Status status = StatusOf(result);
  const bool fits =
      status.os_error() == os_error && status.message().find(text) != std::string_view::npos;
  return fits ? "" : "got " + std::to_string(status.os_error()) + " " + status.ToString();
}

std::string Lower(int resource, rlim_t value) {
  const rlimit limit{value, value};
  return ::setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) == 0 ? "" : "no setrlimit";
}

// Ends only with its process.
void WaitForEver() {
  std::promise<void>().get_future().wait();
}

// Leaves room for memory, but for no further thread: also stacks that were kept for reuse are
// taken.
std::string TakeAllThreads(std::uint64_t address_space_bytes) {
  const std::string limit = Lower(RLIMIT_AS, address_space_bytes + (1U << 20));
  try {
    while (limit.empty()) {
      std::thread(WaitForEver).detach();
    }
  } catch (const std::system_error&) {
    return "";
  }
  return limit;
}

std::uint64_t AddressSpaceBytes() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// A small tmpfs of its own, for those who may mount.
class SmallFileSystem {
 public:
  explicit SmallFileSystem(unsigned long flags = 0) {
    mounted_ = ::mount("tmpfs", directory_.path().c_str(), "tmpfs", flags, "size=256k") == 0;
  }
  ~SmallFileSystem() {
    if (mounted_) {
      ::umount2(directory_.path().c_str(), MNT_DETACH);
    }
  }
  SmallFileSystem(const SmallFileSystem&) = delete;
  SmallFileSystem& operator=(const SmallFileSystem&) = delete;

  bool mounted() const { return mounted_; }
  std::string Under(const std::string& name) const { return directory_.Under(name); }
  void Detach() { ::umount2(directory_.path().c_str(), MNT_DETACH); }

 private:
  TemporaryDirectory directory_;
  bool mounted_ = false;
};

using DiskErrors = DiskTest;

// S1-57
TEST_F(DiskErrors, MissingDirectoryIsNamed) {
  const std::string target = directory_.Under("nowhere/a.bak");

  for (const auto mode : {CAPSTAN_OPEN_READ, CAPSTAN_OPEN_REPLACE, CAPSTAN_OPEN_CREATE}) {
    EXPECT_EQ(ExpectError(Open(mode, target), ENOENT, target), "");
  }
  EXPECT_EQ(ExpectError(plugin().Stat(target), ENOENT, target), "");
  EXPECT_EQ(ExpectError(plugin().Remove(target), ENOENT, target), "");
}

TEST_F(DiskErrors, DirectoryIsNoMedium) {
  EXPECT_EQ(ExpectError(Open(CAPSTAN_OPEN_REPLACE, directory_.path()), EISDIR, directory_.path()),
            "");
  EXPECT_EQ(
      ExpectError(Open(CAPSTAN_OPEN_READ, directory_.path() + "/"), EISDIR, directory_.path()), "");
  EXPECT_EQ(ExpectError(plugin().Remove(directory_.path()), EISDIR, directory_.path()), "");
}

TEST_F(DiskErrors, RelativePathIsRefused) {
  EXPECT_EQ(ExpectError(Open(CAPSTAN_OPEN_REPLACE, "a.bak"), EINVAL, "not absolute"), "");
}

TEST_F(DiskErrors, NameThatIsTooLongIsRefused) {
  const std::string target = directory_.Under(std::string(256, 'n'));

  EXPECT_EQ(ExpectError(Open(CAPSTAN_OPEN_REPLACE, target), ENAMETOOLONG, "nnn"), "");
}

// A pipe without a reader would block an ordinary open for ever.
TEST_F(DiskErrors, PipeIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo(target_.c_str(), 0600), 0);

  EXPECT_EQ(ExpectError(Open(CAPSTAN_OPEN_REPLACE, target_), ENOTSUP, "a pipe"), "");
  EXPECT_EQ(ExpectError(Open(CAPSTAN_OPEN_READ, target_), ENOTSUP, "a pipe"), "");
}

TEST_F(DiskErrors, LinksInACircleAreRefused) {
  ASSERT_EQ(::symlink(target_.c_str(), target_.c_str()), 0);

  EXPECT_EQ(ExpectError(Open(CAPSTAN_OPEN_REPLACE, target_), ELOOP, target_), "");
}

TEST_F(DiskErrors, TokenThatCouldLeadElsewhereIsRefused) {
  for (const char* token : {"", "../x", "a.b", "a/b"}) {
    EXPECT_EQ(ExpectError(Open(CAPSTAN_OPEN_REPLACE, target_, token), EINVAL, target_), "")
        << token;
  }
  EXPECT_EQ(ExpectError(plugin().Recover(target_, "../x", CAPSTAN_RECOVER_DISCARD), EINVAL, "../x"),
            "");
}

// S0-33, S0-54: each of the rights that a directory must give.
TEST_F(DiskErrors, MissingRightsOnTheDirectoryAreNamed) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root, to become somebody without rights";
  }
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
  for (const mode_t mode : {0000U, 0500U, 0300U}) {
    const std::string place = directory_.Under("mode" + std::to_string(mode));
    ASSERT_EQ(::mkdir(place.c_str(), 0700), 0);
    ASSERT_EQ(::chown(place.c_str(), kNobody, kNobody), 0);
    ASSERT_EQ(::chmod(place.c_str(), mode), 0);

    EXPECT_EQ(RunInChild([&] {
                return ::setresuid(kNobody, kNobody, kNobody) != 0
                           ? "no setuid"
                           : ExpectError(Open(CAPSTAN_OPEN_REPLACE, place + "/a.bak"), EACCES,
                                         place);
              }),
              "")
        << std::oct << mode;
  }
}

TEST_F(DiskErrors, ReadOnlyFileSystemIsNamed) {
  const SmallFileSystem place(MS_RDONLY);
  if (!place.mounted()) {
    GTEST_SKIP() << "needs the right to mount";
  }

  EXPECT_EQ(ExpectError(Open(CAPSTAN_OPEN_REPLACE, place.Under("a.bak")), EROFS, "a.bak"), "");
}

TEST_F(DiskErrors, WantOfDescriptorsIsNamed) {
  EXPECT_EQ(RunInChild([&]() -> std::string {
              // UBSan opens a pipe the first time it looks at an object of a class.
              [[maybe_unused]] const bool warm = Open(CAPSTAN_OPEN_REPLACE, "relative").ok();
              const std::string limit = Lower(RLIMIT_NOFILE, 4);
              return !limit.empty()
                         ? limit
                         : ExpectError(Open(CAPSTAN_OPEN_REPLACE, target_), EMFILE, target_);
            }),
            "");
}

// The thread of a medium's queue is the last thing that its opening needs.
TEST_F(DiskErrors, WantOfThreadsLeavesNothing) {
  if (AddressSpaceBytes() > 1ULL << 40) {
    GTEST_SKIP() << "a sanitizer wants address space of its own when a thread starts";
  }
  const auto refused = [&](capstan_open_mode mode, bool resume = false) {
    return RunInChild([&]() -> std::string {
      [[maybe_unused]] const bool warm = Open(CAPSTAN_OPEN_REPLACE, "relative").ok();
      const std::string limit = TakeAllThreads(AddressSpaceBytes());
      const agent::OpenMediumOptions options{
          .mode = mode, .target = target_, .token = "t1", .resume = resume};
      return !limit.empty() ? limit : ExpectError(plugin().Open(options), EAGAIN, target_);
    });
  };

  EXPECT_EQ(refused(CAPSTAN_OPEN_CREATE), "");
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
  ASSERT_THAT(WriteMedium(target_), IsOk());
  EXPECT_EQ(refused(CAPSTAN_OPEN_REPLACE), "");
  EXPECT_EQ(refused(CAPSTAN_OPEN_APPEND), "");
  EXPECT_TRUE(HoldsBuffer(target_));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path()), {}), 1);

  // But for what an earlier job has left to be gone on with.
  const auto kept = Open(CAPSTAN_OPEN_REPLACE, target_);
  ASSERT_THAT(kept, IsOk());
  ASSERT_EQ(WriteBytes(**kept, 0, buffer_.bytes()), 0U);
  ASSERT_THAT((*kept)->Close(CAPSTAN_OUTCOME_KEEP), IsOk());
  EXPECT_EQ(refused(CAPSTAN_OPEN_REPLACE, true), "");
  EXPECT_TRUE(HoldsBuffer(partial_));
}

// S0-12: the file system, or a limit, lets the file grow no further.
TEST_F(DiskErrors, FileThatMayNotGrowIsErrorAndNeverComplete) {
  ASSERT_THAT(WriteMedium(target_, CAPSTAN_OPEN_REPLACE, "old"), IsOk());
  EXPECT_EQ(RunInChild([&]() -> std::string {
              ::signal(SIGXFSZ, SIG_IGN);
              auto device = Open(CAPSTAN_OPEN_REPLACE, target_);
              if (!device.ok() || !Lower(RLIMIT_FSIZE, 65536).empty()) {
                return "no device";
              }
              if (WriteBytes(**device, 0, buffer_.bytes()) != 0) {
                return "the first write failed";
              }
              MediaRequest write;
              if (!write.Write(**device, 65536, buffer_.bytes()).ok() ||
                  write.Wait().completion_code != 223 || write.request.error.os_error != EFBIG) {
                return "got " + std::to_string(write.request.completion_code);
              }
              const std::uint32_t complete = RunRequest(**device, CAPSTAN_OP_COMPLETE);
              const bool discarded = (*device)->Close(CAPSTAN_OUTCOME_DISCARD).ok();
              return complete == 223 && discarded ? "" : "completed " + std::to_string(complete);
            }),
            "");
  EXPECT_TRUE(HoldsBuffer(target_));
  EXPECT_FALSE(std::filesystem::exists(partial_));
}

TEST_F(DiskErrors, FullFileSystemIs112AndKeepsTheOldMedium) {
  const SmallFileSystem place;
  if (!place.mounted()) {
    GTEST_SKIP() << "needs the right to mount";
  }
  const std::string target = place.Under("a.bak");
  ASSERT_THAT(WriteMedium(target, CAPSTAN_OPEN_REPLACE, "old"), IsOk());
  const auto device = Open(CAPSTAN_OPEN_REPLACE, target);
  ASSERT_THAT(device, IsOk());

  std::uint32_t code = 0;
  for (std::int64_t block = 0; block < 8 && code == 0; ++block) {
    code = WriteBytes(**device, block * 65536, buffer_.bytes());
  }

  EXPECT_EQ(code, 112U);
  EXPECT_EQ(RunRequest(**device, CAPSTAN_OP_FLUSH), 112U);
  EXPECT_EQ(RunRequest(**device, CAPSTAN_OP_COMPLETE), 112U);
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
  EXPECT_TRUE(HoldsBuffer(target));
}

TEST_F(DiskErrors, FullDeviceIs112) {
  const auto device = Open(CAPSTAN_OPEN_REPLACE, "/dev/full");
  ASSERT_THAT(device, IsOk());

  MediaRequest write;
  ASSERT_THAT(write.Write(**device, 0, buffer_.bytes()), IsOk());

  EXPECT_EQ(write.Wait().completion_code, 112U);
  EXPECT_EQ(write.request.error.os_error, ENOSPC);
  EXPECT_THAT(write.request.error.message, testing::HasSubstr("/dev/full"));
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

// S0-11: writes to a file without a name succeed for ever; somebody has to look.
TEST_F(DiskErrors, RemovedFileIsNoticedWithinFiveSeconds) {
  const auto device = Open(CAPSTAN_OPEN_REPLACE, target_);
  ASSERT_THAT(device, IsOk());
  ASSERT_EQ(::unlink(partial_.c_str()), 0);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);

  MediaRequest failed;
  std::uint32_t code = 0;
  while (code == 0 && std::chrono::steady_clock::now() < deadline) {
    code = WriteBytes(**device, 0, buffer_.bytes());
  }

  EXPECT_EQ(code, 29U);
  EXPECT_NE(RunRequest(**device, CAPSTAN_OP_COMPLETE), 0U);
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
  EXPECT_FALSE(std::filesystem::exists(target_));
}

// S0-11: the mount is taken away lazily; the open file goes on as if nothing had happened.
TEST_F(DiskErrors, VanishedMountFailsFlushAndComplete) {
  SmallFileSystem place;
  if (!place.mounted()) {
    GTEST_SKIP() << "needs the right to mount";
  }
  const auto device = Open(CAPSTAN_OPEN_REPLACE, place.Under("a.bak"));
  ASSERT_THAT(device, IsOk());
  ASSERT_EQ(WriteBytes(**device, 0, buffer_.bytes()), 0U);

  place.Detach();

  MediaRequest flush;
  ASSERT_THAT(flush.Submit(**device, CAPSTAN_OP_FLUSH), IsOk());
  EXPECT_NE(flush.Wait().completion_code, 0U);
  EXPECT_THAT(flush.request.error.message, testing::HasSubstr("no longer the one"));
  EXPECT_NE(RunRequest(**device, CAPSTAN_OP_COMPLETE), 0U);
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

// S0-10: the holder of the medium is named.
TEST_F(DiskErrors, OtherProcessThatWritesTheMediumIsNamed) {
  int ready[2];
  int finish[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(finish), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(finish[1]);
    const auto device = Open(CAPSTAN_OPEN_REPLACE, target_, "other");
    char byte = device.ok() ? 'y' : 'n';
    [[maybe_unused]] ssize_t moved = ::write(ready[1], &byte, 1);
    moved = ::read(finish[0], &byte, 1);  // until the parent is done
    ::_exit(0);
  }
  char byte = 'n';
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');

  const auto device = Open(CAPSTAN_OPEN_REPLACE, target_);

  EXPECT_EQ(ExpectError(device, EBUSY, target_), "");
  EXPECT_THAT(device, MessageHas("held by process " + std::to_string(child)));
  EXPECT_FALSE(std::filesystem::exists(partial_));
  ::close(finish[1]);
  ::waitpid(child, nullptr, 0);
  // What the dead writer left does not stand in the way.
  EXPECT_THAT(WriteMedium(target_), IsOk());
  EXPECT_THAT(plugin().Recover(target_, "other", CAPSTAN_RECOVER_DISCARD), IsOk());
  for (const int fd : {ready[0], ready[1], finish[0]}) {
    ::close(fd);
  }
}

// S0-10
TEST_F(DiskErrors, ExclusiveLockOnTheMediumIsRespected) {
  ASSERT_THAT(WriteMedium(target_), IsOk());
  const int holder = ::open(target_.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::flock(holder, LOCK_EX), 0);

  EXPECT_EQ(ExpectError(Open(CAPSTAN_OPEN_REPLACE, target_), EBUSY, std::to_string(::getpid())),
            "");
  EXPECT_EQ(ExpectError(Open(CAPSTAN_OPEN_READ, target_), EBUSY, std::to_string(::getpid())), "");
  ::close(holder);
}

TEST_F(DiskErrors, NameTakenMeanwhileIsNotOverwritten) {
  const auto device = Open(CAPSTAN_OPEN_CREATE, target_);
  ASSERT_THAT(device, IsOk());
  ASSERT_EQ(WriteBytes(**device, 0, buffer_.bytes()), 0U);
  std::ofstream(target_) << "somebody else's";

  MediaRequest complete;
  ASSERT_THAT(complete.Submit(**device, CAPSTAN_OP_COMPLETE), IsOk());

  EXPECT_NE(complete.Wait().completion_code, 0U);
  EXPECT_EQ(complete.request.error.os_error, EEXIST);
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
  EXPECT_EQ(Contents(target_), "somebody else's");
  EXPECT_FALSE(std::filesystem::exists(partial_));
}

TEST_F(DiskErrors, TokenInUseIsRefused) {
  const auto first = Open(CAPSTAN_OPEN_REPLACE, target_);
  ASSERT_THAT(first, IsOk());

  EXPECT_EQ(ExpectError(Open(CAPSTAN_OPEN_REPLACE, target_), EEXIST, "under construction"), "");
  EXPECT_THAT((*first)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

}  // namespace
}  // namespace capstan::test
