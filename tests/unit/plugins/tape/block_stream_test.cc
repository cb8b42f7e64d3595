#include "plugins/tape/block_stream.h"

#include <gmock/gmock.h>

#include "tests/support/memory_drive.h"

namespace capstan::tape {
namespace {

using test::MemoryCartridge;
using test::MemoryDrive;
using test::MemoryLibrary;

constexpr std::uint32_t kBlock = 1024;

std::vector<std::byte> Bytes(std::size_t size, unsigned seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i * 7 + seed * 31 + i / 251) & 0xFFU);
  }
  return bytes;
}

// One drive with one cartridge, and the stream on it. `locates`: each test runs with both kinds.
class BlockStreamTest : public testing::TestWithParam<bool> {
 protected:
  void Begin(MemoryCartridge cartridge = {}) {
    cartridge_ = &library_.Add(std::move(cartridge));
    library_.PutIntoDrive(0, cartridge_);
    options_.limits.locates = GetParam();
    drive_ = std::make_unique<MemoryDrive>(library_, 0, options_);
    while (drive_->TestReady().outcome == Outcome::kMediumChanged) {
    }
    stream_ = std::make_unique<BlockStream>(*drive_, kBlock);
    stream_->Mounted();
  }
  // What a READ of `size` gives.
  std::vector<std::byte> Read(std::size_t size, std::uint32_t code) {
    std::vector<std::byte> bytes(size);
    const Done done = stream_->Read(bytes);
    EXPECT_EQ(done.code, code) << done.failure.message;
    bytes.resize(done.bytes);
    return bytes;
  }
  std::int64_t Position() {
    const Done done = stream_->GetPosition();
    EXPECT_EQ(done.code, 0U) << done.failure.message;
    return done.position;
  }
  std::int64_t SetPosition(std::uint32_t whence, std::int64_t position) {
    const Done done = stream_->SetPosition(whence, position);
    EXPECT_EQ(done.code, 0U) << done.failure.message;
    return done.position;
  }

  MemoryLibrary library_{1, 1};
  MemoryCartridge* cartridge_ = nullptr;
  test::MemoryDriveOptions options_;
  std::unique_ptr<MemoryDrive> drive_;
  std::unique_ptr<BlockStream> stream_;
};

TEST_P(BlockStreamTest, WritesBlocksAndReadsBytes) {
  Begin();
  const auto bytes = Bytes(10 * kBlock + 512, 1);

  ASSERT_EQ(stream_->Write(bytes).code, 0U);
  ASSERT_EQ(stream_->WriteMark().code, 0U);
  ASSERT_EQ(cartridge_->objects.size(), 12U);
  EXPECT_EQ(cartridge_->objects[10]->size(), 512U);
  ASSERT_EQ(stream_->Rewind().code, 0U);

  // Within blocks, over several, and up to the filemark.
  std::vector<std::byte> read;
  for (const std::size_t size : {std::size_t{100}, std::size_t{924}, std::size_t{5000}}) {
    const auto part = Read(size, CAPSTAN_E_OK);
    read.insert(read.end(), part.begin(), part.end());
  }
  const auto rest = Read(64 * kBlock, CAPSTAN_E_FILE_MARK);
  read.insert(read.end(), rest.begin(), rest.end());
  EXPECT_EQ(read, bytes);
  EXPECT_TRUE(Read(4096, CAPSTAN_E_NO_DATA).empty());
}

TEST_P(BlockStreamTest, ReadsBlocksThatAreLongerThanItsOwn) {
  Begin();
  const auto bytes = Bytes(300 * 1024, 2);
  cartridge_->objects.emplace_back(bytes);
  cartridge_->objects.emplace_back(bytes);

  std::vector<std::byte> read;
  for (std::size_t i = 0; i < 150; ++i) {
    const auto part = Read(4096, CAPSTAN_E_OK);
    read.insert(read.end(), part.begin(), part.end());
  }

  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), read.begin()));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), read.begin() + 300 * 1024));
  EXPECT_TRUE(Read(4096, CAPSTAN_E_NO_DATA).empty());
}

