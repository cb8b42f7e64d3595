#include "server/coordinator/agent_directory.h"

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/scripted_link.h"
#include "tests/support/status_matchers.h"

namespace capstan::coordinator {
namespace {

using test::DiskHello;
using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::ScriptedLink;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

const OpenSetOrder kOpenOrder{.set_name = "set",
                              .job_id = 51,
                              .mode = engine::OpenMode::kCreate,
                              .devices = {{.device_name = "set", .target = "/b", .token = "t"}}};

Patience Within(std::chrono::milliseconds time) {
  return {.deadline = Deadline::After(time)};
}

class AgentDirectoryTest : public ::testing::Test {
 protected:
  AgentId Attach() { return *directory_.Attach(DiskHello(), link_); }

  std::atomic<int> attached_{0};
  // Newcomers are turned away at once, unless a test wants them to wait.
  AgentDirectory directory_{
      {.lease = 60s, .takeover_wait = 0ms, .on_attached = [this] { ++attached_; }}};
  std::shared_ptr<ScriptedLink> link_ = std::make_shared<ScriptedLink>();
};

TEST_F(AgentDirectoryTest, ListsWhoAttached) {
  ASSERT_THAT(directory_.Attach(DiskHello(), link_), IsOk());

  const auto list = directory_.List();
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].name, "disk");
  EXPECT_EQ(list[0].plugin_name, "disk");
  EXPECT_EQ(list[0].device_class, "DISK");
  EXPECT_EQ(list[0].pid, 4711);
  EXPECT_EQ(list[0].state, "Idle");
  EXPECT_GT(list[0].attached_unix_s, 0);
  EXPECT_EQ(link_->lease(), 60s);
  EXPECT_EQ(attached_, 1);
}

TEST_F(AgentDirectoryTest, RemembersWhoIsGoneUntilItIsBack) {
  const AgentId id = Attach();
  EXPECT_TRUE(directory_.ListGone().empty());
  directory_.Detach(id, Error(Code::kUnavailable, "it ended its stream"));
  ASSERT_EQ(directory_.ListGone().size(), 1U);
  EXPECT_EQ(directory_.ListGone()[0].state, "Gone");
  EXPECT_EQ(directory_.ListGone()[0].last_error, "it ended its stream");
  EXPECT_GT(directory_.ListGone()[0].gone_unix_s, 0);
  Attach();
  EXPECT_TRUE(directory_.ListGone().empty());
}

// Reports count from the opening of a device; totals go on over devices and attachments.
TEST_F(AgentDirectoryTest, AddsReportsUpOnce) {
  AgentId id = Attach();
  DeviceReport report{.device_name = "a", .requests = 10, .throttled_us = 5, .retries = 1};
  directory_.OnReports(id, {report});
  directory_.OnReports(id, {report});
  report.requests = 15;
  directory_.OnReports(id, {report, {.device_name = "b", .stops = 2, .requests = 1}});
  directory_.Detach(id, Error(Code::kUnavailable, "gone"));
  id = Attach();
  directory_.OnReports(id, {{.device_name = "c", .requests = 100}});

  const AgentTotals totals = directory_.Totals().at("disk");
  EXPECT_EQ(totals.requests, 116U);
  EXPECT_EQ(totals.throttled_us, 5U);
  EXPECT_EQ(totals.retries, 1U);
  EXPECT_EQ(totals.stops, 2U);
  EXPECT_EQ(totals.device_class, "DISK");
}

