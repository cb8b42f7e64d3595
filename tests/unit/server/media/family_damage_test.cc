// No damage to a medium goes unnoticed, and none does more than fail the read.
#include <cstring>
#include <functional>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <malloc.h>

#include "server/media/block_composer.h"
#include "server/media/frame.h"
#include "tests/unit/server/media/medium_builder.h"
#include "tests/unit/server/media/memory_source.h"

namespace capstan::media {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;

// Two sets with a small frame each, the second appended to the first.
struct TwoTinySets {
  std::vector<std::byte> bytes;
  std::size_t second = 0;  // where it begins
  std::vector<std::size_t> frames;
};

TwoTinySets MakeTwoTinySets() {
  MediumBuilder first(TestHeader(), TestSet(65536));
  first.Add({.file_offset = 8192, .length = 1003, .sequence = 0});
  Medium medium = first.Finish();
  TwoTinySets two{.bytes = {}, .second = medium.bytes.size(), .frames = {medium.offsets.at(0)}};
  MemorySource source(medium.bytes);
  const Result<MediumListing> listing = ReadListing(source);
  EXPECT_THAT(listing, IsOk());
  BackupSet set = TestSet(65536);
  set.position = 2;
  set.backup_set_guid = TestGuid(0x81);
  MediumBuilder second({.header = TestHeader(), .set = set, .form = {}, .append = listing->append},
                       std::move(medium.bytes));
  second.Add({.file_offset = 4096, .length = 1003, .sequence = 0});
  medium = second.Finish();
  two.frames.push_back(medium.offsets.at(0));
  two.bytes = std::move(medium.bytes);
  return two;
}

// One frame with little data: the fewer bytes, the more flips in a second.
Medium TinyMedium() {
  MediumBuilder builder(TestHeader(), TestSet(65536));
  builder.Add({.file_index = 1, .file_offset = 8192, .length = 1003, .sequence = 0});
  return builder.Finish();
}

Status ReadVerified(std::span<const std::byte> bytes, std::uint16_t position = 1) {
  RecordingVisitor visitor;
  visitor.keep_payload = false;
  return ReadAll(bytes, &visitor, 0, position);
}

// One bit, or with kEveryBit all of them in turn.
constexpr unsigned kEveryBit = 8;

bool FlipsAreFound(std::span<std::byte> bytes, std::size_t at, unsigned which,
                   const std::function<bool()>& is_right) {
  bool found = true;
  for (unsigned bit = 0; bit < 8; ++bit) {
    if (which != kEveryBit && which != bit) {
      continue;
    }
    const std::byte kept = bytes[at];
    bytes[at] ^= static_cast<std::byte>(1U << bit);
    if (is_right()) {
      ADD_FAILURE() << "byte " << at << " bit " << bit;
      found = false;
    }
    bytes[at] = kept;
  }
  return found;
}

// In the middle of zeros that go on for a while: padding, and the unused part of filemarks.
bool InPadding(std::span<const std::byte> bytes, std::size_t at) {
  constexpr std::size_t kAround = 64;
  return at >= kAround && at + kAround <= bytes.size() &&
         AllZero(bytes.subspan(at - kAround, 2 * kAround));
}

// Every bit of every byte that says something, and one bit of every byte of padding; only in the
// padding of the frame, which has its own test below, bytes are left out. In 8 parts so that they
// can run at the same time.
class EveryBitFlip : public testing::TestWithParam<std::size_t> {};

TEST_P(EveryBitFlip, IsFoundByTheReader) {
  Medium medium = TinyMedium();
  ASSERT_THAT(ReadVerified(medium.bytes), IsOk());
  for (std::size_t at = GetParam(); at < medium.bytes.size();) {
    const unsigned which = InPadding(medium.bytes, at) ? at / 8 % 8 : kEveryBit;
    ASSERT_TRUE(
        FlipsAreFound(medium.bytes, at, which, [&] { return ReadVerified(medium.bytes).ok(); }));
    const bool frame_tail = at >= medium.data_offset + 2048 && at < medium.trailer_offset - 64;
    at += frame_tail ? 32 * 8 : 8;
  }
}
INSTANTIATE_TEST_SUITE_P(FamilyDamage, EveryBitFlip, testing::Range<std::size_t>(0, 8));

// Every bit of a frame, with what the reader and the engine do to one. Filling up the rest of a
// transfer is most of this one.
TEST(FamilyDamage, EveryBitFlipInAFrameIsFound) {
  Medium medium = TinyMedium();
  const FrameExpectation expected{.backup_set_guid = TestSet(65536).backup_set_guid,
                                  .fla = (medium.data_offset - 8192) / kFormatLogicalBlock,
                                  .control_block_id = 4,
                                  .file_count = 2};
  const auto frame = std::span(medium.bytes).subspan(medium.data_offset, 65536);
  const auto is_right = [&] {
    ParsedFrame parsed;
    return !ParseFrame(frame, expected, &parsed) &&
           VerifyFrame({.extent = parsed.extent,
                        .payload = frame.subspan(parsed.payload_offset, parsed.extent.length)},
                       "dev")
               .ok();
  };
  ASSERT_TRUE(is_right());
  for (std::size_t at = 0; at < frame.size(); ++at) {
    ASSERT_TRUE(FlipsAreFound(frame, at, kEveryBit, is_right));
  }
}

// A flip is found by whoever reads the set that it is in, and costs no other set: every bit of what
// may be a header, one bit of every other byte, and in the padding of frames of every 31st.
TEST(FamilyDamage, AFlipInOneOfTwoSetsIsFoundThereAndCostsNotTheOther) {
  TwoTinySets two = MakeTwoTinySets();
  ASSERT_THAT(ReadVerified(two.bytes, 1), IsOk());
  ASSERT_THAT(ReadVerified(two.bytes, 2), IsOk());
  for (std::size_t at = 0; at < two.bytes.size();) {
    const std::uint16_t set = at < two.second ? 1 : 2;
    const std::size_t frame = two.frames[set - 1U];
    const unsigned which = at % kPhysicalBlock < 64 ? kEveryBit : at % 8;
    ASSERT_TRUE(
        FlipsAreFound(two.bytes, at, which, [&] { return ReadVerified(two.bytes, set).ok(); }));
    if (set == 2 && at % 16 == 0) {
      two.bytes[at] ^= std::byte{1};
      ASSERT_THAT(ReadVerified(two.bytes, 1), IsOk()) << at;
      two.bytes[at] ^= std::byte{1};
    }
    at += at >= frame + 3072 && at < frame + 65536 - 64 ? 31 : 1;
  }
}

// Every length in blocks of 512 bytes, and one byte to either side of each.
TEST(FamilyDamage, ACutCostsTheSetsBehindItAlone) {
  const TwoTinySets two = MakeTwoTinySets();
  for (std::size_t block = 512; block <= two.bytes.size(); block += 512) {
    for (const std::size_t size : {block - 1, block, block + 1}) {
      if (size > two.bytes.size()) {
        continue;
      }
      const auto cut = std::span(two.bytes).first(size);
      ASSERT_EQ(ReadVerified(cut, 1).ok(), size >= two.second) << size;
      ASSERT_EQ(ReadVerified(cut, 2).ok(), size == two.bytes.size()) << size;
    }
  }
}

TEST(FamilyDamage, EveryPrefixIsToldFromAMedium) {
  const Medium medium = TinyMedium();
  for (std::size_t size = 0; size < medium.bytes.size();
       size += size < medium.data_offset + 2048 ? 1 : 512) {
    const Status status = ReadVerified(std::span(medium.bytes).first(size));
    if (size == 0) {
      ASSERT_THAT(status, HasReason(3254));
    } else if (size < medium.data_offset) {
      ASSERT_THAT(status, HasReason(3208)) << size;
    } else {
      ASSERT_THAT(status, HasReason(3256)) << size;
    }
    if (size != 0) {
      ASSERT_THAT(status.hint(), testing::EndsWith(fmt::format("'dev' ends at byte {}", size)));
    }
  }
}

TEST(FamilyDamage, NamesDeviceByteAndPiece) {
  Medium medium = SmallMedium();
  medium.bytes[medium.offsets[1] + 100] ^= std::byte{1};

  const Status status = ReadVerified(medium.bytes);

  EXPECT_THAT(status, HasReason(3241));
  EXPECT_THAT(status, HasCode(Code::kDataLoss));
  EXPECT_EQ(status.hint(), "Damage on device 'dev' at byte " + std::to_string(medium.offsets[1]) +
                               ": file block or frame header.");
}

TEST(FamilyDamage, OfAPayloadIsFoundByVerifyFrame) {
  Medium medium = SmallMedium();
  medium.bytes[medium.offsets[2] + 1500] ^= std::byte{1};
  RecordingVisitor unverified(false);
  RecordingVisitor verified;

  EXPECT_THAT(ReadAll(medium.bytes, &unverified), IsOk());

  const Status status = ReadAll(medium.bytes, &verified);
  EXPECT_THAT(status, HasReason(65004));
  EXPECT_THAT(status, test::MessageHas(std::to_string(medium.offsets[2])));
}

TEST(FamilyDamage, StopsTheReaderForGood) {
  Medium medium = SmallMedium();
  RecordingVisitor visitor;
  auto reader = FamilyReader::Create("dev", 1, &visitor);
  const std::vector<std::byte> garbage(100, std::byte{'x'});

  EXPECT_THAT(reader->Consume(garbage), HasReason(3242));

  EXPECT_THAT(reader->Consume(medium.bytes), HasReason(3242));
  EXPECT_THAT(reader->Finish(), HasReason(3242));
  EXPECT_FALSE(reader->done());
}

// Frames that are whole and right, but not where they belong.
TEST(FamilyDamage, SwappedFramesAreFound) {
  Medium medium = SmallMedium();
  std::swap_ranges(medium.bytes.begin() + static_cast<std::ptrdiff_t>(medium.offsets[0]),
                   medium.bytes.begin() + static_cast<std::ptrdiff_t>(medium.offsets[1]),
                   medium.bytes.begin() + static_cast<std::ptrdiff_t>(medium.offsets[1]));

  EXPECT_THAT(ReadVerified(medium.bytes), HasReason(3241));
}

TEST(FamilyDamage, AFrameOfAnotherSetIsFound) {
  Medium medium = SmallMedium();
  BackupSet other = TestSet(65536);
  other.backup_set_guid = TestGuid(0x81);
  MediumBuilder builder(TestHeader(), other);
  builder.Add({.length = 10, .sequence = 0});
  const Medium stranger = builder.Finish();
  std::memcpy(medium.bytes.data() + medium.offsets[0], stranger.bytes.data() + stranger.offsets[0],
              65536);

  EXPECT_THAT(ReadVerified(medium.bytes), HasReason(3241));
}

TEST(FamilyDamage, ALostFrameIsFound) {
  Medium medium = SmallMedium();
  const auto first = medium.bytes.begin() + static_cast<std::ptrdiff_t>(medium.offsets[2]);
  medium.bytes.erase(first, first + 65536);

  EXPECT_THAT(ReadVerified(medium.bytes), HasReason(3241));
}

TEST(FamilyDamage, OtherContentsHaveTheirOwnMessages) {
  const std::string text = "MSSQLBAK and then some bytes, so that a header is there to be read....";
  EXPECT_THAT(ReadVerified(std::as_bytes(std::span(text))), HasReason(65013));
  const std::vector<std::byte> zeros(8192);
  EXPECT_THAT(ReadVerified(zeros), HasReason(3242));
  const std::string elf =
      "\x7F"
      "ELF and then some bytes, so that a header is there to be read....";
  EXPECT_THAT(ReadVerified(std::as_bytes(std::span(elf))), HasReason(3242));
}

// S1-25: a copy of live files is no backup.
TEST(FamilyDamage, RefusesWhatPeopleTakeForABackupByName) {
  const auto read = [](std::string start) {
    start.resize(8192);
    return ReadVerified(std::as_bytes(std::span(start)));
  };
  const std::string tar = std::string(257, 'x') + "ustar";
  for (const auto& [start, name] :
       std::vector<std::pair<std::string, std::string>>{{"SQLite format 3", "an SQLite database"},
                                                        {"PGDMP", "pg_dump"},
                                                        {tar, "a tar archive"},
                                                        {"\x1f\x8b", "a gzip file"},
                                                        {"\x28\xb5\x2f\xfd", "a zstd file"}}) {
    const Status status = read(start);
    EXPECT_THAT(status, HasReason(3242));
    EXPECT_THAT(std::string(status.hint()), testing::HasSubstr(name));
  }
}

// S0-27
TEST(FamilyDamage, OtherVersionsOfTheFormatHaveTheirOwnMessage) {
  Medium tape = SmallMedium();
  tape.bytes[93] = std::byte{9};
  const Status status = ReadVerified(tape.bytes);
  EXPECT_THAT(status, HasReason(3243));
  EXPECT_THAT(status, test::MessageHas("version 9.0. Capstan supports version 1.0."));

  Medium set = SmallMedium();
  set.bytes[8192 + 96] = std::byte{9};
  const Status minor = ReadVerified(set.bytes);
  EXPECT_THAT(minor, HasReason(3243));
  EXPECT_THAT(minor, test::MessageHas("version 1.9."));
}

TEST(FamilyDamage, APositionBehindTheLastSetHasItsOwnMessage) {
  const Medium medium = SmallMedium();
  RecordingVisitor visitor;

  EXPECT_THAT(ReadAll(medium.bytes, &visitor, 0, 2), HasReason(3287));

  EXPECT_EQ(visitor.headers.size(), 1U);
  EXPECT_TRUE(visitor.begins.empty());
  EXPECT_TRUE(visitor.frames.empty());
}

// A second set behind the first one, as if appended: its own blocks, and filemarks that go on.
Medium TwoSets() {
  Medium medium = SmallMedium();
  BackupSet set = TestSet(131072);
  set.position = 2;
  set.backup_set_guid = TestGuid(0x81);
  MediumBuilder builder(TestHeader(), set);
  builder.Add({.file_index = 1, .file_offset = 77, .length = 99, .sequence = 0});
  const Medium second = builder.Finish();
  const std::uint32_t moved = static_cast<std::uint32_t>(medium.bytes.size() / kPhysicalBlock) - 2;
  std::vector<std::uint32_t> marks = {
      1, static_cast<std::uint32_t>(medium.trailer_offset / kPhysicalBlock),
      static_cast<std::uint32_t>(medium.bytes.size() / kPhysicalBlock) - 1};
  const auto append = [&](std::size_t from, std::size_t to) {
    AppendBytes(&medium.bytes, std::span(second.bytes).subspan(from, to - from));
  };
  const auto append_mark = [&](std::uint64_t offset) {
    marks.push_back(static_cast<std::uint32_t>(offset / kPhysicalBlock) + moved);
    AppendFilemark(&medium.bytes, static_cast<std::uint32_t>(marks.size()), marks.back(),
                   std::span(marks).first(marks.size() - 1));
  };
  append(2 * kPhysicalBlock, second.trailer_offset);
  append_mark(second.trailer_offset);
  append(second.trailer_offset + kPhysicalBlock, second.bytes.size() - kPhysicalBlock);
  append_mark(second.bytes.size() - kPhysicalBlock);
  return medium;
}

TEST(FamilyReader, ReportsOnlyTheWantedSetOfSeveral) {
  const Medium medium = TwoSets();
  RecordingVisitor first;
  RecordingVisitor second;

  ASSERT_THAT(ReadAll(medium.bytes, &first, 0, 1), IsOk());
  ASSERT_THAT(ReadAll(medium.bytes, &second, 0, 2), IsOk());

  EXPECT_EQ(first.frames.size(), 3U);
  EXPECT_EQ(first.begins.at(0).backup_set_guid, TestGuid(0x80));
  ASSERT_EQ(second.frames.size(), 1U);
  EXPECT_EQ(second.frames[0].extent.file_offset, 77U);
  EXPECT_EQ(second.begins.at(0).backup_set_guid, TestGuid(0x81));
  EXPECT_EQ(second.trailers.size(), 1U);
}

// Offset of the header of the first stream with this id.
std::size_t FindStream(const Medium& medium, StreamType type) {
  for (std::size_t at = 0; at + sizeof(StreamHeader) <= medium.bytes.size(); at += 4) {
    const auto header = LoadStruct<StreamHeader>(std::span(medium.bytes).subspan(at));
    if (header.type == type && HeaderIsSound(header)) {
      return at;
    }
  }
  ADD_FAILURE() << "no such stream";
  return 0;
}

void SetStreamLength(Medium* medium, StreamType type, std::uint64_t length) {
  const StreamHeader header = MakeStreamHeader(type, length);
  std::memcpy(medium->bytes.data() + FindStream(*medium, type), &header, sizeof(header));
}

TEST(FamilyDamage, HostileLengthsAreRefused) {
  for (const StreamType type :
       {StreamType::kMediaSet, StreamType::kDescriptor, StreamType::kSetBegin, StreamType::kFrame,
        StreamType::kStandard, StreamType::kPad, StreamType::kFamilies, StreamType::kFrameIndex,
        StreamType::kSetMap, StreamType::kSetEnd}) {
    for (const std::uint64_t length :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{11}, std::uint64_t{1} << 31,
          std::uint64_t{1} << 40, ~std::uint64_t{0}, ~std::uint64_t{0} - 4095}) {
      Medium medium = SmallMedium();
      SetStreamLength(&medium, type, length);
      const Status status = ReadVerified(medium.bytes);
      EXPECT_THAT(status, HasCode(status.reason() == 3239 ? Code::kUnimplemented : Code::kDataLoss))
          << static_cast<std::uint32_t>(type) << " " << length;
    }
  }
}

// Under AddressSanitizer the allocator does not count.
TEST(FamilyDamage, AnAnnouncedDescriptorIsNotAllocatedBeforeItArrives) {
  Medium medium = SmallMedium();
  SetStreamLength(&medium, StreamType::kDescriptor, kDescriptorSizeMax);
  RecordingVisitor visitor;
  auto reader = FamilyReader::Create("dev", 1, &visitor);
  if (mallinfo2().uordblks == 0) {
    GTEST_SKIP() << "allocator without statistics";
  }
  const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;

  ASSERT_THAT(reader->Consume(std::span(medium.bytes).first(medium.data_offset)), IsOk());

  EXPECT_LT(mallinfo2().uordblks + mallinfo2().hblkhd, before + 65536);
}

}  // namespace
}  // namespace capstan::media
