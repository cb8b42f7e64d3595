// The measuring of a target, over memory devices. S0-14.
#include "server/engine/device_bench.h"

#include <atomic>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "tests/unit/server/engine/engine_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MessageHas;
using vdi::CommandCode;
using vdi::CompletionCode;

TEST(BenchBytes, AreKnownByTheirPlace) {
  std::vector<std::byte> bytes(4096);
  FillBenchBytes(1 << 20, bytes.data(), bytes.size());
  EXPECT_TRUE(AreBenchBytes(1 << 20, bytes.data(), bytes.size()));
  EXPECT_FALSE(AreBenchBytes((1 << 20) + 4096, bytes.data(), bytes.size()));
  for (const std::size_t at : {0U, 1000U, 4095U}) {
    bytes[at] ^= std::byte{1};
    EXPECT_FALSE(AreBenchBytes(1 << 20, bytes.data(), bytes.size())) << at;
    bytes[at] ^= std::byte{1};
  }
}

// What a compressor or a deduplicating target lives on is not there.
TEST(BenchBytes, DoNotRepeat) {
  std::vector<std::byte> bytes(1 << 20);
  FillBenchBytes(0, bytes.data(), bytes.size());
  std::set<std::uint64_t> words;
  std::vector<std::size_t> counts(256);
  for (std::size_t i = 0; i < bytes.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, 8);
    words.insert(word);
    for (std::size_t k = 0; k < 8; ++k) {
      ++counts[static_cast<std::size_t>(bytes[i + k])];
    }
  }
  EXPECT_EQ(words.size(), bytes.size() / 8);
  for (const std::size_t count : counts) {
    EXPECT_NEAR(static_cast<double>(count), 4096, 400);
  }
}

class DeviceBenchTest : public EngineFixture {
 protected:
  Result<std::vector<DeviceBenchStep>> Bench(bool read = true) {
    const DeviceBenchRequest request{.device_class = "DISK",
                                     .medium = "/m/bench",
                                     .size = kSize,
                                     .transfer_size = 64 << 10,
                                     .read = read,
                                     .session_id = 51,
                                     .statement = "test"};
    return RunDeviceBench(engine_->parts(), request, observer_);
  }
  void ExpectNothingLeft() {
    EXPECT_EQ(devices_.medium("/m/bench"), nullptr);
    EXPECT_EQ(devices_.partial_count(), 0U);
    EXPECT_TRUE(jobs_.List().empty());
  }

  static constexpr std::uint64_t kSize = (3 << 20) + (64 << 10);
};

TEST_F(DeviceBenchTest, WritesReadsAndRemovesAMediumOfItsOwn) {
  devices_.Put("/m/other", {std::byte{1}});
  const auto steps = Bench();
  ASSERT_THAT(steps, IsOk());
  std::vector<std::string> names;
  for (const DeviceBenchStep& step : *steps) {
    names.push_back(step.name);
    if (step.name == "write" || step.name == "read") {
      EXPECT_EQ(step.bytes, kSize);
      EXPECT_EQ(step.requests, 49U);
      EXPECT_GT(step.seconds, 0);
      EXPECT_GE(step.latency_max_ms, step.latency_ms);
      EXPECT_GT(step.latency_ms, 0);
    }
    EXPECT_GE(step.waits_for_device, 0);
    EXPECT_LE(step.waits_for_device, 1);
    EXPECT_GE(step.device_idle, 0);
    EXPECT_LE(step.device_idle, 1);
  }
  EXPECT_THAT(names, testing::ElementsAre("write", "flush", "commit", "read"));
  EXPECT_NE(devices_.medium("/m/other"), nullptr);
  ExpectNothingLeft();
  EXPECT_EQ(Bench(/*read=*/false)->size(), 3U);
  ExpectNothingLeft();
}

TEST_F(DeviceBenchTest, NeverTouchesAMediumThatIsThere) {
  devices_.Put("/m/bench", {std::byte{7}});
  EXPECT_THAT(Bench(), HasReason(3201));
  ASSERT_NE(devices_.medium("/m/bench"), nullptr);
  EXPECT_EQ(devices_.medium("/m/bench")->size(), 1U);
}

TEST_F(DeviceBenchTest, FindsBytesThatAreNotThoseWritten) {
  devices_.fault = [this](std::size_t, const vdi::ClientCommand& command) {
    if (command.code == CommandCode::kRead && command.position == 0) {
      devices_.fault = nullptr;
      (*devices_.medium("/m/bench"))[100] ^= std::byte{4};
    }
    return CompletionCode::kSuccess;
  };
  const auto steps = Bench();
  EXPECT_THAT(steps, HasReason(3203));
  EXPECT_THAT(steps, MessageHas("not those that were written"));
  ExpectNothingLeft();
}

TEST_F(DeviceBenchTest, EveryFailingStepLeavesNothing) {
  for (const CommandCode code :
       {CommandCode::kWrite, CommandCode::kFlush, CommandCode::kComplete, CommandCode::kRead}) {
    devices_.fault = [code](std::size_t, const vdi::ClientCommand& command) {
      return command.code == code ? CompletionCode::kDiskFull : CompletionCode::kSuccess;
    };
    EXPECT_THAT(Bench(), HasReason(code == CommandCode::kRead ? 3203 : 3202))
        << static_cast<int>(code);
    ExpectNothingLeft();
  }
}

// The device waits for the report behind the one that cancelled: by then the cancel was noticed.
TEST_F(DeviceBenchTest, EndsWhenItIsCancelled) {
  std::atomic<int> reports{0};
  observer_.on_progress = [&](const JobSnapshot& job) {
    jobs_.Cancel(job.session_id);
    ++reports;
  };
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    while (command.code == CommandCode::kWrite && reports < 2) {
      std::this_thread::yield();
    }
    return CompletionCode::kSuccess;
  };
  EXPECT_THAT(Bench(), HasReason(3204));
  devices_.fault = nullptr;
  ExpectNothingLeft();
}

}  // namespace
}  // namespace capstan::engine
