// What every byte of a medium belongs to.
#include "server/media/media_map.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/media/capstan_layout.h"
#include "server/media/payload_form.h"
#include "tests/unit/server/media/foreign_medium.h"
#include "tests/unit/server/media/medium_builder.h"
#include "tests/unit/server/media/memory_source.h"

namespace capstan::media {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;
using testing::ElementsAre;

using Kinds = std::vector<PieceKind>;
using enum PieceKind;

Result<MediumMap> Map(std::span<const std::byte> bytes) {
  MemorySource source(bytes);
  return ReadMap(source);
}

Kinds KindsOf(const MediumMap& map) {
  Kinds kinds;
  for (const MapPiece& piece : map.pieces) {
    kinds.push_back(piece.kind);
  }
  return kinds;
}

// Every byte is in one piece.
void ExpectCovers(const MediumMap& map, std::uint64_t size) {
  std::uint64_t at = 0;
  for (const MapPiece& piece : map.pieces) {
    ASSERT_EQ(piece.offset, at);
    ASSERT_GT(piece.size.value_or(0), 0U);
    at += *piece.size;
  }
  EXPECT_EQ(at, size);
}

BackupSet NthSet(std::uint16_t position) {
  BackupSet set = TestSet(65536);
  set.position = position;
  set.backup_set_guid = TestGuid(static_cast<std::uint8_t>(0x80 + position));
  return set;
}

std::vector<std::byte> MediumOf(std::uint16_t sets) {
  std::vector<std::byte> bytes = SmallMedium().bytes;
  for (std::uint16_t position = 2; position <= sets; ++position) {
    MemorySource source(bytes);
    const Result<MediumListing> listing = ReadListing(source);
    EXPECT_THAT(listing, IsOk());
    MediumBuilder builder({.header = TestHeader(),
                           .set = NthSet(position),
                           .form = {},
                           .append = listing.value().append},
                          std::move(bytes));
    builder.Add({.file_offset = 8192, .length = 4096, .sequence = 0});
    bytes = builder.Finish().bytes;
  }
  return bytes;
}

const Kinds kOneSet = {kHeader, kFilemark, kSetHead, kFrames,
                       kFrames, kFilemark, kSetEnd,  kFilemark};

TEST(MediaMap, DrawsASetWithTheFilesThatItsFramesHold) {
  const Medium medium = SmallMedium();

  const Result<MediumMap> map = Map(medium.bytes);

  ASSERT_THAT(map, IsOk());
  ExpectCovers(*map, medium.bytes.size());
  EXPECT_EQ(KindsOf(*map), kOneSet);
  const MapPiece& first = map->pieces[3];
  EXPECT_EQ(first.offset, medium.data_offset);
  EXPECT_EQ(first.size, 2 * 65536U);
  EXPECT_EQ(first.frames, 2U);
  EXPECT_EQ(first.set, 0U);
  EXPECT_EQ(first.payload_bytes, 61440U + 20480);
  EXPECT_EQ(first.stored_bytes, first.payload_bytes);
  ASSERT_TRUE(first.range);
  EXPECT_EQ(first.range->file_index, 0U);
  EXPECT_EQ(first.range->begin, 0U);
  EXPECT_EQ(first.range->end, 61440U + 20480);
  const MapPiece& second = map->pieces[4];
  EXPECT_EQ(second.offset, medium.offsets[2]);
  EXPECT_EQ(second.range->file_index, 1U);
  EXPECT_EQ(second.payload_bytes, 4151U);
}

TEST(MediaMap, DrawsThreeSetsOneBehindTheOther) {
  const std::vector<std::byte> medium = MediumOf(3);

  const Result<MediumMap> map = Map(medium);

  ASSERT_THAT(map, IsOk());
  ExpectCovers(*map, medium.size());
  ASSERT_EQ(map->listing.sets.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto head = std::find_if(map->pieces.begin(), map->pieces.end(), [&](const auto& piece) {
      return piece.kind == kSetHead && piece.set == i;
    });
    ASSERT_NE(head, map->pieces.end());
    EXPECT_EQ(head->offset, map->listing.sets[i].set_offset);
  }
}

TEST(MediaMap, DrawsTheFramesOfThisFamilyOfAStripedSet) {
  std::vector<MediumBuilder> builders;
  for (const std::uint16_t number : {std::uint16_t{1}, std::uint16_t{2}}) {
    MediaHeader header = TestHeader();
    header.family_count = 2;
    header.family_number = number;
    builders.emplace_back(header, TestSet(65536));
  }
  const std::uint32_t capacity = builders[0].geometry().payload_capacity;
  for (std::uint32_t i = 0; i < 5; ++i) {
    builders[i % 2].Add(
        {.file_offset = std::uint64_t{i} * capacity, .length = capacity, .sequence = i});
  }
  std::vector<FamilySummary> families = {builders[0].summary(), builders[1].summary()};
  families[0].family_number = 1;
  families[1].family_number = 2;
  for (std::size_t i = 0; i < 2; ++i) {
    const Medium medium = builders[i].Finish(FinalOf(TestSet(65536), 5 * capacity), families);

    const Result<MediumMap> map = Map(medium.bytes);

    ASSERT_THAT(map, IsOk());
    ExpectCovers(*map, medium.bytes.size());
    EXPECT_THAT(KindsOf(*map),
                ElementsAre(kHeader, kFilemark, kSetHead, kFrames, kFilemark, kSetEnd, kFilemark));
    EXPECT_EQ(map->pieces[3].frames, i == 0 ? 3U : 2U);
    EXPECT_EQ(map->pieces[3].range->begin, i * capacity);
    EXPECT_EQ(map->pieces[3].range->end, (5 - i) * capacity);
  }
}

// A compressed set is packed: frames are as long as they need to be.
std::vector<std::byte> CompressedMedium() {
  MediaHeader header = TestHeader();
  header.compressed = true;
  BackupSet set = TestSet(65536);
  set.compression_algorithm = "ZSTD";
  auto writer = FamilyWriter::Create(header, set);
  EXPECT_THAT(writer, IsOk());
  std::vector<std::byte> bytes = BytesOf(*(*writer)->Preamble());
  for (std::uint32_t i = 0; i < 4; ++i) {
    const std::uint32_t stored = 1000 * (i + 1);
    const FrameGeometry geometry = (*writer)->geometry();
    std::vector<std::byte> buffer(geometry.FrameSize(stored));
    const std::span<std::byte> payload = std::span(buffer).subspan(geometry.payload_offset, stored);
    PutPayloadHeaders(*PayloadFormOf(set), 40960, payload);
    const FrameExtent extent{.file_offset = 40960U * i,
                             .length = 40960,
                             .sequence = i,
                             .crc32c = Crc32c(0, payload),
                             .stored_length = stored};
    EXPECT_EQ((*writer)->SealFrame(buffer, extent), bytes.size());
    bytes.insert(bytes.end(), buffer.begin(), buffer.end());
  }
  const FamilySummary own = (*writer)->summary();
  auto trailer = (*writer)->Trailer(FinalOf(set, 4 * 40960), std::vector{own});
  EXPECT_THAT(trailer, IsOk());
  const std::vector<std::byte> end = BytesOf(**trailer);
  bytes.insert(bytes.end(), end.begin(), end.end());
  return bytes;
}

TEST(MediaMap, SaysWhatCompressedFramesWereBefore) {
  const std::vector<std::byte> medium = CompressedMedium();

  const Result<MediumMap> map = Map(medium);

  ASSERT_THAT(map, IsOk());
  ExpectCovers(*map, medium.size());
  EXPECT_THAT(KindsOf(*map),
              ElementsAre(kHeader, kFilemark, kSetHead, kFrames, kFilemark, kSetEnd, kFilemark));
  const MapPiece& frames = map->pieces[3];
  EXPECT_EQ(frames.frames, 4U);
  EXPECT_EQ(frames.payload_bytes, 4 * 40960U);
  EXPECT_EQ(frames.stored_bytes, 10000U);
  EXPECT_LT(*frames.size, 65536U);
}

TEST(MediaMap, DrawsASetThatWasCutOff) {
  const std::vector<std::byte> one = MediumOf(1);
  const std::vector<std::byte> two = MediumOf(2);
  for (const std::size_t behind : {9000U, 40960U, 81920U}) {
    const std::span<const std::byte> cut = std::span(two).first(one.size() + behind);

    const Result<MediumMap> map = Map(cut);

    ASSERT_THAT(map, IsOk()) << behind;
    ExpectCovers(*map, cut.size());
    Kinds expected = kOneSet;
    expected.push_back(kUnfinishedSet);
    EXPECT_EQ(KindsOf(*map), expected);
    EXPECT_EQ(map->pieces.back().set, 1U);
    EXPECT_EQ(map->pieces.back().frames, behind == 81920 ? 1U : 0U);
  }
}

TEST(MediaMap, DrawsWhatStandsBehindTheLastSet) {
  struct Tail {
    std::size_t size;
    std::byte value;
    PieceKind kind;
  };
  const std::vector<std::byte> medium = CompressedMedium();
  for (const Tail& tail : {Tail{100000, std::byte{0}, kHole}, Tail{40, std::byte{0}, kFree},
                           Tail{40, std::byte{7}, kDamage}, Tail{4096, std::byte{0x5A}, kDamage}}) {
    std::vector<std::byte> longer = medium;
    longer.resize(medium.size() + tail.size, tail.value);

    const Result<MediumMap> map = Map(longer);

    ASSERT_THAT(map, IsOk());
    ExpectCovers(*map, longer.size());
    EXPECT_EQ(map->pieces.size(), 8U);
    EXPECT_EQ(map->pieces[3].stored_bytes, 10000U);  // although the filemarks did not lead there
    EXPECT_EQ(map->pieces.back().kind, tail.kind);
    EXPECT_EQ(map->pieces.back().offset, medium.size());
  }
}

TEST(MediaMap, DrawsDamageWhereItIs) {
  const Medium small = SmallMedium();
  const std::vector<std::byte> medium = MediumOf(3);
  struct Place {
    std::size_t offset;
    std::size_t piece;
  };
  for (const Place& place : {Place{4096 + 20, 1}, Place{small.trailer_offset + 20, 5},
                             Place{small.bytes.size() - 4096 + 20, 7}}) {
    std::vector<std::byte> damaged = medium;
    damaged[place.offset] ^= std::byte{0x40};

    const Result<MediumMap> map = Map(damaged);

    ASSERT_THAT(map, IsOk()) << place.offset;
    ExpectCovers(*map, damaged.size());
    const auto found = std::find_if(map->pieces.begin(), map->pieces.end(),
                                    [](const auto& piece) { return piece.kind == kDamage; });
    ASSERT_NE(found, map->pieces.end()) << place.offset;
    EXPECT_LE(*found->offset, place.offset);
    EXPECT_GT(*found->offset + *found->size, place.offset);
    EXPECT_FALSE(found->remark.empty());
  }
}

// A bit anywhere outside the payloads changes the map, or it is none; it is always whole.
TEST(MediaMap, OfDamagedMediaIsWholeOrAnError) {
  const std::vector<std::byte> medium = MediumOf(2);
  int drawn = 0;
  for (std::size_t at = 0; at < medium.size(); at += 97) {
    std::vector<std::byte> damaged = medium;
    damaged[at] ^= std::byte{0x10};
    const Result<MediumMap> map = Map(damaged);
    if (map.ok()) {
      ++drawn;
      ExpectCovers(*map, damaged.size());
    } else {
      EXPECT_THAT(map, testing::AnyOf(HasReason(3241), HasReason(3242), HasReason(3243),
                                      HasReason(3208), HasReason(65013)))
          << at;
    }
    ASSERT_FALSE(HasFailure()) << at;
  }
  EXPECT_GT(drawn, 1000);
}

TEST(MediaMap, DrawsAForeignSetAsOnePiece) {
  const ByteVector medium = ForeignMediumBuilder({}).Build();

  const Result<MediumMap> map = Map(medium);

  ASSERT_THAT(map, IsOk());
  ExpectCovers(*map, medium.size());
  EXPECT_THAT(KindsOf(*map), testing::Contains(kForeignSet));
  EXPECT_EQ(map->pieces[0].kind, kHeader);
}

TEST(MediaMap, HasNoPlacesOfAForwardOnlyMedium) {
  const Medium medium = SmallMedium();
  MemorySource source(medium.bytes, MemorySource::Access::kForward);

  const Result<MediumMap> map = ReadMap(source);

  ASSERT_THAT(map, IsOk());
  EXPECT_THAT(KindsOf(*map), ElementsAre(kHeader, kFrames));
  EXPECT_EQ(map->pieces[1].offset, std::nullopt);
  EXPECT_EQ(map->pieces[1].frames, 3U);
}

TEST(MediaMap, ReadsNoPayload) {
  MediumBuilder builder(TestHeader(), TestSet(1048576));
  for (std::uint32_t i = 0; i < 40; ++i) {
    builder.Add({.file_offset = i * 1000U, .length = 1000, .sequence = i});
  }
  const Medium medium = builder.Finish();
  MemorySource source(medium.bytes);

  ASSERT_THAT(ReadMap(source), IsOk());

  EXPECT_LE(source.bytes_read, 4 * 65536U);
}

TEST(MediaMap, RefusesWhatIsNoMediumAndPassesTheSourcesErrorsOn) {
  const std::string text(200, 'x');
  EXPECT_THAT(Map({}), HasReason(3254));
  EXPECT_THAT(Map(std::as_bytes(std::span(text))), HasReason(3242));

  const Medium medium = SmallMedium();
  std::uint64_t enough = 0;
  const auto map_with = [&](std::uint64_t reads) {
    MemorySource source(medium.bytes);
    source.reads_left = reads;
    return ReadMap(source);
  };
  while (!map_with(enough).ok()) {
    EXPECT_THAT(map_with(enough), HasCode(Code::kUnavailable));
    ASSERT_LT(++enough, 100U);
  }
  EXPECT_GT(enough, 5U);
}

}  // namespace
}  // namespace capstan::media
