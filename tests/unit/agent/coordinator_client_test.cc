#include "agent/coordinator_client.h"

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include <unistd.h>

#include "agent/abi_plugin.h"
#include "tests/support/fake_coordinator.h"
#include "tests/support/faulty_media.h"
#include "tests/support/memory_plugin.h"
#include "tests/support/scripted_device_set.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::agent {
namespace {

using std::chrono::milliseconds;
using test::HasCode;
using test::IsOk;
using test::MessageHas;

class CoordinatorClientTest : public testing::Test {
 protected:
  CoordinatorClientTest() { test::ForgetMemoryMedia(); }
  ~CoordinatorClientTest() override { StopClient(); }

  void StartServer() {
    server_ = std::make_unique<test::FakeCoordinator>(socket_, "/run/test.vdi");
  }
  void StartClient() {
    thread_ = std::jthread([this] { ended_ = client_.Run(); });
  }
  void StopClient() {
    client_.Stop();
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  static v1::Order OpenOrder(const std::string& target) {
    v1::Order order;
    v1::OpenDeviceSet& open = *order.mutable_open_device_set();
    open.set_set_name("set");
    open.set_job_id(42);
    open.set_mode(v1::OpenDeviceSet::MODE_REPLACE);
    open.set_queue_depth_max(4);
    v1::DeviceOrder& device = *open.add_devices();
    device.set_device_name("set");
    device.set_target(target);
    device.set_token("token");
    return order;
  }

  const test::TemporaryDirectory directory_;
  const std::string socket_ = directory_.Under("server.sock");
  std::unique_ptr<test::FakeCoordinator> server_;
  test::ScriptedEngine engine_;
  test::FaultyMedia plugin_{WrapPlugin(test::MemoryPlugin(), "memory").value(), {}};
  Agent agent_{plugin_, engine_.creator()};
  CoordinatorClient client_{{.server = "unix:" + socket_,
                             .agent_name = "memory",
                             .agent_version = "9.9",
                             .report_interval = milliseconds(10),
                             .backoff_min = milliseconds(10),
                             .backoff_max = milliseconds(50)},
                            agent_};
  Status ended_;
  std::jthread thread_;
};

TEST_F(CoordinatorClientTest, SaysHello) {
  StartServer();
  StartClient();

  const auto hello = server_->WaitForHello();

  ASSERT_TRUE(hello.has_value());
  EXPECT_EQ(hello->protocol_version(), 1U);
  EXPECT_EQ(hello->agent_name(), "memory");
  EXPECT_EQ(hello->agent_version(), "9.9");
  EXPECT_EQ(hello->pid(), ::getpid());
  EXPECT_EQ(hello->plugin().device_class(), "DISK");
  EXPECT_EQ(hello->plugin().schemes(0), "mem");
  EXPECT_EQ(hello->plugin().alignment(), 4096U);
  EXPECT_EQ(hello->plugin().device_features(), 0x200U);
}

TEST_F(CoordinatorClientTest, OpensReportsAndClosesASet) {
  StartServer();
  StartClient();
  ASSERT_TRUE(server_->WaitForHello());

  const auto opened = server_->Run(OpenOrder("mem:a"));
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(opened->code(), 0) << opened->message();
  EXPECT_EQ(engine_.rendezvous_path(), "/run/test.vdi");
  const auto report = server_->WaitForReport();
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->devices(0).set_name(), "set");
  EXPECT_EQ(report->devices(0).target(), "mem:a");
  EXPECT_EQ(report->devices(0).mode(), "memory");
  v1::Order close;
  close.mutable_close_device_set()->set_set_name("set");
  const auto closed = server_->Run(close);

