#include "vdi/control_message.h"

#include <cstring>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "tests/support/status_matchers.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;

class ControlMessage : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    here_.Reset(ends[0]);
    there_.Reset(ends[1]);
  }
  Result<ReceivedMessage> Receive(Passing passing = Passing::kRefuseFd) {
    return ReceiveMessage(there_.get(), passing);
  }
  CreateMessage Sample() {
    auto message = NewMessage<CreateMessage>();
    message.wishes = {.device_count = 3, .features = feature::kLikeTape};
    message.name.Set("a set");
    return message;
  }
  UniqueFd here_;
  UniqueFd there_;
};

TEST_F(ControlMessage, ArrivesAsItWasSent) {
  ASSERT_THAT(SendMessage(here_.get(), Sample()), IsOk());

  const auto received = Receive();
  ASSERT_THAT(received, IsOk());
  const auto message = received->As<CreateMessage>();

  ASSERT_THAT(message, IsOk());
  EXPECT_EQ(message->name.view(), "a set");
  EXPECT_EQ(message->wishes.device_count, 3U);
  EXPECT_EQ(message->wishes.features, 0x173U);
  EXPECT_THAT(received->As<AbortMessage>(), HasCode(Code::kDataLoss)) << "another type";
}

// What stands on the wire may not change without a new version.
TEST_F(ControlMessage, HeaderHasItsGoldenBytes) {
  const auto message = NewMessage<CloseMessage>();
  const unsigned char golden[] = {'C', 'P', 'V', 'I', 1, 0, 5, 0, 16, 0, 0, 0, 0, 0, 0, 0};

  static_assert(sizeof(message) == sizeof(golden));
  EXPECT_EQ(std::memcmp(&message, golden, sizeof(golden)), 0);
}

TEST_F(ControlMessage, EveryPrefixIsRefused) {
  const CreateMessage whole = Sample();
  for (std::size_t size = 1; size < sizeof(whole); ++size) {
    ASSERT_THAT(SendBytes(here_.get(), &whole, size, -1), IsOk());
    ASSERT_THAT(Receive(), HasCode(Code::kDataLoss)) << size;
  }
}

TEST_F(ControlMessage, EveryFlippedBitOfTheHeaderIsNoticedByHeaderOrType) {
  for (std::size_t bit = 0; bit < 12 * 8; ++bit) {
    CreateMessage message = Sample();
    auto* bytes = reinterpret_cast<unsigned char*>(&message);
    bytes[bit / 8] = static_cast<unsigned char>(bytes[bit / 8] ^ (1U << bit % 8));
    ASSERT_THAT(SendMessage(here_.get(), message), IsOk());
    const auto received = Receive();
    const bool noticed = !received.ok() || !received->As<CreateMessage>().ok();
    EXPECT_TRUE(noticed) << "bit " << bit;
  }
}

// S1-40: ends of different versions say so.
TEST_F(ControlMessage, AnotherVersionIsSaidToBeOne) {
  CreateMessage message = Sample();
  message.header.version = kMessageVersion + 1;
  ASSERT_THAT(SendMessage(here_.get(), message), IsOk());

  EXPECT_THAT(Receive(), HasCode(Code::kUnimplemented));
}

TEST_F(ControlMessage, TooLongAMessageIsRefused) {
  const std::vector<char> flood(20000, 'x');
  ASSERT_THAT(SendBytes(here_.get(), flood.data(), flood.size(), -1), IsOk());

  EXPECT_THAT(Receive(), HasCode(Code::kDataLoss));
}

TEST_F(ControlMessage, ADescriptorComesAlong) {
  const UniqueFd memory(::memfd_create("passed", MFD_CLOEXEC));
  ASSERT_THAT(SendMessage(here_.get(), Sample(), memory.get()), IsOk());

  const auto received = Receive(Passing::kAcceptFd);

  ASSERT_THAT(received, IsOk());
  EXPECT_TRUE(received->passed_fd.valid());
}

TEST_F(ControlMessage, ADescriptorThatNobodyWantsIsDropped) {
  const UniqueFd memory(::memfd_create("passed", MFD_CLOEXEC));
  ASSERT_THAT(SendMessage(here_.get(), Sample(), memory.get()), IsOk());

  const auto received = Receive(Passing::kRefuseFd);

  ASSERT_THAT(received, IsOk());
  EXPECT_FALSE(received->passed_fd.valid());
}

TEST_F(ControlMessage, TheEndOfThePeerIsNoError) {
  here_.Reset();

  const auto received = Receive();

  ASSERT_THAT(received, IsOk());
  EXPECT_TRUE(received->end_of_file());
}

TEST_F(ControlMessage, SendingToAPeerThatIsGoneFails) {
  there_.Reset();

  EXPECT_THAT(SendMessage(here_.get(), Sample()), HasCode(Code::kUnavailable));
}

TEST_F(ControlMessage, SendingToAPeerThatDoesNotReadNeverBlocks) {
  Status sent;
  for (int i = 0; i < 100000 && sent.ok(); ++i) {
    sent = SendMessage(here_.get(), Sample());
  }

  EXPECT_THAT(sent, HasCode(Code::kUnavailable));
}

TEST(WireText, CutsWhatIsTooLongAndDistrustsItsSize) {
  WireText<4> text{};
  text.Set("abcdef");
  EXPECT_EQ(text.view(), "abcd");

  text.size = 5;
  EXPECT_FALSE(text.valid());
  EXPECT_EQ(text.view(), "");
}

}  // namespace
}  // namespace capstan::vdi
