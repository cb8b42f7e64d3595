// Nothing here waits: the clock is turned by hand. S1-49: what fails for a while is done again.
#include "agent/decorators/retrying_media.h"

#include <cerrno>
#include <future>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fake_alarms.h"
#include "tests/support/media_request.h"
#include "tests/support/scripted_media.h"
#include "tests/support/status_matchers.h"

namespace capstan::agent {
namespace {

using namespace std::chrono_literals;
using test::HasCode;
using test::IsOk;
using test::MessageHas;

Status Passing() {
  return Error(Code::kUnavailable, "connection refused");
}

class RetryingMediaTest : public ::testing::Test {
 protected:
  void Make(std::uint32_t features = CAPSTAN_FEATURE_RANDOM_ACCESS,
            std::chrono::milliseconds limit = 30s) {
    device_.reset();
    media_ =
        std::make_unique<RetryingMedia>(std::make_unique<test::ScriptedMedia>(script_, features),
                                        RetryOptions{.limit = limit, .seed = 1}, alarms_);
    auto device = media_->Open({.target = "x"});
    ASSERT_THAT(device, IsOk());
    device_ = std::move(device).value();
  }

  void Submit(std::int32_t op = CAPSTAN_OP_WRITE) {
    request_ = std::make_unique<test::MediaRequest>();
    request_->request.size = 4096;
    request_->request.position = 8192;
    request_->request.completion_code = kPending;
    ASSERT_THAT(request_->Submit(*device_, op), IsOk());
  }
  bool pending() const { return request_->request.completion_code == kPending; }

