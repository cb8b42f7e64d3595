#include "tests/conformance/plugins/media_conformance.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <thread>

#include <gmock/gmock.h>

#include "tests/support/media_request.h"
#include "tests/support/status_matchers.h"

namespace capstan::test {
namespace {

constexpr std::size_t kBlock = 65536;

// Nothing is behind these bytes: of a file, of a tape.
bool IsEnd(std::uint32_t code) {
  return code == CAPSTAN_E_END || code == CAPSTAN_E_NO_DATA;
}

bool SameBytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace

void MediaConformance::SetUp() {
  std::string why;
  place_ = GetParam().make_place(&why);
  if (!place_) {
    GTEST_SKIP() << why;
  }
}

std::unique_ptr<agent::MediaDevice> MediaConformance::Open(capstan_open_mode mode,
                                                           const std::string& token) {
  auto device = plugin().Open({.mode = mode, .target = target(), .token = token});
  EXPECT_THAT(device, IsOk());
  CAPSTAN_CHECK(device.ok());
  return std::move(device).value();
}

void MediaConformance::MakeMedium(unsigned seed) {
  const MediaBuffer buffer(kBlock, seed);
  const auto device = Open(CAPSTAN_OPEN_REPLACE, "make-" + std::to_string(seed));
  ASSERT_EQ(WriteBytes(*device, 0, buffer.bytes()), 0U);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

bool MediaConformance::HoldsMedia(const std::vector<unsigned>& seeds) {
  const MediaBuffer read((seeds.size() + 1) * kBlock);
  const auto device = Open(CAPSTAN_OPEN_READ);
  MediaRequest request;
  EXPECT_THAT(request.Read(*device, 0, {read.data(), read.size()}), IsOk());
  const capstan_request& done = request.Wait();
  EXPECT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  bool same = IsEnd(done.completion_code) && done.bytes_transferred == seeds.size() * kBlock;
  for (std::size_t i = 0; same && i < seeds.size(); ++i) {
    same =
        SameBytes(MediaBuffer(kBlock, seeds[i]).bytes(), read.bytes().subspan(i * kBlock, kBlock));
  }
  return same;
}

// A cartridge holds more than the bytes that were written.
void MediaConformance::ExpectSizeOfOneBlock(const agent::MediumStat& stat) {
  EXPECT_GE(stat.size, kBlock);
  EXPECT_LE(stat.size, random_access() ? kBlock : 2 * kBlock);
}

TEST_P(MediaConformance, ReadsBackWhatWasWritten) {
  MakeMedium(1);

  EXPECT_TRUE(HoldsMedium(1));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

// Many requests in flight, submitted from the end to the beginning: place is given, not order.
TEST_P(MediaConformance, WritesAtGivenPositionsInAnyOrder) {
  if (!random_access()) {
    GTEST_SKIP() << "no random access";
  }
  constexpr std::size_t kCount = 32;
  const MediaBuffer buffer(kCount * kBlock, 3);
  const MediaBuffer read(kCount * kBlock);
  const auto writer = Open(CAPSTAN_OPEN_CREATE);

  std::deque<MediaRequest> writes(kCount);
  for (std::size_t index = kCount; index-- > 0;) {
    const auto position = static_cast<std::int64_t>(index * kBlock);
    ASSERT_THAT(
        writes[index].Write(*writer, position, buffer.bytes().subspan(index * kBlock, kBlock)),
        IsOk());
  }
  for (MediaRequest& write : writes) {
    EXPECT_EQ(write.Wait().completion_code, 0U);
    EXPECT_EQ(write.request.bytes_transferred, kBlock);
  }
  ASSERT_EQ(RunRequest(*writer, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(writer->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  const auto reader = Open(CAPSTAN_OPEN_READ);
  std::deque<MediaRequest> reads(kCount);
  for (std::size_t index = 0; index < kCount; ++index) {
    ASSERT_THAT(reads[index].Read(*reader, static_cast<std::int64_t>(index * kBlock),
                                  {read.data() + index * kBlock, kBlock}),
                IsOk());
  }
  for (MediaRequest& one : reads) {
    EXPECT_EQ(one.Wait().completion_code, 0U);
  }
  ASSERT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  EXPECT_TRUE(SameBytes(buffer.bytes(), read.bytes()));
}

// A flush promises for everything submitted before it, also while that is still in flight.
TEST_P(MediaConformance, FlushCompletesAfterEarlierWrites) {
  constexpr std::size_t kCount = 16;
  const MediaBuffer buffer(kCount * kBlock, 5);
  const auto writer = Open(CAPSTAN_OPEN_REPLACE);
  struct Order {
    std::atomic<std::size_t> writes{0};
    std::atomic<std::size_t> seen_by_flush{0};
    std::atomic<bool> flushed{false};
  } order;

  std::vector<capstan_request> writes(kCount);
  for (std::size_t index = 0; index < kCount; ++index) {
    writes[index].op = CAPSTAN_OP_WRITE;
    writes[index].buffer = buffer.data() + index * kBlock;
    writes[index].size = kBlock;
    writes[index].position = static_cast<std::int64_t>(index * kBlock);
    writes[index].complete = [](capstan_request* r) { ++static_cast<Order*>(r->context)->writes; };
    writes[index].context = &order;
    ASSERT_THAT(writer->Submit(&writes[index]), IsOk());
  }
  capstan_request flush{};
  flush.op = CAPSTAN_OP_FLUSH;
  flush.complete = [](capstan_request* r) {
    auto& seen = *static_cast<Order*>(r->context);
    seen.seen_by_flush = seen.writes.load();
    seen.flushed = true;
  };
  flush.context = &order;
  ASSERT_THAT(writer->Submit(&flush), IsOk());
  // A close may give up what is in flight. Ends: CTest's own deadline.
  while (!order.flushed) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ASSERT_THAT(writer->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());

  EXPECT_EQ(order.seen_by_flush, kCount);
  EXPECT_EQ(flush.completion_code, 0U);
}

// Sizes are multiples of the block size, which may be as small as 512.
TEST_P(MediaConformance, KeepsTransfersOf512Bytes) {
  const MediaBuffer buffer(4096 + 512 + 1024, 6);
  const MediaBuffer read(4 * kBlock);
  const auto writer = Open(CAPSTAN_OPEN_REPLACE);

  ASSERT_EQ(WriteBytes(*writer, 0, buffer.bytes().first(4096)), 0U);
  ASSERT_EQ(WriteBytes(*writer, 4096, buffer.bytes().subspan(4096, 512)), 0U);
  ASSERT_EQ(WriteBytes(*writer, 4608, buffer.bytes().subspan(4608, 1024)), 0U);
  ASSERT_EQ(RunRequest(*writer, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(writer->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  const auto reader = Open(CAPSTAN_OPEN_READ);
  MediaRequest request;
  ASSERT_THAT(request.Read(*reader, 0, {read.data(), read.size()}), IsOk());
  const capstan_request& done = request.Wait();

  EXPECT_TRUE(IsEnd(done.completion_code));
  EXPECT_TRUE(SameBytes(buffer.bytes(), {read.data(), done.bytes_transferred}));
  ASSERT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

TEST_P(MediaConformance, EndOfDataGivesTheValidPart) {
  if (!random_access()) {
    GTEST_SKIP() << "no random access";
  }
  MakeMedium(7);
  const MediaBuffer read(kBlock);
  const auto device = Open(CAPSTAN_OPEN_READ);
  MediaRequest across;
  MediaRequest beyond;

  ASSERT_THAT(across.Read(*device, kBlock - 4096, {read.data(), 8192}), IsOk());
  EXPECT_EQ(across.Wait().completion_code, 38U);
  EXPECT_EQ(across.request.bytes_transferred, 4096U);
  ASSERT_THAT(beyond.Read(*device, 10 * kBlock, {read.data(), 4096}), IsOk());
  EXPECT_EQ(beyond.Wait().completion_code, 38U);
  EXPECT_EQ(beyond.request.bytes_transferred, 0U);
  // The end of data is no lasting error.
  EXPECT_EQ(RunRequest(*device, CAPSTAN_OP_CLEAR_ERROR), 0U);
  MediaRequest again;
  ASSERT_THAT(again.Read(*device, 0, {read.data(), 4096}), IsOk());
  EXPECT_EQ(again.Wait().completion_code, 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

TEST_P(MediaConformance, ReplaceKeepsTheOldMediumUntilComplete) {
  if (!can(CAPSTAN_CAN_UNDO)) {
    GTEST_SKIP() << "the plugin does not announce CAPSTAN_CAN_UNDO";
  }
  MakeMedium(1);
  const MediaBuffer buffer(kBlock, 2);
  const auto device = Open(CAPSTAN_OPEN_REPLACE);
  ASSERT_EQ(WriteBytes(*device, 0, buffer.bytes()), 0U);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);

  EXPECT_TRUE(HoldsMedium(1));
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
  EXPECT_TRUE(HoldsMedium(2));
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  EXPECT_TRUE(HoldsMedium(2));
}

TEST_P(MediaConformance, DiscardKeepsTheOldMediumAndNothingElse) {
  if (!can(CAPSTAN_CAN_UNDO)) {
    GTEST_SKIP() << "the plugin does not announce CAPSTAN_CAN_UNDO";
  }
  MakeMedium(1);
  const MediaBuffer buffer(kBlock, 2);
  const auto device = Open(CAPSTAN_OPEN_REPLACE);
  ASSERT_EQ(WriteBytes(*device, 0, buffer.bytes()), 0U);

  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());

  EXPECT_TRUE(HoldsMedium(1));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

// S2-11: what the job did not confirm must not stay visible, though this device completed.
TEST_P(MediaConformance, DiscardAfterCompleteRemovesTheNewMedium) {
  if (!can(CAPSTAN_CAN_UNDO)) {
    GTEST_SKIP() << "the plugin does not announce CAPSTAN_CAN_UNDO";
  }
  const MediaBuffer buffer(kBlock, 2);
  const auto device = Open(CAPSTAN_OPEN_CREATE);
  ASSERT_EQ(WriteBytes(*device, 0, buffer.bytes()), 0U);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);

  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());

  const auto stat = plugin().Stat(target());
  ASSERT_THAT(stat, IsOk());
  EXPECT_FALSE(stat->exists);
}

TEST_P(MediaConformance, DoneWithoutCompleteIsAnErrorAndLeavesNothing) {
  const auto device = Open(CAPSTAN_OPEN_CREATE);

  EXPECT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), HasCode(Code::kInvalidArgument));

  EXPECT_FALSE(plugin().Stat(target())->exists);
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(MediaConformance, KeptConstructionIsCommittedByRecover) {
  if (!can(CAPSTAN_CAN_UNDO)) {
    GTEST_SKIP() << "the plugin does not announce CAPSTAN_CAN_UNDO";
  }
  MakeMedium(1);
  const MediaBuffer buffer(kBlock, 2);
  auto device = Open(CAPSTAN_OPEN_REPLACE, "t-keep");
  ASSERT_EQ(WriteBytes(*device, 0, buffer.bytes()), 0U);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());
  EXPECT_TRUE(HoldsMedium(1));

  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_COMMIT), IsOk());
  EXPECT_TRUE(HoldsMedium(2));
  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_COMMIT), IsOk());
  EXPECT_TRUE(HoldsMedium(2));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(MediaConformance, KeptConstructionIsDiscardedByRecover) {
  if (!can(CAPSTAN_CAN_UNDO)) {
    GTEST_SKIP() << "the plugin does not announce CAPSTAN_CAN_UNDO";
  }
  MakeMedium(1);
  const MediaBuffer buffer(kBlock, 2);
  const auto device = Open(CAPSTAN_OPEN_REPLACE, "t-keep");
  ASSERT_EQ(WriteBytes(*device, 0, buffer.bytes()), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_DISCARD), IsOk());
  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_DISCARD), IsOk());

  EXPECT_TRUE(HoldsMedium(1));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(MediaConformance, RecoverCommitOfNothingFails) {
  if (!can(CAPSTAN_CAN_UNDO)) {
    GTEST_SKIP() << "the plugin does not announce CAPSTAN_CAN_UNDO";
  }
  EXPECT_THAT(plugin().Recover(target(), "t-none", CAPSTAN_RECOVER_COMMIT),
              HasCode(Code::kNotFound));
  EXPECT_THAT(plugin().Recover(target(), "t-none", CAPSTAN_RECOVER_DISCARD), IsOk());
}

TEST_P(MediaConformance, DeviceThatIsDroppedKeepsItsConstruction) {
  if (!can(CAPSTAN_CAN_UNDO)) {
    GTEST_SKIP() << "the plugin does not announce CAPSTAN_CAN_UNDO";
  }
  { const auto device = Open(CAPSTAN_OPEN_CREATE, "t-drop"); }

  EXPECT_EQ(place_->LeftOverCount(), 1U);
  EXPECT_THAT(plugin().Recover(target(), "t-drop", CAPSTAN_RECOVER_DISCARD), IsOk());
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(MediaConformance, CreateRefusesATakenName) {
  MakeMedium(1);

  const auto device =
      plugin().Open({.mode = CAPSTAN_OPEN_CREATE, .target = target(), .token = "t2"});

  EXPECT_THAT(device, HasCode(Code::kAlreadyExists));
  EXPECT_EQ(device.status().os_error(), EEXIST);
  EXPECT_THAT(device, MessageHas(target()));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

// S0-10
TEST_P(MediaConformance, SecondWriterOfATargetIsRefused) {
  const auto first = Open(CAPSTAN_OPEN_REPLACE, "first");

  const auto second =
      plugin().Open({.mode = CAPSTAN_OPEN_REPLACE, .target = target(), .token = "second"});

  EXPECT_EQ(second.status().os_error(), EBUSY);
  EXPECT_THAT(second, MessageHas(target()));
  EXPECT_EQ(place_->LeftOverCount(), can(CAPSTAN_CAN_UNDO) ? 1U : 0U);
  EXPECT_THAT(first->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

TEST_P(MediaConformance, MissingMediumCannotBeRead) {
  const auto device = plugin().Open({.mode = CAPSTAN_OPEN_READ, .target = target()});

  EXPECT_THAT(device, HasCode(Code::kNotFound));
  EXPECT_EQ(device.status().os_error(), ENOENT);
  EXPECT_THAT(device, MessageHas(target()));
}

TEST_P(MediaConformance, ReaderCannotWrite) {
  MakeMedium(1);
  const MediaBuffer buffer(4096);
  const auto device = Open(CAPSTAN_OPEN_READ);
  MediaRequest request;

  EXPECT_THAT(request.Write(*device, 0, buffer.bytes()), testing::Not(IsOk()));
  EXPECT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  EXPECT_TRUE(HoldsMedium(1));
}

TEST_P(MediaConformance, TransfersOutOfRangeAreRefused) {
  const MediaBuffer buffer(4096);
  const auto device = Open(CAPSTAN_OPEN_REPLACE);
  MediaRequest request;

  if (random_access()) {
    EXPECT_THAT(request.Write(*device, -4096, buffer.bytes()), HasCode(Code::kInvalidArgument));
  }
  EXPECT_THAT(request.Write(*device, 0, buffer.bytes().first(0)), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(device->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

TEST_P(MediaConformance, PositionIsSetFromBeginCurrentAndEnd) {
  if (!random_access()) {
    GTEST_SKIP() << "no random access";
  }
  MakeMedium(1);
  const auto device = Open(CAPSTAN_OPEN_READ);
  const auto set = [&](std::uint32_t whence, std::int64_t position) {
    MediaRequest request;
    request.request.size = whence;
    request.request.position = position;
    EXPECT_THAT(request.Submit(*device, CAPSTAN_OP_SET_POSITION), IsOk());
    return request.Wait().completion_code == 0 ? request.request.out_position : -1;
  };

  EXPECT_EQ(set(0, 8192), 8192);
  EXPECT_EQ(set(1, 4096), 12288);
  EXPECT_EQ(set(2, -4096), static_cast<std::int64_t>(kBlock) - 4096);
  EXPECT_EQ(set(0, -1), -1);
  EXPECT_EQ(set(3, 0), -1);
  MediaRequest get;
  ASSERT_THAT(get.Submit(*device, CAPSTAN_OP_GET_POSITION), IsOk());
  EXPECT_EQ(get.Wait().out_position, static_cast<std::int64_t>(kBlock) - 4096);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

TEST_P(MediaConformance, UnknownOperationCompletesAsNotSupported) {
  const auto device = Open(CAPSTAN_OPEN_REPLACE);

  if ((plugin().info().device_features & CAPSTAN_FEATURE_FILE_MARKS) == 0) {
    EXPECT_EQ(RunRequest(*device, CAPSTAN_OP_WRITE_MARK), 50U);
  }
  EXPECT_EQ(RunRequest(*device, 999), 50U);
  EXPECT_THAT(device->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

TEST_P(MediaConformance, EstimateDoesNotDecideTheSize) {
  const MediaBuffer buffer(kBlock, 1);
  auto device = plugin().Open({.mode = CAPSTAN_OPEN_REPLACE,
                               .target = target(),
                               .token = "t1",
                               .size_estimate = 16 * kBlock});
  ASSERT_THAT(device, IsOk());
  ASSERT_EQ(WriteBytes(**device, 0, buffer.bytes()), 0U);
  ASSERT_EQ(RunRequest(**device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT((*device)->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  ExpectSizeOfOneBlock(*plugin().Stat(target()));
}

TEST_P(MediaConformance, StatAndRemoveKnowTheMedium) {
  EXPECT_FALSE(plugin().Stat(target())->exists);
  if (can(CAPSTAN_CAN_REMOVE)) {
    EXPECT_EQ(plugin().Remove(target()).os_error(), ENOENT);
  }
  MakeMedium(1);
  const auto stat = plugin().Stat(target());
  ASSERT_THAT(stat, IsOk());
  EXPECT_TRUE(stat->exists);
  ExpectSizeOfOneBlock(*stat);
  EXPECT_GT(stat->free_space, 0U);
  if (!can(CAPSTAN_CAN_REMOVE)) {
    return;
  }

  EXPECT_THAT(plugin().Remove(target()), IsOk());
  EXPECT_FALSE(plugin().Stat(target())->exists);
}

TEST_P(MediaConformance, SaysHowItMovesBytes) {
  const MediaBuffer buffer(kBlock);
  const auto device = Open(CAPSTAN_OPEN_REPLACE);
  ASSERT_EQ(WriteBytes(*device, 0, buffer.bytes()), 0U);

  EXPECT_THAT(device->status().mode, testing::MatchesRegex(GetParam().mode));
  EXPECT_THAT(device->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

}  // namespace capstan::test
