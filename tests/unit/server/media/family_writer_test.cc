// The bytes of a family, checked in: whatever changes them must mean to.
#include "server/media/family_writer.h"

#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/media/block_composer.h"
#include "tests/unit/server/media/medium_builder.h"

namespace capstan::media {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;

std::string Hex(Bytes bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) {
      text += i % 32 == 0 ? "\n" : i % 4 == 0 ? " " : "";
    }
    text += fmt::format("{:02x}", std::to_integer<unsigned>(bytes[i]));
  }
  return text;
}

// A block up to its first stream's header and data.
std::string BlockHex(const Medium& medium, std::size_t offset, std::size_t stream_size) {
  const Bytes rest = Bytes(medium.bytes).subspan(offset);
  return Hex(rest.first(LoadStruct<BlockHeader>(rest).first_event_offset + stream_size));
}

TEST(FamilyWriter, WritesTheseBytes) {
  const Medium medium = SmallMedium();

  EXPECT_EQ(BlockHex(medium, 0, sizeof(StreamHeader) + 48),
            R"(54415045 00000100 a4000e01 00000000 00000000 00000000 00000000 00000000
00000000 00000000 00000000 00000000 0200ad05 81b19e20 01000000 01000000
08000100 10006000 24007000 00000000 10009400 00045043 1faa0320 00010000
4e006900 67006800 74006c00 79000000 4200e400 6e006400 65007200 20006900
6d002000 53006300 68007200 61006e00 6b000000 43006100 70007300 74006100
6e000000 43504d53 00000000 30000000 00000000 00000000 3e030100 00001011
12131415 16171819 1a1b1c1d 1e1f0100 01000100 00000018 6e6a0000 0000e600
00000000 0000b4fd 6011)");
  EXPECT_EQ(Hex(Bytes(medium.bytes).subspan(4096, 64)),
            R"(53464d42 00000000 00100e01 00000000 00000000 01000000 00000000 00000000
00000000 01000000 00000000 00000000 00001015 f1030000 00000000 00000000)");
  EXPECT_EQ(BlockHex(medium, 8192, sizeof(StreamHeader)),
            R"(53534554 00000000 c4000e01 00000000 00000000 00000000 00000000 00000000
00000000 00000000 00000000 16006400 0200ac06 04000000 00000000 50430100
16007a00 26009000 00000000 0e00b600 02000000 00000000 1faa0320 01000108
00020000 80818283 84858687 88898a8b 8c8d8e8f 1faa6b03 54007300 61006c00
65007300 20006600 75006c00 6c000000 62006500 66006f00 72006500 20007400
68006500 20007500 70006700 72006100 64006500 00006200 61006300 6b007500
70000000 53504144 00000000 26030000 00000000 00000000 3417)");
  EXPECT_EQ(BlockHex(medium, medium.offsets[2], sizeof(StreamHeader) + 64 + 2 + 22),
            R"(46494c45 00000000 98000e01 37100000 00000000 84000000 00000000 00000000
00000000 06000000 00000000 0c005800 02007f1d 00000000 1faa0320 011faa03
20011faa 0320011f aa032001 02000000 03000000 34006400 20000000 00000000
00000000 73006100 6c006500 73002e00 64006200 2d007700 61006c00 2e003000
30003000 30003000 30003000 30003000 30003000 30000000 43504652 00000000
40000000 00000000 00000000 45020100 00000100 00000200 00000000 00000000
00000000 00003710 00003710 00009e8f a0098081 82838485 86878889 8a8b8c8d
8e8fea00 00000000 00007280 a53b0000 5354414e 00000000 37100000 00000000
00000000 250a)");
  EXPECT_EQ(Hex(Bytes(medium.bytes).last(4096).first(72)),
            R"(53464d42 00000000 00100e01 00000000 00000000 37000000 00000000 00000000
00000000 03000000 00000000 00000000 00002415 f1030000 02000000 33000000
01000000 00000000)");
  EXPECT_EQ(medium.data_offset, 12288U);
  EXPECT_EQ(Crc32c(0, medium.bytes), 0x69946B06U);
}

