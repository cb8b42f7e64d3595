#include "server/engine/decode_pool.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/unit/server/engine/coding_samples.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MessageHas;

constexpr std::chrono::milliseconds kPatience{10'000};

class DecodePoolTest : public testing::Test {
 protected:
  DecodePoolTest() {
    coding_.form.codec = media::CodecId::kLz4;
    coding_.compression.algorithm = transform::Algorithm::kLz4;
    auto encoder = ExtentEncoder::Create(coding_);
    EXPECT_THAT(encoder, IsOk());
    payload_ = Rows(20'000, 1);
    extent_ = {.length = 20'000, .sequence = 5};
    stored_.resize(payload_.size() + 64);
    encoder->Encode(payload_, stored_, &extent_);
    stored_.resize(extent_.stored_size());
  }
  media::FrameView Frame() const {
    return {.extent = extent_, .payload = stored_, .medium_offset = 4096};
  }

  SetCoding coding_;
  std::vector<std::byte> payload_;
  std::vector<std::byte> stored_;
  media::FrameExtent extent_;
  FirstError error_;
  const std::string target_ = "dev";
};

TEST_F(DecodePoolTest, DeliversAllThatWasSubmittedAndHoldsNoMoreThanItSays) {
  const int room = 2 * static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  std::atomic<int> submitted{0};
  std::atomic<int> delivered{0};
  std::atomic<int> held_max{0};
  DecodePool pool(error_, [&](const DecodedFrame& decoded) {
    int held = submitted.load() - delivered.load();
    for (int seen = held_max.load(); held > seen && !held_max.compare_exchange_weak(seen, held);) {
    }
    EXPECT_THAT(decoded.status, IsOk());
    EXPECT_TRUE(std::equal(decoded.frame.payload.begin(), decoded.frame.payload.end(),
                           payload_.begin(), payload_.end()));
    ++delivered;
    return OkStatus();
  });
  ASSERT_THAT(pool.Start(coding_), IsOk());

  for (int i = 0; i < 300; ++i) {
    ASSERT_THAT(pool.Submit(Frame(), target_), IsOk());
    ++submitted;
  }
  pool.Close();

  ASSERT_TRUE(pool.WaitAll(kPatience));
  EXPECT_EQ(delivered.load(), 300);
  EXPECT_LE(held_max.load(), room + 1);  // `delivered` counts before the place is free again
}

TEST_F(DecodePoolTest, SaysWhereAFrameIsThatDoesNotDecode) {
  Status seen;
  DecodePool pool(error_, [&](const DecodedFrame& decoded) {
    EXPECT_TRUE(decoded.frame.payload.empty());
    seen = decoded.status;
    return OkStatus();
  });
  ASSERT_THAT(pool.Start(coding_), IsOk());
  stored_[4] ^= std::byte{1};  // of FH

  ASSERT_THAT(pool.Submit(Frame(), target_), IsOk());
  pool.Close();

  ASSERT_TRUE(pool.WaitAll(kPatience));
  EXPECT_THAT(seen, HasReason(65004));
  EXPECT_THAT(seen, MessageHas("'dev' at byte 4096"));
  EXPECT_FALSE(error_.failed());
}

TEST_F(DecodePoolTest, LetsNobodyWaitOnceTheJobHasFailed) {
  DecodePool pool(error_, [](const DecodedFrame&) {
    return Error(Code::kUnavailable, "the database is full");
  });
  ASSERT_THAT(pool.Start(coding_), IsOk());

  Status status;
  for (int i = 0; i < 300 && status.ok(); ++i) {
    status = pool.Submit(Frame(), target_);
  }

  EXPECT_THAT(status, MessageHas("the database is full"));
  pool.Close();
  EXPECT_TRUE(pool.WaitAll(kPatience));
}

}  // namespace
}  // namespace capstan::engine
