// All decorators in front of a plugin whose requests complete on threads of its own, with the real
// clock: what ThreadSanitizer is to see.
#include "agent/decorators/decorated_media.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/abi_plugin.h"
#include "agent/decorators/rate_limit.h"
#include "tests/support/faulty_media.h"
#include "tests/support/media_request.h"
#include "tests/support/memory_plugin.h"
#include "tests/support/status_matchers.h"

namespace capstan::agent {
namespace {

using namespace std::chrono_literals;
using Call = test::MediaFault::Call;
using test::IsOk;

constexpr std::size_t kSize = 64 << 10;

std::unique_ptr<MediaPlugin> FaultyMemory(std::vector<test::MediaFault> plan) {
  test::ForgetMemoryMedia();
  return std::make_unique<test::FaultyMedia>(
      std::move(WrapPlugin(test::MemoryPlugin(), "memory")).value(), std::move(plan));
}

TEST(Alarms, CallsAreMadeInTheOrderOfTheirTimesAndOnlyOnce) {
  const std::unique_ptr<Alarms> alarms = MakeAlarms();
  Mutex mutex;
  CondVar changed;
  std::vector<int> calls;
  const auto note = [&](int number) {
    return [&, number] {
      const MutexLock lock(mutex);
      calls.push_back(number);
      changed.NotifyAll();
    };
  };
  const auto now = alarms->Now();
  alarms->CallAt(now + 20ms, note(3));
  alarms->CallAt(now + 10ms, note(1));
  alarms->CallAt(now + 10ms, note(2));
  const Alarms::Id never = alarms->CallAt(now + 1h, note(4));
  alarms->Cancel(never);
  alarms->Cancel(0);
  const MutexLock lock(mutex);
  while (calls.size() < 3) {
    changed.Wait(mutex);
  }
  EXPECT_THAT(calls, testing::ElementsAre(1, 2, 3));
}

TEST(Alarms, CancelWaitsForACallThatRuns) {
  const std::unique_ptr<Alarms> alarms = MakeAlarms();
  std::atomic<bool> begun{false};
  std::atomic<bool> ended{false};
  const Alarms::Id id = alarms->CallAt(alarms->Now(), [&] {
    begun.store(true);
    begun.notify_all();
    for (int i = 0; i < 1000; ++i) {
      std::this_thread::yield();
    }
    ended.store(true);
  });
  begun.wait(false);
  alarms->Cancel(id);
  EXPECT_TRUE(ended.load());
}

TEST(DecoratedMedia, BytesArriveThroughFailuresAndLimits) {
  const std::unique_ptr<Alarms> alarms = MakeAlarms();
  const auto fault = [](Call call, std::uint32_t number) {
    return test::MediaFault{.call = call, .number = number, .transient = true};
  };
  auto media = DecorateMedia(
      FaultyMemory({fault(Call::kWrite, 2), fault(Call::kWrite, 5), fault(Call::kFlush, 1),
                    fault(Call::kSubmit, 7), fault(Call::kComplete, 1), fault(Call::kOpen, 1),
                    fault(Call::kRead, 3)}),
      {.retry = {.limit = 20s, .seed = 7}, .bytes_per_second_max = 200U << 20}, *alarms);
  const auto limit = std::make_shared<RateLimit>(100U << 20);
  const auto open = [&](capstan_open_mode mode) {
    auto device = media->Open({.mode = mode, .target = "m", .token = "t", .rate_limit = limit});
    EXPECT_THAT(device, IsOk());
    return std::move(device).value();
  };

  constexpr std::size_t kCount = 20;
  auto writer = open(CAPSTAN_OPEN_CREATE);
  std::vector<test::MediaBuffer> buffers;
  std::vector<test::MediaRequest> writes(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    buffers.emplace_back(kSize, static_cast<unsigned>(i));
    ASSERT_THAT(writes[i].Write(*writer, static_cast<std::int64_t>(i * kSize), buffers[i].bytes()),
                IsOk());
  }
  for (test::MediaRequest& write : writes) {
    EXPECT_EQ(write.Wait().completion_code, CAPSTAN_E_OK);
  }
  EXPECT_EQ(test::RunRequest(*writer, CAPSTAN_OP_FLUSH), CAPSTAN_E_OK);
  EXPECT_EQ(test::RunRequest(*writer, CAPSTAN_OP_COMPLETE), CAPSTAN_E_OK);
  const MediaDeviceStatus status = writer->status();
  EXPECT_EQ(status.requests, kCount + 2) << "two were sent twice";
  EXPECT_EQ(status.retries, 5U);
  EXPECT_GT(status.request_time_us, 0U);
  EXPECT_LE(status.request_time_max_us, status.request_time_us);
  EXPECT_THAT(writer->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  const auto reader = open(CAPSTAN_OPEN_READ);
  for (std::size_t i = 0; i < kCount; ++i) {
    test::MediaBuffer into(kSize, 99);
    test::MediaRequest read;
    ASSERT_THAT(read.Read(*reader, static_cast<std::int64_t>(i * kSize),
                          std::span(into.data(), into.size())),
                IsOk());
    ASSERT_EQ(read.Wait().completion_code, CAPSTAN_E_OK);
    EXPECT_TRUE(std::ranges::equal(into.bytes(), buffers[i].bytes())) << i;
  }
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

TEST(DecoratedMedia, CloseInTheMiddleCompletesEverything) {
  const std::unique_ptr<Alarms> alarms = MakeAlarms();
  const auto media =
      DecorateMedia(FaultyMemory({{.call = Call::kWrite, .number = 1, .transient = true}}),
                    {.retry = {.limit = 1h}, .bytes_per_second_max = 4U << 20}, *alarms);
  auto device = media->Open({.mode = CAPSTAN_OPEN_CREATE, .target = "m", .token = "t"});
  ASSERT_THAT(device, IsOk());
  const test::MediaBuffer buffer(kSize);
  std::vector<test::MediaRequest> writes(64);  // 4 MiB: a second at this rate
  for (test::MediaRequest& write : writes) {
    ASSERT_THAT(write.Write(**device, 0, buffer.bytes()), IsOk());
  }
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
  std::size_t given_up = 0;
  for (test::MediaRequest& write : writes) {
    given_up += write.Wait().completion_code == CAPSTAN_E_ABORTED ? 1 : 0;
  }
  EXPECT_GT(given_up, 0U);
}

}  // namespace
}  // namespace capstan::agent
