#include "agent/decorators/throttled_media.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fake_alarms.h"
#include "tests/support/media_request.h"
#include "tests/support/scripted_media.h"
#include "tests/support/status_matchers.h"

namespace capstan::agent {
namespace {

using namespace std::chrono_literals;
using test::IsOk;

constexpr std::uint32_t kMiB = 1U << 20;

TEST(RateLimit, FirstTransferIsFreeAndTheNextWaitsUntilItIsPaidFor) {
  RateLimit limit(kMiB);
  const RateLimit::TimePoint begin(1h);
  EXPECT_EQ(limit.Take(4 * kMiB, begin), begin);
  EXPECT_EQ(limit.Take(kMiB, begin), begin - 100ms + 4s);
  EXPECT_EQ(limit.Take(kMiB, begin + 1s), begin - 100ms + 5s);
}

TEST(RateLimit, UnusedTimeIsNotSaved) {
  RateLimit limit(kMiB);
  const RateLimit::TimePoint begin(1h);
  limit.Take(kMiB, begin);
  const auto later = begin + 1h;
  EXPECT_EQ(limit.Take(kMiB, later), later);
  EXPECT_EQ(limit.Take(kMiB, later), later + 900ms);
}

class ThrottledMediaTest : public ::testing::Test {
 protected:
  std::unique_ptr<MediaDevice> Open(std::shared_ptr<RateLimit> agents,
                                    std::shared_ptr<RateLimit> jobs) {
    media_ = std::make_unique<ThrottledMedia>(
        std::make_unique<test::ScriptedMedia>(script_, CAPSTAN_FEATURE_RANDOM_ACCESS),
        std::move(agents), alarms_);
    auto device = media_->Open({.target = "x", .rate_limit = std::move(jobs)});
    EXPECT_THAT(device, IsOk());
    return std::move(device).value();
  }

  void Write(MediaDevice& device, std::uint32_t size, std::int32_t op = CAPSTAN_OP_WRITE) {
    auto& request = requests_.emplace_back(std::make_unique<test::MediaRequest>());
    request->request.size = size;
    request->request.position = static_cast<std::int64_t>(requests_.size());
    ASSERT_THAT(request->Submit(device, op), IsOk());
  }

  test::MediaScript script_;
  test::FakeAlarms alarms_;
  std::vector<std::unique_ptr<test::MediaRequest>> requests_;
  std::unique_ptr<ThrottledMedia> media_;
};

// Over any span no more than the rate, plus the credit and one transfer.
TEST_F(ThrottledMediaTest, RateIsKeptOverAllDevicesTogether) {
  const auto limit = std::make_shared<RateLimit>(10 * kMiB);
  const auto first = Open(nullptr, limit);
  auto second = media_->Open({.target = "y", .rate_limit = limit});
  ASSERT_THAT(second, IsOk());
  const auto begin = alarms_.Now();
  std::uint64_t bytes = 0;
  const auto take_done = [&] {
    while (!script_.requests.empty()) {
      bytes += script_.requests.front()->size;
      script_.Complete();
    }
  };
  for (int i = 0; i < 50; ++i) {
    Write(*first, kMiB);
    Write(**second, kMiB);
    take_done();
  }
  for (int tenths = 1; bytes < 100 * kMiB; ++tenths) {
    alarms_.Advance(100ms);
    take_done();
    const double seconds = std::chrono::duration<double>(alarms_.Now() - begin).count();
    ASSERT_LE(static_cast<double>(bytes), 10 * kMiB * (seconds + 0.1) + kMiB + 1) << seconds;
    ASSERT_GE(static_cast<double>(bytes), 10 * kMiB * seconds - kMiB) << seconds;
  }
  EXPECT_GE(alarms_.Now() - begin, 9700ms);
  EXPECT_LE(alarms_.Now() - begin, 10s);
  EXPECT_GE(first->status().throttled_us, 9'000'000U);
}

TEST_F(ThrottledMediaTest, RequestsKeepTheirOrder) {
  const auto device = Open(nullptr, std::make_shared<RateLimit>(kMiB));
  for (int i = 0; i < 5; ++i) {
    Write(*device, kMiB);
  }
  Write(*device, 0, CAPSTAN_OP_FLUSH);  // waits for those in front of it
  std::vector<std::int64_t> order;
  for (int i = 0; i < 60; ++i) {
    while (!script_.requests.empty()) {
      order.push_back(script_.requests.front()->position);
      script_.Complete();
    }
    alarms_.Advance(100ms);
  }
  EXPECT_THAT(order, testing::ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST_F(ThrottledMediaTest, LowerOfTwoLimitsCounts) {
  for (const bool agents_is_lower : {true, false}) {
    const auto low = std::make_shared<RateLimit>(kMiB);
    const auto high = std::make_shared<RateLimit>(1000 * kMiB);
    const auto device = agents_is_lower ? Open(low, high) : Open(high, low);
    Write(*device, kMiB);
    Write(*device, kMiB);
    EXPECT_EQ(script_.requests.size(), 1U);
    EXPECT_EQ(device->status().waits_for, "the rate limit");
    alarms_.Advance(899ms);
    EXPECT_EQ(script_.requests.size(), 1U);
    alarms_.Advance(1ms);
    EXPECT_EQ(script_.requests.size(), 2U);
    EXPECT_EQ(device->status().waits_for, "");
    EXPECT_EQ(device->status().throttled_us, 900'000U);
    script_.Complete();
    script_.Complete();
  }
}

TEST_F(ThrottledMediaTest, CloseGivesUpWhatIsHeldBack) {
  const auto device = Open(nullptr, std::make_shared<RateLimit>(1));
  Write(*device, kMiB);
  Write(*device, kMiB);
  Write(*device, kMiB);
  script_.Complete();
  EXPECT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());
  EXPECT_EQ(requests_[0]->request.completion_code, CAPSTAN_E_OK);
  EXPECT_EQ(requests_[1]->request.completion_code, CAPSTAN_E_ABORTED);
  EXPECT_EQ(requests_[2]->request.completion_code, CAPSTAN_E_ABORTED);
  EXPECT_THAT(script_.closes, testing::ElementsAre(CAPSTAN_OUTCOME_KEEP));
  alarms_.Advance(1h);
  EXPECT_EQ(script_.submit_count, 1U);
}

TEST_F(ThrottledMediaTest, RefusalOfWhatWasHeldBackBecomesItsCompletion) {
  const auto device = Open(nullptr, std::make_shared<RateLimit>(kMiB));
  Write(*device, kMiB);
  Write(*device, kMiB);
  script_.refusals = {Error(Code::kInternal, "broken").WithOsError(5)};
  alarms_.Advance(1s);
  EXPECT_EQ(requests_[1]->request.completion_code, CAPSTAN_E_WRITE_FAULT);
  EXPECT_EQ(requests_[1]->request.error.os_error, 5);
  EXPECT_STREQ(requests_[1]->request.error.message, "broken");
  script_.Complete();
}

TEST_F(ThrottledMediaTest, WithoutLimitsNothingIsInBetween) {
  const auto device = Open(nullptr, nullptr);
  for (int i = 0; i < 10; ++i) {
    Write(*device, kMiB);
  }
  EXPECT_EQ(script_.requests.size(), 10U);
  EXPECT_EQ(alarms_.waiting(), 0U);
  while (!script_.requests.empty()) {
    script_.Complete();
  }
}

}  // namespace
}  // namespace capstan::agent
