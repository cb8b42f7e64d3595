// What plugin.h promises of CAPSTAN_OPEN_APPEND. Skipped for a plugin that cannot append.
#include <algorithm>
#include <cerrno>

#include <gmock/gmock.h>

#include "tests/conformance/plugins/media_conformance.h"
#include "tests/support/media_request.h"
#include "tests/support/status_matchers.h"

namespace capstan::test {
namespace {

constexpr std::size_t kBlock = 65536;

std::int64_t EndOf(agent::MediaDevice& device) {
  MediaRequest request;
  request.request.size = 2;
  EXPECT_THAT(request.Submit(device, CAPSTAN_OP_SET_POSITION), IsOk());
  return request.Wait().completion_code == 0 ? request.request.out_position : -1;
}

}  // namespace

std::unique_ptr<agent::MediaDevice> AppendConformance::Append(unsigned seed,
                                                              const std::string& token) {
  auto device = Open(CAPSTAN_OPEN_APPEND, token);
  EXPECT_EQ(WriteBytes(*device, EndOf(*device), MediaBuffer(kBlock, seed).bytes()), 0U);
  return device;
}

void AppendConformance::SetUp() {
  MediaConformance::SetUp();
  if (!IsSkipped() && (plugin().info().capabilities & CAPSTAN_CAN_APPEND) == 0) {
    GTEST_SKIP() << "the plugin does not announce CAPSTAN_CAN_APPEND";
  }
  if (!IsSkipped() && !can(CAPSTAN_CAN_UNDO)) {
    GTEST_SKIP() << "the plugin does not announce CAPSTAN_CAN_UNDO";
  }
}

std::uint64_t AppendConformance::Size() {
  const auto stat = plugin().Stat(target());
  EXPECT_THAT(stat, IsOk());
  return stat.ok() ? stat->size : 0;
}

Status AppendConformance::AppendError(const std::string& token) {
  return plugin().Open({.mode = CAPSTAN_OPEN_APPEND, .target = target(), .token = token}).status();
}

TEST_P(AppendConformance, WhatIsAppendedCountsFromCompleteOn) {
  MakeMedium(1);
  const auto device = Append(2, "t-append");

  EXPECT_TRUE(HoldsMedium(1));
  EXPECT_EQ(Size(), kBlock);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);
  EXPECT_TRUE(HoldsMedium(1));
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
  EXPECT_TRUE(HoldsMedia({1, 2}));
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  EXPECT_TRUE(HoldsMedia({1, 2}));
  EXPECT_EQ(Size(), 2 * kBlock);
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(AppendConformance, AppendsAgainAndAgain) {
  MakeMedium(1);
  for (const unsigned seed : {2U, 3U, 4U}) {
    const auto device = Append(seed, "t-" + std::to_string(seed));
    ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
    ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  }

  EXPECT_TRUE(HoldsMedia({1, 2, 3, 4}));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(AppendConformance, AppenderReadsWhatIsThereAndWhatItWrote) {
  MakeMedium(1);
  const auto device = Append(2, "t-append");
  const MediaBuffer read(2 * kBlock);
  MediaRequest request;

  ASSERT_THAT(request.Read(*device, 0, {read.data(), read.size()}), IsOk());

  EXPECT_EQ(request.Wait().completion_code, 0U);
  EXPECT_TRUE(std::ranges::equal(MediaBuffer(kBlock, 1).bytes(), read.bytes().first(kBlock)));
  EXPECT_TRUE(std::ranges::equal(MediaBuffer(kBlock, 2).bytes(), read.bytes().subspan(kBlock)));
  EXPECT_THAT(device->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

TEST_P(AppendConformance, WriteBelowTheEndIsRefused) {
  MakeMedium(1);
  const MediaBuffer buffer(kBlock, 9);
  const auto device = Open(CAPSTAN_OPEN_APPEND);
  for (const std::int64_t position : {std::int64_t{0}, std::int64_t{kBlock} - 4096}) {
    MediaRequest request;
    EXPECT_THAT(request.Write(*device, position, buffer.bytes()), HasCode(Code::kInvalidArgument));
  }
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  EXPECT_TRUE(HoldsMedium(1));
}

// Media of other writers end where they end.
TEST_P(AppendConformance, AppendsToAnEndThatIsNoMultipleOfABlock) {
  const MediaBuffer buffer(5 * kBlock, 4);
  const MediaBuffer read(6 * kBlock);
  const auto writer = Open(CAPSTAN_OPEN_CREATE, "make");
  ASSERT_EQ(WriteBytes(*writer, 0, buffer.bytes().first(kBlock + 512)), 0U);
  ASSERT_EQ(RunRequest(*writer, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(writer->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  const auto device = Open(CAPSTAN_OPEN_APPEND);
  ASSERT_EQ(WriteBytes(*device, kBlock + 512, buffer.bytes().subspan(kBlock + 512, 512)), 0U);
  ASSERT_EQ(WriteBytes(*device, kBlock + 1024, buffer.bytes().subspan(kBlock + 1024, 3072)), 0U);
  ASSERT_EQ(WriteBytes(*device, kBlock + 4096, buffer.bytes().subspan(kBlock + 4096, 3 * kBlock)),
            0U);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  const auto reader = Open(CAPSTAN_OPEN_READ);
  MediaRequest request;
  ASSERT_THAT(request.Read(*reader, 0, {read.data(), read.size()}), IsOk());
  EXPECT_EQ(request.Wait().bytes_transferred, 4 * kBlock + 4096);
  EXPECT_TRUE(std::ranges::equal(buffer.bytes().first(4 * kBlock + 4096),
                                 read.bytes().first(4 * kBlock + 4096)));
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

TEST_P(AppendConformance, AppendingNothingChangesNothing) {
  MakeMedium(1);
  const auto device = Open(CAPSTAN_OPEN_APPEND);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  EXPECT_TRUE(HoldsMedium(1));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(AppendConformance, MissingMediumIsNotAppendedTo) {
  const Status missing = AppendError("t1");

  EXPECT_EQ(missing.os_error(), ENOENT);
  EXPECT_THAT(missing, MessageHas(target()));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(AppendConformance, DiscardGivesTheOldMediumBack) {
  MakeMedium(1);
  const auto device = Append(2, "t-append");
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());

  EXPECT_TRUE(HoldsMedium(1));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

// S2-11: another family of the set did not complete.
TEST_P(AppendConformance, DiscardAfterCompleteGivesTheOldMediumBack) {
  MakeMedium(1);
  const auto device = Append(2, "t-append");
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());

  EXPECT_TRUE(HoldsMedium(1));
  EXPECT_EQ(Size(), kBlock);
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(AppendConformance, DoneWithoutCompleteIsAnErrorAndAppendsNothing) {
  MakeMedium(1);
  const auto device = Append(2, "t-append");

  EXPECT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), HasCode(Code::kInvalidArgument));

  EXPECT_TRUE(HoldsMedium(1));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(AppendConformance, KeptAppendingIsCommittedByRecover) {
  MakeMedium(1);
  const auto device = Append(2, "t-keep");
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());
  EXPECT_TRUE(HoldsMedium(1));
  EXPECT_EQ(place_->LeftOverCount(), 1U);

  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_COMMIT), IsOk());
  EXPECT_TRUE(HoldsMedia({1, 2}));
  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_COMMIT), IsOk());
  EXPECT_TRUE(HoldsMedia({1, 2}));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(AppendConformance, KeptAppendingIsDiscardedByRecover) {
  MakeMedium(1);
  const auto device = Append(2, "t-keep");
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_DISCARD), IsOk());
  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_DISCARD), IsOk());

  EXPECT_TRUE(HoldsMedium(1));
  EXPECT_EQ(Size(), kBlock);
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

// The set may be prepared: only recover() knows whether it stays.
TEST_P(AppendConformance, UnsettledAppendingTakesNoOther) {
  MakeMedium(1);
  const auto device = Append(2, "t-keep");
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

  const Status refused = AppendError("t-other");
  EXPECT_EQ(refused.os_error(), EBUSY);
  EXPECT_THAT(refused, MessageHas(target()));
  EXPECT_THAT(plugin().Recover(target(), "t-other", CAPSTAN_RECOVER_DISCARD), IsOk());
  EXPECT_TRUE(HoldsMedium(1));

  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_COMMIT), IsOk());
  EXPECT_TRUE(HoldsMedia({1, 2}));
  const auto again = Append(3, "t-other");
  ASSERT_EQ(RunRequest(*again, CAPSTAN_OP_COMPLETE), 0U);
  EXPECT_THAT(again->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  EXPECT_TRUE(HoldsMedia({1, 2, 3}));
}

// What was appended since is not part of what the token began.
TEST_P(AppendConformance, DiscardOfAnEarlierTokenTakesNothingOfALater) {
  MakeMedium(1);
  for (const unsigned seed : {2U, 3U}) {
    const auto device = Append(seed, "t-" + std::to_string(seed));
    ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
    ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  }

  EXPECT_THAT(plugin().Recover(target(), "t-2", CAPSTAN_RECOVER_DISCARD), IsOk());
  EXPECT_THAT(plugin().Recover(target(), "make-1", CAPSTAN_RECOVER_DISCARD), IsOk());

  EXPECT_TRUE(HoldsMedia({1, 2, 3}));
}

TEST_P(AppendConformance, ReplacingSettlesWhatWasNotSettled) {
  MakeMedium(1);
  const auto device = Append(2, "t-keep");
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

  MakeMedium(5);

  EXPECT_TRUE(HoldsMedium(5));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_COMMIT), testing::Not(IsOk()));
  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_DISCARD), IsOk());
  EXPECT_TRUE(HoldsMedium(5));
}