  ASSERT_TRUE(closed.has_value());
  EXPECT_EQ(closed->code(), 0);
  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
}

TEST_F(CoordinatorClientTest, KeepsASetAndGoesOnWithIt) {
  StartServer();
  StartClient();
  ASSERT_TRUE(server_->WaitForHello());
  v1::Order order = OpenOrder("mem:a");
  v1::OpenDeviceSet& open = *order.mutable_open_device_set();
  open.set_resume(true);
  EXPECT_EQ(server_->Run(order)->os_error(), ENOENT);
  open.set_resume(false);
  open.set_keep(true);
  ASSERT_EQ(server_->Run(order)->code(), 0);
  v1::Order close;
  close.mutable_close_device_set()->set_set_name("set");
  ASSERT_EQ(server_->Run(close)->code(), 0);
  EXPECT_EQ(test::MemoryConstructionCount(), 1U);

  engine_.Renew();
  open.set_resume(true);
  open.set_keep(false);
  EXPECT_EQ(server_->Run(order)->code(), 0);
  EXPECT_EQ(server_->Run(close)->code(), 0);
  EXPECT_EQ(test::MemoryConstructionCount(), 0U);
}

TEST_F(CoordinatorClientTest, RecoversStatsAndRemovesMedia) {
  StartServer();
  StartClient();
  ASSERT_TRUE(server_->WaitForHello());
  ASSERT_TRUE(server_->Run(OpenOrder("mem:a")));
  agent_.EngineVanished();
  ASSERT_EQ(test::MemoryConstructionCount(), 1U);

  v1::Order recover;
  recover.mutable_recover_media()->set_target("mem:a");
  recover.mutable_recover_media()->set_token("token");
  recover.mutable_recover_media()->set_action(v1::RecoverMedia::ACTION_COMMIT);
  EXPECT_EQ(server_->Run(recover)->code(), 0);
  v1::Order stat;
  stat.mutable_stat_media()->set_target("mem:a");
  EXPECT_TRUE(server_->Run(stat)->stat().exists());
  v1::Order remove;
  remove.mutable_remove_media()->set_target("mem:a");
  EXPECT_EQ(server_->Run(remove)->code(), 0);
  const auto again = server_->Run(remove);

  EXPECT_EQ(again->code(), static_cast<int>(Code::kNotFound));
  EXPECT_EQ(again->os_error(), ENOENT);
  EXPECT_EQ(again->target(), "mem:a");
}

TEST_F(CoordinatorClientTest, OrdersThatItDoesNotUnderstandFail) {
  StartServer();
  StartClient();
  ASSERT_TRUE(server_->WaitForHello());
  v1::Order open = OpenOrder("mem:a");
  open.mutable_open_device_set()->set_mode(v1::OpenDeviceSet::MODE_UNSPECIFIED);
  v1::Order recover;
  recover.mutable_recover_media()->set_target("mem:a");

  EXPECT_EQ(server_->Run(open)->code(), static_cast<int>(Code::kInvalidArgument));
  EXPECT_EQ(server_->Run(recover)->code(), static_cast<int>(Code::kInvalidArgument));
  EXPECT_EQ(server_->Run(v1::Order{})->code(), static_cast<int>(Code::kUnimplemented));
}

TEST_F(CoordinatorClientTest, BrokenStreamKeepsMediaAndComesBack) {
  StartServer();
  StartClient();
  ASSERT_TRUE(server_->WaitForHello());
  ASSERT_EQ(server_->Run(OpenOrder("mem:a"))->code(), 0);

  server_->BreakStream();

  EXPECT_TRUE(server_->WaitForHello(2));
  EXPECT_EQ(test::MemoryConstructionCount(), 1U);
  EXPECT_TRUE(engine_.aborted());
}

TEST_F(CoordinatorClientTest, ComesBackToAServerThatStartsLater) {
  StartClient();
  StartServer();

  EXPECT_TRUE(server_->WaitForHello());
}

TEST_F(CoordinatorClientTest, GivesUpWhenTheServerSaysSo) {
  StartServer();
  server_->Refuse(grpc::StatusCode::FAILED_PRECONDITION, "an agent 'memory' is attached already");

  const Status status = client_.Run();

  EXPECT_THAT(status, HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(status, MessageHas("attached already"));
}

TEST_F(CoordinatorClientTest, StopEndsTheWaitForAServer) {
  StartClient();
  StopClient();
  EXPECT_THAT(ended_, IsOk());
}

TEST_F(CoordinatorClientTest, StopEndsAnAttachedStream) {
  StartServer();
  StartClient();
  ASSERT_TRUE(server_->WaitForHello());

  StopClient();

  EXPECT_THAT(ended_, IsOk());
}

TEST_F(CoordinatorClientTest, OnlyTheOwnMachineIsAServer) {
  CoordinatorClient client({.server = "otherhost:50051", .agent_name = "x", .agent_version = "1"},
                           agent_);

  EXPECT_THAT(client.Run(), HasCode(Code::kInvalidArgument));
}

}  // namespace
}  // namespace capstan::agent
