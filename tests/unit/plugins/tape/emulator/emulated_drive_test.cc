// One drive with one cartridge: what each command does and answers.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plugins/tape/emulator/image_scan.h"
#include "tests/unit/plugins/tape/emulator/library_fixture.h"

namespace capstan::tape {
namespace {

using testing::HasSubstr;

class Drive : public TapeLibrary {
 protected:
  void WriteBlocks(int count, std::size_t size = 1000) {
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(drive_->Write(Bytes(size, static_cast<unsigned>(i))).outcome, Outcome::kDone);
    }
  }

  Answer ReadInto(std::size_t size) {
    buffer_.assign(size, std::byte{0});
    return drive_->Read(buffer_);
  }

  std::vector<std::byte> buffer_;
};

TEST_F(Drive, BlocksAndFilemarksAreReadAsTheyWereWritten) {
  CreateLoaded();
  ASSERT_TRUE(drive_->Write(Bytes(1)).done());
  ASSERT_TRUE(drive_->Write(Bytes(65'537)).done());
  ASSERT_TRUE(drive_->WriteFilemarks(2).done());
  ASSERT_TRUE(drive_->Write(Bytes(512)).done());
  EXPECT_EQ(PositionOf(), 5U);
  ASSERT_TRUE(drive_->Rewind().done());

  for (const std::size_t size : {1U, 65'537U}) {
    const Answer answer = ReadInto(100'000);
    EXPECT_EQ(answer.outcome, Outcome::kDone);
    EXPECT_EQ(answer.bytes, size);
    buffer_.resize(size);
    EXPECT_EQ(buffer_, Bytes(size));
  }
  EXPECT_EQ(ReadInto(100).outcome, Outcome::kFilemark);
  EXPECT_EQ(ReadInto(100).outcome, Outcome::kFilemark);
  EXPECT_EQ(ReadInto(512).outcome, Outcome::kDone);
  EXPECT_EQ(buffer_, Bytes(512));
  EXPECT_EQ(ReadInto(512).outcome, Outcome::kEndOfData);
  EXPECT_EQ(PositionOf(), 5U);
}

TEST_F(Drive, BlockLongerThanTheBufferIsSkippedAndMeasured) {
  CreateLoaded();
  WriteBlocks(1, 5000);
  WriteBlocks(1, 100);
  ASSERT_TRUE(drive_->Rewind().done());

  const Answer answer = ReadInto(4999);

  EXPECT_EQ(answer.outcome, Outcome::kBlockTooLong);
  EXPECT_EQ(answer.bytes, 5000U);
  EXPECT_EQ(ReadInto(200).bytes, 100U);
}

TEST_F(Drive, SpacesAndLocates) {
  CreateLoaded();
  WriteBlocks(3);                                 // 0 1 2
  ASSERT_TRUE(drive_->WriteFilemarks(1).done());  // 3
  WriteBlocks(2);                                 // 4 5
  ASSERT_TRUE(drive_->WriteFilemarks(2).done());  // 6 7

  ASSERT_TRUE(drive_->Rewind().done());
  EXPECT_EQ(drive_->SpaceBlocks(2).outcome, Outcome::kDone);
  EXPECT_EQ(PositionOf(), 2U);
  EXPECT_EQ(drive_->SpaceBlocks(2).outcome, Outcome::kFilemark);
  EXPECT_EQ(PositionOf(), 4U);
  EXPECT_EQ(drive_->SpaceBlocks(-1).outcome, Outcome::kFilemark);
  EXPECT_EQ(PositionOf(), 3U);
  EXPECT_EQ(drive_->SpaceBlocks(-9).outcome, Outcome::kBeginning);
  EXPECT_EQ(PositionOf(), 0U);
  EXPECT_EQ(drive_->SpaceFilemarks(2).outcome, Outcome::kDone);
  EXPECT_EQ(PositionOf(), 7U);
  EXPECT_EQ(drive_->SpaceFilemarks(2).outcome, Outcome::kEndOfData);
  EXPECT_EQ(PositionOf(), 8U);
  EXPECT_EQ(drive_->SpaceFilemarks(-3).outcome, Outcome::kDone);
  EXPECT_EQ(PositionOf(), 3U);
  EXPECT_EQ(drive_->SpaceFilemarks(-1).outcome, Outcome::kBeginning);
  EXPECT_EQ(drive_->SpaceToEndOfData().outcome, Outcome::kDone);
  EXPECT_EQ(PositionOf(), 8U);
  EXPECT_EQ(drive_->SpaceBlocks(1).outcome, Outcome::kEndOfData);
  EXPECT_EQ(drive_->Locate(5).outcome, Outcome::kDone);
  EXPECT_EQ(PositionOf(), 5U);
  EXPECT_EQ(drive_->Locate(9).outcome, Outcome::kEndOfData);
  EXPECT_EQ(PositionOf(), 8U);
}

TEST_F(Drive, WritingInTheMiddleEndsTheTapeThere) {
  CreateLoaded();
  WriteBlocks(10);
  ASSERT_TRUE(drive_->WriteFilemarks(1).done());
  ASSERT_TRUE(drive_->Locate(4).done());

  WriteBlocks(1, 77);

  EXPECT_EQ(drive_->SpaceBlocks(1).outcome, Outcome::kEndOfData);
  EXPECT_EQ(PositionOf(), 5U);
  Reopen();
  ASSERT_TRUE(drive_->SpaceToEndOfData().done());
  EXPECT_EQ(PositionOf(), 5U);
}

TEST_F(Drive, WarnsAtTheCapacityAndThenSurelyTakesWhatItPromised) {
  LibraryParameters parameters = Small();
  parameters.capacity_bytes = 1U << 20U;
  parameters.early_warning_bytes = 300'000;
  parameters.block_size_max = 65'536;
  CreateLoaded(parameters);
  MountedCartridge cartridge;

  int before = 0;
  while (drive_->Write(Bytes(65'536)).outcome == Outcome::kDone) {
    ++before;
  }
  std::uint64_t behind = 0;
  Answer answer;
  while ((answer = drive_->Write(Bytes(10'000))).outcome == Outcome::kEarlyWarning) {
    behind += 10'000;
  }

  EXPECT_EQ(before, 15);  // the 16th ends behind 1 MiB, with what is around the blocks
  EXPECT_EQ(answer.outcome, Outcome::kNoRoom);
  EXPECT_THAT(answer.failure.message, HasSubstr("'CAP001L8' is full"));
  EXPECT_GE(behind, drive_->limits().early_warning_bytes - 10'000);
  ASSERT_TRUE(drive_->Inspect(&cartridge).done());
  EXPECT_EQ(cartridge.remaining_bytes, 0U);
  // What was not written is not there.
  ASSERT_TRUE(drive_->SpaceBlocks(-1).done());
  EXPECT_EQ(ReadInto(10'000).outcome, Outcome::kDone);
  EXPECT_EQ(ReadInto(10'000).outcome, Outcome::kEndOfData);
}

TEST_F(Drive, TellsOnceThatTheMediumChanged) {
  Create();
  AddCartridge({.barcode = "CAP001L8"});
  drive_ = OpenDrive();
  EXPECT_EQ(drive_->TestReady().outcome, Outcome::kNoMedium);
  EXPECT_EQ(drive_->Load().outcome, Outcome::kNoMedium);
  Insert("CAP001L8");

  EXPECT_EQ(drive_->TestReady().outcome, Outcome::kMediumChanged);
  EXPECT_EQ(drive_->TestReady().outcome, Outcome::kDone);
  EXPECT_EQ(drive_->status().barcode, "CAP001L8");
  EXPECT_EQ(drive_->status().mode, "emulated LTO-8");
  EXPECT_EQ(drive_->Unload().outcome, Outcome::kDone);
  EXPECT_EQ(drive_->TestReady().outcome, Outcome::kNoMedium);
  EXPECT_EQ(drive_->status().barcode, "");
  EXPECT_EQ(drive_->Load().outcome, Outcome::kDone);
  EXPECT_EQ(drive_->Rewind().outcome, Outcome::kMediumChanged);
  EXPECT_EQ(drive_->Rewind().outcome, Outcome::kDone);
}

TEST_F(Drive, InspectTellsWhatTheCartridgeIs) {
  CreateLoaded();
  MountedCartridge cartridge;
  ASSERT_TRUE(drive_->Inspect(&cartridge).done());
  EXPECT_TRUE(cartridge.blank);
  EXPECT_EQ(cartridge.barcode, "CAP001L8");
  EXPECT_EQ(cartridge.capacity_bytes, 64U << 20U);
  EXPECT_EQ(cartridge.remaining_bytes, 64U << 20U);

  WriteBlocks(1);
  ASSERT_TRUE(drive_->Inspect(&cartridge).done());

  EXPECT_FALSE(cartridge.blank);
  EXPECT_EQ(cartridge.remaining_bytes, (64U << 20U) - 1008);
}

TEST_F(Drive, WormIsAppendedToAndNeverOverwritten) {
  Create();
  AddCartridge({.barcode = "WRM001LY"});
  Insert("WRM001LY");
  drive_ = OpenDrive();
  ASSERT_EQ(drive_->TestReady().outcome, Outcome::kMediumChanged);
  WriteBlocks(2);
  ASSERT_TRUE(drive_->WriteFilemarks(1).done());
  ASSERT_TRUE(drive_->Rewind().done());

  EXPECT_EQ(drive_->Write(Bytes(10)).outcome, Outcome::kWorm);
  EXPECT_EQ(drive_->WriteFilemarks(1).outcome, Outcome::kWorm);
  EXPECT_EQ(drive_->WriteFilemarks(0).outcome, Outcome::kDone);
  ASSERT_TRUE(drive_->SpaceToEndOfData().done());
  EXPECT_EQ(PositionOf(), 3U);
  WriteBlocks(1);
  MountedCartridge cartridge;
  ASSERT_TRUE(drive_->Inspect(&cartridge).done());
  EXPECT_TRUE(cartridge.worm);
}

TEST_F(Drive, ProtectedCartridgeIsReadOnly) {
  Create();
  AddCartridge({.barcode = "CAP001L8", .write_protected = true});
  Insert("CAP001L8");
  drive_ = OpenDrive();
  ASSERT_EQ(drive_->TestReady().outcome, Outcome::kMediumChanged);

  EXPECT_EQ(drive_->Write(Bytes(10)).outcome, Outcome::kWriteProtected);
  EXPECT_EQ(ReadInto(10).outcome, Outcome::kEndOfData);
}

TEST_F(Drive, TakesOnlyCartridgesOfGenerationsItKnows) {
  struct Case {
    const char* drive;
    const char* barcode;
    bool reads;
    bool writes;
  };
  for (const Case& one :
       {Case{"LTO-7", "A00001L7", true, true}, Case{"LTO-7", "A00001L6", true, true},
        Case{"LTO-7", "A00001L5", true, false}, Case{"LTO-7", "A00001L4", false, false},
        Case{"LTO-7", "A00001L8", false, false}, Case{"LTO-7", "A00001M8", false, false},
        Case{"LTO-8", "A00001L7", true, true}, Case{"LTO-8", "A00001M8", true, true},
        Case{"LTO-8", "A00001L6", false, false}, Case{"LTO-9", "A00001L8", true, true},
        Case{"LTO-9", "A00001M8", false, false}, Case{"LTO-9", "A00001L7", false, false},
        Case{"LTO-10", "A00001L9", false, false}, Case{"LTO-10", "A00001LA", true, true}}) {
    SCOPED_TRACE(std::string(one.drive) + " " + one.barcode);
    const Generation* const drive = FindGeneration(one.drive);
    const Generation* const cartridge = GenerationOfBarcode(one.barcode);
    ASSERT_NE(cartridge, nullptr);
    EXPECT_EQ(CanRead(*drive, *cartridge), one.reads);
    EXPECT_EQ(CanWrite(*drive, *cartridge), one.writes);
  }

  LibraryParameters parameters = Small();
  parameters.generation = "LTO-7";
  Create(parameters);
  AddCartridge({.barcode = "OLD001L5"});
  AddCartridge({.barcode = "OLD001L4"});
  Insert("OLD001L5");
  Insert("OLD001L4", 1);
  drive_ = OpenDrive();
  ASSERT_EQ(drive_->TestReady().outcome, Outcome::kMediumChanged);
  EXPECT_EQ(drive_->Write(Bytes(1)).outcome, Outcome::kWriteProtected);
  EXPECT_EQ(ReadInto(1).outcome, Outcome::kEndOfData);
  const auto other = OpenDrive(1);
  for (int i = 0; i < 2; ++i) {
    const Answer answer = other->TestReady();
    EXPECT_EQ(answer.outcome, Outcome::kIncompatible);
    EXPECT_THAT(answer.failure.message, HasSubstr("'OLD001L4' is LTO-4"));
  }
  EXPECT_EQ(other->Unload().outcome, Outcome::kDone);
  EXPECT_EQ(other->TestReady().outcome, Outcome::kNoMedium);
}

TEST_F(Drive, AsksToBeCleanedAndIsCleanedByACleaningCartridge) {
  LibraryParameters parameters = Small();
  parameters.cleaning_after_bytes = 5000;
  CreateLoaded(parameters);
  AddCartridge({.barcode = "CLN001L1", .kind = CartridgeKind::kCleaning, .cleanings_left = 1});
  WriteBlocks(6);
  EXPECT_FALSE(drive_->status().cleaning_needed);
  ASSERT_TRUE(drive_->Unload().done());
  EXPECT_TRUE(drive_->status().cleaning_needed);
  EmulatedChanger changer(library_.store());
  ASSERT_TRUE(changer.Move(EmulatedDriveAddress(0), kFirstSlotAddress + 3).done());
  drive_.reset();
  drive_ = OpenDrive();
  EXPECT_TRUE(drive_->status().cleaning_needed);
  Insert("CLN001L1");

  const Answer cleaned = drive_->Load();

  EXPECT_EQ(cleaned.outcome, Outcome::kIncompatible);
  EXPECT_THAT(cleaned.failure.message, HasSubstr("is clean now"));
  EXPECT_FALSE(drive_->status().cleaning_needed);
  EXPECT_EQ(drive_->TestReady().outcome, Outcome::kNoMedium);
  const Answer again = drive_->Load();
  EXPECT_EQ(again.outcome, Outcome::kIncompatible);
  EXPECT_THAT(again.failure.message, HasSubstr("used up"));
}

TEST_F(Drive, FixedBlocksAreWrittenAndReadByTheCount) {
  LibraryParameters parameters = Small();
  parameters.fixed_block_size = 512;
  CreateLoaded(parameters);

  EXPECT_EQ(drive_->Write(Bytes(513)).outcome, Outcome::kUnsupported);
  EXPECT_EQ(drive_->Write(Bytes(2048)).bytes, 2048U);
  EXPECT_EQ(PositionOf(), 4U);
  ASSERT_TRUE(drive_->WriteFilemarks(1).done());
  ASSERT_TRUE(drive_->Rewind().done());
  EXPECT_EQ(ReadInto(100).outcome, Outcome::kBlockTooLong);
  EXPECT_EQ(ReadInto(1024).bytes, 1024U);
  const Answer rest = ReadInto(4096);
  EXPECT_EQ(rest.outcome, Outcome::kFilemark);
  EXPECT_EQ(rest.bytes, 1024U);
}

TEST_F(Drive, RefusesBlocksThatItCannotWrite) {
  CreateLoaded();

  EXPECT_EQ(drive_->Write({}).outcome, Outcome::kUnsupported);
  const Answer large = drive_->Write(std::vector<std::byte>((8U << 20U) + 1));
  EXPECT_EQ(large.outcome, Outcome::kUnsupported);
  EXPECT_THAT(large.failure.message, HasSubstr("8388609 bytes"));
  EXPECT_EQ(drive_->Write(std::vector<std::byte>(8U << 20U)).outcome, Outcome::kDone);
}

TEST_F(Drive, PlannedFaultsHappen) {
  DriveFaults faults{.unreadable_object = 1, .unwritable_object = 3};
  CreateLoaded(Small(), {.faults = &faults});
  WriteBlocks(3);

  const Answer unwritten = drive_->Write(Bytes(10));
  EXPECT_EQ(unwritten.outcome, Outcome::kMediumError);
  EXPECT_THAT(unwritten.failure.message, HasSubstr("unable to write block 3 of cartridge"));
  ASSERT_TRUE(drive_->Rewind().done());
  EXPECT_EQ(ReadInto(1000).outcome, Outcome::kDone);
  const Answer unread = ReadInto(1000);
  EXPECT_EQ(unread.outcome, Outcome::kMediumError);
  EXPECT_THAT(unread.failure.message, HasSubstr("block 1 of cartridge 'CAP001L8' is damaged"));
  EXPECT_EQ(ReadInto(1000).outcome, Outcome::kDone);

  faults.broken = true;
  EXPECT_EQ(drive_->Rewind().outcome, Outcome::kHardwareError);
  faults = {.load_fails = true};
  ASSERT_TRUE(drive_->Unload().done());
  EXPECT_EQ(drive_->Load().outcome, Outcome::kMediumError);
  faults = {};
  EXPECT_EQ(drive_->Load().outcome, Outcome::kDone);
}

TEST_F(Drive, CountsLoadsAndBytesInTheCartridge) {
  CreateLoaded();
  WriteBlocks(2);
  ASSERT_TRUE(drive_->WriteFilemarks(1).done());
  ASSERT_TRUE(drive_->Unload().done());
  ASSERT_TRUE(drive_->Load().done());
  CartridgeRecord record;

  ASSERT_FALSE(library_.store().ReadCartridge("CAP001L8", &record).failed());

  EXPECT_EQ(record.load_count, 2U);
  EXPECT_EQ(record.bytes_written, 2000U);
  EXPECT_EQ(record.recorded_bytes, 2 * 1008U + 4);
}

}  // namespace
}  // namespace capstan::tape