// S0-10
TEST_P(AppendConformance, WritersOfATargetExcludeEachOther) {
  MakeMedium(1);
  for (const auto first : {CAPSTAN_OPEN_APPEND, CAPSTAN_OPEN_REPLACE}) {
    const auto holder = Open(first, "first");
    for (const auto second : {CAPSTAN_OPEN_APPEND, CAPSTAN_OPEN_REPLACE}) {
      if (first == CAPSTAN_OPEN_REPLACE && second == first) {
        continue;  // SecondWriterOfATargetIsRefused
      }
      const auto refused = plugin().Open({.mode = second, .target = target(), .token = "second"});
      EXPECT_EQ(refused.status().os_error(), EBUSY) << first << " then " << second;
      EXPECT_THAT(refused, MessageHas(target()));
    }
    EXPECT_EQ(place_->LeftOverCount(), 1U);
    EXPECT_THAT(holder->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
    EXPECT_TRUE(HoldsMedium(1));
  }
}

TEST_P(AppendConformance, EstimateDoesNotDecideTheSize) {
  MakeMedium(1);
  auto device = plugin().Open({.mode = CAPSTAN_OPEN_APPEND,
                               .target = target(),
                               .token = "t1",
                               .size_estimate = 16 * kBlock});
  ASSERT_THAT(device, IsOk());
  EXPECT_EQ(Size(), kBlock);
  EXPECT_EQ(EndOf(**device), static_cast<std::int64_t>(kBlock));
  ASSERT_EQ(WriteBytes(**device, kBlock, MediaBuffer(kBlock, 2).bytes()), 0U);
  ASSERT_EQ(RunRequest(**device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT((*device)->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  EXPECT_EQ(Size(), 2 * kBlock);
}

// A reader that came while more was appended goes on with what it found.
TEST_P(AppendConformance, ReaderSeesTheMediumAsItWasWhenOpened) {
  MakeMedium(1);
  const auto appender = Append(2, "t-append");
  const auto reader = Open(CAPSTAN_OPEN_READ);
  EXPECT_EQ(EndOf(*reader), static_cast<std::int64_t>(kBlock));
  const MediaBuffer read(2 * kBlock);
  const auto read_all = [&] {
    MediaRequest request;
    EXPECT_THAT(request.Read(*reader, 0, {read.data(), read.size()}), IsOk());
    return request.Wait().bytes_transferred;
  };

  EXPECT_EQ(read_all(), kBlock);
  ASSERT_EQ(RunRequest(*appender, CAPSTAN_OP_COMPLETE), 0U);
  EXPECT_EQ(read_all(), kBlock);
  ASSERT_THAT(appender->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  MediaRequest behind;
  ASSERT_THAT(behind.Read(*reader, kBlock, {read.data(), 4096}), IsOk());
  EXPECT_EQ(behind.Wait().completion_code, 38U);
  EXPECT_EQ(behind.request.bytes_transferred, 0U);
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

}  // namespace capstan::test