TEST_P(BlockStreamTest, PositionsAreThoseOfBlocksAndFilemarks) {
  Begin();
  std::vector<std::int64_t> begins;
  for (unsigned set = 0; set < 4; ++set) {
    begins.push_back(Position());
    ASSERT_EQ(stream_->Write(Bytes(3 * kBlock, set)).code, 0U);
    ASSERT_EQ(stream_->WriteMark().code, 0U);
  }
  EXPECT_THAT(begins, testing::ElementsAre(0, 4, 8, 12));

  for (const unsigned set : {2U, 0U, 3U, 1U}) {
    EXPECT_EQ(SetPosition(0, begins[set]), begins[set]);
    EXPECT_EQ(Position(), begins[set]);
    EXPECT_EQ(Read(3 * kBlock, CAPSTAN_E_OK), Bytes(3 * kBlock, set));
  }
  EXPECT_EQ(SetPosition(2, 0), 16);
  EXPECT_TRUE(Read(4096, CAPSTAN_E_NO_DATA).empty());
  EXPECT_EQ(SetPosition(2, -4), 12);
  EXPECT_EQ(SetPosition(1, -4), 8);
  EXPECT_EQ(Read(512, CAPSTAN_E_OK), Bytes(512, 2 /* the set's first */));
  EXPECT_EQ(Position(), 8) << "a block of which something was read is still to be read";
  EXPECT_EQ(stream_->SetPosition(0, -1).code, CAPSTAN_E_UNSUPPORTED);
  EXPECT_EQ(stream_->SetPosition(3, 0).code, CAPSTAN_E_UNSUPPORTED);
  EXPECT_EQ(stream_->SetPosition(0, 100).code, CAPSTAN_E_NO_DATA);
}

// The same on a medium of which nothing has been seen yet.
TEST_P(BlockStreamTest, FindsPlacesOnAForeignMedium) {
  MemoryCartridge cartridge;
  for (unsigned set = 0; set < 3; ++set) {
    cartridge.objects.emplace_back(Bytes(kBlock, set));
    cartridge.objects.emplace_back(Bytes(kBlock, set));
    cartridge.objects.emplace_back(std::nullopt);
  }
  Begin(std::move(cartridge));

  EXPECT_EQ(stream_->SkipMarks(2).code, 0U);
  EXPECT_EQ(Position(), 6);
  EXPECT_EQ(stream_->SkipBlocks(1).code, 0U);
  EXPECT_EQ(Position(), 7);
  EXPECT_EQ(stream_->SkipBlocks(5).code, CAPSTAN_E_FILE_MARK);
  EXPECT_EQ(Position(), 9);
  EXPECT_EQ(stream_->SkipMarks(-1).code, 0U);
  EXPECT_EQ(Position(), 8);
  EXPECT_EQ(stream_->SkipBlocks(-2).code, 0U);
  EXPECT_EQ(Position(), 6);
  EXPECT_EQ(SetPosition(0, 3), 3);
  EXPECT_EQ(stream_->SkipMarks(5).code, CAPSTAN_E_NO_DATA);
  EXPECT_EQ(stream_->SkipMarks(-9).code, 1102U);
  EXPECT_EQ(Position(), 0);
  EXPECT_EQ(SetPosition(2, 0), 9);
}

TEST_P(BlockStreamTest, WhatIsWrittenEndsTheMedium) {
  Begin();
  for (unsigned set = 0; set < 3; ++set) {
    ASSERT_EQ(stream_->Write(Bytes(kBlock, set)).code, 0U);
    ASSERT_EQ(stream_->WriteMark().code, 0U);
  }
  ASSERT_EQ(SetPosition(0, 2), 2);
  ASSERT_EQ(stream_->Write(Bytes(kBlock, 9)).code, 0U);

  EXPECT_EQ(SetPosition(2, 0), 3);
  EXPECT_EQ(SetPosition(0, 2), 2);
  EXPECT_EQ(Read(2 * kBlock, CAPSTAN_E_NO_DATA), Bytes(kBlock, 9));
}

