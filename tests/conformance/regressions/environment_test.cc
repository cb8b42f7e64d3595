// Reports of users whose virtual device failed because of where its two ends ran: the umask, the
// account, the container. The ends meet at a socket and share memory by descriptor, so only the
// socket's file must be reachable, and only its mode decides who gets in.
#include <filesystem>
#include <functional>
#include <string>

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/child_process.h"
#include "tests/support/device_session.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "vdi/rendezvous.h"

namespace capstan::vdi {
namespace {

using test::ChildProcess;
using test::Patience;
using test::RunInChild;

constexpr uid_t kEngineAccount = 61001;
constexpr uid_t kClientAccount = 61002;
constexpr uid_t kStranger = 61003;
constexpr gid_t kSharedGroup = 61000;

#define SKIP_UNLESS_ROOT()                                                               \
  if (::geteuid() != 0) {                                                                \
    GTEST_SKIP() << "NOT TESTED: this needs root, to be two other accounts and to make " \
                    "namespaces";                                                        \
  }

std::string TextOf(const Status& status) {
  return status.ok() ? "" : status.ToString() + " " + std::string(status.hint());
}

std::string RunEngineAt(const std::string& path) {
  auto rendezvous = Rendezvous::Listen({.path = path});
  if (!rendezvous.ok()) {
    return TextOf(rendezvous.status());
  }
  auto set = (*rendezvous)->Open("set", Patience());
  if (!set.ok()) {
    return TextOf(set.status());
  }
  Status ran = EngineSession(**set, Ending::kClose).Run();
  return TextOf(ran.ok() ? (*set)->Close() : ran);
}

// Until somebody listens there.
Status RunClientAt(const std::string& path) {
  const Deadline deadline = Patience();
  for (;;) {
    Status status = RunClient(path, "set", Ending::kClose);
    if (status.code() != Code::kUnavailable || deadline.passed()) {
      return status;
    }
    ::usleep(1000);
  }
}

bool Become(uid_t user, gid_t group, gid_t other_group) {
  return ::setgroups(1, &other_group) == 0 && ::setresgid(group, group, group) == 0 &&
         ::setresuid(user, user, user) == 0;
}

bool WaitForFile(const std::string& path) {
  const Deadline deadline = Patience();
  while (!std::filesystem::exists(path) && !deadline.passed()) {
    ::usleep(1000);
  }
  return !deadline.passed();
}

// --- accounts and umask ---

// A socket is there a moment before its group may use it.
bool WaitForGroupsTurn(const std::string& path) {
  const Deadline deadline = Patience();
  struct stat info {};
  while ((::stat(path.c_str(), &info) != 0 || (info.st_mode & S_IWGRP) == 0) &&
         !deadline.passed()) {
    ::usleep(1000);
  }
  return !deadline.passed();
}

// The folder of a socket, and as whom the engine listens there.
struct Shared {
  gid_t engine_group = kSharedGroup;
  mode_t folder_mode = 0755;
};

class Accounts : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_UNLESS_ROOT();
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
    ASSERT_EQ(::mkdir(run_.c_str(), 0755), 0);
    ASSERT_EQ(::chown(run_.c_str(), kEngineAccount, kSharedGroup), 0);
  }

  // Every process with the umask 077, which takes all rights of group and others from new files.
  void MeetAs(const Shared& shared) {
    ASSERT_EQ(::chmod(run_.c_str(), shared.folder_mode), 0);
    const std::string path = run_ + "/s";
    ChildProcess engine([&] {
      ::umask(077);
      return Become(kEngineAccount, shared.engine_group, shared.engine_group)
                 ? RunEngineAt(path)
                 : std::string("no rights to become the engine");
    });
    ChildProcess stranger([&]() -> std::string {
      if (!WaitForGroupsTurn(path) || !Become(kStranger, kStranger, kStranger)) {
        return "not ready";
      }
      const Status status = RunClientAt(path);
      const bool clear = status.message().find("Permission denied") != std::string::npos &&
                         status.message().find(path) != std::string::npos &&
                         status.hint().find("join the group") != std::string::npos;
      return status.code() == Code::kPermissionDenied && clear ? "" : "came in: " + TextOf(status);
    });
    EXPECT_EQ(stranger.Await(), "");
    ChildProcess client([&] {
      ::umask(077);
      return Become(kClientAccount, kClientAccount, kSharedGroup)
                 ? TextOf(RunClientAt(path))
                 : std::string("no rights to become the client");
    });
    EXPECT_EQ(client.Await(), "");
    EXPECT_EQ(engine.Await(), "");
  }

  test::TemporaryDirectory folder_;
  const std::string run_ = folder_.Under("run");
};

// microsoft/sql-server-samples, pull request 238: umask strips the group's rights (SLES).
TEST_F(Accounts, OfOneGroupMeetUnderARestrictiveUmask) {
  MeetAs({});
}

// The engine's own group is another one: a folder with the set-group-id bit hands its group on.
TEST_F(Accounts, MeetByTheGroupOfTheFolder) {
  MeetAs({.engine_group = kEngineAccount, .folder_mode = 02775});
}

