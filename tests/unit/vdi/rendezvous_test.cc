#include "vdi/rendezvous.h"

#include <cstring>
#include <optional>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "vdi/client_device_set.h"
#include "vdi/control_message.h"
#include "vdi/listening_socket.h"
#include "vdi/segment_layout.h"
#include "vdi/shared_memory.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::Must;
using test::Patience;

class RendezvousTest : public testing::Test {
 protected:
  std::string Path() const { return folder_.Under("vdi.sock"); }
  Result<std::unique_ptr<ClientDeviceSet>> Create(std::string_view name,
                                                  const DeviceSetConfig& wishes = {
                                                      .device_count = 1}) {
    return ClientDeviceSet::Create(Path(), name, wishes);
  }

  // A client that speaks for itself; bounded waits.
  UniqueFd Stranger() {
    UniqueFd socket = Must(ConnectSocket(Path()));
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return socket;
  }
  // The code that the rendezvous answers to one datagram, and whether it then hangs up.
  Code AnswerTo(const void* bytes, std::size_t size) {
    const UniqueFd socket = Stranger();
    Must(SendBytes(socket.get(), bytes, size, -1));
    const auto answer = Must(ReceiveMessage(socket.get(), Passing::kAcceptFd));
    const auto created = Must(answer.As<CreatedMessage>());
    const bool refused = created.code != 0;
    EXPECT_EQ(answer.passed_fd.valid(), !refused);
    if (refused) {
      EXPECT_TRUE(Must(ReceiveMessage(socket.get(), Passing::kRefuseFd)).end_of_file());
    }
    return static_cast<Code>(created.code);
  }
  template <typename Message>
  Code AnswerTo(const Message& message) {
    return AnswerTo(&message, sizeof(message));
  }
  static CreateMessage SoundCreate(std::string_view name = "raw") {
    auto message = NewMessage<CreateMessage>();
    message.wishes.device_count = 1;
    message.name.Set(name);
    return message;
  }

  test::TemporaryDirectory folder_;
  std::unique_ptr<Rendezvous> rendezvous_ = Must(Rendezvous::Listen({.path = Path()}));
};

TEST_F(RendezvousTest, ASetIsOpenedByItsExactName) {
  auto client = Create("Set");
  ASSERT_THAT(client, IsOk());

  EXPECT_THAT(rendezvous_->Open("set", Deadline::Now()), HasCode(Code::kNotFound));
  const auto engine = rendezvous_->Open("Set", Deadline::Now());

  ASSERT_THAT(engine, IsOk());
  EXPECT_EQ((*engine)->name(), "Set");
  EXPECT_EQ((*engine)->client_pid(), ::getpid());
  EXPECT_EQ((*engine)->GetConfiguration().device_count, 1U);
}

TEST_F(RendezvousTest, OpenWaitsUntilTheSetIsCreated) {
  auto opened = std::async(std::launch::async, [&] { return rendezvous_->Open("s", Patience()); });
  auto client = Create("s");
  ASSERT_THAT(client, IsOk());

  EXPECT_THAT(opened.get(), IsOk());
}

TEST_F(RendezvousTest, OpenNamesWhatItWaitedFor) {
  const auto opened = rendezvous_->Open("ghost", Deadline::After(std::chrono::milliseconds(10)));

  EXPECT_THAT(opened, HasCode(Code::kNotFound));
  EXPECT_THAT(opened, MessageHas("'ghost'"));
}

TEST_F(RendezvousTest, ASetIsOpenedOnce) {
  auto client = Create("s");
  ASSERT_THAT(client, IsOk());
  const auto first = rendezvous_->Open("s", Patience());
  ASSERT_THAT(first, IsOk());

  EXPECT_THAT(rendezvous_->Open("s", Deadline::Now()), MessageHas("in use"));
}

TEST_F(RendezvousTest, ANameIsTakenUntilItsSetEnds) {
  auto client = Create("s");
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(Create("s"), HasCode(Code::kFailedPrecondition));

  ASSERT_THAT((*client)->Close(), IsOk());

  EXPECT_THAT(Create("s"), IsOk());
}

// The end of the old connection and the new Create may be read in either order.
TEST_F(RendezvousTest, ANameIsFreeAsSoonAsItsClientHasClosed) {
  for (int i = 0; i < 200; ++i) {
    auto client = Create("s");
    ASSERT_THAT(client, IsOk()) << "round " << i;
    ASSERT_THAT((*client)->Close(), IsOk());
  }
}

TEST_F(RendezvousTest, ANameIsFreeAsSoonAsTheEngineHasClosed) {
  for (int i = 0; i < 50; ++i) {
    auto client = Create("s");
    ASSERT_THAT(client, IsOk()) << "round " << i;
    auto engine = rendezvous_->Open("s", Patience());
    ASSERT_THAT(engine, IsOk());
    ASSERT_THAT((*engine)->Close(), IsOk());
  }
}

