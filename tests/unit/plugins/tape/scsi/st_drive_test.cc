// What the driver answers here is what Linux 6.1's st does; tests/conformance/tape_scsi shows that
// on a real one.
#include "plugins/tape/scsi/st_drive.h"

#include <cerrno>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/plugins/tape/scsi/scripted_calls.h"

namespace capstan::tape {
namespace {

using test::ScriptedCalls;
using test::ScriptedNode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr long kOnline = GMT_ONLINE(~0L);
constexpr long kEndOfTape = kOnline | GMT_EOT(~0L);
constexpr long kEndOfData = kOnline | GMT_EOD(~0L);

class StDriveTest : public testing::Test {
 protected:
  void Open() {
    const Failure failure =
        StDrive::Open("/dev/nst0", std::make_unique<ScriptedCalls>(&node_), &drive_);
    ASSERT_FALSE(failure.failed()) << failure.message;
  }

  ScriptedNode node_;
  std::unique_ptr<TapeDrive> drive_;
  std::vector<std::byte> block_ = std::vector<std::byte>(4'096);
};

TEST_F(StDriveTest, OpenFailsWhereAnotherHasIt) {
  node_.opens = {-EBUSY};
  const Failure failure =
      StDrive::Open("/dev/nst0", std::make_unique<ScriptedCalls>(&node_), &drive_);
  EXPECT_EQ(failure.os_error, EBUSY);
  EXPECT_THAT(failure.message, HasSubstr("/dev/nst0"));

  node_.opens = {-EACCES};
  EXPECT_THAT(StDrive::Open("/dev/nst0", std::make_unique<ScriptedCalls>(&node_), &drive_).hint,
              HasSubstr("group"));
}

TEST_F(StDriveTest, OpenTakesAProtectedCartridgeForReading) {
  node_.opens = {-EROFS, 7};
  Open();
  EXPECT_EQ(node_.open_count, 2);
  node_.states = {kOnline | GMT_WR_PROT(~0L)};
  MountedCartridge cartridge;
  EXPECT_TRUE(drive_->Inspect(&cartridge).done());
  EXPECT_TRUE(cartridge.write_protected);
  node_.writes = {-EBADF};
  EXPECT_EQ(drive_->Write(block_).outcome, Outcome::kWriteProtected);
}

TEST_F(StDriveTest, TestReadyOpensAnewUntilThereIsACartridge) {
  Open();
  node_.states = {GMT_DR_OPEN(~0L)};
  EXPECT_EQ(drive_->TestReady().outcome, Outcome::kNoMedium);
  node_.states = {0};
  EXPECT_EQ(drive_->TestReady().outcome, Outcome::kNotReady);
  EXPECT_EQ(node_.closed_count, 2);

  node_.states = {0, kOnline};
  EXPECT_TRUE(drive_->TestReady().done());
  EXPECT_THAT(node_.operated, ElementsAre(Pair(MTSETBLK, 0)));
  EXPECT_TRUE(drive_->TestReady().done());  // and stays so
  EXPECT_EQ(node_.closed_count, 3);
  EXPECT_EQ(node_.operated.size(), 1U);
}

TEST_F(StDriveTest, TestReadySaysThatAnotherCameInBetween) {
  Open();
  node_.states = {0};
  node_.opens = {-EBUSY};
  EXPECT_EQ(drive_->TestReady().outcome, Outcome::kBusy);
  EXPECT_EQ(drive_->Write(block_).outcome, Outcome::kDone);
}

TEST_F(StDriveTest, TheEarlyWarningStaysUntilTheTapeMovesBack) {
  Open();
  node_.states = {kOnline};
  EXPECT_EQ(drive_->Write(block_).outcome, Outcome::kDone);
  node_.states = {kEndOfTape};
  EXPECT_EQ(drive_->Write(block_).outcome, Outcome::kEarlyWarning);
  // The driver refuses every second write from here.
  node_.writes = {-ENOSPC, 4'096};
  EXPECT_EQ(drive_->Write(block_).outcome, Outcome::kEarlyWarning);
  EXPECT_THAT(node_.writes, IsEmpty());
  node_.states = {kOnline};  // filemarks make it forget
  EXPECT_EQ(drive_->WriteFilemarks(1).outcome, Outcome::kEarlyWarning);
  EXPECT_TRUE(drive_->Rewind().done());
  EXPECT_EQ(drive_->Write(block_).outcome, Outcome::kDone);
}

TEST_F(StDriveTest, ABlockThatIsRefusedTwiceDoesNotFit) {
  Open();
  node_.writes = {-ENOSPC, -ENOSPC};
  const Answer answer = drive_->Write(block_);
  EXPECT_EQ(answer.outcome, Outcome::kNoRoom);
  EXPECT_EQ(answer.failure.os_error, ENOSPC);

  node_.operations = {-ENOSPC};
  EXPECT_EQ(drive_->WriteFilemarks(1).outcome, Outcome::kNoRoom);
}

TEST_F(StDriveTest, WritesThatFail) {
  Open();
  const std::pair<long, Outcome> cases[] = {{-EACCES, Outcome::kWriteProtected},
                                            {-EIO, Outcome::kMediumError},
                                            {-ENXIO, Outcome::kTransportError},
                                            {-ENOMEDIUM, Outcome::kNoMedium},
                                            {-EOVERFLOW, Outcome::kUnsupported},
                                            {1'000, Outcome::kMediumError},
                                            {-EBUSY, Outcome::kBusy},
                                            {-ENOMEM, Outcome::kHardwareError}};
  for (const auto& [result, outcome] : cases) {
    node_.writes = {result};
    const Answer answer = drive_->Write(block_);
    EXPECT_EQ(answer.outcome, outcome) << result;
    EXPECT_TRUE(answer.failure.failed());
  }
  EXPECT_EQ(drive_->Write(std::vector<std::byte>(2U << 20)).outcome, Outcome::kUnsupported);
}

TEST_F(StDriveTest, AnErrorOfADriveThatHasLostItsCartridgeIsThat) {
  node_.generic = [](sg_io_hdr* header) {
    const unsigned char sense[] = {0x70, 0, 2, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x3A, 0};
    std::memcpy(header->sbp, sense, sizeof(sense));
    header->sb_len_wr = sizeof(sense);
    header->status = 2;
    return 0;
  };
  Open();
  node_.writes = {-EIO};
  EXPECT_EQ(drive_->Write(block_).outcome, Outcome::kNoMedium);
  node_.writes = {-EBADF};
  EXPECT_EQ(drive_->Write(block_).outcome, Outcome::kNotReady);
}

TEST_F(StDriveTest, ReadTellsFilemarkAndEndOfDataApart) {
  Open();
  std::vector<std::byte> buffer(8'192);
  node_.states = {kOnline};
  node_.reads = {4'096, 0};
  EXPECT_EQ(drive_->Read(buffer).bytes, 4'096U);
  EXPECT_EQ(drive_->Read(buffer).outcome, Outcome::kFilemark);
  node_.states = {kEndOfData};
  node_.reads = {0, 8'192, -EIO};
  EXPECT_EQ(drive_->Read(buffer).outcome, Outcome::kEndOfData);
  EXPECT_EQ(drive_->Read(buffer).outcome, Outcome::kEndOfData);
  EXPECT_EQ(drive_->Read(buffer).outcome, Outcome::kEndOfData);
}

TEST_F(StDriveTest, ReadTellsDamageAndEndOfDataApart) {
  Open();
  std::vector<std::byte> buffer(8'192);
  node_.reads = {-EIO, -EIO};
  node_.states = {kOnline, kEndOfData};
  node_.operations = {-EIO};
  EXPECT_EQ(drive_->Read(buffer).outcome, Outcome::kEndOfData);

  node_.states = {kOnline};
  node_.operated.clear();
  EXPECT_EQ(drive_->Read(buffer).outcome, Outcome::kMediumError);
  EXPECT_THAT(node_.operated, ElementsAre(Pair(MTFSR, 1), Pair(MTBSR, 1)));
}

TEST_F(StDriveTest, ReadMeasuresABlockThatIsTooLong) {
  Open();
  std::vector<std::byte> buffer(100);
  node_.reads = {-ENOMEM, 65'536};
  const Answer answer = drive_->Read(buffer);
  EXPECT_EQ(answer.outcome, Outcome::kBlockTooLong);
  EXPECT_EQ(answer.bytes, 65'536U);
  EXPECT_THAT(node_.operated, ElementsAre(Pair(MTBSR, 1)));

  node_.reads = {-ENOMEM};
  node_.operations = {-EIO};
  EXPECT_EQ(drive_->Read(buffer).outcome, Outcome::kMediumError);
}

TEST_F(StDriveTest, SpaceTellsWhereItStopped) {
  Open();
  EXPECT_TRUE(drive_->SpaceBlocks(0).done());
  EXPECT_THAT(node_.operated, IsEmpty());
  EXPECT_TRUE(drive_->SpaceBlocks(-3).done());
  EXPECT_THAT(node_.operated, ElementsAre(Pair(MTBSR, 3)));

  node_.operations = {-EIO, -EIO, -EIO, -EIO, -EIO};
  node_.places = {{0, 4}, {1, 0}};
  EXPECT_EQ(drive_->SpaceBlocks(9).outcome, Outcome::kFilemark);
  node_.places = {{1, 0}, {0, -1}};
  EXPECT_EQ(drive_->SpaceBlocks(-9).outcome, Outcome::kFilemark);
  node_.places = {{0, 4}, {0, 0}};
  node_.states = {kOnline, kOnline | GMT_BOT(~0L)};
  EXPECT_EQ(drive_->SpaceBlocks(-9).outcome, Outcome::kBeginning);
  node_.states = {kOnline, kEndOfData};
  EXPECT_EQ(drive_->SpaceFilemarks(9).outcome, Outcome::kEndOfData);
  node_.states = {kOnline};
  node_.places = {{2, 0}};
  EXPECT_EQ(drive_->SpaceFilemarks(1).outcome, Outcome::kMediumError);
  node_.operations = {-EIO};
  EXPECT_EQ(drive_->SpaceFilemarks(-3).outcome, Outcome::kBeginning);
}

TEST_F(StDriveTest, LongWaysGoInSteps) {
  Open();
  EXPECT_TRUE(drive_->SpaceBlocks(0x7FFFFFLL + 5).done());
  EXPECT_THAT(node_.operated, ElementsAre(Pair(MTFSR, 0x7FFFFF), Pair(MTFSR, 5)));
}

TEST_F(StDriveTest, PositionsWhereTheDriveKnowsThem) {
  Open();  // nobody may ask whether it does
  std::uint64_t object = 0;
  EXPECT_FALSE(drive_->limits().locates);
  EXPECT_EQ(drive_->Position(&object).outcome, Outcome::kUnsupported);

  node_.generic = [](sg_io_hdr*) { return 0; };
  Open();
  EXPECT_TRUE(drive_->limits().locates);
  node_.position = 77;
  EXPECT_TRUE(drive_->Position(&object).done());
  EXPECT_EQ(object, 77U);
  EXPECT_TRUE(drive_->Locate(12).done());
  EXPECT_THAT(node_.operated, ElementsAre(Pair(MTSEEK, 12)));
  EXPECT_EQ(drive_->Locate(std::uint64_t{1} << 40).outcome, Outcome::kUnsupported);
}

TEST_F(StDriveTest, LoadAndUnload) {
  Open();
  EXPECT_TRUE(drive_->Unload().done());
  EXPECT_TRUE(drive_->Load().done());
  EXPECT_THAT(node_.operated, ElementsAre(Pair(MTOFFL, 1), Pair(MTLOAD, 1)));
  node_.operations = {-ENOMEDIUM};
  EXPECT_EQ(drive_->Unload().outcome, Outcome::kNoMedium);
}

}  // namespace
}  // namespace capstan::tape
