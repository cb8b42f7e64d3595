#include "vdi/spsc_ring.h"

#include <cstdlib>
#include <deque>
#include <limits>
#include <memory>
#include <random>

#include <gtest/gtest.h>

namespace capstan::vdi {
namespace {

class SpscRing : public testing::Test {
 protected:
  std::unique_ptr<Ring<CompletionRecord>> ring_ = std::make_unique<Ring<CompletionRecord>>();
  RingProducer<CompletionRecord> producer_{*ring_};
  RingConsumer<CompletionRecord> consumer_{*ring_};

  RingResult Post(std::uint64_t id) {
    return producer_.Post({.id = id, .position = -7, .code = 3, .bytes = 9, .reserved = 0});
  }
};

TEST_F(SpscRing, TakeGivesWhatWasPosted) {
  ASSERT_EQ(Post(42), RingResult::kDone);

  CompletionRecord record{};
  ASSERT_EQ(consumer_.Take(record), RingResult::kDone);

  EXPECT_EQ(record.id, 42U);
  EXPECT_EQ(record.position, -7);
  EXPECT_EQ(record.code, 3U);
  EXPECT_EQ(record.bytes, 9U);
}

TEST_F(SpscRing, TakeFindsNothingInAnEmptyRing) {
  CompletionRecord record{};

  EXPECT_FALSE(consumer_.Ready());
  EXPECT_EQ(consumer_.Take(record), RingResult::kNothing);
}

TEST_F(SpscRing, PostFailsWhenFullAndWorksAfterOneTake) {
  for (std::uint64_t i = 0; i < kRingCapacity; ++i) {
    ASSERT_EQ(Post(i), RingResult::kDone);
  }
  ASSERT_EQ(Post(999), RingResult::kNothing);

  CompletionRecord record{};
  ASSERT_EQ(consumer_.Take(record), RingResult::kDone);

  EXPECT_EQ(record.id, 0U);
  EXPECT_EQ(Post(1000), RingResult::kDone);
}

TEST_F(SpscRing, ConsumerRefusesACountThatIsTooFarAhead) {
  ring_->posted.count = kRingCapacity + 1;
  CompletionRecord record{};

  EXPECT_TRUE(consumer_.Ready());
  EXPECT_EQ(consumer_.Take(record), RingResult::kCorrupt);
}

TEST_F(SpscRing, ConsumerRefusesACountThatGoesBack) {
  CompletionRecord record{};
  ASSERT_EQ(Post(1), RingResult::kDone);
  ASSERT_EQ(consumer_.Take(record), RingResult::kDone);
  ring_->posted.count = 0;

  EXPECT_EQ(consumer_.Take(record), RingResult::kCorrupt);
}

TEST_F(SpscRing, ProducerRefusesACountBeyondWhatItPosted) {
  for (std::uint64_t i = 0; i < kRingCapacity; ++i) {
    ASSERT_EQ(Post(i), RingResult::kDone);
  }
  ring_->taken.count = kRingCapacity + 1;

  EXPECT_EQ(Post(999), RingResult::kCorrupt);
}

TEST_F(SpscRing, ProducerRefusesACountThatGoesBack) {
  CompletionRecord record{};
  for (std::uint64_t lap = 0; lap < 2; ++lap) {
    for (std::uint64_t i = 0; i < kRingCapacity; ++i) {
      ASSERT_EQ(Post(i), RingResult::kDone);
    }
    if (lap == 0) {
      while (consumer_.Take(record) == RingResult::kDone) {
      }
    }
  }
  ring_->taken.count = 1;

  EXPECT_EQ(Post(999), RingResult::kCorrupt);
}

// The peer may write its own and our count; we believe neither about ourselves.
TEST_F(SpscRing, OwnCountsAreNotReadBackFromTheSegment) {
  ASSERT_EQ(Post(1), RingResult::kDone);
  ring_->posted.count = std::numeric_limits<std::uint64_t>::max();
  ASSERT_EQ(Post(2), RingResult::kDone);

  CompletionRecord record{};
  ASSERT_EQ(consumer_.Take(record), RingResult::kDone);
  EXPECT_EQ(record.id, 1U);
  ring_->taken.count = 12345;
  ASSERT_EQ(consumer_.Take(record), RingResult::kDone);
  EXPECT_EQ(record.id, 2U);
}

// Random operations against a queue; CAPSTAN_TEST_SEED replays a run.
TEST_F(SpscRing, BehavesAsAQueueOverManyLaps) {
  const char* given = std::getenv("CAPSTAN_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE(testing::Message() << "CAPSTAN_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  std::deque<std::uint64_t> model;
  CompletionRecord record{};

  for (int step = 0; step < 20000; ++step) {
    const bool post = random() % 100 < (step / 2000 % 2 == 0 ? 60 : 40);
    if (post) {
      const std::uint64_t id = random();
      const RingResult posted = Post(id);
      ASSERT_EQ(posted, model.size() < kRingCapacity ? RingResult::kDone : RingResult::kNothing);
      if (posted == RingResult::kDone) {
        model.push_back(id);
      }
    } else {
      const RingResult taken = consumer_.Take(record);
      ASSERT_EQ(taken, model.empty() ? RingResult::kNothing : RingResult::kDone);
      if (taken == RingResult::kDone) {
        ASSERT_EQ(record.id, model.front());
        model.pop_front();
      }
    }
    ASSERT_EQ(consumer_.Ready(), !model.empty());
  }
}

}  // namespace
}  // namespace capstan::vdi
