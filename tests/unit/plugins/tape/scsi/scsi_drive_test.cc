#include "plugins/tape/scsi/scsi_drive.h"

#include <cerrno>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/plugins/tape/scsi/scripted_transport.h"

namespace capstan::tape {
namespace {

using test::InquiryAnswerOf;
using test::NoSuchCommand;
using test::ScriptedUnit;
using test::SenseAnswer;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint8_t kTestUnitReady = 0x00;
constexpr std::uint8_t kLimits = 0x05;
constexpr std::uint8_t kRead = 0x08;
constexpr std::uint8_t kWrite = 0x0A;
constexpr std::uint8_t kFilemarks = 0x10;
constexpr std::uint8_t kSpace = 0x11;
constexpr std::uint8_t kInquiry = 0x12;
constexpr std::uint8_t kModeSelect = 0x15;
constexpr std::uint8_t kReserve = 0x16;
constexpr std::uint8_t kRelease = 0x17;
constexpr std::uint8_t kModeSense = 0x1A;
constexpr std::uint8_t kLoad = 0x1B;
constexpr std::uint8_t kLocate = 0x2B;
constexpr std::uint8_t kPosition = 0x34;
constexpr std::uint8_t kLogSense = 0x4D;
constexpr std::uint8_t kAttributes = 0x8C;

// A drive of 64 KiB blocks that knows everything; has a cartridge.
class ScsiDriveTest : public testing::Test {
 protected:
  ScsiDriveTest() {
    unit_.Always(kInquiry, InquiryAnswerOf(1));
    unit_.Always(kLimits, {.data = {0, 1, 0, 0, 0, 1}});
    unit_.Always(kModeSense, {.data = {11, 0, 0x10, 8, 0x5E, 0, 0, 0, 0, 0, 0, 0}});
  }

  void Open() {
    const Failure failure = ScsiDrive::Open("tape", unit_.Connect(), &drive_);
    ASSERT_FALSE(failure.failed()) << failure.message;
  }