TEST_F(RendezvousTest, ListShowsEverySetWithItsState) {
  auto first = Create("a", {.device_count = 2, .features = feature::kLikeDisk});
  auto second = Create("b");
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  const auto engine = Must(rendezvous_->Open("b", Patience()));
  Must(engine->BeginConfiguration({.added_features = feature::kWriteMedia}));

  const auto list = rendezvous_->List();

  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].name, "a");
  EXPECT_EQ(list[0].state, "Created");
  EXPECT_EQ(list[0].device_count, 2U);
  EXPECT_EQ(list[0].features, 0x200U);
  EXPECT_EQ(list[0].client_pid, ::getpid());
  EXPECT_EQ(list[1].state, "Configurable");
}

TEST_F(RendezvousTest, WishesThatVdiDoesNotHaveAreUnimplemented) {
  EXPECT_THAT(Create("s", {.device_count = 0}), HasCode(Code::kUnimplemented));
  EXPECT_THAT(Create("s", {.device_count = 65}), HasCode(Code::kUnimplemented));
  EXPECT_THAT(Create("s", {.device_count = 1, .features = feature::kRewind}),
              HasCode(Code::kUnimplemented));
}

TEST_F(RendezvousTest, ImpossibleNamesAreInvalid) {
  EXPECT_THAT(Create(""), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(Create(std::string(129, 'n')), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(Create("a\\b"), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(Create(std::string(128, 'n')), IsOk());
}

TEST_F(RendezvousTest, CreateNeedsAnEngine) {
  EXPECT_THAT(ClientDeviceSet::Create(folder_.Under("nobody"), "s", {.device_count = 1}),
              HasCode(Code::kUnavailable));
}

TEST_F(RendezvousTest, BadCreateMessagesAreAnsweredAndHungUpOn) {
  EXPECT_EQ(AnswerTo(SoundCreate()), Code::kOk);
  EXPECT_EQ(AnswerTo("x", 1), Code::kDataLoss);
  const std::string flood(16500, 'x');
  EXPECT_EQ(AnswerTo(flood.data(), flood.size()), Code::kDataLoss);

  CreateMessage message = SoundCreate();
  message.header.magic ^= 1;
  EXPECT_EQ(AnswerTo(message), Code::kDataLoss);
  message = SoundCreate();
  message.header.version = 2;
  EXPECT_EQ(AnswerTo(message), Code::kUnimplemented);
  message = SoundCreate();
  message.header.size = 4;
  EXPECT_EQ(AnswerTo(message), Code::kDataLoss);
  message = SoundCreate();
  message.name.size = 0xFFFFFFFF;
  EXPECT_EQ(AnswerTo(message), Code::kInvalidArgument);
  message = SoundCreate();
  message.wishes.device_count = 0xFFFFFFFF;
  EXPECT_EQ(AnswerTo(message), Code::kUnimplemented);
}

TEST_F(RendezvousTest, StrangersThatSaySomethingElseAreHungUpOn) {
  const auto hung_up_after = [&](const auto& message) {
    const UniqueFd socket = Stranger();
    Must(SendMessage(socket.get(), message));
    return Must(ReceiveMessage(socket.get(), Passing::kRefuseFd)).end_of_file();
  };
  auto unknown = NewMessage<CloseMessage>();
  unknown.header.type = 99;

  EXPECT_TRUE(hung_up_after(NewMessage<CloseMessage>()));
  EXPECT_TRUE(hung_up_after(NewMessage<AbortMessage>()));
  EXPECT_TRUE(hung_up_after(unknown));
  auto client = Create("s");
  EXPECT_THAT(client, IsOk()) << "the rendezvous serves on";
}

TEST_F(RendezvousTest, AClientThatTalksRubbishLosesItsSetAndNoOther) {
  auto good = Create("good");
  ASSERT_THAT(good, IsOk());
  const auto good_engine = Must(rendezvous_->Open("good", Patience()));
  const UniqueFd bad = Stranger();
  Must(SendMessage(bad.get(), SoundCreate("bad")));
  const auto bad_engine = Must(rendezvous_->Open("bad", Patience()));
  Must(bad_engine->BeginConfiguration({.added_features = feature::kWriteMedia}));

  Must(SendBytes(bad.get(), "rubbish", 7, -1));
  while (bad_engine->abort_reason().ok()) {
    std::this_thread::yield();
  }

  EXPECT_THAT(bad_engine->abort_reason(), HasCode(Code::kDataLoss));
  EXPECT_THAT(good_engine->BeginConfiguration({.added_features = feature::kWriteMedia}), IsOk());
}

TEST_F(RendezvousTest, ASecondCreateOnOneConnectionEndsIt) {
  const UniqueFd socket = Stranger();
  Must(SendMessage(socket.get(), SoundCreate("one")));
  Must(ReceiveMessage(socket.get(), Passing::kAcceptFd));

  Must(SendMessage(socket.get(), SoundCreate("two")));
  const auto answer = Must(ReceiveMessage(socket.get(), Passing::kRefuseFd));

  EXPECT_EQ(Must(answer.As<CreatedMessage>()).code, static_cast<int>(Code::kFailedPrecondition));
  EXPECT_THAT(rendezvous_->Open("two", Deadline::Now()), HasCode(Code::kNotFound));
}

TEST_F(RendezvousTest, TooManyStrangersAreTurnedAway) {
  std::vector<UniqueFd> strangers;
  bool turned_away = false;
  for (int i = 0; i < 100 && !turned_away; ++i) {
    strangers.push_back(Stranger());
    pollfd ended{.fd = strangers.back().get(), .events = POLLIN, .revents = 0};
    turned_away = ::poll(&ended, 1, i < 64 ? 0 : 20000) == 1;
    EXPECT_EQ(turned_away, i >= 64) << i;
  }
  strangers.clear();

  // Until their ends have been read, newcomers are still turned away.
  const Deadline patience = Patience();
  auto created = Create("s");
  while (!created.ok() && !patience.passed()) {
    EXPECT_THAT(created, HasCode(Code::kUnavailable));
    created = Create("s");
  }
  EXPECT_THAT(created, IsOk());
}

TEST_F(RendezvousTest, ItsEndAbortsEverySet) {
  auto waiting = Must(Create("waiting"));
  auto client = Must(Create("taken"));
  const auto engine = Must(rendezvous_->Open("taken", Patience()));

  rendezvous_.reset();

  EXPECT_THAT(waiting->GetConfiguration(Patience()), HasCode(Code::kAborted));
  EXPECT_THAT(client->GetConfiguration(Patience()), HasCode(Code::kAborted));
  EXPECT_THAT(engine->abort_reason(), MessageHas("shutting down"));
  EXPECT_FALSE(std::filesystem::exists(Path()));
}

TEST_F(RendezvousTest, ListenFailsWhereAServerListens) {
  EXPECT_THAT(Rendezvous::Listen({.path = Path()}), HasCode(Code::kAlreadyExists));
}

// An engine of another time: it answers Create in its own way.
class StrangeEngine : public testing::Test {
 protected:
  // What Create says when the engine answers with `bytes`, or hangs up if there are none.
  Status CreateAgainst(std::span<const std::byte> bytes, int passed_fd = -1) {
    const ListeningSocket socket = Must(ListeningSocket::Bind(folder_.Under("vdi.sock"), 0600));
    auto created = std::async(std::launch::async, [&] {
      return ClientDeviceSet::Create(folder_.Under("vdi.sock"), "s", {.device_count = 1}).status();
    });
    pollfd waiting{.fd = socket.fd(), .events = POLLIN, .revents = 0};
    CAPSTAN_CHECK(::poll(&waiting, 1, 20000) == 1);
    UniqueFd peer(::accept4(socket.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!bytes.empty()) {
      Must(SendBytes(peer.get(), bytes.data(), bytes.size(), passed_fd));
    }
    // Read its request before hanging up, so that the answer is not lost to a reset.
    Must(ReceiveMessage(peer.get(), Passing::kRefuseFd));
    peer.Reset();
    return created.get();
  }
  test::TemporaryDirectory folder_;
};

TEST_F(StrangeEngine, IsRefusedByTheClient) {
  auto answer = NewMessage<CreatedMessage>();
  answer.control_size = ControlAreaSize(1);
  const auto bytes_of = [](const auto& message) { return std::as_bytes(std::span(&message, 1)); };

  EXPECT_THAT(CreateAgainst({}), HasCode(Code::kUnavailable));
  EXPECT_THAT(CreateAgainst(bytes_of(answer)), testing::Not(IsOk())) << "no descriptor";
  answer.header.version = 9;
  EXPECT_THAT(CreateAgainst(bytes_of(answer)), HasCode(Code::kUnimplemented));

  answer = NewMessage<CreatedMessage>();
  answer.control_size = ControlAreaSize(1);
  auto area = Must(SharedMemory::Create("strange", ControlAreaSize(1), 4096));
  EXPECT_THAT(CreateAgainst(bytes_of(answer), area.fd()), HasCode(Code::kDataLoss)) << "no magic";
  auto* header = new (area.data()) ControlHeader{};
  header->magic = kSegmentMagic;
  header->version = kSegmentVersion + 1;
  EXPECT_THAT(CreateAgainst(bytes_of(answer), area.fd()), HasCode(Code::kUnimplemented));
}

}  // namespace
}  // namespace capstan::vdi
