// Reports of users whose virtual device failed, hung or lied because of what the two ends said to
// each other, or did not say.
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/support/busy_engine.h"
#include "tests/support/device_session.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/victim_process.h"
#include "vdi/control_message.h"
#include "vdi/listening_socket.h"
#include "vdi/rendezvous.h"
#include "vdi/segment_layout.h"
#include "vdi/shared_memory.h"

namespace capstan::vdi {
namespace {

using namespace std::chrono_literals;
using test::AwaitedCommand;
using test::DeviceSetPair;
using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::Must;
using test::Patience;

// microsoft/sql-server-samples, issue 378: two virtual devices fail where one works.
TEST(Reports, TwoDevicesWorkAtOnce) {
  DeviceSetPair pair({.device_count = 2});
  pair.Configure();
  pair.OpenAll();
  std::vector<std::jthread> clients;
  std::vector<std::jthread> engines;
  for (std::size_t i = 0; i < 2; ++i) {
    clients.emplace_back([&pair, i] {
      EXPECT_THAT(ServeDevice(pair.client_device(i), pair.client(), Ending::kClose), IsOk());
    });
    engines.emplace_back([&pair, i] {
      std::byte* const buffer = Must(pair.engine().AllocateBuffer(DeviceSetPair::kBufferSize, 0));
      for (int round = 0; round < 200; ++round) {
        AwaitedCommand write(CommandCode::kWrite, buffer, DeviceSetPair::kBufferSize);
        Must(pair.engine_device(i).SendCommand(write.get()));
        EXPECT_EQ(write.Await().completion_code, CompletionCode::kSuccess);
      }
      EXPECT_THAT(pair.engine_device(i).CloseDevice(), IsOk());
    });
  }
  engines.clear();
  clients.clear();

  EXPECT_THAT(pair.client().Close(), IsOk());
  EXPECT_THAT(pair.engine().Close(), IsOk());
}

// KB3188454: a backup with FILESTREAM flushes several times; a client that ends at the first loses
// the rest. Whoever asks for Complete is told when it is really over.
TEST(Reports, SeveralFlushesAreNotTheEnd) {
  test::TemporaryDirectory folder;
  const auto rendezvous = Must(Rendezvous::Listen({.path = folder.Under("s")}));
  std::vector<CommandCode> seen;
  const auto client = Must(ClientDeviceSet::Create(
      rendezvous->path(), "set", {.device_count = 1, .features = feature::kRequestComplete}));
  const auto engine = Must(rendezvous->Open("set", Patience()));
  Must(engine->BeginConfiguration(
      {.added_features = feature::kWriteMedia | feature::kCompleteEnabled}));
  Must(engine->RequestBuffers(65536, 0, 1));
  Must(engine->EndConfiguration(std::vector<std::string>{"set"}));
  const DeviceSetConfig config = Must(client->GetConfiguration(Patience()));
  EXPECT_NE(config.features & feature::kCompleteEnabled, 0U);
  std::jthread serving([&] {
    ClientDevice* device = Must(client->OpenDevice("set"));
    while (const auto command = Must(device->GetCommand(Patience()))) {
      seen.push_back(command->code);
      Must(device->CompleteCommand(command->id, CompletionCode::kSuccess,
                                   command->buffer == nullptr ? 0 : command->size, 0));
    }
  });
  ServerDevice* device = Must(engine->OpenDevice("set", Patience()));
  std::byte* const buffer = Must(engine->AllocateBuffer(65536, 0));
  const std::vector<CommandCode> sent = {CommandCode::kWrite, CommandCode::kFlush,
                                         CommandCode::kFlush, CommandCode::kWrite,
                                         CommandCode::kFlush, CommandCode::kComplete};

  for (const CommandCode code : sent) {
    AwaitedCommand command(code, buffer, 65536);
    Must(device->SendCommand(command.get()));
    EXPECT_EQ(command.Await().completion_code, CompletionCode::kSuccess);
  }
  EXPECT_THAT(device->CloseDevice(), IsOk());
  serving.join();

  EXPECT_EQ(seen, sent);
  EXPECT_THAT(client->Close(), IsOk());
}

// The osimple and snapshot samples poll GetConfiguration once a second while they watch the
// statement; the others wait forever when it fails early.
TEST(Reports, PollingGetConfigurationSeesTheStatementFail) {
  DeviceSetPair pair;
  for (int poll = 0; poll < 3; ++poll) {
    EXPECT_THAT(pair.client().GetConfiguration(Deadline::After(5ms)),
                HasCode(Code::kDeadlineExceeded));
  }

  pair.DestroyEngine();  // the statement failed after it had opened the set

  EXPECT_THAT(pair.client().GetConfiguration(Patience()), HasCode(Code::kAborted));
}

// A statement that fails before it opens the set (syntax, rights) says so on its own connection
// only; and a set that nobody ever opens must not be in the way of anybody.
TEST(Reports, ASetThatNobodyOpensGoesWithItsClient) {
  test::TemporaryDirectory folder;
  const auto rendezvous = Must(Rendezvous::Listen({.path = folder.Under("s")}));
  {
    const auto client =
        Must(ClientDeviceSet::Create(rendezvous->path(), "set", {.device_count = 1}));
    const auto waited = client->GetConfiguration(Deadline::After(5ms));
    EXPECT_THAT(waited, HasCode(Code::kDeadlineExceeded));
    EXPECT_NE(waited.status().hint().find("statement"), std::string_view::npos);
    EXPECT_THAT(client->Close(), IsOk());
  }
  const Deadline noticed = Deadline::After(2s);
  while (!rendezvous->List().empty() && !noticed.passed()) {
    std::this_thread::yield();
  }

  EXPECT_TRUE(rendezvous->List().empty());
  EXPECT_THAT(rendezvous->Open("set", Deadline::Now()), HasCode(Code::kNotFound));
}

// One contiguous area that the server's memory has no room for: tools retry with a smaller
// MAXTRANSFERSIZE, and must be able to.
TEST(Reports, WantOfMemoryAtConfigurationIsNotTheEnd) {
  DeviceSetPair pair({.segment_bytes_max = 8 * DeviceSetPair::kBufferSize});
  pair.Begin();
  Must(pair.engine().RequestBuffers(DeviceSetPair::kBufferSize, 0, 64));
  EXPECT_THAT(pair.engine().EndConfiguration(pair.names()), HasCode(Code::kResourceExhausted));
  EXPECT_THAT(pair.client().GetConfiguration(Deadline::Now()), HasCode(Code::kDeadlineExceeded));

  Must(pair.engine().RequestBuffers(DeviceSetPair::kBufferSize, 0, 4));

  EXPECT_THAT(pair.engine().EndConfiguration(pair.names()), IsOk());
  EXPECT_THAT(pair.client().GetConfiguration(Patience()), IsOk());
  pair.OpenAll();
  EXPECT_THAT(pair.engine().AllocateBuffer(DeviceSetPair::kBufferSize, 0), IsOk());
}

// BACKUP that hangs indefinitely: the client is stopped, and serverTimeOut says for how long that
// is borne.
TEST(Reports, AStoppedClientWithServerTimeOutIsGivenUp) {
  constexpr std::uint32_t kServerTimeoutMs = 100;
  test::TemporaryDirectory folder;
  const auto rendezvous = Must(Rendezvous::Listen({.path = folder.Under("s")}));
  VictimProcess client({"busy-client", rendezvous->path(), "set", std::to_string(kServerTimeoutMs)},
                       "");
  const auto set = Must(rendezvous->Open("set", Patience()));
  BusyEngine engine(*set);
  Status outcome;
  std::jthread working([&] { outcome = engine.Run(); });
  const Deadline started = Patience();
  while (engine.ended() < 10 && !started.passed()) {
    std::this_thread::yield();
  }
  client.Signal(SIGSTOP);
  const auto stopped = std::chrono::steady_clock::now();
  working.join();
  const auto waited = std::chrono::steady_clock::now() - stopped;

  EXPECT_THAT(outcome, HasCode(Code::kAborted));
  EXPECT_THAT(set->abort_reason(), HasCode(Code::kDeadlineExceeded));
  EXPECT_THAT(set->abort_reason(), MessageHas("pid " + std::to_string(client.pid())));
  EXPECT_GE(waited, std::chrono::milliseconds(kServerTimeoutMs));
  EXPECT_LT(waited, 2s);
  EXPECT_THAT(set->Close(), IsOk());
  client.Signal(SIGCONT);
  client.AwaitEnd();
  EXPECT_EQ(client.exit_status(), 1) << "it must hear of the abort";
}

// Without serverTimeOut VDI waits as long as it takes. The engine itself must stay free to go.
TEST(Reports, AStoppedClientDoesNotHoldTheEngine) {
  test::TemporaryDirectory folder;
  const auto rendezvous = Must(Rendezvous::Listen({.path = folder.Under("s")}));
  VictimProcess client({"busy-client", rendezvous->path(), "set"}, "");
  const auto set = Must(rendezvous->Open("set", Patience()));
  BusyEngine engine(*set);
  std::jthread working([&] { EXPECT_THAT(engine.Run(), HasCode(Code::kAborted)); });
  const Deadline started = Patience();
  while (engine.ended() < 10 && !started.passed()) {
    std::this_thread::yield();
  }
  client.Signal(SIGSTOP);
  const Deadline notice = Deadline::After(2s);

  set->SignalAbort(Error(Code::kAborted, "the statement was cancelled"));
  working.join();
  while (engine.ended() != engine.sent()) {
    std::this_thread::yield();
  }
  EXPECT_THAT(set->Close(), IsOk());

  EXPECT_FALSE(notice.passed());
  client.Signal(SIGCONT);
}

// psssql 2009-02-26: only one of two installed libraries was patched, and what came of it was
// "cannot find the file". Here each end names its version.
class VersionSkew : public testing::Test {
 protected:
  // What an engine says to a client that speaks so.
  std::string AnswerTo(const CreateMessage& request) {
    const auto rendezvous = Must(Rendezvous::Listen({.path = folder_.Under("s")}));
    const UniqueFd socket = Must(ConnectSocket(rendezvous->path()));
    Must(SendMessage(socket.get(), request));
    const ReceivedMessage answer = Must(ReceiveMessage(socket.get(), Passing::kAcceptFd));
    const auto created = Must(answer.As<CreatedMessage>());
    EXPECT_NE(created.code, static_cast<std::int32_t>(Code::kOk));
    EXPECT_TRUE(rendezvous->List().empty());
    return std::string(created.text.view());
  }
  // How Create ends at an engine that answers with such a control area.
  Status CreateAgainst(std::uint64_t magic, std::uint32_t version) {
    const auto socket = Must(ListeningSocket::Bind(folder_.Under("s"), 0600));
    std::jthread engine([&] {
      UniqueFd peer;
      const Deadline connected = Patience();
      while (!peer.valid() && !connected.passed()) {
        peer = UniqueFd(::accept(socket.fd(), nullptr, nullptr));
      }
      [[maybe_unused]] const auto request = ReceiveMessage(peer.get(), Passing::kRefuseFd);
      auto control = Must(SharedMemory::Create("capstan-control", ControlAreaSize(1), 4096));
      auto* header = new (control.data()) ControlHeader{};
      header->magic = magic;
      header->version = version;
      auto answer = NewMessage<CreatedMessage>();
      answer.control_size = control.size();
      Must(SendMessage(peer.get(), answer, control.fd()));
    });
    return ClientDeviceSet::Create(folder_.Under("s"), "set", {.device_count = 1}).status();
  }

