// What plugin.h promises of CAPSTAN_OPEN_RESUME. Skipped for a plugin that cannot. That a crash
// leaves as much is seen by plugin-check, which can kill the process.
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

void End(agent::MediaDevice& device) {
  ASSERT_EQ(RunRequest(device, CAPSTAN_OP_FLUSH), 0U);
  ASSERT_EQ(RunRequest(device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(device.Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

}  // namespace

void ResumeConformance::SetUp() {
  MediaConformance::SetUp();
  if (!IsSkipped() && !can(CAPSTAN_CAN_RESUME)) {
    GTEST_SKIP() << "the plugin does not announce CAPSTAN_CAN_RESUME";
  }
}

void ResumeConformance::Keep(const std::vector<unsigned>& seeds, const std::string& token) {
  const auto device = Open(CAPSTAN_OPEN_REPLACE, token);
  for (std::size_t block = 0; block < seeds.size(); ++block) {
    WriteBlock(*device, block, seeds[block]);
  }
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());
}

Result<std::unique_ptr<agent::MediaDevice>> ResumeConformance::TryResume(const std::string& token,
                                                                         capstan_open_mode mode) {
  return plugin().Open({.mode = mode, .target = target(), .token = token, .resume = true});
}

std::unique_ptr<agent::MediaDevice> ResumeConformance::Resume(const std::string& token) {
  auto device = TryResume(token);
  EXPECT_THAT(device, IsOk());
  CAPSTAN_CHECK(device.ok());
  return std::move(device).value();
}

void ResumeConformance::WriteBlock(agent::MediaDevice& device, std::size_t block, unsigned seed) {
  EXPECT_EQ(WriteBytes(device, static_cast<std::int64_t>(block * kBlock),
                       MediaBuffer(kBlock, seed).bytes()),
            0U);
}

bool ResumeConformance::Reads(agent::MediaDevice& device, const std::vector<unsigned>& seeds) {
  const MediaBuffer read((seeds.size() + 1) * kBlock);
  MediaRequest request;
  EXPECT_THAT(request.Read(device, 0, {read.data(), read.size()}), IsOk());
  const capstan_request& done = request.Wait();
  bool same = done.completion_code == CAPSTAN_E_END &&
              done.bytes_transferred == seeds.size() * kBlock &&
              EndOf(device) == static_cast<std::int64_t>(seeds.size() * kBlock);
  for (std::size_t i = 0; same && i < seeds.size(); ++i) {
    same = std::ranges::equal(MediaBuffer(kBlock, seeds[i]).bytes(),
                              read.bytes().subspan(i * kBlock, kBlock));
  }
  return same;
}

TEST_P(ResumeConformance, WhatWasKeptIsReadWrittenOverAndContinued) {
  Keep({1, 2, 3});

  const auto device = Resume();
  EXPECT_TRUE(Reads(*device, {1, 2, 3}));
  EXPECT_FALSE(plugin().Stat(target())->exists);
  WriteBlock(*device, 1, 9);
  WriteBlock(*device, 3, 4);
  EXPECT_TRUE(Reads(*device, {1, 9, 3, 4}));
  End(*device);

  EXPECT_TRUE(HoldsMedia({1, 9, 3, 4}));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(ResumeConformance, GoesOnAgainAndAgain) {
  MakeMedium(7);
  Keep({1});
  for (const unsigned seed : {2U, 3U, 4U}) {
    const auto device = TryResume("t-keep", CAPSTAN_OPEN_REPLACE);
    ASSERT_THAT(device, IsOk());
    WriteBlock(**device, seed - 1, seed);
    ASSERT_THAT((*device)->Close(CAPSTAN_OUTCOME_KEEP), IsOk());
  }
  EXPECT_TRUE(HoldsMedium(7));

  const auto last = TryResume("t-keep", CAPSTAN_OPEN_REPLACE);
  ASSERT_THAT(last, IsOk());
  EXPECT_TRUE(Reads(**last, {1, 2, 3, 4}));
  WriteBlock(**last, 4, 5);
  End(**last);

  EXPECT_TRUE(HoldsMedia({1, 2, 3, 4, 5}));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

// What was in flight when the job was interrupted may be torn: it must not outlive the job.
TEST_P(ResumeConformance, MediumEndsWithTheHighestWriteOfTheLastOpening) {
  Keep({1, 2, 3, 4});
  const auto device = Resume();
  WriteBlock(*device, 1, 9);
  WriteBlock(*device, 0, 8);

  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);
  EXPECT_TRUE(Reads(*device, {8, 9, 3, 4}));
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  EXPECT_TRUE(HoldsMedia({8, 9}));
}

TEST_P(ResumeConformance, RecoverEndsTheMediumWhereTheLastFlushSawIt) {
  Keep({1, 2, 3, 4});
  const auto device = Resume();
  WriteBlock(*device, 0, 8);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);
  WriteBlock(*device, 1, 9);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_COMMIT), IsOk());
  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_COMMIT), IsOk());

  EXPECT_TRUE(HoldsMedia({8, 9}));
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