TEST_P(BlockStreamTest, WritesOnlyWhereABlockBegins) {
  Begin();
  ASSERT_EQ(stream_->Write(Bytes(2 * kBlock, 1)).code, 0U);
  ASSERT_EQ(stream_->Rewind().code, 0U);
  Read(512, CAPSTAN_E_OK);

  const Done done = stream_->Write(Bytes(kBlock, 2));

  EXPECT_EQ(done.code, CAPSTAN_E_WRITE_FAULT);
  EXPECT_THAT(done.failure.message, testing::HasSubstr("middle of a block"));
  EXPECT_EQ(cartridge_->objects.size(), 2U);
}

TEST_P(BlockStreamTest, TheDrivesWarningComesWithStoredData) {
  options_.limits.early_warning_bytes = 3 * kBlock;
  Begin({.capacity = 10 * kBlock, .tells_room = false});

  EXPECT_EQ(stream_->Write(Bytes(6 * kBlock, 1)).code, CAPSTAN_E_OK);
  EXPECT_EQ(stream_->Write(Bytes(2 * kBlock, 2)).code, CAPSTAN_E_END_OF_MEDIUM);
  EXPECT_EQ(stream_->WriteMark().code, CAPSTAN_E_END_OF_MEDIUM);
  EXPECT_EQ(stream_->Flush().code, CAPSTAN_E_OK);
  EXPECT_EQ(SetPosition(0, 6), 6);
  EXPECT_EQ(Read(4 * kBlock, CAPSTAN_E_FILE_MARK), Bytes(2 * kBlock, 2));
}

// The drive does not warn at all, but tells what is left.
TEST_P(BlockStreamTest, WarnsByItselfWhenTheReserveIsTouched) {
  Begin({.capacity = 100 * kBlock});
  stream_->set_reserve(20 * kBlock);

  std::size_t written = 0;
  while (stream_->Write(Bytes(4 * kBlock, 1)).code == CAPSTAN_E_OK) {
    written += 4;
    ASSERT_LE(written, 100U);
  }

  // Drives keep a little more than the bytes themselves.
  EXPECT_THAT(written, testing::AllOf(testing::Ge(72U), testing::Le(80U)));
  EXPECT_EQ(stream_->Write(Bytes(4 * kBlock, 1)).code, CAPSTAN_E_END_OF_MEDIUM);
}

TEST_P(BlockStreamTest, AReserveTakesAQuarterOfASmallCartridgeAtMost) {
  Begin({.capacity = 100 * kBlock});
  stream_->set_reserve(1U << 20U);

  EXPECT_EQ(stream_->Write(Bytes(74 * kBlock, 1)).code, CAPSTAN_E_OK);
  EXPECT_EQ(stream_->Write(Bytes(4 * kBlock, 1)).code, CAPSTAN_E_END_OF_MEDIUM);
}

TEST_P(BlockStreamTest, WhatDoesNotFitIsNotStoredInPart) {
  for (const bool tells_room : {true, false}) {
    Begin({.capacity = 10 * kBlock, .tells_room = tells_room});
    ASSERT_EQ(stream_->Write(Bytes(6 * kBlock, 1)).code & ~CAPSTAN_E_END_OF_MEDIUM, 0U);

    const Done full = stream_->Write(Bytes(8 * kBlock, 2));
    EXPECT_EQ(full.code, CAPSTAN_E_NO_ROOM);
    EXPECT_EQ(full.bytes, 0U);
    EXPECT_EQ(full.failure.os_error, ENOSPC);
    // What was queued behind it must not take its place.
    EXPECT_EQ(stream_->Write(Bytes(kBlock, 3)).code, CAPSTAN_E_IO);
    EXPECT_EQ(stream_->WriteMark().code, CAPSTAN_E_IO);
    EXPECT_EQ(Position(), 6);
    stream_->ClearError();
    EXPECT_NE(stream_->WriteMark().code, CAPSTAN_E_IO);

    ASSERT_EQ(stream_->Rewind().code, 0U);
    EXPECT_EQ(Read(20 * kBlock, CAPSTAN_E_FILE_MARK), Bytes(6 * kBlock, 1));
    EXPECT_TRUE(Read(20 * kBlock, CAPSTAN_E_NO_DATA).empty());
    drive_.reset();
    library_.PutIntoDrive(0, nullptr);
  }
}