// --- containers ---

// MSSQL containers have 64 MB of /dev/shm, and backups fail until somebody finds out (containers
// chapter of the product's documentation; blt-v5-poc lab notes). Nothing of ours lies there.
TEST(Containers, NeedNoRoomInDevShm) {
  SKIP_UNLESS_ROOT();
  EXPECT_EQ(RunInChild([]() -> std::string {
              if (::unshare(CLONE_NEWNS) != 0 ||
                  ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
                  ::mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=1m") != 0) {
                return "unable to mount a small /dev/shm";
              }
              constexpr std::uint32_t kBuffers = 128;  // of 64 KiB: 8 MiB
              test::DeviceSetPair pair;
              pair.Configure(kBuffers);
              pair.OpenAll();
              for (std::uint32_t i = 0; i < kBuffers; ++i) {
                std::byte* const buffer =
                    test::Must(pair.engine().AllocateBuffer(test::DeviceSetPair::kBufferSize, 0));
                std::fill_n(buffer, test::DeviceSetPair::kBufferSize, std::byte{0x5A});
              }
              return std::filesystem::is_empty("/dev/shm") ? "" : "a file is in /dev/shm";
            }),
            "");
}

struct Isolation {
  std::string name;
  int flags = 0;
  bool new_root = false;
};

// In the child: leaves the namespaces, and sees of the file system only the socket. The path there.
std::string Isolate(const Isolation& isolation, const std::string& path, const std::string& root) {
  if (::unshare(isolation.flags) != 0) {
    return "";
  }
  if (!isolation.new_root) {
    return path;
  }
  const int place = ::open((root + "/s").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  const bool inside =
      place >= 0 && ::close(place) == 0 &&
      ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
      ::mount(path.c_str(), (root + "/s").c_str(), nullptr, MS_BIND, nullptr) == 0 &&
      ::chroot(root.c_str()) == 0 && ::chdir("/") == 0;
  return inside ? "/s" : "";
}

class Namespaces : public testing::TestWithParam<Isolation> {
 protected:
  void SetUp() override {
    SKIP_UNLESS_ROOT();
    ASSERT_EQ(::mkdir(root_.c_str(), 0755), 0);
    if (RunInChild([&]() -> std::string {
          return ::unshare(GetParam().flags) == 0 ? "" : "refused";
        }) != "") {
      GTEST_SKIP() << "NOT TESTED: the kernel refuses " << GetParam().name;
    }
  }
  // A child of a child: a new process id namespace begins with the next fork.
  std::string RunIsolated(const std::function<std::string(const std::string& path)>& body) const {
    if (!WaitForFile(path_)) {
      return "nobody listens";
    }
    const std::string inside = Isolate(GetParam(), path_, root_);
    return inside.empty() ? "unable to leave the namespaces"
                          : RunInChild([&] { return body(inside); });
  }

  test::TemporaryDirectory folder_;
  const std::string path_ = folder_.Under("s");
  const std::string root_ = folder_.Under("root");
};

// microsoft/sql-server-samples, issue 752: `Open(hBufferMemory): error 2`, OpenDevice 0x80770004.
TEST_P(Namespaces, OfItsOwnDoNotKeepAClientOut) {
  ChildProcess engine([&] { return RunEngineAt(path_); });
  ChildProcess client([&] {
    return RunIsolated([](const std::string& path) { return TextOf(RunClientAt(path)); });
  });

  EXPECT_EQ(client.Await(), "");
  EXPECT_EQ(engine.Await(), "");
}

TEST_P(Namespaces, OfItsOwnDoNotHideItsDeath) {
  ChildProcess engine([&] { return RunEngineAt(path_); });
  ChildProcess client([&] {
    return RunIsolated([](const std::string& path) -> std::string {
      auto set = ClientDeviceSet::Create(path, "set", SessionWishes());
      const Status ready = set.ok() ? (*set)->GetConfiguration(Patience()).status() : set.status();
      if (!ready.ok()) {
        return TextOf(ready);
      }
      // The first process of a namespace takes no signal from within; its end is the same.
      ::_exit(0);
    });
  });

  EXPECT_EQ(client.Await(), "");
  const std::string outcome = engine.Await();
  EXPECT_NE(outcome.find("ABORTED"), std::string::npos) << outcome;
  EXPECT_NE(outcome.find("is gone"), std::string::npos) << outcome;
}

INSTANTIATE_TEST_SUITE_P(
    All, Namespaces,
    testing::Values(
        Isolation{"Network", CLONE_NEWNET}, Isolation{"ProcessIds", CLONE_NEWPID},
        Isolation{"Ipc", CLONE_NEWIPC}, Isolation{"MountsAndRoot", CLONE_NEWNS, true},
        Isolation{"Container",
                  CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWUTS, true}),
    [](const testing::TestParamInfo<Isolation>& one) { return one.param.name; });

}  // namespace
}  // namespace capstan::vdi
