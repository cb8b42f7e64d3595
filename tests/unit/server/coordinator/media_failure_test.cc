// What agents say of failures, and what they are told to clean up.
#include <cerrno>
#include <chrono>
#include <thread>

#include <gmock/gmock.h>

#include "server/coordinator/config.h"
#include "tests/unit/server/coordinator/media_devices_fixture.h"

namespace capstan::coordinator {
namespace {

using test::HasReason;
using test::IsOk;
using test::MessageHas;
using testing::HasSubstr;
using namespace std::chrono_literals;

// It may list a bucket and remove what is there one by one, while one that is away is not worth
// the wait: jobs are settled when it attaches.
TEST_F(MediaDevicesTest, RecoverWaitsLongForAnAgentAtWorkAndBrieflyForOneThatIsAway) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(devices_->Recover("DISK", {.name = "/b", .token = "J-1"},
                                engine::RecoverAction::kDiscard, Deadline::After(60s)),
              test::HasReason(65001));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);

  Attach();
  std::jthread slow;
  link_->OnOrder([&](std::uint64_t id, const Order&) {
    slow = std::jthread([this, id] {
      std::this_thread::sleep_for(400ms);  // twice as long as an agent is waited for
      agents_.OnResult(agent_, id, {});
    });
  });
  EXPECT_THAT(devices_->Recover("DISK", {.name = "/b", .token = "J-1"},
                                engine::RecoverAction::kDiscard, Deadline::After(60s)),
              IsOk());
  EXPECT_EQ(ServerConfig().recover_timeout_s, 60);
}

TEST_F(MediaDevicesTest, RemovesAMediumOnce) {
  Attach();
  EXPECT_THAT(devices_->Remove("DISK", {.name = "/b", .token = ""}, Deadline::After(10s)), IsOk());
  EXPECT_EQ(std::get<RemoveOrder>(link_->orders()[0].second).target, "/b");
  answer_ = {.status = OsError(ENOENT, "medium '/b'")};
  EXPECT_THAT(devices_->Remove("DISK", {.name = "/b", .token = ""}, Deadline::After(10s)), IsOk());
  answer_ = {.status = OsError(EACCES, "medium '/b'")};
  EXPECT_THAT(devices_->Remove("DISK", {.name = "/b", .token = ""}, Deadline::After(10s)),
              MessageHas("medium '/b'"));
}

TEST_F(MediaDevicesTest, LimitOfTheRateIsTheAgentsToKeep) {
  Attach();
  engine::DeviceSetRequest request = Request();
  request.bytes_per_second_max = 5 << 20;
  ASSERT_THAT(devices_->Open(request, Deadline::After(10s)), IsOk());
  EXPECT_EQ(std::get<OpenSetOrder>(link_->orders()[0].second).bytes_per_second_max, 5U << 20);
  request.device_class = "VIRTUAL_DEVICE";
  EXPECT_THAT(devices_->Open(request, Deadline::After(10s)), HasReason(3032));
}

TEST_F(MediaDevicesTest, ErrorHintIsWhatThePluginSaysBesides) {
  Attach();
  const auto hint = [this](const std::string& error, const std::string& text,
                           const std::string& advice) {
    agents_.OnReports(agent_, {{.device_name = "d",
                                .last_error = error,
                                .last_error_text = text,
                                .last_error_hint = advice}});
    return devices_->ErrorHint("d");
  };
  EXPECT_EQ(devices_->ErrorHint("unknown"), "");
  EXPECT_EQ(hint("5(Input/output error)", "block 7: Input/output error", "clean the drive"),
            "block 7: Input/output error; clean the drive");
  EXPECT_EQ(hint("13(Permission denied)", "bucket 'b': key refused", ""),
            "bucket 'b': key refused");
  EXPECT_EQ(hint("bucket gone", "bucket gone", "make it again"), "make it again");
  EXPECT_EQ(hint("bucket gone", "bucket gone", ""), "");
  EXPECT_EQ(hint("28(No space left on device)", "unable to write: No space left on device", ""), "")
      << "there is better advice than that";
}

TEST_F(MediaDevicesTest, OpenErrorCarriesThePluginsHint) {
  Attach();
  answer_ = {.status = OsError(ECONNREFUSED, "unable to reach 'x'").WithHint("is the server up?"),
             .target = "/backup/a.bak"};
  EXPECT_THAT(std::string(devices_->Open(Request(), Deadline::After(5s)).status().hint()),
              HasSubstr("is the server up?"));
  answer_ = {.status = Error(Code::kUnavailable, "the drive is busy").WithHint("wait a bit"),
             .target = "/backup/a.bak"};
  const Status busy = devices_->Open(Request(), Deadline::After(5s)).status();
  EXPECT_THAT(busy, MessageHas("995(the drive is busy)"));
  EXPECT_EQ(busy.hint(), "wait a bit");
}

}  // namespace
}  // namespace capstan::coordinator