TEST_P(BlockStreamTest, ErrorsOfTheDriveHaveCodesAndWords) {
  Outcome planned = Outcome::kDone;
  options_.fault = [&](const std::string& command) {
    return command == "Read" || command == "Write" || command == "Rewind" ||
                   command == "WriteFilemarks"
               ? planned
               : Outcome::kDone;
  };
  Begin();
  ASSERT_EQ(stream_->Write(Bytes(kBlock, 1)).code, 0U);
  std::vector<std::byte> target(kBlock);
  struct Case {
    Outcome outcome;
    std::uint32_t write_code;
    int os_error;
    std::string words;
  };
  for (const Case& each :
       {Case{Outcome::kWriteProtected, CAPSTAN_E_WRITE_PROTECT, EROFS, "write-protected"},
        Case{Outcome::kWorm, CAPSTAN_E_WRITE_PROTECT, EPERM, "written once"},
        Case{Outcome::kNoMedium, CAPSTAN_E_NO_MEDIUM, ENOMEDIUM, "no cartridge"},
        Case{Outcome::kMediumChanged, CAPSTAN_E_IO, EIO, "reset"},
        Case{Outcome::kMediumError, CAPSTAN_E_WRITE_FAULT, EIO, "damaged"},
        Case{Outcome::kHardwareError, CAPSTAN_E_IO, EIO, "defective"},
        Case{Outcome::kTransportError, CAPSTAN_E_IO, EIO, "reached"},
        Case{Outcome::kBusy, CAPSTAN_E_NOT_READY, EBUSY, "somebody else"},
        Case{Outcome::kNotReady, CAPSTAN_E_NOT_READY, EAGAIN, "not ready"},
        Case{Outcome::kIncompatible, CAPSTAN_E_NOT_READY, EMEDIUMTYPE, "cannot use"}}) {
    planned = each.outcome;
    const Done write = stream_->Write(Bytes(kBlock, 1));
    EXPECT_EQ(write.code, each.write_code) << each.words;
    EXPECT_EQ(write.failure.os_error, each.os_error) << each.words;
    EXPECT_THAT(write.failure.message, testing::HasSubstr(each.words));
    EXPECT_NE(stream_->Flush().code, 0U);
    EXPECT_TRUE(stream_->broken());
    stream_->ClearError();
    EXPECT_NE(stream_->WriteMark().code, 0U);
    stream_->ClearError();
    EXPECT_NE(stream_->Read(target).code, 0U);
    EXPECT_NE(stream_->Rewind().code, 0U);
    planned = Outcome::kDone;
    ASSERT_EQ(stream_->Rewind().code, 0U);
    ASSERT_EQ(stream_->SkipBlocks(1).code, 0U);
  }
  planned = Outcome::kMediumError;
  EXPECT_EQ(stream_->Read(target).code, CAPSTAN_E_DATA_CRC);
  planned = Outcome::kDone;
  // Counting alone knows no place after that.
  EXPECT_EQ(stream_->GetPosition().code, GetParam() ? CAPSTAN_E_OK : CAPSTAN_E_IO);
}

INSTANTIATE_TEST_SUITE_P(Drives, BlockStreamTest, testing::Bool(),
                         [](const auto& each) { return each.param ? "Locates" : "Counts"; });

}  // namespace
}  // namespace capstan::tape