// A flush in the middle takes nothing away of what the engine has not come to yet.
TEST_P(ResumeConformance, WhatLiesBehindAFlushIsThereForTheNextOpening) {
  Keep({1, 2, 3, 4});
  const auto first = Resume();
  WriteBlock(*first, 0, 8);
  ASSERT_EQ(RunRequest(*first, CAPSTAN_OP_FLUSH), 0U);
  ASSERT_THAT(first->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

  const auto second = Resume();
  EXPECT_TRUE(Reads(*second, {8, 2, 3, 4}));
  WriteBlock(*second, 0, 7);
  ASSERT_EQ(RunRequest(*second, CAPSTAN_OP_FLUSH), 0U);
  WriteBlock(*second, 4, 5);
  EXPECT_TRUE(Reads(*second, {7, 2, 3, 4, 5}));
  ASSERT_EQ(RunRequest(*second, CAPSTAN_OP_FLUSH), 0U);
  EXPECT_TRUE(Reads(*second, {7, 2, 3, 4, 5}));
  ASSERT_THAT(second->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_COMMIT), IsOk());
  EXPECT_TRUE(HoldsMedia({7, 2, 3, 4, 5}));
}

// Media end at a multiple of 512 bytes: what is behind a flush and short of a block is not lost.
TEST_P(ResumeConformance, GoesOnWhereNoBlockEnds) {
  const MediaBuffer buffer(kBlock, 4);
  const auto bytes = buffer.bytes();
  const auto begun = Open(CAPSTAN_OPEN_CREATE, "t-keep");
  ASSERT_EQ(WriteBytes(*begun, 0, bytes.first(4096)), 0U);
  ASSERT_EQ(WriteBytes(*begun, 4096, bytes.subspan(4096, 512)), 0U);
  ASSERT_THAT(begun->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

  auto device = Resume();
  EXPECT_EQ(EndOf(*device), 4608);
  ASSERT_EQ(WriteBytes(*device, 0, bytes.first(512)), 0U);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);
  ASSERT_EQ(WriteBytes(*device, 4608, bytes.subspan(4608, 1024)), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());
  device = Resume();
  const MediaBuffer read(5632);
  MediaRequest request;
  ASSERT_THAT(request.Read(*device, 0, {read.data(), read.size()}), IsOk());
  EXPECT_EQ(request.Wait().completion_code, 0U);
  EXPECT_TRUE(std::ranges::equal(bytes.first(5632), read.bytes()));
  ASSERT_EQ(WriteBytes(*device, 5632, bytes.subspan(5632, 512)), 0U);
  End(*device);

  EXPECT_EQ(plugin().Stat(target())->size, 6144U);
}

TEST_P(ResumeConformance, WhatNobodyBeganIsNotGoneOnWith) {
  const auto expect_nothing = [&](const std::string& token, const std::string& when) {
    const Status refused = TryResume(token, CAPSTAN_OPEN_REPLACE).status();
    EXPECT_EQ(refused.os_error(), ENOENT) << when;
    EXPECT_THAT(refused, MessageHas(target())) << when;
  };
  expect_nothing("t-none", "nothing is there");
  Keep({1});
  expect_nothing("t-none", "another token has begun it");
  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_DISCARD), IsOk());
  expect_nothing("t-keep", "it was discarded");
  EXPECT_EQ(place_->LeftOverCount(), 0U);

  Keep({1});
  EXPECT_THAT(plugin().Recover(target(), "t-keep", CAPSTAN_RECOVER_COMMIT), IsOk());
  expect_nothing("t-keep", "it was committed");
  EXPECT_EQ(TryResume("t-keep", CAPSTAN_OPEN_CREATE).status().os_error(), ENOENT)
      << "the name is taken by what the token itself has completed";
  EXPECT_TRUE(HoldsMedium(1));
}