TEST(FamilyWriter, WastesLessThanAPhysicalBlockPerTransfer) {
  for (const std::uint32_t transfer_size : {65536U, 131072U, 983040U, 1048576U, 4194304U}) {
    auto writer = FamilyWriter::Create(TestHeader(), TestSet(transfer_size));
    ASSERT_THAT(writer, IsOk());

    const FrameGeometry geometry = (*writer)->geometry();

    EXPECT_EQ(geometry.payload_capacity, transfer_size - 4096);
    EXPECT_LT(geometry.payload_offset, 1024U);
  }
}

std::string FrameName(const Medium& medium, std::size_t frame) {
  const Bytes block = Bytes(medium.bytes).subspan(medium.offsets[frame]);
  const auto fixed = LoadStruct<FileBlock>(block);
  return BlockString(block.first(1024), fixed.name, fixed.header.string_type);
}

// Extracting all frames and putting them together by name gives the file back.
TEST(FamilyWriter, NamesFramesInTheOrderOfTheFile) {
  MediumBuilder builder(TestHeader(), TestSet(65536));
  builder.Add({.file_offset = 61440, .length = 61440, .sequence = 0});
  builder.Add({.file_offset = 0, .length = 61440, .sequence = 1});
  builder.Add({.file_offset = std::uint64_t{3} << 40, .length = 10, .sequence = 2});
  builder.Add({.file_index = 1, .file_offset = 1024, .length = 10, .sequence = 3});
  const Medium medium = builder.Finish();

  EXPECT_EQ(FrameName(medium, 0), "sales.db.000000000120");
  EXPECT_EQ(FrameName(medium, 1), "sales.db.000000000000");
  EXPECT_EQ(FrameName(medium, 2), "sales.db.006442450944");
  EXPECT_EQ(FrameName(medium, 3), "sales.db-wal.000000000002");
}

TEST(FamilyWriter, TellsFilesOfTheSameNameApart) {
  BackupSet set = TestSet(65536);
  set.files[0].physical_name = "/srv/a/1259";
  set.files[1].physical_name = "/srv/b/1259";
  set.files.push_back(set.files[0]);
  set.files[2].physical_name = "C:\\data\\x.mdf";
  MediumBuilder builder(TestHeader(), set);
  for (std::uint32_t i = 0; i < 3; ++i) {
    builder.Add({.file_index = i, .length = 10, .sequence = i});
  }
  const Medium medium = builder.Finish();

  EXPECT_EQ(FrameName(medium, 0), "1259.1.000000000000");
  EXPECT_EQ(FrameName(medium, 1), "1259.2.000000000000");
  EXPECT_EQ(FrameName(medium, 2), "x.mdf.000000000000");
}

// More files than the writer keeps templates for, taken in turns.
TEST(FamilyWriter, KeepsManyFilesApart) {
  BackupSet set = TestSet(65536);
  set.files.resize(40, set.files[0]);
  for (std::uint32_t i = 0; i < 40; ++i) {
    set.files[i].physical_name = fmt::format("/srv/{}.db", i);
  }
  MediumBuilder builder(TestHeader(), set);
  for (std::uint32_t i = 0; i < 80; ++i) {
    builder.Add({.file_index = i * 7 % 40, .file_offset = i * 512, .length = 10, .sequence = i});
  }
  const Medium medium = builder.Finish();
  RecordingVisitor visitor;
  ASSERT_THAT(ReadAll(medium.bytes, &visitor), IsOk());

  for (std::uint32_t i = 0; i < 80; ++i) {
    EXPECT_EQ(FrameName(medium, i), fmt::format("{}.db.{:012}", i * 7 % 40, i));
    EXPECT_EQ(visitor.frames[i].extent.file_index, i * 7 % 40);
  }
}