  static constexpr std::uint32_t kPending = 9999;
  test::MediaScript script_;
  test::FakeAlarms alarms_;
  std::unique_ptr<test::MediaRequest> request_;
  std::unique_ptr<RetryingMedia> media_;
  std::unique_ptr<MediaDevice> device_;
};

TEST_F(RetryingMediaTest, WriteIsSentAgainWithTheSamePlaceAndBuffer) {
  Make();
  Submit();
  script_.Complete(CAPSTAN_E_WRITE_FAULT, /*transient=*/true);
  EXPECT_TRUE(pending());
  EXPECT_TRUE(script_.requests.empty()) << "it is not sent again at once";
  EXPECT_THAT(device_->status().waits_for, testing::HasSubstr("scripted failure"));

  alarms_.Advance(100ms);

  ASSERT_EQ(script_.requests.size(), 1U);
  EXPECT_EQ(script_.requests[0]->position, 8192);
  EXPECT_EQ(script_.requests[0]->size, 4096U);
  EXPECT_EQ(script_.requests[0]->op, CAPSTAN_OP_WRITE);
  EXPECT_EQ(script_.requests[0]->error.flags, 0U) << "it begins without the old failure";
  script_.Complete();
  EXPECT_EQ(request_->request.completion_code, CAPSTAN_E_OK);
  EXPECT_EQ(request_->request.bytes_transferred, 4096U);
  EXPECT_EQ(device_->status().retries, 1U);
  EXPECT_EQ(device_->status().waits_for, "");
}

TEST_F(RetryingMediaTest, FailureForGoodIsReportedAtOnce) {
  Make();
  Submit();
  script_.Complete(CAPSTAN_E_NO_SPACE);
  EXPECT_EQ(request_->request.completion_code, CAPSTAN_E_NO_SPACE);
  EXPECT_EQ(request_->request.error.os_error, 110);
  EXPECT_EQ(alarms_.waiting(), 0U);
}

// An outage of almost half an hour, as long as the limit is longer.
TEST_F(RetryingMediaTest, OutlivesAnOutageWithinTheLimit) {
  Make(CAPSTAN_FEATURE_RANDOM_ACCESS, 30min);
  Submit();
  script_.Complete(CAPSTAN_E_WRITE_FAULT, true);
  std::size_t tries = 1;
  for (auto passed = 0s; passed < 29min; passed += 1s) {
    alarms_.Advance(1s);
    while (!script_.requests.empty()) {
      ++tries;
      script_.Complete(CAPSTAN_E_WRITE_FAULT, true);
    }
  }
  EXPECT_TRUE(pending());
  EXPECT_GT(tries, 300U) << "waits are 5 s at most";
  EXPECT_LT(tries, 800U) << "and 2.5 s at least";
  alarms_.Advance(5s);
  script_.Complete();
  EXPECT_EQ(request_->request.completion_code, CAPSTAN_E_OK);
}

TEST_F(RetryingMediaTest, FailsWithTheLastFailureOnceTheLimitIsOver) {
  Make(CAPSTAN_FEATURE_RANDOM_ACCESS, 2s);
  Submit(CAPSTAN_OP_READ);
  const auto begin = alarms_.Now();
  for (int turn = 0; turn < 100 && pending(); ++turn) {
    script_.Complete(CAPSTAN_E_READ_FAULT, true);
    alarms_.Advance(pending() ? 100ms : 0ms);
    while (pending() && script_.requests.empty()) {
      alarms_.Advance(100ms);
    }
  }
  EXPECT_EQ(request_->request.completion_code, CAPSTAN_E_READ_FAULT);
  EXPECT_STREQ(request_->request.error.message, "scripted failure");
  EXPECT_LE(alarms_.Now() - begin, 2s);
  EXPECT_GT(alarms_.Now() - begin, 300ms);
  EXPECT_EQ(alarms_.waiting(), 0U);
}

TEST_F(RetryingMediaTest, LimitOfZeroRepeatsNothing) {
  Make(CAPSTAN_FEATURE_RANDOM_ACCESS, 0s);
  Submit();
  script_.Complete(CAPSTAN_E_WRITE_FAULT, true);
  EXPECT_EQ(request_->request.completion_code, CAPSTAN_E_WRITE_FAULT);
}

TEST_F(RetryingMediaTest, RequestsOfADeviceInOrderAreNotSentAgain) {
  Make(CAPSTAN_FEATURE_FILE_MARKS | CAPSTAN_FEATURE_REMOVABLE);
  for (const std::int32_t op : {CAPSTAN_OP_WRITE, CAPSTAN_OP_READ, CAPSTAN_OP_WRITE_MARK,
                                CAPSTAN_OP_FLUSH, CAPSTAN_OP_COMPLETE, CAPSTAN_OP_SKIP_MARKS}) {
    Submit(op);
    script_.Complete(CAPSTAN_E_IO, true);
    EXPECT_EQ(request_->request.completion_code, CAPSTAN_E_IO) << op;
  }
  Submit(CAPSTAN_OP_LOAD);  // a busy drive: it ends at a known place whatever happened before
  script_.Complete(CAPSTAN_E_NOT_READY, true);
  EXPECT_TRUE(pending());
  alarms_.Advance(100ms);
  script_.Complete();
  EXPECT_EQ(request_->request.completion_code, CAPSTAN_E_OK);
}

TEST_F(RetryingMediaTest, EndsOfAMediumAreNoFailures) {
  Make();
  Submit(CAPSTAN_OP_READ);
  script_.Complete(CAPSTAN_E_END, true);
  EXPECT_EQ(request_->request.completion_code, CAPSTAN_E_END);
}

TEST_F(RetryingMediaTest, RefusalThatPassesIsSubmittedAgain) {
  Make();
  script_.refusals = {Passing(), Passing()};
  Submit();
  EXPECT_TRUE(pending());
  alarms_.Advance(100ms);
  EXPECT_TRUE(script_.requests.empty());
  alarms_.Advance(200ms);
  ASSERT_EQ(script_.requests.size(), 1U);
  script_.Complete();
  EXPECT_EQ(request_->request.completion_code, CAPSTAN_E_OK);

  script_.refusals = {Passing(), Error(Code::kInternal, "broken").WithOsError(EIO)};
  Submit();
  alarms_.Advance(100ms);
  EXPECT_EQ(request_->request.completion_code, CAPSTAN_E_WRITE_FAULT);
  EXPECT_STREQ(request_->request.error.message, "broken");

  script_.refusals = {Error(Code::kInternal, "broken")};
  test::MediaRequest refused;
  EXPECT_THAT(refused.Submit(*device_, CAPSTAN_OP_WRITE), HasCode(Code::kInternal));
}

TEST_F(RetryingMediaTest, CloseEndsWhatWaitsWithoutWaiting) {
  Make();
  Submit();
  script_.Complete(CAPSTAN_E_WRITE_FAULT, true);
  const auto waiting = std::move(request_);
  Submit();  // still with the plugin, which ends it with a failure that would pass

  EXPECT_THAT(device_->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());

  EXPECT_EQ(waiting->request.completion_code, CAPSTAN_E_ABORTED);
  EXPECT_THAT(waiting->request.error.message, testing::HasSubstr("scripted failure"));
  EXPECT_EQ(request_->request.completion_code, CAPSTAN_E_ABORTED);
  EXPECT_THAT(script_.closes, testing::ElementsAre(CAPSTAN_OUTCOME_DISCARD));
  alarms_.Advance(1h);
  EXPECT_EQ(script_.submit_count, 2U) << "nothing was sent again";
}

TEST_F(RetryingMediaTest, WaitsGrowToFiveSecondsAndDiffer) {
  Backoff backoff(1);
  std::vector<std::chrono::milliseconds> first;
  for (int i = 0; i < 20; ++i) {
    first.push_back(backoff.Before(2));
    EXPECT_GE(first.back(), 50ms);
    EXPECT_LE(first.back(), 100ms);
    const auto late = backoff.Before(1000);
    EXPECT_GE(late, 2500ms);
    EXPECT_LE(late, 5s);
  }
  EXPECT_NE(std::count(first.begin(), first.end(), first[0]), 20);
}

class RetryingCallsTest : public RetryingMediaTest {
 protected:
  // Turns the clock, whenever somebody waits for it, until the call on another thread has returned.
  template <typename T>
  T Await(std::future<T> result) {
    while (result.wait_for(0s) != std::future_status::ready) {
      if (alarms_.waiting() > 0) {
        alarms_.Advance(100ms);
      }
      std::this_thread::yield();
    }
    return result.get();
  }
};

TEST_F(RetryingCallsTest, OpenStatRemoveAndRecoverAreRepeated) {
  Make();
  const auto run = [this](auto call) { return Await(std::async(std::launch::async, call)); };
  script_.calls = {Passing(), Passing()};
  EXPECT_THAT(run([this] { return media_->Open({.target = "y"}).status(); }), IsOk());
  script_.calls = {Passing()};
  EXPECT_EQ(run([this] { return media_->Stat("y"); })->size, 7U);
  script_.calls = {Passing()};
  EXPECT_THAT(run([this] { return media_->Recover("y", "t", CAPSTAN_RECOVER_COMMIT); }), IsOk());
  script_.calls = {Passing()};
  EXPECT_THAT(run([this] { return media_->Remove("y"); }), IsOk());
  EXPECT_EQ(script_.call_count, 1U + 3 + 2 + 2 + 2);
}

TEST_F(RetryingCallsTest, RemovalWhoseAnswerWasLostIsDone) {
  Make();
  const Status gone = OsError(ENOENT, "medium 'y'");
  script_.calls = {Passing(), gone};
  EXPECT_THAT(Await(std::async(std::launch::async, [this] { return media_->Remove("y"); })),
              IsOk());
  script_.calls = {gone};
  EXPECT_THAT(media_->Remove("y"), HasCode(gone.code()));
}

TEST_F(RetryingCallsTest, CallFailsWithItsLastErrorOnceTheLimitIsOver) {
  Make(CAPSTAN_FEATURE_RANDOM_ACCESS, 1s);
  script_.calls = std::deque<Status>(100, Passing());
  const Status status =
      Await(std::async(std::launch::async, [this] { return media_->Stat("y").status(); }));
  EXPECT_THAT(status, HasCode(Code::kUnavailable));
  EXPECT_THAT(status, MessageHas("connection refused"));
  EXPECT_LT(script_.call_count, 20U);
}

TEST_F(RetryingCallsTest, EndWaitsEndsACallThatWaits) {
  Make();
  script_.calls = std::deque<Status>(100, Passing());
  auto result = std::async(std::launch::async, [this] { return media_->Stat("y").status(); });
  alarms_.AwaitCall();
  media_->EndWaits();  // nobody turns the clock
  EXPECT_THAT(result.get(), HasCode(Code::kUnavailable));
  script_.calls.clear();
  EXPECT_THAT(media_->Stat("y"), IsOk()) << "later calls are as before";
}

}  // namespace
}  // namespace capstan::agent