TEST_P(ResumeConformance, AppendIsNotGoneOnWith) {
  if (!can(CAPSTAN_CAN_APPEND)) {
    GTEST_SKIP() << "the plugin does not announce CAPSTAN_CAN_APPEND";
  }
  MakeMedium(1);
  for (const bool complete : {false, true}) {
    const std::string token = complete ? "t-complete" : "t-append";
    const auto device = Open(CAPSTAN_OPEN_APPEND, token);
    WriteBlock(*device, 1, 2);
    if (complete) {
      ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_COMPLETE), 0U);
    }
    ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

    const Status refused = TryResume(token, CAPSTAN_OPEN_REPLACE).status();
    EXPECT_EQ(refused.os_error(), ENOENT) << refused.message();
    EXPECT_THAT(refused, MessageHas(target()));
    if (!complete) {
      EXPECT_THAT(plugin().Recover(target(), token, CAPSTAN_RECOVER_DISCARD), IsOk());
      EXPECT_TRUE(HoldsMedium(1));
    }
  }
  EXPECT_TRUE(HoldsMedia({1, 2}));
}

TEST_P(ResumeConformance, TakenNameIsRefusedAndWhatWasKeptStays) {
  Keep({1, 2});
  const auto other = Open(CAPSTAN_OPEN_CREATE, "other");
  WriteBlock(*other, 0, 5);
  End(*other);

  const Status refused = TryResume("t-keep", CAPSTAN_OPEN_CREATE).status();
  EXPECT_EQ(refused.os_error(), EEXIST) << refused.message();
  EXPECT_THAT(refused, MessageHas(target()));
  EXPECT_EQ(place_->LeftOverCount(), 1U);

  const auto replacing = TryResume("t-keep", CAPSTAN_OPEN_REPLACE);
  ASSERT_THAT(replacing, IsOk());
  EXPECT_TRUE(Reads(**replacing, {1, 2}));
  WriteBlock(**replacing, 1, 3);
  EXPECT_TRUE(HoldsMedium(5));
  End(**replacing);
  EXPECT_TRUE(HoldsMedia({1, 3}));
}

TEST_P(ResumeConformance, WhoHoldsItKeepsOthersOut) {
  const auto holder = Open(CAPSTAN_OPEN_REPLACE, "t-keep");
  WriteBlock(*holder, 0, 1);
  EXPECT_EQ(TryResume().status().os_error(), EBUSY);
  EXPECT_THAT(TryResume(), MessageHas(target()));
  ASSERT_THAT(holder->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

  const auto device = Resume();
  EXPECT_EQ(TryResume().status().os_error(), EBUSY);
  const auto other =
      plugin().Open({.mode = CAPSTAN_OPEN_REPLACE, .target = target(), .token = "other"});
  EXPECT_EQ(other.status().os_error(), EBUSY);
  EXPECT_EQ(place_->LeftOverCount(), 1U);
  EXPECT_TRUE(Reads(*device, {1}));
  EXPECT_THAT(device->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

// One that another job has begun since, under a token of its own.
TEST_P(ResumeConformance, WhoWritesAnotherMediumOfThatNameKeepsItOut) {
  Keep({1});
  const auto other = Open(CAPSTAN_OPEN_REPLACE, "other");

  EXPECT_EQ(TryResume().status().os_error(), EBUSY);
  EXPECT_THAT(TryResume(), MessageHas(target()));

  ASSERT_THAT(other->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
  const auto device = Resume();
  EXPECT_TRUE(Reads(*device, {1}));
  EXPECT_THAT(device->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
  EXPECT_EQ(place_->LeftOverCount(), 0U);
}

TEST_P(ResumeConformance, DiscardRemovesAllOfIt) {
  MakeMedium(7);
  Keep({1, 2});
  const auto device = TryResume("t-keep", CAPSTAN_OPEN_REPLACE);
  ASSERT_THAT(device, IsOk());
  WriteBlock(**device, 0, 3);
  ASSERT_EQ(RunRequest(**device, CAPSTAN_OP_FLUSH), 0U);

  ASSERT_THAT((*device)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());

  EXPECT_EQ(place_->LeftOverCount(), 0U);
  EXPECT_TRUE(HoldsMedium(7));
  EXPECT_EQ(TryResume().status().os_error(), ENOENT);
}

TEST_P(ResumeConformance, EstimateIsOfAllOfTheMediumAndDoesNotDecideItsSize) {
  Keep({1, 2});
  for (const std::uint64_t estimate : {kBlock, 16 * kBlock}) {
    auto device = plugin().Open({.mode = CAPSTAN_OPEN_CREATE,
                                 .target = target(),
                                 .token = "t-keep",
                                 .size_estimate = estimate,
                                 .resume = true});
    ASSERT_THAT(device, IsOk());
    EXPECT_TRUE(Reads(**device, {1, 2}));
    ASSERT_THAT((*device)->Close(CAPSTAN_OUTCOME_KEEP), IsOk());
  }
  const auto device = Resume();
  WriteBlock(*device, 2, 3);
  End(*device);

  EXPECT_TRUE(HoldsMedia({1, 2, 3}));
}

}  // namespace capstan::test