TEST_F(AgentDirectoryTest, RefusesAnotherProtocolVersion) {
  AgentHello hello = DiskHello();
  hello.protocol_version = 2;

  const auto refused = directory_.Attach(hello, link_);

  EXPECT_THAT(refused, HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(refused, MessageHas("version 2"));
  EXPECT_TRUE(directory_.List().empty());
}

TEST_F(AgentDirectoryTest, RefusesAnAgentWithoutANameOrAClass) {
  AgentHello hello = DiskHello();
  hello.name.clear();
  EXPECT_THAT(directory_.Attach(hello, link_), HasCode(Code::kFailedPrecondition));
  hello = DiskHello();
  hello.device_class.clear();
  EXPECT_THAT(directory_.Attach(hello, link_), HasCode(Code::kFailedPrecondition));
}

TEST_F(AgentDirectoryTest, RefusesASecondAgentOfTheSameName) {
  Attach();
  AgentHello hello = DiskHello();
  hello.device_class = "URL";

  const auto refused = directory_.Attach(hello, std::make_shared<ScriptedLink>());

  EXPECT_THAT(refused, HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(refused, MessageHas("an agent named 'disk' is attached already (pid 4711)"));
}

TEST_F(AgentDirectoryTest, RefusesASecondAgentForTheSameClass) {
  Attach();
  AgentHello hello = DiskHello();
  hello.name = "disk2";

  const auto refused = directory_.Attach(hello, std::make_shared<ScriptedLink>());

  EXPECT_THAT(refused, HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(refused, MessageHas("DISK devices are served by agent 'disk' already"));
}

AgentHello UrlHello(const std::string& name, const std::vector<std::string>& schemes) {
  AgentHello hello = DiskHello();
  hello.name = name;
  hello.device_class = "URL";
  hello.schemes = schemes;
  return hello;
}

TEST_F(AgentDirectoryTest, AgentsOfOneClassShareItBySchemes) {
  ASSERT_THAT(directory_.Attach(UrlHello("s3", {"s3"}), link_), IsOk());
  ASSERT_THAT(directory_.Attach(UrlHello("cas", {"cas", "casx"}), link_), IsOk());
  ASSERT_THAT(directory_.Attach(UrlHello("plain", {}), link_), IsOk());
  const auto name_of = [&](const std::string& scheme) {
    return (*directory_.WaitForAgent("URL", Within(0ms), scheme)).name;
  };

  EXPECT_EQ(name_of("s3"), "s3");
  EXPECT_EQ(name_of("cas"), "cas");
  EXPECT_EQ(name_of("casx"), "cas");
  EXPECT_EQ(name_of(""), "plain");
  EXPECT_EQ(name_of("ftp"), "plain");
}

TEST_F(AgentDirectoryTest, RefusesASecondAgentForTheSameScheme) {
  ASSERT_THAT(directory_.Attach(UrlHello("s3", {"s3"}), link_), IsOk());

  const auto refused = directory_.Attach(UrlHello("other", {"gs", "s3"}), link_);

  EXPECT_THAT(refused, HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(refused, MessageHas("names with s3://"));
}

TEST_F(AgentDirectoryTest, ASchemeThatNobodyNamesIsNotGivenToWhoNamesOthers) {
  ASSERT_THAT(directory_.Attach(UrlHello("s3", {"s3"}), link_), IsOk());

  EXPECT_THAT(directory_.WaitForAgent("URL", Within(10ms), "cas"), HasCode(Code::kUnavailable));
  EXPECT_EQ((*directory_.WaitForAgent("URL", Within(0ms))).name, "s3");
}

TEST_F(AgentDirectoryTest, DoesNotKeepAnAgentThatCannotBeWelcomed) {
  link_->Break();

  EXPECT_THAT(directory_.Attach(DiskHello(), link_), HasCode(Code::kUnavailable));
  EXPECT_TRUE(directory_.List().empty());
  EXPECT_EQ(attached_, 0);
}

// A killed agent's successor may be here before the end of the old stream is.
TEST(AgentDirectory, ANewcomerWaitsForItsPredecessorToGo) {
  AgentDirectory directory({.lease = 60s, .takeover_wait = 10s});
  const AgentId old = *directory.Attach(DiskHello(), std::make_shared<ScriptedLink>());
  Result<AgentId> successor = Error(Code::kUnknown, "not yet");

  std::jthread newcomer(
      [&] { successor = directory.Attach(DiskHello(), std::make_shared<ScriptedLink>()); });
  directory.Detach(old, Error(Code::kUnavailable, "it was killed"));
  newcomer.join();

  EXPECT_THAT(successor, IsOk());
}

TEST_F(AgentDirectoryTest, ReturnsTheAgentsResult) {
  const AgentId id = Attach();
  link_->OnOrder([&](std::uint64_t order_id, const Order& order) {
    EXPECT_EQ(std::get<OpenSetOrder>(order).job_id, 51);
    directory_.OnResult(
        id, order_id,
        {.status = Error(Code::kNotFound, "no such folder").WithOsError(2), .target = "/b"});
  });

  const OrderResult result = directory_.Execute(id, kOpenOrder, Within(10s));

  EXPECT_THAT(result.status, HasCode(Code::kNotFound));
  EXPECT_EQ(result.status.os_error(), 2);
  EXPECT_EQ(result.target, "/b");
  EXPECT_EQ(directory_.List()[0].last_error, "no such folder");
}

TEST_F(AgentDirectoryTest, AnswersBelongToTheirOrders) {
  const AgentId id = Attach();
  std::jthread first([&] {
    EXPECT_THAT(
        directory_.Execute(id, RecoverOrder{.target = "a", .token = "1"}, Within(10s)).status,
        HasCode(Code::kDataLoss));
  });
  std::jthread second([&] {
    EXPECT_THAT(
        directory_.Execute(id, RecoverOrder{.target = "b", .token = "1"}, Within(10s)).status,
        IsOk());
  });
  ASSERT_TRUE(link_->WaitForOrders(2));
  auto orders = link_->orders();
  std::reverse(orders.begin(), orders.end());

  for (const auto& [order_id, order] : orders) {
    const bool is_first = std::get<RecoverOrder>(order).target == "a";
    directory_.OnResult(id, order_id,
                        {.status = is_first ? Error(Code::kDataLoss, "a is lost") : OkStatus()});
  }
}

// S1-56: no wait without a deadline, and the message names who was waited for.
TEST_F(AgentDirectoryTest, AnUnansweredOrderEndsAtItsDeadline) {
  const AgentId id = Attach();

  const OrderResult result = directory_.Execute(id, kOpenOrder, Within(20ms));

  EXPECT_THAT(result.status, HasCode(Code::kDeadlineExceeded));
  EXPECT_THAT(result.status, MessageHas("agent 'disk' and the order to open device set 'set'"));
}

TEST_F(AgentDirectoryTest, ACancelledWaitEnds) {
  const AgentId id = Attach();

  const OrderResult result = directory_.Execute(
      id, kOpenOrder, {.deadline = Deadline::After(60s), .cancelled = [] { return true; }});

  EXPECT_THAT(result.status, HasCode(Code::kCancelled));
}

TEST_F(AgentDirectoryTest, ASetThatOpensTooLateIsClosedAgain) {
  const AgentId id = Attach();
  ASSERT_THAT(directory_.Execute(id, kOpenOrder, Within(1ms)).status,
              HasCode(Code::kDeadlineExceeded));

  directory_.OnResult(id, link_->orders()[0].first, {});

  ASSERT_TRUE(link_->WaitForOrders(2));
  EXPECT_EQ(std::get<CloseSetOrder>(link_->orders()[1].second).set_name, "set");
}

TEST_F(AgentDirectoryTest, DetachFailsPendingOrdersAtOnce) {
  const AgentId id = Attach();
  link_->OnOrder([&](std::uint64_t, const Order&) {
    directory_.Detach(id, Error(Code::kUnavailable, "it ended its stream"));
  });

  const OrderResult result = directory_.Execute(id, kOpenOrder, {.deadline = Deadline::Never()});

  EXPECT_THAT(result.status, HasCode(Code::kUnavailable));
  EXPECT_THAT(result.status, MessageHas("agent 'disk' is gone: it ended its stream"));
  EXPECT_TRUE(directory_.List().empty());
  EXPECT_TRUE(link_->WaitUntilClosed());
}

TEST_F(AgentDirectoryTest, ABrokenWireIsAGoneAgent) {
  const AgentId id = Attach();
  link_->Break();

  EXPECT_THAT(directory_.Execute(id, kOpenOrder, {.deadline = Deadline::Never()}).status,
              HasCode(Code::kUnavailable));
  EXPECT_THAT(directory_.Execute(id, kOpenOrder, {.deadline = Deadline::Never()}).status,
              MessageHas("is gone"));
}

TEST_F(AgentDirectoryTest, IgnoresResultsThatNobodyOrdered) {
  const AgentId id = Attach();

  directory_.OnResult(id, 99, {.status = Error(Code::kDataLoss, "stray")});
  directory_.OnResult(id + 1, 1, {});

  EXPECT_EQ(directory_.List().size(), 1U);
}

// A hung agent keeps its stream and its process; only its silence tells.
TEST(AgentDirectory, ASilentAgentIsGoneAfterItsLease) {
  AgentDirectory directory({.lease = 50ms});
  auto link = std::make_shared<ScriptedLink>();
  const AgentId id = *directory.Attach(DiskHello(), link);
  Status why;
  const auto watch = directory.WatchSet(id, "set", [&](const Status& gone) { why = gone; });
  ASSERT_THAT(watch, IsOk());

  const OrderResult result = directory.Execute(id, kOpenOrder, {.deadline = Deadline::Never()});

  EXPECT_THAT(result.status, HasCode(Code::kUnavailable));
  EXPECT_THAT(result.status, MessageHas("nothing was heard of it for 50 ms"));
  EXPECT_THAT(why, MessageHas("agent 'disk' is gone"));
  EXPECT_TRUE(link->WaitUntilClosed());
  EXPECT_TRUE(directory.List().empty());
}

// Its process is for whoever started it to end. The directory must be usable from the callback.
TEST(AgentDirectory, TellsWhoWasLost) {
  std::promise<AgentInfo> lost;
  std::atomic<std::size_t> left{1};
  AgentDirectory* asked = nullptr;
  AgentDirectory directory({.lease = 200ms, .on_lost = [&](const AgentInfo& agent) {
                              left = asked->List().size();
                              lost.set_value(agent);
                            }});
  asked = &directory;
  const AgentId id = *directory.Attach(DiskHello(), std::make_shared<ScriptedLink>());

  auto told = lost.get_future();
  ASSERT_EQ(told.wait_for(20s), std::future_status::ready);
  const AgentInfo agent = told.get();
  EXPECT_EQ(agent.id, id);
  EXPECT_EQ(agent.name, "disk");
  EXPECT_EQ(agent.pid, 4711);
  EXPECT_EQ(left, 0U);
}

// It ended its stream, so that it does not hang.
TEST(AgentDirectory, AnAgentThatDetachesIsNotLost) {
  std::atomic<int> lost{0};
  {
    AgentDirectory directory({.lease = 20ms, .on_lost = [&](const AgentInfo&) { ++lost; }});
    const AgentId id = *directory.Attach(DiskHello(), std::make_shared<ScriptedLink>());
    directory.Detach(id, Error(Code::kUnavailable, "its stream has ended"));
    EXPECT_THAT(directory.WaitForAgent("DISK", Within(100ms)), HasCode(Code::kUnavailable));
  }
  EXPECT_EQ(lost, 0);
}

TEST(AgentDirectory, EmptyReportsKeepTheLease) {
  AgentDirectory directory({.lease = 1s});
  const AgentId id = *directory.Attach(DiskHello(), std::make_shared<ScriptedLink>());

  for (const Deadline end = Deadline::After(1500ms); !end.passed();) {
    directory.OnReports(id, {});
    std::this_thread::sleep_for(50ms);  // the beat of the reports, well within the lease
  }

  EXPECT_EQ(directory.List().size(), 1U);
}

TEST_F(AgentDirectoryTest, WaitsForAnAgentOfTheClass) {
  std::jthread later([this] { Attach(); });

  const auto agent = directory_.WaitForAgent("DISK", Within(10s));

  ASSERT_THAT(agent, IsOk());
  EXPECT_EQ(agent.status().message(), "");
  EXPECT_EQ((*directory_.WaitForAgent("DISK", Within(0ms))).name, "disk");
}

TEST_F(AgentDirectoryTest, WaitingForAClassThatNobodyServesEnds) {
  Attach();

  EXPECT_THAT(directory_.WaitForAgent("TAPE", Within(10ms)), HasCode(Code::kUnavailable));
  EXPECT_THAT(directory_.WaitForAgent(
                  "TAPE", {.deadline = Deadline::After(60s), .cancelled = [] { return true; }}),
              HasCode(Code::kCancelled));
}

TEST_F(AgentDirectoryTest, AnEndedWatchIsNotCalled) {
  const AgentId id = Attach();
  bool called = false;
  {
    const auto watch = directory_.WatchSet(id, "set", [&](const Status&) { called = true; });
    ASSERT_THAT(watch, IsOk());
    EXPECT_EQ(directory_.List()[0].state, "Serving");
  }
  directory_.Detach(id, Error(Code::kUnavailable, "gone"));

  EXPECT_FALSE(called);
  EXPECT_THAT(directory_.WatchSet(id, "set", {}), HasCode(Code::kUnavailable));
}

TEST_F(AgentDirectoryTest, FindsTheLastReportOfADevice) {
  const AgentId id = Attach();
  directory_.OnReports(id, {{.device_name = "set", .mode = "io_uring direct", .bytes = 1}});
  directory_.OnReports(id, {{.device_name = "set", .mode = "io_uring direct", .bytes = 2}});

  ASSERT_TRUE(directory_.FindReport("set").has_value());
  EXPECT_EQ(directory_.FindReport("set")->bytes, 2U);
  EXPECT_FALSE(directory_.FindReport("other").has_value());
}

TEST_F(AgentDirectoryTest, ForgetsTheOldestReportsFirst) {
  const AgentId id = Attach();
  for (int i = 0; i < 2000; ++i) {
    directory_.OnReports(id, {{.device_name = std::to_string(i)}});
  }

  EXPECT_FALSE(directory_.FindReport("0").has_value());
  EXPECT_TRUE(directory_.FindReport("1999").has_value());
}

TEST_F(AgentDirectoryTest, WaitsForTheErrorOfADevice) {
  const AgentId id = Attach();
  const auto watch = directory_.WatchSet(id, "set", {});
  ASSERT_THAT(watch, IsOk());
  directory_.OnReports(id, {{.device_name = "set", .target = "/b"}});
  std::jthread later([&] {
    directory_.OnReports(id, {{.device_name = "set",
                               .target = "/b",
                               .errors = 1,
                               .last_error = "28(No space left on device)"}});
  });

  EXPECT_EQ(directory_.WaitForDeviceError("set", "set", Deadline::After(10s)),
            "28(No space left on device)");
  EXPECT_EQ(directory_.List()[0].last_error, "/b: 28(No space left on device)");
}

TEST_F(AgentDirectoryTest, DoesNotWaitForErrorsOfASetThatNoAgentServes) {
  EXPECT_EQ(directory_.WaitForDeviceError("vendor", "vendor", Deadline::Never()), "");
}

TEST_F(AgentDirectoryTest, CloseEndsEveryWaitAndEveryAgent) {
  const AgentId id = Attach();
  std::jthread waiting([&] {
    EXPECT_THAT(directory_.WaitForAgent("TAPE", {.deadline = Deadline::Never()}),
                HasCode(Code::kUnavailable));
  });
  std::jthread ordering([&] {
    EXPECT_THAT(directory_.Execute(id, kOpenOrder, {.deadline = Deadline::Never()}).status,
                HasCode(Code::kUnavailable));
  });
  ASSERT_TRUE(link_->WaitForOrders(1));

  directory_.Close();

  EXPECT_TRUE(link_->WaitUntilClosed());
  EXPECT_THAT(directory_.Attach(DiskHello(), link_), HasCode(Code::kUnavailable));
}

}  // namespace
}  // namespace capstan::coordinator
