// The service over a real gRPC server on a Unix socket; the agent's end is played by the test.
#include "server/coordinator/coordinator_service.h"

#include <chrono>
#include <memory>
#include <thread>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "capstan/v1/coordinator.grpc.pb.h"

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::coordinator {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

v1::AgentMessage Hello() {
  v1::AgentMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_protocol_version(1);
  hello.set_agent_name("disk");
  hello.set_pid(4711);
  hello.mutable_plugin()->set_name("disk");
  hello.mutable_plugin()->set_device_class("DISK");
  hello.mutable_plugin()->set_capabilities(7);
  return message;
}

// One stream of an agent.
class AgentStream {
 public:
  explicit AgentStream(const std::string& address)
      : stub_(v1::Coordinator::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {
    context_.set_deadline(std::chrono::system_clock::now() + 30s);
    stream_ = stub_->Attach(&context_);
  }

  bool Send(const v1::AgentMessage& message) { return stream_->Write(message); }
  bool Receive(v1::ServerMessage* message) { return stream_->Read(message); }
  // Says that nothing more will come, and waits for the server's verdict.
  grpc::Status Finish() {
    stream_->WritesDone();
    v1::ServerMessage rest;
    while (stream_->Read(&rest)) {
    }
    return stream_->Finish();
  }

 private:
  std::unique_ptr<v1::Coordinator::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::AgentMessage, v1::ServerMessage>> stream_;
};

class CoordinatorServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(&service_->service());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void TearDown() override {
    service_->Stop();
    server_->Shutdown(std::chrono::system_clock::now() + 10s);
    server_->Wait();
  }

  bool Attach(AgentStream& stream) {
    v1::ServerMessage welcome;
    return stream.Send(Hello()) && stream.Receive(&welcome) && welcome.has_welcome();
  }

  test::TemporaryDirectory directory_;
  const std::string address_ = "unix:" + directory_.Under("s");
  AgentDirectory agents_{{.lease = 20s, .takeover_wait = 0ms}};
  std::unique_ptr<CoordinatorService> service_ =
      CoordinatorService::Create(agents_, "/run/vdi.sock");
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(CoordinatorServiceTest, WelcomesAnAgent) {
  AgentStream stream(address_);
  v1::ServerMessage message;

  ASSERT_TRUE(stream.Send(Hello()));
  ASSERT_TRUE(stream.Receive(&message));

  ASSERT_TRUE(message.has_welcome());
  EXPECT_EQ(message.welcome().rendezvous_path(), "/run/vdi.sock");
  EXPECT_EQ(message.welcome().lease_ms(), 20'000U);
  EXPECT_FALSE(message.welcome().server_version().empty());
  const auto agent = agents_.WaitForAgent("DISK", {.deadline = Deadline::After(10s)});
  ASSERT_THAT(agent, IsOk());
  EXPECT_EQ((*agents_.WaitForAgent("DISK", {.deadline = Deadline::Now()})).capabilities, 7U);
}

TEST_F(CoordinatorServiceTest, CarriesOrdersAndTheirResults) {
  AgentStream stream(address_);
  ASSERT_TRUE(Attach(stream));
  const AgentId id = (*agents_.WaitForAgent("DISK", {.deadline = Deadline::After(10s)})).id;
  OrderResult result;
  std::jthread engine([&] {
    result = agents_.Execute(
        id,
        OpenSetOrder{
            .set_name = "set",
            .job_id = 51,
            .mode = engine::OpenMode::kCreate,
            .devices = {{.device_name = "set", .target = "/b", .token = "t", .size_estimate = 9}}},
        {.deadline = Deadline::After(10s)});
  });

  v1::ServerMessage message;
  ASSERT_TRUE(stream.Receive(&message));
  const v1::OpenDeviceSet& open = message.order().open_device_set();
  EXPECT_EQ(open.set_name(), "set");
  EXPECT_EQ(open.job_id(), 51);
  EXPECT_EQ(open.mode(), v1::OpenDeviceSet::MODE_CREATE);
  ASSERT_EQ(open.devices_size(), 1);
  EXPECT_EQ(open.devices(0).target(), "/b");
  EXPECT_EQ(open.devices(0).token(), "t");
  EXPECT_EQ(open.devices(0).size_estimate(), 9U);
  v1::AgentMessage reply;
  reply.mutable_result()->set_order_id(message.order().order_id());
  reply.mutable_result()->set_code(5);
  reply.mutable_result()->set_message("no such folder");
  reply.mutable_result()->set_os_error(2);
  reply.mutable_result()->set_target("/b");
  ASSERT_TRUE(stream.Send(reply));
  engine.join();

  EXPECT_THAT(result.status, HasCode(Code::kNotFound));
  EXPECT_THAT(result.status, MessageHas("no such folder"));
  EXPECT_EQ(result.status.os_error(), 2);
  EXPECT_EQ(result.target, "/b");
}

TEST_F(CoordinatorServiceTest, CarriesTheOtherOrders) {
  AgentStream stream(address_);
  ASSERT_TRUE(Attach(stream));
  const AgentId id = (*agents_.WaitForAgent("DISK", {.deadline = Deadline::After(10s)})).id;

  agents_.Post(id, CloseSetOrder{"set"});
  agents_.Post(id, RecoverOrder{"/b", "t", engine::RecoverAction::kCommit});
  agents_.Post(id, OpenSetOrder{.set_name = "set", .mode = engine::OpenMode::kAppend});
  agents_.Post(id, OpenSetOrder{.set_name = "set", .keep = true});
  agents_.Post(id, OpenSetOrder{.set_name = "set", .resume = true});

  v1::ServerMessage message;
  ASSERT_TRUE(stream.Receive(&message));
  EXPECT_EQ(message.order().close_device_set().set_name(), "set");
  ASSERT_TRUE(stream.Receive(&message));
  EXPECT_EQ(message.order().recover_media().target(), "/b");
  EXPECT_EQ(message.order().recover_media().token(), "t");
  EXPECT_EQ(message.order().recover_media().action(), v1::RecoverMedia::ACTION_COMMIT);
  ASSERT_TRUE(stream.Receive(&message));
  EXPECT_EQ(message.order().open_device_set().mode(), v1::OpenDeviceSet::MODE_APPEND);
  EXPECT_FALSE(message.order().open_device_set().keep());
  EXPECT_FALSE(message.order().open_device_set().resume());
  ASSERT_TRUE(stream.Receive(&message));
  EXPECT_TRUE(message.order().open_device_set().keep());
  EXPECT_FALSE(message.order().open_device_set().resume());
  ASSERT_TRUE(stream.Receive(&message));
  EXPECT_FALSE(message.order().open_device_set().keep());
  EXPECT_TRUE(message.order().open_device_set().resume());
}

TEST_F(CoordinatorServiceTest, CarriesWhatStatFound) {
  AgentStream stream(address_);
  ASSERT_TRUE(Attach(stream));
  const AgentId id = (*agents_.WaitForAgent("DISK", {.deadline = Deadline::After(10s)})).id;
  // An agent that says nothing of a medium says nothing of its space either.
  for (const bool told : {true, false}) {
    OrderResult result;
    std::jthread engine(
        [&] { result = agents_.Execute(id, StatOrder{"/b"}, {.deadline = Deadline::After(10s)}); });
    v1::ServerMessage message;
    ASSERT_TRUE(stream.Receive(&message));
    EXPECT_EQ(message.order().stat_media().target(), "/b");
    v1::AgentMessage reply;
    reply.mutable_result()->set_order_id(message.order().order_id());
    if (told) {
      reply.mutable_result()->mutable_stat()->set_exists(true);
      reply.mutable_result()->mutable_stat()->set_size(4096);
      reply.mutable_result()->mutable_stat()->set_free_space(7);
    }
    ASSERT_TRUE(stream.Send(reply));
    engine.join();

    ASSERT_THAT(result.status, IsOk());
    EXPECT_EQ(result.stat.exists, told);
    EXPECT_EQ(result.stat.size_bytes, told ? 4096U : 0U);
    EXPECT_EQ(result.stat.free_bytes, told ? 7U : UINT64_MAX);
  }
}

// A code that no Status has must not become one.
TEST_F(CoordinatorServiceTest, TakesNonsenseForAnUnknownFailure) {
  AgentStream stream(address_);
  ASSERT_TRUE(Attach(stream));
  const AgentId id = (*agents_.WaitForAgent("DISK", {.deadline = Deadline::After(10s)})).id;
  OrderResult result;
  std::jthread engine([&] {
    result = agents_.Execute(id, CloseSetOrder{"set"}, {.deadline = Deadline::After(10s)});
  });

  v1::ServerMessage message;
  ASSERT_TRUE(stream.Receive(&message));
  v1::AgentMessage reply;
  reply.mutable_result()->set_order_id(message.order().order_id());
  reply.mutable_result()->set_code(-7);
  ASSERT_TRUE(stream.Send(reply));
  engine.join();

  EXPECT_THAT(result.status, HasCode(Code::kUnknown));
}

TEST_F(CoordinatorServiceTest, TakesReports) {
  AgentStream stream(address_);
  ASSERT_TRUE(Attach(stream));
  v1::AgentMessage message;
  v1::DeviceLoad& load = *message.mutable_report()->add_devices();
  load.set_set_name("set");
  load.set_device_name("set-2");
  load.set_target("/b");
  load.set_bytes(7);
  load.set_bytes_per_second(8);
  load.set_queue_depth(3);
  load.set_errors(1);
  load.set_last_error("28(No space left on device)");
  load.set_mode("direct");

  ASSERT_TRUE(stream.Send(message));
  stream.Finish();

  const auto report = agents_.FindReport("set-2");
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->set_name, "set");
  EXPECT_EQ(report->target, "/b");
  EXPECT_EQ(report->bytes, 7U);
  EXPECT_EQ(report->bytes_per_second, 8U);
  EXPECT_EQ(report->queue_depth, 3U);
  EXPECT_EQ(report->errors, 1U);
  EXPECT_EQ(report->last_error, "28(No space left on device)");
  EXPECT_EQ(report->mode, "direct");
}

TEST_F(CoordinatorServiceTest, AStreamThatEndsDetachesItsAgent) {
  AgentStream stream(address_);
  ASSERT_TRUE(Attach(stream));

  stream.Finish();

  EXPECT_TRUE(agents_.List().empty());
}

TEST_F(CoordinatorServiceTest, ConflictsEndTheStreamWithTheReason) {
  AgentStream first(address_);
  ASSERT_TRUE(Attach(first));
  AgentStream second(address_);

  ASSERT_TRUE(second.Send(Hello()));
  const grpc::Status status = second.Finish();

  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("an agent named 'disk' is attached already"));
}

TEST_F(CoordinatorServiceTest, AnAgentMustSayHelloFirst) {
  AgentStream stream(address_);
  v1::AgentMessage message;
  message.mutable_report();

  ASSERT_TRUE(stream.Send(message));

  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(CoordinatorServiceTest, AnAgentSaysHelloOnce) {
  AgentStream stream(address_);
  ASSERT_TRUE(Attach(stream));

  stream.Send(Hello());

  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(agents_.List().empty());
}

TEST_F(CoordinatorServiceTest, StopEndsAttachedAndSilentStreams) {
  AgentStream attached(address_);
  ASSERT_TRUE(Attach(attached));
  AgentStream silent(address_);
  v1::ServerMessage message;

  service_->Stop();

  EXPECT_FALSE(attached.Receive(&message));
  EXPECT_FALSE(silent.Receive(&message));
  AgentStream late(address_);
  late.Send(Hello());
  EXPECT_EQ(late.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace capstan::coordinator
