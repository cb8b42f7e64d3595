#include "vdi/segment_layout.h"

#include <cstring>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/temporary_directory.h"
#include "vdi/control_message.h"
#include "vdi/listening_socket.h"
#include "vdi/shared_memory.h"

namespace capstan::vdi {
namespace {

using test::Must;

// The control area as a client of any version finds it: golden bytes, so that a change is meant.
TEST(SegmentLayout, AFreshControlAreaHasItsGoldenHeaderAndIsOtherwiseZero) {
  test::TemporaryDirectory folder;
  const auto rendezvous = Must(Rendezvous::Listen({.path = folder.Under("s")}));
  const UniqueFd socket = Must(ConnectSocket(folder.Under("s")));
  auto request = NewMessage<CreateMessage>();
  request.wishes.device_count = 3;
  request.name.Set("golden");
  Must(SendMessage(socket.get(), request));
  auto answer = Must(ReceiveMessage(socket.get(), Passing::kAcceptFd));
  const auto area = Must(SharedMemory::Adopt(std::move(answer.passed_fd), 128 + 3 * 24960, 4096));

  const unsigned char golden[32] = {'C',  'A',  'P', 'V', 'D', 'I', '0', '1',  // magic
                                    2,    0,    0,   0,                        // version
                                    128,  0,    0,   0,                        // header size
                                    0x80, 0x61, 0,   0,                        // device area size
                                    3,    0,    0,   0,                        // devices
                                    0,    1,    0,   0,                        // ring capacity
                                    0,    0,    0,   0};
  EXPECT_EQ(std::memcmp(area.data(), golden, sizeof(golden)), 0);
  for (std::size_t i = sizeof(golden); i < area.size(); ++i) {
    ASSERT_EQ(area.data()[i], std::byte{0}) << "at offset " << i;
  }
}

TEST(SegmentLayout, OneDeviceStandsBehindTheOther) {
  EXPECT_EQ(ControlAreaSize(1), 25088U);
  EXPECT_EQ(ControlAreaSize(64), 128U + 64 * 24960);
}

}  // namespace
}  // namespace capstan::vdi
