// What the engine does when a process of a set dies, or lies. The member speaks for itself here, so
// that its end can come without a word.
#include <optional>

#include <gtest/gtest.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"
#include "vdi/control_message.h"
#include "vdi/listening_socket.h"
#include "vdi/segment_layout.h"
#include "vdi/shared_memory.h"
#include "vdi/wake.h"

namespace capstan::vdi {
namespace {

using test::DeviceSetPair;
using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::Must;
using test::Patience;

class RawMember {
 public:
  explicit RawMember(const std::string& path) : socket_(Must(ConnectSocket(path))) {
    auto request = NewMessage<JoinMessage>();
    request.name.Set("set");
    Must(SendMessage(socket_.get(), request));
    auto received = Must(ReceiveMessage(socket_.get(), Passing::kAcceptFd));
    joined_ = Must(received.As<JoinedMessage>());
    CAPSTAN_CHECK(joined_.code == 0);
    control_.emplace(
        Must(SharedMemory::Adopt(std::move(received.passed_fd), joined_.control_size, 4096)));
  }
  DeviceArea& device(std::size_t i) {
    return *reinterpret_cast<DeviceArea*>(control_->data() + sizeof(ControlHeader) +
                                          i * kDeviceAreaSize);
  }
  void Write(std::size_t i, std::uint32_t word) {
    device(i).client_state.store(word);
    WakeIfAsleep(reinterpret_cast<ControlHeader*>(control_->data())->engine_sleep);
  }
  std::uint32_t member() const { return joined_.member; }
  int socket() const { return socket_.get(); }
  void Die() { socket_.Reset(); }

 private:
  UniqueFd socket_;
  JoinedMessage joined_{};
  std::optional<SharedMemory> control_;
};

TEST(MemberDeath, WithADeviceOfItsOwnAbortsTheSet) {
  for (const bool noticed : {true, false}) {
    DeviceSetPair pair({.device_count = 2});
    pair.Configure();
    RawMember member(pair.path());
    member.Write(1, ClientWord(kClientOpen, member.member()));
    if (noticed) {
      Must(pair.engine().OpenDevice("set2", Patience()));
    }
    member.Die();

    EXPECT_THAT(pair.engine().OpenDevice("set", Patience()), HasCode(Code::kAborted));
    EXPECT_THAT(pair.engine().abort_reason(), HasCode(Code::kUnavailable));
    EXPECT_THAT(pair.engine().abort_reason(), MessageHas("'set2'"));
    EXPECT_THAT(pair.engine().abort_reason(), MessageHas(std::to_string(::getpid())));
  }
}

TEST(MemberDeath, AfterTheEngineHasClosedItsDeviceHurtsNobody) {
  DeviceSetPair pair({.device_count = 2});
  pair.Configure();
  RawMember member(pair.path());
  member.Write(1, ClientWord(kClientOpen, member.member()));
  Must(Must(pair.engine().OpenDevice("set2", Patience()))->CloseDevice());

  member.Die();

  const auto next =
      Must(ClientDeviceSet::OpenInSecondary(pair.path(), "set"));  // the rendezvous reads in order
  ClientDevice* const device = Must(next->OpenDevice("set"));
  ServerDevice* const engine = Must(pair.engine().OpenDevice("set", Patience()));
  Must(engine->CloseDevice());
  EXPECT_FALSE(Must(device->GetCommand(Patience())).has_value());
  EXPECT_THAT(pair.engine().abort_reason(), IsOk());
}

TEST(MemberDeath, OfThePrimaryEndsTheSetForAll) {
  DeviceSetPair pair;
  pair.Configure();
  const auto other = Must(ClientDeviceSet::OpenInSecondary(pair.path(), "set"));
  ClientDevice* const device = Must(other->OpenDevice("set"));

  pair.DestroyClient();

  EXPECT_THAT(device->GetCommand(Patience()), HasCode(Code::kAborted));
}

TEST(MemberLies, AreNoticed) {
  const std::uint32_t words[] = {
      ClientWord(kClientOpen, 2),      // there is one member beside the primary
      ClientWord(kClientFinished, 1),  // nothing was closed
      ClientWord(7, 1),
      ClientWord(kClientOpen, kMemberMax),
  };
  for (const std::uint32_t word : words) {
    DeviceSetPair pair;
    pair.Configure();
    RawMember member(pair.path());
    ASSERT_EQ(member.member(), 1U);
    member.Write(0, word);

    EXPECT_THAT(pair.engine().OpenDevice("set", Patience()), HasCode(Code::kAborted)) << word;
    EXPECT_THAT(pair.engine().abort_reason(), HasCode(Code::kDataLoss)) << word;
  }
}

TEST(MemberLies, AWordThatChangesWhileTheDeviceIsOpenIsNoticed) {
  DeviceSetPair pair;
  pair.Configure();
  RawMember member(pair.path());
  member.Write(0, ClientWord(kClientOpen, 1));
  ServerDevice* const device = Must(pair.engine().OpenDevice("set", Patience()));
  member.Write(0, ClientWord(kClientFinished, 1));

  EXPECT_THAT(device->CloseDevice(), HasCode(Code::kAborted));
  EXPECT_THAT(pair.engine().abort_reason(), HasCode(Code::kDataLoss));
}

TEST(MemberLies, RubbishOnItsSocketEndsTheSet) {
  DeviceSetPair pair;
  pair.Configure();
  RawMember member(pair.path());
  Must(SendBytes(member.socket(), "rubbish", 7, -1));

  EXPECT_THAT(pair.engine().OpenDevice("set", Patience()), HasCode(Code::kAborted));
  EXPECT_THAT(pair.engine().abort_reason(), HasCode(Code::kDataLoss));
}

TEST(MemberLies, AConnectionJoinsOnce) {
  DeviceSetPair pair;
  pair.Configure();
  RawMember member(pair.path());
  Must(ReceiveMessage(member.socket(), Passing::kAcceptFd));  // the configuration
  auto again = NewMessage<JoinMessage>();
  again.name.Set("set");
  Must(SendMessage(member.socket(), again));

  const auto answer = Must(ReceiveMessage(member.socket(), Passing::kRefuseFd));
  EXPECT_EQ(Must(answer.As<JoinedMessage>()).code, static_cast<int>(Code::kFailedPrecondition));
}

TEST(MemberLies, ANameThatIsTooLongIsRefused) {
  DeviceSetPair pair;
  const UniqueFd socket = Must(ConnectSocket(pair.path()));
  auto request = NewMessage<JoinMessage>();
  request.name.size = 0xFFFFFFFF;
  Must(SendMessage(socket.get(), request));

  const auto answer = Must(ReceiveMessage(socket.get(), Passing::kRefuseFd));
  EXPECT_EQ(Must(answer.As<JoinedMessage>()).code, static_cast<int>(Code::kInvalidArgument));
}

}  // namespace
}  // namespace capstan::vdi
