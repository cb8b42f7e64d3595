#include "vdi/listening_socket.h"

#include <fstream>
#include <optional>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;

class ListeningSocketTest : public testing::Test {
 protected:
  std::string Path() const { return folder_.Under("vdi.sock"); }

  // What a server that was killed leaves behind: a file that nobody listens at.
  void LeaveStaleFile(int type) {
    const UniqueFd dead(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    Path().copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }

  test::TemporaryDirectory folder_;
};

TEST_F(ListeningSocketTest, TakesAConnectionAndRemovesItsFile) {
  {
    const auto socket = ListeningSocket::Bind(Path(), 0600);
    ASSERT_THAT(socket, IsOk());
    EXPECT_THAT(ConnectSocket(Path()), IsOk());
  }
  EXPECT_FALSE(std::filesystem::exists(Path()));
}

TEST_F(ListeningSocketTest, HasExactlyTheModeAskedFor) {
  const mode_t saved = ::umask(0077);
  const auto socket = ListeningSocket::Bind(Path(), 0666);
  ::umask(saved);
  ASSERT_THAT(socket, IsOk());

  struct stat info {};
  ASSERT_EQ(::stat(Path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0666U);
}

TEST_F(ListeningSocketTest, ReplacesAStaleFile) {
  LeaveStaleFile(SOCK_SEQPACKET);

  const auto socket = ListeningSocket::Bind(Path(), 0600);

  ASSERT_THAT(socket, IsOk());
  EXPECT_THAT(ConnectSocket(Path()), IsOk());
}

TEST_F(ListeningSocketTest, LeavesALiveServerAlone) {
  const auto first = ListeningSocket::Bind(Path(), 0600);
  ASSERT_THAT(first, IsOk());

  EXPECT_THAT(ListeningSocket::Bind(Path(), 0600), HasCode(Code::kAlreadyExists));
  EXPECT_THAT(ConnectSocket(Path()), IsOk());
}

TEST_F(ListeningSocketTest, LeavesOtherPeoplesFilesAlone) {
  std::ofstream(Path()) << "precious";

  EXPECT_THAT(ListeningSocket::Bind(Path(), 0600), HasCode(Code::kInvalidArgument));
  EXPECT_EQ(std::filesystem::file_size(Path()), 8U);
}

TEST_F(ListeningSocketTest, RemovesOnlyItsOwnFile) {
  auto socket = ListeningSocket::Bind(Path(), 0600);
  ASSERT_THAT(socket, IsOk());
  std::filesystem::remove(Path());
  std::ofstream(Path()) << "precious";

  { const ListeningSocket ended = std::move(socket).value(); }

  EXPECT_TRUE(std::filesystem::exists(Path()));
}

TEST_F(ListeningSocketTest, APathThatIsTooLongIsSaidToBe) {
  const std::string path = folder_.Under(std::string(108, 'x'));

  EXPECT_THAT(ListeningSocket::Bind(path, 0600), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(ListeningSocket::Bind(path, 0600), MessageHas("107 are possible"));
  EXPECT_THAT(ConnectSocket(path), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(ConnectSocket(""), HasCode(Code::kInvalidArgument));
}

TEST_F(ListeningSocketTest, AFolderThatIsNotThereIsAnError) {
  EXPECT_THAT(ListeningSocket::Bind(folder_.Under("nowhere/vdi.sock"), 0600),
              HasCode(Code::kNotFound));
}

TEST_F(ListeningSocketTest, ConnectSaysWhereNobodyListens) {
  EXPECT_THAT(ConnectSocket(Path()), HasCode(Code::kUnavailable));
  EXPECT_THAT(ConnectSocket(Path()), MessageHas(Path()));
  LeaveStaleFile(SOCK_SEQPACKET);
  EXPECT_THAT(ConnectSocket(Path()), HasCode(Code::kUnavailable));
}

}  // namespace
}  // namespace capstan::vdi