  ScriptedUnit unit_;
  std::unique_ptr<TapeDrive> drive_;
};

TEST_F(ScsiDriveTest, OpenTakesTheAttentionsThatFollowALogin) {
  unit_.Next(kTestUnitReady, SenseAnswer(0x06, 0x29));
  unit_.Next(kTestUnitReady, SenseAnswer(0x06, 0x28));
  Open();

  EXPECT_EQ(unit_.unused(), 0U);
  EXPECT_EQ(drive_->limits().block_size_max, 65'536U);
  EXPECT_TRUE(drive_->limits().locates);
  EXPECT_TRUE(drive_->TestReady().done());
}

TEST_F(ScsiDriveTest, OpenRefusesWhatIsNoDrive) {
  unit_.Always(kInquiry, InquiryAnswerOf(8));
  const Failure failure = ScsiDrive::Open("tape", unit_.Connect(), &drive_);

  EXPECT_THAT(failure.message, HasSubstr("no tape drive"));
}

TEST_F(ScsiDriveTest, OpenFailsWhereTheDriveIsReserved) {
  unit_.Always(kReserve, {.status = ScsiStatus::kReservationConflict});
  const Failure failure = ScsiDrive::Open("tape", unit_.Connect(), &drive_);

  EXPECT_EQ(failure.os_error, EBUSY);
  EXPECT_THAT(failure.message, HasSubstr("reserved"));
  EXPECT_EQ(unit_.CountOf(kRelease), 0U);
}

TEST_F(ScsiDriveTest, WhatWasReservedIsReleased) {
  Open();
  drive_.reset();
  EXPECT_EQ(unit_.CountOf(kRelease), 1U);

  unit_.Always(kReserve, NoSuchCommand());
  Open();
  drive_.reset();
  EXPECT_EQ(unit_.CountOf(kRelease), 1U);
}

TEST_F(ScsiDriveTest, ADriveThatCannotLocateIsFoundOutAtOnce) {
  unit_.Always(kLocate, NoSuchCommand());
  Open();

  std::uint64_t object = 0;
  EXPECT_FALSE(drive_->limits().locates);
  EXPECT_EQ(drive_->Locate(1).outcome, Outcome::kUnsupported);
  EXPECT_EQ(drive_->Position(&object).outcome, Outcome::kUnsupported);
  EXPECT_EQ(unit_.CountOf(kLocate), 1U);
}

TEST_F(ScsiDriveTest, ADriveWithoutCartridgeKnowsLocateAllTheSame) {
  unit_.Always(kTestUnitReady, SenseAnswer(0x02, 0x3A));
  unit_.Always(kPosition, SenseAnswer(0x02, 0x3A));
  unit_.Always(kLocate, SenseAnswer(0x02, 0x3A));
  Open();

  EXPECT_TRUE(drive_->limits().locates);
  EXPECT_EQ(drive_->TestReady().outcome, Outcome::kNoMedium);
}

TEST_F(ScsiDriveTest, EveryCartridgeIsSetToBlocksOfVariableSize) {
  unit_.Always(kModeSense, {.data = {11, 0, 0x10, 8, 0x5E, 0, 0, 0, 0, 0, 2, 0}});
  Open();
  EXPECT_EQ(unit_.CountOf(kModeSelect), 1U);
  EXPECT_EQ(unit_.data_out[4], std::byte{0x5E});
  EXPECT_EQ(unit_.data_out[10], std::byte{0});

  EXPECT_TRUE(drive_->TestReady().done());
  EXPECT_EQ(unit_.CountOf(kModeSelect), 1U);

  unit_.Next(kTestUnitReady, SenseAnswer(0x06, 0x28));
  EXPECT_EQ(drive_->TestReady().outcome, Outcome::kMediumChanged);
  EXPECT_TRUE(drive_->TestReady().done());
  EXPECT_EQ(unit_.CountOf(kModeSelect), 2U);
}

TEST_F(ScsiDriveTest, ReadTellsTheLengthOfTheBlock) {
  Open();
  std::vector<std::byte> buffer(4'096);

  unit_.Next(kRead, {.data = std::vector<std::uint8_t>(4'096)});
  EXPECT_EQ(drive_->Read(buffer).bytes, 4'096U);

  unit_.Next(kRead, SenseAnswer(0x20, 0, 0, 4'000));
  const Answer shorter = drive_->Read(buffer);
  EXPECT_EQ(shorter.outcome, Outcome::kDone);
  EXPECT_EQ(shorter.bytes, 96U);

  unit_.Next(kRead, SenseAnswer(0x20, 0, 0, -1'000));
  const Answer longer = drive_->Read(buffer);
  EXPECT_EQ(longer.outcome, Outcome::kBlockTooLong);
  EXPECT_EQ(longer.bytes, 5'096U);
}

TEST_F(ScsiDriveTest, ReadSurvivesADifferenceThatIsNone) {
  Open();
  std::vector<std::byte> buffer(4'096);
  unit_.Next(kRead, SenseAnswer(0x20, 0, 0, 100'000));
  EXPECT_EQ(drive_->Read(buffer).bytes, 0U);
}

TEST_F(ScsiDriveTest, ReadMeetsFilemarksAndTheEnd) {
  Open();
  std::vector<std::byte> buffer(100);
  unit_.Next(kRead, SenseAnswer(0x80, 0, 1, 100));
  EXPECT_EQ(drive_->Read(buffer).outcome, Outcome::kFilemark);
  unit_.Next(kRead, SenseAnswer(0x08, 0, 5));
  EXPECT_EQ(drive_->Read(buffer).outcome, Outcome::kEndOfData);
}

TEST_F(ScsiDriveTest, WriteWarnsAndEnds) {
  Open();
  const std::vector<std::byte> block(4'096);
  EXPECT_EQ(drive_->Write(block).outcome, Outcome::kDone);
  unit_.Next(kWrite, SenseAnswer(0x40, 0, 2));
  EXPECT_EQ(drive_->Write(block).outcome, Outcome::kEarlyWarning);
  unit_.Next(kFilemarks, SenseAnswer(0x40, 0, 2));
  EXPECT_EQ(drive_->WriteFilemarks(1).outcome, Outcome::kEarlyWarning);
  unit_.Next(kWrite, SenseAnswer(0x4D, 0, 2));
  const Answer full = drive_->Write(block);
  EXPECT_EQ(full.outcome, Outcome::kNoRoom);
  EXPECT_EQ(full.failure.os_error, ENOSPC);
}

TEST_F(ScsiDriveTest, WriteRefusesBlocksThatTheDriveDoesNotTake) {
  Open();
  EXPECT_EQ(drive_->Write(std::vector<std::byte>(65'537)).outcome, Outcome::kUnsupported);
  EXPECT_EQ(drive_->Write({}).outcome, Outcome::kUnsupported);
  EXPECT_EQ(unit_.CountOf(kWrite), 0U);
}

TEST_F(ScsiDriveTest, AnErrorComesWithWhatTheDriveComplainsOf) {
  Open();
  unit_.Next(kWrite, SenseAnswer(0x03, 0x0C, 0x00));
  unit_.Next(kLogSense, {.data = {0x2E, 0, 0, 10, 0, 3, 0x40, 1, 1, 0, 20, 0x40, 1, 1}});
  const Answer answer = drive_->Write(std::vector<std::byte>(100));

  EXPECT_EQ(answer.outcome, Outcome::kMediumError);
  EXPECT_EQ(answer.failure.message,
            "unable to write to 'tape': medium error: write error (3/0C/00)");
  EXPECT_EQ(answer.failure.hint, "the drive must be cleaned now (TapeAlert 20)");
}

TEST_F(ScsiDriveTest, SpaceStopsWhereItMust) {
  Open();
  unit_.Next(kSpace, SenseAnswer(0x80, 0, 1, 5));
  EXPECT_EQ(drive_->SpaceBlocks(10).outcome, Outcome::kFilemark);
  unit_.Next(kSpace, SenseAnswer(0x40, 0, 4, 5));
  EXPECT_EQ(drive_->SpaceBlocks(-10).outcome, Outcome::kBeginning);
  unit_.Next(kSpace, SenseAnswer(0x08, 0, 5, 5));
  EXPECT_EQ(drive_->SpaceFilemarks(10).outcome, Outcome::kEndOfData);
  unit_.Next(kSpace, SenseAnswer(0x08, 0, 5));
  EXPECT_EQ(drive_->SpaceToEndOfData().outcome, Outcome::kDone);

  const std::size_t before = unit_.CountOf(kSpace);
  EXPECT_TRUE(drive_->SpaceBlocks(0).done());
  EXPECT_EQ(unit_.CountOf(kSpace), before);
}

TEST_F(ScsiDriveTest, PositionTakesTheLongFormWhereTheShortOneIsTooSmall) {
  Open();
  unit_.Next(kPosition, {.data = {0x02, 0, 0, 0, 0, 0, 0, 0}});
  unit_.Next(kPosition, {.data = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7}});
  std::uint64_t object = 0;
  EXPECT_TRUE(drive_->Position(&object).done());
  EXPECT_EQ(object, 0x1'0000'0007U);

  unit_.Next(kPosition, {.data = {0x04, 0, 0, 0, 0, 0, 0, 0}});
  unit_.Next(kPosition, {.data = {0x04}});
  EXPECT_EQ(drive_->Position(&object).outcome, Outcome::kHardwareError);
}

TEST_F(ScsiDriveTest, InspectAsksTheCartridge) {
  Open();
  unit_.Next(kModeSense, {.data = {3, 0, 0x90, 0}});
  unit_.Next(kAttributes, {.data = {0,    0,    0,    27,                                   //
                                    0x00, 0x01, 0x80, 0,  8, 0,    0,   0,  0, 0, 0, 0, 3,  //
                                    0x04, 0x08, 0x80, 0,  1, 0x80,                          //
                                    0x08, 0x06, 0,    0,  3, 'A',  '1', ' '}});
  MountedCartridge cartridge;
  EXPECT_TRUE(drive_->Inspect(&cartridge).done());

  EXPECT_TRUE(cartridge.write_protected);
  EXPECT_TRUE(cartridge.worm);
  EXPECT_EQ(cartridge.barcode, "A1");
  EXPECT_EQ(cartridge.capacity_bytes, 3U << 20);
  EXPECT_EQ(cartridge.remaining_bytes, UINT64_MAX);
  EXPECT_EQ(drive_->status().barcode, "A1");

  EXPECT_TRUE(drive_->Unload().done());
  EXPECT_EQ(drive_->status().barcode, "");
}

TEST_F(ScsiDriveTest, InspectDoesWithoutMemory) {
  unit_.Always(kAttributes, NoSuchCommand());
  Open();
  MountedCartridge cartridge;
  EXPECT_TRUE(drive_->Inspect(&cartridge).done());
  EXPECT_TRUE(drive_->Inspect(&cartridge).done());
  EXPECT_EQ(cartridge.capacity_bytes, UINT64_MAX);
  EXPECT_EQ(unit_.CountOf(kAttributes), 1U);
}

TEST_F(ScsiDriveTest, LoadIsNotStoppedByTheNewsOfTheCartridge) {
  Open();
  unit_.Next(kLoad, SenseAnswer(0x06, 0x28));
  EXPECT_TRUE(drive_->Load().done());
  unit_.Next(kLoad, SenseAnswer(0x03, 0x53));
  EXPECT_EQ(drive_->Load().outcome, Outcome::kMediumError);
}

TEST_F(ScsiDriveTest, ABrokenConnectionIsToldAsOne) {
  Open();
  unit_.Next(kRead, {.transport_error = "the connection is broken"});
  std::vector<std::byte> buffer(100);
  const Answer answer = drive_->Read(buffer);

  EXPECT_EQ(answer.outcome, Outcome::kTransportError);
  EXPECT_TRUE(answer.failure.transient);
  EXPECT_EQ(answer.failure.os_error, ECONNRESET);
}

TEST_F(ScsiDriveTest, AnAnswerWithoutSenseIsNoSuccess) {
  Open();
  unit_.Next(kWrite, {.status = ScsiStatus::kCheckCondition});
  EXPECT_EQ(drive_->Write(std::vector<std::byte>(10)).outcome, Outcome::kTransportError);
  unit_.Next(kWrite, {.status = static_cast<ScsiStatus>(0x40)});
  EXPECT_EQ(drive_->Write(std::vector<std::byte>(10)).outcome, Outcome::kTransportError);
  unit_.Next(kWrite, {.status = ScsiStatus::kBusy});
  EXPECT_EQ(drive_->Write(std::vector<std::byte>(10)).outcome, Outcome::kBusy);
}

}  // namespace
}  // namespace capstan::tape
