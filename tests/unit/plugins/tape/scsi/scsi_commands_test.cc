#include "plugins/tape/scsi/scsi_commands.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace capstan::tape {
namespace {

using testing::ElementsAre;

std::vector<int> BytesOf(const CommandBlock& block) {
  const auto view = block.view();
  return {view.begin(), view.end()};
}

TEST(ScsiCommands, BlocksAreNamedInBytesOfVariableSize) {
  EXPECT_THAT(BytesOf(ReadCommand(0x123456)), ElementsAre(0x08, 0, 0x12, 0x34, 0x56, 0));
  EXPECT_THAT(BytesOf(WriteCommand(1)), ElementsAre(0x0A, 0, 0, 0, 1, 0));
  EXPECT_THAT(BytesOf(WriteFilemarksCommand(2)), ElementsAre(0x10, 0, 0, 0, 2, 0));
}

TEST(ScsiCommands, SpaceTakesTheShortFormWhileTheCountFits) {
  EXPECT_THAT(BytesOf(SpaceCommand(SpaceOver::kBlocks, -1)),
              ElementsAre(0x11, 0, 0xFF, 0xFF, 0xFF, 0));
  EXPECT_THAT(BytesOf(SpaceCommand(SpaceOver::kFilemarks, 0x7FFFFF)),
              ElementsAre(0x11, 1, 0x7F, 0xFF, 0xFF, 0));
  EXPECT_THAT(BytesOf(SpaceCommand(SpaceOver::kBlocks, -0x800000)),
              ElementsAre(0x11, 0, 0x80, 0, 0, 0));
  EXPECT_THAT(BytesOf(SpaceCommand(SpaceOver::kEndOfData, 0)), ElementsAre(0x11, 3, 0, 0, 0, 0));
  EXPECT_THAT(BytesOf(SpaceCommand(SpaceOver::kBlocks, 0x800000)),
              ElementsAre(0x91, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(
      BytesOf(SpaceCommand(SpaceOver::kFilemarks, -0x800001)),
      ElementsAre(0x91, 1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0, 0, 0, 0));
}

TEST(ScsiCommands, LocateTakesTheShortFormWhileTheObjectFits) {
  EXPECT_THAT(BytesOf(LocateCommand(0xFFFFFFFF)),
              ElementsAre(0x2B, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0));
  EXPECT_THAT(BytesOf(LocateCommand(0x1'0000'0002)),
              ElementsAre(0x92, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0));
}

TEST(ScsiCommands, EverythingElseOfADrive) {
  EXPECT_THAT(BytesOf(TestUnitReadyCommand()), ElementsAre(0, 0, 0, 0, 0, 0));
  EXPECT_THAT(BytesOf(RewindCommand()), ElementsAre(1, 0, 0, 0, 0, 0));
  EXPECT_THAT(BytesOf(InquiryCommand(96)), ElementsAre(0x12, 0, 0, 0, 96, 0));
  EXPECT_THAT(BytesOf(ReadBlockLimitsCommand()), ElementsAre(5, 0, 0, 0, 0, 0));
  EXPECT_THAT(BytesOf(ModeSenseCommand(0x3F, 64)), ElementsAre(0x1A, 0, 0x3F, 0, 64, 0));
  EXPECT_THAT(BytesOf(ModeSelectCommand(12)), ElementsAre(0x15, 0x10, 0, 0, 12, 0));
  EXPECT_THAT(BytesOf(LoadUnloadCommand(LoadOrUnload::kLoad)), ElementsAre(0x1B, 0, 0, 0, 1, 0));
  EXPECT_THAT(BytesOf(LoadUnloadCommand(LoadOrUnload::kUnload)), ElementsAre(0x1B, 0, 0, 0, 0, 0));
  EXPECT_THAT(BytesOf(ReserveCommand()), ElementsAre(0x16, 0, 0, 0, 0, 0));
  EXPECT_THAT(BytesOf(ReleaseCommand()), ElementsAre(0x17, 0, 0, 0, 0, 0));
  EXPECT_THAT(BytesOf(LogSenseCommand(0x2E, 512)), ElementsAre(0x4D, 0, 0x6E, 0, 0, 0, 0, 2, 0, 0));
  EXPECT_THAT(BytesOf(ReadShortPositionCommand()), ElementsAre(0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(BytesOf(ReadLongPositionCommand()), ElementsAre(0x34, 6, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(BytesOf(ReadAttributeCommand(0x0806, 0x2000)),
              ElementsAre(0x8C, 0, 0, 0, 0, 0, 0, 0, 8, 6, 0, 0, 0x20, 0, 0, 0));
}

TEST(ScsiCommands, EverythingOfALibrary) {
  EXPECT_THAT(
      BytesOf(ReadElementStatusCommand({.type = 2, .first_address = 1001, .count = 400}, 0x10203)),
      ElementsAre(0xB8, 0x12, 0x03, 0xE9, 0x01, 0x90, 0, 1, 2, 3, 0, 0));
  EXPECT_THAT(BytesOf(InitializeElementStatusCommand()), ElementsAre(7, 0, 0, 0, 0, 0));
  EXPECT_THAT(BytesOf(MoveMediumCommand(100, 1001, 1)),
              ElementsAre(0xA5, 0, 0, 100, 0x03, 0xE9, 0, 1, 0, 0, 0, 0));
}

}  // namespace
}  // namespace capstan::tape