// MTF 1.00a: positions are physical block numbers, streams of the catalog begin on physical blocks.
// Fields of packed structures are compared as values (the plus signs), not bound to references.
TEST(FamilyWriter, SaysInTheSecondEsetWhereCatalogAndFirstEsetStand) {
  const Medium medium = SmallMedium();
  const std::size_t second = medium.bytes.size() - 2 * kPhysicalBlock;
  const auto end = LoadStruct<EndOfSetBlock>(Bytes(medium.bytes).subspan(second));

  ASSERT_TRUE(end.header.type == BlockType::kEndOfSet);
  EXPECT_EQ(end.first_pba * kPhysicalBlock, medium.trailer_offset + kPhysicalBlock);
  const Bytes map = Bytes(medium.bytes).subspan(end.set_map_pba * kPhysicalBlock);
  const auto stream = LoadStruct<StreamHeader>(map);
  EXPECT_TRUE(stream.type == StreamType::kSetMap);
  EXPECT_TRUE(HeaderIsSound(stream));
  const auto header = LoadStruct<SetMapHeader>(map.subspan(sizeof(stream)));
  EXPECT_EQ(+header.media_family_id, TestHeader().media_family_id);
  EXPECT_EQ(+header.set_count, 1);
  const auto entry = LoadStruct<SetMapEntry>(map.subspan(sizeof(stream) + sizeof(header)));
  EXPECT_EQ(+entry.set_pba, 2U);
  EXPECT_EQ(+entry.file_count, 3U);
  const auto volume =
      LoadStruct<SetMapVolume>(map.subspan(sizeof(stream) + sizeof(header) + entry.length));
  EXPECT_TRUE(volume.type == BlockType::kVolume);
  EXPECT_EQ(+stream.length, sizeof(header) + entry.length + volume.length);
}

TEST(FamilyWriter, RefusesNamesThatDoNotFitABlock) {
  BackupSet set = TestSet(65536);
  set.name.assign(128, 'n');
  set.description.assign(255, 'd');
  EXPECT_THAT(FamilyWriter::Create(TestHeader(), set), IsOk());
  set.user_name.assign(128, 'u');
  EXPECT_THAT(FamilyWriter::Create(TestHeader(), set), HasReason(3244));

  MediaHeader header = TestHeader();
  header.description.assign(500, 'd');
  EXPECT_THAT(FamilyWriter::Create(header, TestSet(65536)), HasReason(3244));

  BackupSet machine = TestSet(65536);
  machine.machine_name.assign(40000, 'm');
  EXPECT_THAT(FamilyWriter::Create(TestHeader(), machine), HasReason(3244));
  BackupSet database = TestSet(65536);
  database.database_name.assign(600, 'd');
  EXPECT_THAT(FamilyWriter::Create(TestHeader(), database), HasReason(3244));
  BackupSet file = TestSet(65536);
  file.files[1].physical_name.assign(500, 'f');
  EXPECT_THAT(FamilyWriter::Create(TestHeader(), file), HasReason(3244));
}

TEST(FamilyWriter, RefusesTransferSizesItCannotFill) {
  for (const std::uint32_t size : {0U, 4096U, 61440U, 65537U, 1U << 24, 0xFFFFF000U}) {
    EXPECT_THAT(FamilyWriter::Create(TestHeader(), TestSet(size)), HasReason(3250)) << size;
  }
}

TEST(FamilyWriter, RefusesAFamilyThatIsNotOfTheSet) {
  MediaHeader header = TestHeader();
  header.family_number = 2;
  EXPECT_THAT(FamilyWriter::Create(header, TestSet(65536)), HasCode(Code::kInvalidArgument));
}

TEST(FamilyWriter, RefusesATrailerThatForgetsAFamily) {
  MediaHeader header = TestHeader();
  header.family_count = 2;
  auto writer = FamilyWriter::Create(header, TestSet(65536));
  ASSERT_THAT(writer, IsOk());
  const FamilySummary own = (*writer)->summary();
  const std::vector<FamilySummary> strangers = {{.family_number = 2}, {.family_number = 3}};
  const std::vector<FamilySummary> both = {own, {.family_number = 2}};

  EXPECT_THAT((*writer)->Trailer(TestSet(65536), std::span(&own, 1)),
              HasCode(Code::kInvalidArgument));
  EXPECT_THAT((*writer)->Trailer(TestSet(65536), strangers), HasCode(Code::kInvalidArgument));
  EXPECT_THAT((*writer)->Trailer(TestSet(65536), both), IsOk());
}

}  // namespace
}  // namespace capstan::media