  test::TemporaryDirectory folder_;
};

TEST_F(VersionSkew, OfTheClientIsNamedByTheEngine) {
  auto request = NewMessage<CreateMessage>();
  request.wishes.device_count = 1;
  request.name.Set("set");
  request.header.version = kMessageVersion + 7;

  const std::string answer = AnswerTo(request);

  EXPECT_NE(answer.find("version " + std::to_string(kMessageVersion + 7)), std::string::npos)
      << answer;
}

TEST_F(VersionSkew, OfTheEngineIsNamedByTheClient) {
  const Status refused = CreateAgainst(kSegmentMagic, kSegmentVersion + 7);

  EXPECT_THAT(refused, HasCode(Code::kUnimplemented));
  EXPECT_THAT(refused, MessageHas("version " + std::to_string(kSegmentVersion + 7)));
  EXPECT_THAT(refused, MessageHas("knows " + std::to_string(kSegmentVersion)));
  EXPECT_NE(refused.hint().find("same version"), std::string_view::npos);
}

TEST_F(VersionSkew, ThatIsNoVersionOfOursIsSaidSo) {
  EXPECT_THAT(CreateAgainst(0x1234, kSegmentVersion), MessageHas("not one of ours"));
}

}  // namespace
}  // namespace capstan::vdi
