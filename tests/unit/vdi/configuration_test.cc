#include "vdi/configuration.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;

TEST(CheckName, TakesWhatVdiTakes) {
  EXPECT_THAT(CheckName("{6F9619FF-8B86-D011-B42D-00C04FC964FF}"), IsOk());
  EXPECT_THAT(CheckName("with/slash and blank"), IsOk());
  EXPECT_THAT(CheckName("gr\xc3\xbc\xc3\x9f"), IsOk());
  EXPECT_THAT(CheckName(std::string(kSetNameSizeMax, 'x')), IsOk());

  EXPECT_THAT(CheckName(""), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(CheckName(std::string(kSetNameSizeMax + 1, 'x')), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(CheckName("back\\slash"), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(CheckName("new\nline"), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(CheckName(std::string_view("nul\0", 4)), HasCode(Code::kInvalidArgument));
}

TEST(CheckWishes, EveryCombinationOfFeaturesIsEitherOfVdiOrRefused) {
  using namespace feature;
  const std::uint32_t kinds[] = {kLikePipe, kRemovable, kLikeTape, kLikeDisk,
                                 kLikeDisk | kRemovable};
  const std::uint32_t options =
      kDiscard | kSnapshotPrepare | kEnumFrozenFiles | kVssWriter | kRequestComplete;
  int supported = 0;
  // All subsets of the 14 low bits, which hold every bit a client may set.
  for (std::uint32_t features = 0; features < 1U << 14; ++features) {
    const bool known = std::any_of(std::begin(kinds), std::end(kinds), [&](std::uint32_t kind) {
      return (features & ~options) == kind;
    });
    ASSERT_THAT(CheckWishes({.device_count = 1, .features = features}),
                known ? testing::Matcher<const Status&>(IsOk())
                      : testing::Matcher<const Status&>(HasCode(Code::kUnimplemented)))
        << std::hex << features;
    supported += known ? 1 : 0;
  }
  EXPECT_EQ(supported, 5 * 32);
  for (const std::uint32_t engines : {kWriteMedia, kReadMedia, kCompleteEnabled}) {
    EXPECT_THAT(CheckWishes({.device_count = 1, .features = engines}),
                HasCode(Code::kUnimplemented));
  }
}

// The table of commands by kind of device, VDI specification, "feature set"; and the bits that add
// to a kind.
TEST(OffersCommand, FollowsTheTableOfVdi) {
  using namespace feature;
  using Code = CommandCode;
  const std::set<Code> everywhere{Code::kRead,  Code::kWrite,    Code::kClearError,
                                  Code::kFlush, Code::kSnapshot, Code::kMountSnapshot};
  const std::set<Code> positions{Code::kGetPosition, Code::kSetPosition};
  const std::set<Code> tape{Code::kWriteMark, Code::kSkipMarks,   Code::kSkipBlocks, Code::kRewind,
                            Code::kLoad,      Code::kGetPosition, Code::kSetPosition};
  struct Kind {
    std::uint32_t features;
    std::set<Code> adds;
  };
  const Kind kinds[] = {
      {kLikePipe, {}},
      {kLikePipe | kRemovable, {Code::kLoad}},
      {kLikeTape, tape},
      {kLikeDisk, positions},
      {kLikeDisk | kRemovable, {Code::kGetPosition, Code::kSetPosition, Code::kLoad}}};
  const Kind options[] = {{0, {}},
                          {kDiscard, {Code::kDiscard}},
                          {kSnapshotPrepare, {Code::kPrepareToFreeze}},
                          {kEnumFrozenFiles, {Code::kFileInfoBegin, Code::kFileInfoEnd}},
                          {kVssWriter, {}},
                          {kRequestComplete, {}},
                          {kRequestComplete | kCompleteEnabled, {Code::kComplete}},
                          {kWriteMedia | kReadMedia, {}}};
  for (const Kind& kind : kinds) {
    for (const Kind& option : options) {
      std::set<Code> expected = everywhere;
      expected.insert(kind.adds.begin(), kind.adds.end());
      expected.insert(option.adds.begin(), option.adds.end());
      const std::uint32_t features = kind.features | option.features;
      for (int number = 1; number <= 19; ++number) {
        const auto code = static_cast<Code>(number);
        EXPECT_EQ(OffersCommand(features, code), expected.contains(code))
            << CommandName(code) << " with features " << std::hex << features;
        EXPECT_EQ(OfferedCommands(features) >> number & 1, expected.contains(code) ? 1U : 0U);
      }
    }
  }
}

TEST(OffersCommand, NegativeCountsNeedReversePosition) {
  const auto back = static_cast<std::uint32_t>(-1);
  for (const CommandCode code : {CommandCode::kSkipMarks, CommandCode::kSkipBlocks}) {
    EXPECT_TRUE(OffersCommand(feature::kLikeTape, code, back));
    EXPECT_TRUE(OffersCommand(feature::kLikeTape & ~feature::kReversePosition, code, 1));
    EXPECT_FALSE(OffersCommand(feature::kLikeTape & ~feature::kReversePosition, code, back));
  }
  EXPECT_TRUE(OffersCommand(feature::kLikeDisk, CommandCode::kSetPosition, back)) << "no count";
}

TEST(OffersCommand, WhatIsNoCommandIsNotOffered) {
  for (const int number : {-1, 0, 20, 33, 0x1000}) {
    EXPECT_FALSE(OffersCommand(~0U, static_cast<CommandCode>(number))) << number;
  }
}

// S1-59: device 65 is refused.
TEST(CheckWishes, OneTo64Devices) {
  EXPECT_THAT(CheckWishes({.device_count = 0}), HasCode(Code::kUnimplemented));
  EXPECT_THAT(CheckWishes({.device_count = 1}), IsOk());
  EXPECT_THAT(CheckWishes({.device_count = 64}), IsOk());
  EXPECT_THAT(CheckWishes({.device_count = 65}), HasCode(Code::kUnimplemented));
}

TEST(CheckWishes, RefusesImpossibleValues) {
  EXPECT_THAT(CheckWishes({.device_count = 1, .alignment = 3000}), HasCode(Code::kUnimplemented));
  EXPECT_THAT(CheckWishes({.device_count = 1, .alignment = 131072}), HasCode(Code::kUnimplemented));
  EXPECT_THAT(CheckWishes({.device_count = 1, .alignment = 65536}), IsOk());
  EXPECT_THAT(CheckWishes({.device_count = 1, .prefix_zone_size = (1 << 20) + 1}),
              HasCode(Code::kUnimplemented));
  EXPECT_THAT(CheckWishes({.device_count = 1, .soft_filemark_block_size = 4096}),
              HasCode(Code::kUnimplemented));
  EXPECT_THAT(
      CheckWishes(
          {.device_count = 1, .features = feature::kLikeTape, .soft_filemark_block_size = 4096}),
      IsOk());
}

TEST(CleanWishes, ForgetsWhatOnlyTheEngineSets) {
  const DeviceSetConfig clean = CleanWishes({.device_count = 2,
                                             .eom_warning_size = 5,
                                             .block_size = 1,
                                             .max_io_depth = 2,
                                             .max_transfer_size = 3,
                                             .buffer_area_size = 4});

  EXPECT_EQ(clean.device_count, 2U);
  EXPECT_EQ(clean.eom_warning_size, 5U);
  EXPECT_EQ(clean.block_size, 0U);
  EXPECT_EQ(clean.max_io_depth, 0U);
  EXPECT_EQ(clean.max_transfer_size, 0U);
  EXPECT_EQ(clean.buffer_area_size, 0U);
}

TEST(MergeConfiguration, JoinsWishesAndDecisions) {
  const auto merged = MergeConfiguration(
      {.device_count = 3, .features = feature::kRequestComplete, .alignment = 8192},
      {.added_features = feature::kWriteMedia | feature::kCompleteEnabled,
       .block_size = 4096,
       .alignment = 4096,
       .max_transfer_size = 4 << 20});

  ASSERT_THAT(merged, IsOk());
  EXPECT_EQ(merged->features, 0x52000U);
  EXPECT_EQ(merged->alignment, 8192U);
  EXPECT_EQ(merged->block_size, 4096U);
  EXPECT_EQ(merged->max_io_depth, 4U);
  EXPECT_EQ(merged->max_transfer_size, 4194304U);  // S1-18
}

TEST(MergeConfiguration, RefusesImpossibleDecisions) {
  const DeviceSetConfig wishes{.device_count = 1};
  const EngineConfiguration good{.added_features = feature::kReadMedia};
  ASSERT_THAT(MergeConfiguration(wishes, good), IsOk());

  const auto refused = [&](auto change) {
    EngineConfiguration changed = good;
    change(changed);
    return MergeConfiguration(wishes, changed).status().code() == Code::kInvalidArgument;
  };

  EXPECT_TRUE(refused([](auto& c) { c.added_features = 0; }));
  EXPECT_TRUE(refused([](auto& c) { c.added_features |= feature::kRandomAccess; }));
  EXPECT_TRUE(refused([](auto& c) { c.added_features |= feature::kCompleteEnabled; }));
  EXPECT_TRUE(refused([](auto& c) { c.block_size = 256; }));
  EXPECT_TRUE(refused([](auto& c) { c.block_size = 3 * 512; }));
  EXPECT_TRUE(refused([](auto& c) { c.block_size = 131072; }));
  EXPECT_TRUE(refused([](auto& c) { c.alignment = 2048; }));
  EXPECT_TRUE(refused([](auto& c) { c.alignment = 131072; }));
  EXPECT_TRUE(refused([](auto& c) { c.max_transfer_size = 0; }));
  EXPECT_TRUE(refused([](auto& c) { c.max_transfer_size = 65535; }));
  EXPECT_TRUE(refused([](auto& c) { c.max_transfer_size = (4 << 20) + 65536; }));
}

TEST(CheckDeviceNames, OnePerDeviceTheFirstAsTheSetAllDifferent) {
  const auto check = [](std::vector<std::string> names) {
    return CheckDeviceNames("set", 2, names);
  };

  EXPECT_THAT(check({"set", "other"}), IsOk());
  EXPECT_THAT(check({"set"}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(check({"set", "b", "c"}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(check({"other", "set"}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(check({"set", "set"}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(check({"set", ""}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(check({"Set", "b"}), HasCode(Code::kInvalidArgument)) << "names are case-sensitive";
}

TEST(DeviceTypes, NamesAndTextsAreThoseOfVdi) {
  EXPECT_EQ(CommandName(CommandCode::kFlush), "Flush");
  EXPECT_EQ(CommandName(static_cast<CommandCode>(77)), "unknown command");
  EXPECT_EQ(CompletionText(CompletionCode::kDiskFull),
            "112(There is not enough space on the disk.)");
  EXPECT_EQ(CompletionText(static_cast<CompletionCode>(4711)), "an error without a text");
}

}  // namespace
}  // namespace capstan::vdi
