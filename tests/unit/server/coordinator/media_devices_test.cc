#include <cerrno>
#include <chrono>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "server/messages/messages.h"
#include "tests/unit/server/coordinator/media_devices_fixture.h"

namespace capstan::coordinator {
namespace {

using test::DiskHello;
using test::HasReason;
using test::IsOk;
using test::MessageHas;
using test::ScriptedLink;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

TEST_F(MediaDevicesTest, OpensTheSetThatTheAgentCreated) {
  Attach();
  engine::DeviceSetRequest request = Request(engine::OpenMode::kReplace);
  request.targets.push_back({.name = "/backup/b.bak", .token = "J-2"});

  const auto provided = devices_->Open(request, Deadline::After(10s));

  ASSERT_THAT(provided, IsOk());
  EXPECT_EQ(provided.status().message(), "");
  const auto order = std::get<OpenSetOrder>(link_->orders()[0].second);
  EXPECT_EQ(order.mode, engine::OpenMode::kReplace);
  EXPECT_EQ(order.job_id, 51);
  ASSERT_EQ(order.devices.size(), 2U);
  EXPECT_EQ(order.devices[0].device_name, order.set_name);
  EXPECT_EQ(order.devices[1].device_name, order.set_name + "-2");
  EXPECT_EQ(order.devices[1].target, "/backup/b.bak");
  EXPECT_EQ(order.devices[1].token, "J-2");
}

TEST_F(MediaDevicesTest, NamesTheDevicesAndTheAgent) {
  Attach();

  auto provided = devices_->Open(Request(), Deadline::After(10s));

  ASSERT_THAT(provided, IsOk());
  EXPECT_EQ(provided->agent, "disk");
  EXPECT_EQ(provided->device_names, std::vector<std::string>{provided->set->name()});
  EXPECT_EQ(agents_.List()[0].state, "Serving");
}

TEST_F(MediaDevicesTest, WithoutAnAgentSaysHowToStartOne) {
  const auto provided = devices_->Open(Request(), Deadline::After(10s));

  EXPECT_THAT(provided, HasReason(65001));
  EXPECT_EQ(provided.status().hint(),
            "start one: capstan-agent --plugin disk --server unix:/run/capstand.sock");
}

TEST_F(MediaDevicesTest, TheSchemeOfTheNameChoosesTheAgent) {
  AgentHello cas = DiskHello();
  cas.name = "cas";
  cas.device_class = "URL";
  cas.schemes = {"cas"};
  AgentHello s3 = cas;
  s3.name = "s3";
  s3.schemes = {"s3"};
  ASSERT_THAT(agents_.Attach(s3, std::make_shared<ScriptedLink>()), IsOk());
  Attach(cas);
  engine::DeviceSetRequest request = Request();
  request.device_class = "URL";
  request.targets = {{.name = "CAS:///srv/store/a", .token = "J-1"}};

  const auto provided = devices_->Open(request, Deadline::After(10s));
  ASSERT_THAT(provided, IsOk());
  EXPECT_EQ(provided->agent, "cas");

  request.targets.push_back({.name = "s3://bucket/a", .token = "J-2"});
  const auto mixed = devices_->Open(request, Deadline::After(10s));
  EXPECT_THAT(mixed, HasReason(3201));
  EXPECT_THAT(mixed, MessageHas("s3://bucket/a"));
  EXPECT_THAT(std::string(mixed.status().hint()), HasSubstr("agent 'cas' serves"));

  request.targets = {{.name = "gs://bucket/a", .token = "J-1"}};
  const auto nobody = devices_->Open(request, Deadline::After(10s));
  EXPECT_THAT(nobody, HasReason(65001));
  EXPECT_THAT(std::string(nobody.status().hint()), HasSubstr("begin with gs://"));
}

TEST_F(MediaDevicesTest, WaitsForAnAgentThatIsStarting) {
  std::jthread later([this] { Attach(); });

  // The set cannot be created before OnOrder is called, so the order may go unanswered: what
  // counts is that an agent was found.
  const auto provided = devices_->Open(Request(), Deadline::After(1s));

  if (!provided.ok()) {
    EXPECT_THAT(provided, ::testing::Not(HasReason(65001)));
  }
}

struct Failure {
  int os_error;
  engine::OpenMode mode;
  int reason;
  const char* message;
};

class MediaDevicesErrorTest : public MediaDevicesTest,
                              public ::testing::WithParamInterface<Failure> {};

TEST_P(MediaDevicesErrorTest, SpeaksAsSqlServerDoes) {
  Attach();
  answer_ = {.status = OsError(GetParam().os_error, "unable to open '/backup/a.bak'")
                           .WithOsError(GetParam().os_error),
             .target = "/backup/a.bak"};

  const auto provided = devices_->Open(Request(GetParam().mode), Deadline::After(10s));

  EXPECT_THAT(provided, HasReason(GetParam().reason));
  EXPECT_EQ(provided.status().message(), GetParam().message);
  if (GetParam().reason == 3201) {
    EXPECT_EQ(provided.status().os_error(), GetParam().os_error);
  }
  EXPECT_FALSE(provided.status().hint().empty());
}

INSTANTIATE_TEST_SUITE_P(
    EveryCause, MediaDevicesErrorTest,
    ::testing::Values(
        Failure{ENOENT, engine::OpenMode::kRead, 3201,
                "Cannot open backup device '/backup/a.bak'. Operating system error 2(No such file "
                "or directory)."},
        Failure{ENOENT, engine::OpenMode::kAppend, 3201,
                "Cannot open backup device '/backup/a.bak'. Operating system error 2(No such file "
                "or directory)."},
        Failure{EBUSY, engine::OpenMode::kAppend, 3201,
                "Cannot open backup device '/backup/a.bak'. Operating system error 16(Device or "
                "resource busy)."},
        Failure{EACCES, engine::OpenMode::kAppend, 3201,
                "Cannot open backup device '/backup/a.bak'. Operating system error 5(Access is "
                "denied.)."},
        Failure{EACCES, engine::OpenMode::kCreate, 3201,
                "Cannot open backup device '/backup/a.bak'. Operating system error 5(Access is "
                "denied.)."},
        Failure{EEXIST, engine::OpenMode::kCreate, 3201,
                "Cannot open backup device '/backup/a.bak'. Operating system error 17(File "
                "exists)."},
        Failure{EEXIST, engine::OpenMode::kReplace, 3201,
                "Cannot open backup device '/backup/a.bak'. Operating system error 17(File "
                "exists)."}));

TEST_F(MediaDevicesTest, TellsTheAgentToCloseWhatFailed) {
  Attach();
  answer_ = {.status = OsError(ENOSPC, "unable to open").WithOsError(ENOSPC)};

  ASSERT_THAT(devices_->Open(Request(), Deadline::After(10s)), HasReason(3201));

  ASSERT_TRUE(link_->WaitForOrders(2));
  EXPECT_EQ(std::get<CloseSetOrder>(link_->orders()[1].second).set_name,
            std::get<OpenSetOrder>(link_->orders()[0].second).set_name);
}

TEST_F(MediaDevicesTest, AnAgentThatDoesNotAnswerIsNamed) {
  Attach();
  link_->OnOrder({});

  const auto provided = devices_->Open(Request(), Deadline::After(100ms));

  EXPECT_THAT(provided, HasReason(3201));
  EXPECT_THAT(provided, MessageHas("agent 'disk'"));
}

TEST_F(MediaDevicesTest, AnAgentThatLeavesWhileItOpensIsNamed) {
  Attach();
  link_->OnOrder([this](std::uint64_t, const Order&) {
    agents_.Detach(agent_, Error(Code::kUnavailable, "it was killed"));
  });

  const auto provided = devices_->Open(Request(), Deadline::After(60s));

  EXPECT_THAT(provided, HasReason(3201));
  EXPECT_THAT(provided, MessageHas("agent 'disk' is gone: it was killed"));
}

TEST_F(MediaDevicesTest, ACancelledJobStopsWaiting) {
  Attach();
  link_->OnOrder({});
  engine::DeviceSetRequest request = Request();
  request.cancelled = [] { return true; };

  EXPECT_THAT(devices_->Open(request, Deadline::After(60s)), HasReason(3204));
  request.device_class = "TAPE";
  EXPECT_THAT(devices_->Open(request, Deadline::After(60s)), HasReason(3204));
  request.device_class = "VIRTUAL_DEVICE";
  EXPECT_THAT(devices_->Open(request, Deadline::After(60s)), HasReason(3204));
}

TEST_F(MediaDevicesTest, AnAgentThatCannotWriteIsNotAskedTo) {
  AgentHello hello = DiskHello();
  hello.capabilities = capability::kRead;
  Attach(hello);

  const auto provided = devices_->Open(Request(), Deadline::After(10s));

  EXPECT_THAT(provided, HasReason(3201));
  EXPECT_EQ(provided.status().hint(), "plugin 'disk' of agent 'disk' cannot write media");
  EXPECT_TRUE(link_->orders().empty());
}

TEST_F(MediaDevicesTest, AnAgentThatCannotAppendIsNotAskedTo) {
  AgentHello hello = DiskHello();
  hello.capabilities = capability::kRead | capability::kWrite;
  Attach(hello);

  const auto provided = devices_->Open(Request(engine::OpenMode::kAppend), Deadline::After(10s));

  EXPECT_THAT(provided, HasReason(3201));
  EXPECT_EQ(provided.status().os_error(), EOPNOTSUPP);
  EXPECT_EQ(provided.status().hint(),
            "plugin 'disk' of agent 'disk' cannot append to media; add FORMAT or INIT, or back up "
            "to another device");
  EXPECT_TRUE(link_->orders().empty());
}

TEST_F(MediaDevicesTest, AppendIsOrderedFromAnAgentThatCan) {
  AgentHello hello = DiskHello();
  hello.capabilities = capability::kRead | capability::kWrite | capability::kAppend;
  Attach(hello);

  ASSERT_THAT(devices_->Open(Request(engine::OpenMode::kAppend), Deadline::After(10s)), IsOk());

  EXPECT_EQ(std::get<OpenSetOrder>(link_->orders()[0].second).mode, engine::OpenMode::kAppend);
}

TEST_F(MediaDevicesTest, StatIsOrderedFromTheAgent) {
  Attach();
  const engine::DeviceTarget target{.name = "/b", .token = ""};
  answer_.stat = {.exists = true, .size_bytes = 4096, .free_bytes = 7};

  const auto stat = devices_->Stat("DISK", target, Deadline::After(10s));

  ASSERT_THAT(stat, IsOk());
  EXPECT_EQ(std::get<StatOrder>(link_->orders()[0].second).target, "/b");
  EXPECT_TRUE(stat->exists);
  EXPECT_EQ(stat->size_bytes, 4096U);
  EXPECT_EQ(stat->free_bytes, 7U);
}

TEST_F(MediaDevicesTest, StatThatFailsIs3201WithTheCause) {
  Attach();
  answer_ = {.status = OsError(EACCES, "unable to look up").WithOsError(EACCES), .target = "/b"};

  const auto stat = devices_->Stat("DISK", {.name = "/b", .token = ""}, Deadline::After(10s));

  EXPECT_THAT(stat, HasReason(3201));
  EXPECT_EQ(stat.status().os_error(), EACCES);
  EXPECT_THAT(stat, MessageHas("5(Access is denied.)"));
}

TEST_F(MediaDevicesTest, StatNeedsAnAgentUnlessTheDeviceIsAVendors) {
  const engine::DeviceTarget target{.name = "v", .token = ""};

  EXPECT_THAT(devices_->Stat("DISK", target, Deadline::After(10ms)), HasReason(65001));
  const auto vendors = devices_->Stat("VIRTUAL_DEVICE", target, Deadline::After(10ms));
  ASSERT_THAT(vendors, IsOk());
  EXPECT_FALSE(vendors->exists);
  EXPECT_EQ(vendors->free_bytes, UINT64_MAX);
}

// S1-56: a hung agent's set ends with its lease, whoever waits on the set.
TEST_F(MediaDevicesTest, LosingTheAgentAbortsItsSets) {
  Attach();
  auto provided = devices_->Open(Request(), Deadline::After(10s));
  ASSERT_THAT(provided, IsOk());
  ASSERT_THAT(provided->set->abort_reason(), IsOk());

  agents_.Detach(agent_, Error(Code::kUnavailable, "nothing was heard of it"));

  EXPECT_THAT(provided->set->abort_reason(), MessageHas("agent 'disk' is gone"));
}

TEST_F(MediaDevicesTest, ClosingAnAbortedSetTellsTheAgent) {
  Attach();
  auto provided = devices_->Open(Request(), Deadline::After(10s));
  ASSERT_THAT(provided, IsOk());

  provided->set->SignalAbort(SqlError(3204));
  [[maybe_unused]] const Status closed = provided->set->Close();

  ASSERT_EQ(link_->orders().size(), 2U);
  EXPECT_TRUE(std::holds_alternative<CloseSetOrder>(link_->orders()[1].second));
  EXPECT_EQ(agents_.List()[0].state, "Idle");
}

TEST_F(MediaDevicesTest, OpensAVirtualDeviceByItsName) {
  const auto client =
      vdi::ClientDeviceSet::Create(rendezvous_->path(), "vendor", {.device_count = 2});
  ASSERT_THAT(client, IsOk());
  engine::DeviceSetRequest request = Request();
  request.device_class = "VIRTUAL_DEVICE";
  request.targets = {{"vendor", ""}, {"vendor2", ""}};

  auto provided = devices_->Open(request, Deadline::After(10s));

  ASSERT_THAT(provided, IsOk());
  EXPECT_EQ(provided->device_names, (std::vector<std::string>{"vendor", "vendor2"}));
  EXPECT_EQ(provided->agent, "");
  EXPECT_EQ(devices_->ErrorDetail("vendor", "vendor"), "");
}

TEST_F(MediaDevicesTest, AVirtualDeviceThatNobodyCreatedIs3201After18210) {
  engine::DeviceSetRequest request = Request();
  request.device_class = "VIRTUAL_DEVICE";
  request.targets = {{"vendor", ""}};

  const auto provided = devices_->Open(request, Deadline::After(60s));

  const Status status = provided.status();
  EXPECT_THAT(status, HasReason(3201));
  EXPECT_EQ(status.state(), 7);
  EXPECT_EQ(status.message(),
            "Cannot open backup device 'vendor'. Operating system error "
            "0x80070002(The system cannot find the file specified.).");
  EXPECT_THAT(std::string(status.hint()), testing::HasSubstr("start the program that serves it"));
  ASSERT_NE(status.earlier(), nullptr);
  EXPECT_THAT(*status.earlier(), HasReason(18210));
  EXPECT_EQ(status.earlier()->message(),
            "BackupVirtualDeviceSet::Initialize: Open failure on backup device 'vendor'. Operating "
            "system error 0x80070002(The system cannot find the file specified.).");
}

TEST_F(MediaDevicesTest, RecoverIsOrderedFromTheAgent) {
  Attach();

  EXPECT_THAT(devices_->Recover("DISK", {.name = "/b", .token = "J-1"},
                                engine::RecoverAction::kCommit, Deadline::After(10s)),
              IsOk());

  const auto order = std::get<RecoverOrder>(link_->orders()[0].second);
  EXPECT_EQ(order.target, "/b");
  EXPECT_EQ(order.token, "J-1");
  EXPECT_EQ(order.action, engine::RecoverAction::kCommit);

  answer_ = {.status = OsError(EIO, "unable to rename")};
  EXPECT_THAT(devices_->Recover("DISK", {.name = "/b", .token = "J-1"},
                                engine::RecoverAction::kDiscard, Deadline::After(10s)),
              MessageHas("unable to rename"));
}

// A backup into a folder that does not exist must not be left in the journal for ever.
TEST_F(MediaDevicesTest, DiscardingWhereNothingIsSucceeds) {
  Attach();
  answer_ = {.status = OsError(ENOENT, "unable to reach the folder").WithOsError(ENOENT)};
  const engine::DeviceTarget target{.name = "/none/b", .token = "J-1"};

  EXPECT_THAT(
      devices_->Recover("DISK", target, engine::RecoverAction::kDiscard, Deadline::After(10s)),
      IsOk());
  EXPECT_THAT(
      devices_->Recover("DISK", target, engine::RecoverAction::kCommit, Deadline::After(10s)),
      test::HasCode(Code::kNotFound));
}

TEST_F(MediaDevicesTest, RecoverWithoutAnAgentIsUnavailable) {
  EXPECT_THAT(devices_->Recover("DISK", {.name = "/b", .token = "J-1"},
                                engine::RecoverAction::kCommit, Deadline::After(10ms)),
              test::HasCode(Code::kUnavailable));
  EXPECT_THAT(devices_->Recover("VIRTUAL_DEVICE", {.name = "v", .token = ""},
                                engine::RecoverAction::kDiscard, Deadline::After(10ms)),
              IsOk());
}

TEST_F(MediaDevicesTest, ErrorDetailIsWhatTheAgentReported) {
  Attach();
  auto provided = devices_->Open(Request(), Deadline::After(10s));
  ASSERT_THAT(provided, IsOk());
  const std::string name = provided->set->name();

  EXPECT_EQ(devices_->ErrorDetail(name, name), "") << "nothing was reported";
  agents_.OnReports(agent_, {{.set_name = name,
                              .device_name = name,
                              .errors = 1,
                              .last_error = "28(No space left on device)"}});
  EXPECT_EQ(devices_->ErrorDetail(name, name), "28(No space left on device)");
}

TEST_F(MediaDevicesTest, OpensAWindowsPathWhereItsDriveLies) {
  Attach();
  engine::DeviceSetRequest request = Request();
  request.targets[0].name = R"(E:\a.bak)";
  std::string opened;
  link_->OnOrder([&](std::uint64_t id, const Order& order) {
    if (const auto* open = std::get_if<OpenSetOrder>(&order)) {
      opened = open->devices[0].target;
      answer_ = {.status = OsError(EACCES, "unable to open medium"), .target = opened};
    }
    CarryOut(id, order);
  });

  const auto set = devices_->Open(request, Deadline::After(5s));

  EXPECT_EQ(opened, "/srv/e/a.bak");
  EXPECT_THAT(set, HasReason(3201));
  EXPECT_THAT(set, MessageHas(R"(Cannot open backup device 'E:\a.bak'.)"));
}

TEST_F(MediaDevicesTest, KnowsNoDriveThatIsNotMapped) {
  Attach();
  engine::DeviceSetRequest request = Request();
  request.targets[0].name = R"(F:\a.bak)";

  const auto set = devices_->Open(request, Deadline::After(5s));

  EXPECT_THAT(set, HasReason(3201));
  EXPECT_THAT(set, MessageHas("3(The system cannot find the path specified.)"));
  EXPECT_THAT(std::string(set.status().hint()), HasSubstr("[drive_map]"));
}

}  // namespace
}  // namespace capstan::coordinator
