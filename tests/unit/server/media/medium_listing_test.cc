// Label and sets of a medium, without reading its frames.
#include <algorithm>
#include <optional>

#include <gtest/gtest.h>

#include "server/media/block_composer.h"
#include "server/media/descriptor_codec.h"
#include "tests/unit/server/media/medium_builder.h"
#include "tests/unit/server/media/memory_source.h"

namespace capstan::media {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;

using Access = MemorySource::Access;

Result<MediumListing> List(std::span<const std::byte> bytes, Access access = Access::kRandom) {
  MemorySource source(bytes, access);
  return ReadListing(source);
}

class ListingOfMedium : public testing::TestWithParam<Access> {};
INSTANTIATE_TEST_SUITE_P(Medium, ListingOfMedium,
                         testing::Values(Access::kRandom, Access::kForward));

TEST_P(ListingOfMedium, SaysWhatTheMediumSays) {
  const Medium medium = SmallMedium();

  const Result<MediumListing> listing = List(medium.bytes, GetParam());

  ASSERT_THAT(listing, IsOk());
  EXPECT_EQ(listing.value().header.media_set_id, TestHeader().media_set_id);
  EXPECT_EQ(listing.value().header.description, TestHeader().description);
  ASSERT_EQ(listing.value().sets.size(), 1U);
  const SetListing& set = listing.value().sets[0];
  EXPECT_TRUE(set.complete);
  EXPECT_FALSE(set.foreign);
  EXPECT_EQ(set.set_offset, 8192U);
  EXPECT_EQ(EncodeDescriptor(set.set),
            EncodeDescriptor(FinalOf(TestSet(65536), medium.summary.payload_bytes)));
  EXPECT_EQ(set.families, std::vector<FamilySummary>{medium.summary});
}

TEST_P(ListingOfMedium, ASetThatWasCutOffSaysWhatItsBeginningSays) {
  const Medium medium = SmallMedium();
  for (const std::size_t size : {medium.data_offset, medium.offsets[1] + 7, medium.trailer_offset,
                                 medium.bytes.size() - kPhysicalBlock, medium.bytes.size() - 1}) {
    const Result<MediumListing> listing = List(std::span(medium.bytes).first(size), GetParam());

    ASSERT_THAT(listing, IsOk()) << size;
    ASSERT_EQ(listing.value().sets.size(), 1U);
    const SetListing& set = listing.value().sets[0];
    EXPECT_FALSE(set.complete) << size;
    EXPECT_EQ(set.set.database_name, "sales");
    EXPECT_EQ(set.set.files.size(), 2U);
  }
}

TEST_P(ListingOfMedium, EveryPrefixEndsWithoutHarm) {
  const Medium medium = SmallMedium();
  for (std::size_t size = 0; size < medium.bytes.size(); size += 509) {
    const Result<MediumListing> listing = List(std::span(medium.bytes).first(size), GetParam());
    if (!listing.ok()) {
      EXPECT_THAT(listing, HasReason(size == 0 ? 3254 : 3208)) << size;
      EXPECT_LT(size, medium.data_offset);
    }
  }
}

TEST_P(ListingOfMedium, FindsDamageInWhatItShows) {
  const Medium medium = SmallMedium();
  // The media name; the set's name in the final descriptor, and then in both.
  Medium tape = medium;
  tape.bytes[100] ^= std::byte{1};
  EXPECT_THAT(List(tape.bytes, GetParam()), HasReason(3241));

  const std::string text = "before the upgrade";
  Medium end = medium;
  const auto found = std::search(
      end.bytes.begin() + static_cast<std::ptrdiff_t>(medium.trailer_offset), end.bytes.end(),
      text.begin(), text.end(), [](std::byte b, char c) { return std::to_integer<char>(b) == c; });
  ASSERT_NE(found, end.bytes.end());
  *found ^= std::byte{1};
  EXPECT_THAT(List(end.bytes, GetParam()), HasReason(3241));
}

TEST(MediumListing, ReadsLittleOfALargeMedium) {
  MediumBuilder builder(TestHeader(), TestSet(1048576));
  for (std::uint32_t i = 0; i < 40; ++i) {
    builder.Add({.file_offset = i * 1000U, .length = 1000, .sequence = i});
  }
  const Medium medium = builder.Finish();
  MemorySource whole(medium.bytes);
  MemorySource cut(std::span(medium.bytes).first(medium.trailer_offset));

  ASSERT_THAT(ReadListing(whole), IsOk());
  ASSERT_THAT(ReadListing(cut), IsOk());

  EXPECT_LE(whole.bytes_read, 65536U);
  EXPECT_LE(cut.bytes_read, 65536U + 40 * 8192);
}

TEST(MediumListing, LabelNeedsTheFirstBlockOnly) {
  const Medium medium = SmallMedium();
  MemorySource source(std::span(medium.bytes).first(4096));

  const Result<MediaHeader> label = ReadLabel(source);

  ASSERT_THAT(label, IsOk());
  EXPECT_EQ(label.value().name, "Nightly");
  EXPECT_EQ(label.value().media_family_id, TestHeader().media_family_id);
}

TEST(MediumListing, OfWhatIsNoMediumHasItsOwnMessages) {
  const std::string cut_container = "MSSQLBAK" + std::string(200, '\0');
  const std::string text(200, 'x');
  Medium other_version = SmallMedium();
  other_version.bytes[93] = std::byte{9};

  EXPECT_THAT(List({}), HasReason(3254));
  EXPECT_THAT(List(std::as_bytes(std::span(cut_container))), HasReason(3208));
  EXPECT_THAT(List(std::as_bytes(std::span(text))), HasReason(3242));
  EXPECT_THAT(List(other_version.bytes), HasReason(3243));
}

TEST(MediumListing, PassesTheSourcesErrorsOn) {
  const Medium medium = SmallMedium();
  const auto list_with = [&](std::uint64_t reads) {
    MemorySource source(std::span(medium.bytes).first(medium.trailer_offset));
    source.reads_left = reads;
    return ReadListing(source);
  };
  std::uint64_t enough = 0;
  while (!list_with(enough).ok()) {
    EXPECT_THAT(list_with(enough), HasCode(Code::kUnavailable));
    ASSERT_LT(++enough, 100U);
  }
  EXPECT_GT(enough, 3U);
}

// A medium as another program may have written it: 512-byte filemarks, blocks of unknown types, and
// a block that ends without padding. MTF 1.00a, sections 1.3 and 1.4 of the layout.
ByteVector ForeignMedium() {
  ByteVector out;
  TapeBlock tape{.media_family_id = 7,
                 .attributes = kTapeSoftFilemarks,
                 .media_sequence_number = 1,
                 .soft_filemark_units = 1,
                 .format_logical_block = 1024,
                 .software_vendor_id = 0x0CBE,
                 .mtf_major = 1};
  tape.header.string_type = kStringUtf16;
  VariablePart tape_strings(sizeof(tape));
  tape.name = tape_strings.AddString("Foreign");
  AppendBlock(&out, tape, tape_strings);
  AppendPad(&out, 1024);
  const auto mark = [&out] {
    SoftFilemarkHeader header{.capacity = 113};
    header.header.first_event_offset = 512;
    header.header.checksum = HeaderChecksum(header.header);
    const std::size_t end = out.size() + 512;
    AppendBytes(&out, AsBytes(header));
    out.resize(end);
  };
  mark();
  ByteVector set_part;  // its grid begins here, 512 bytes beside that of the medium
  SetBlock set{.attributes = kSetNormal,
               .software_vendor_id = 0x0CBE,
               .set_number = 1,
               .date = PackDate(1500000000, -4),
               .software_major = 5,
               .time_zone = -4};
  set.header.string_type = 1;
  VariablePart set_strings(sizeof(set));
  set.name = set_strings.AddBytes(std::as_bytes(std::span("Set \xE4", 5)));
  AppendBlock(&set_part, set, set_strings);
  AppendPad(&set_part, 1024);
  VolumeBlock volume;
  volume.header.string_type = kStringUtf16;
  VariablePart volume_strings(sizeof(volume));
  volume.machine_name = volume_strings.AddString("OLDBOX");
  AppendBlock(&set_part, volume, volume_strings);
  set_part.resize(2048);  // no SPAD
  BlockHeader unknown{.type = static_cast<BlockType>(FourCc("XYZW")), .first_event_offset = 52};
  unknown.checksum = HeaderChecksum(unknown);
  AppendBytes(&set_part, AsBytes(unknown));
  AppendStream(&set_part, static_cast<StreamType>(FourCc("ABCD")), ByteVector(5001));
  AppendPad(&set_part, 1024);
  AppendBytes(&out, set_part);
  mark();
  ByteVector end_part;
  AppendBlock(&end_part, EndOfSetBlock{}, VariablePart(sizeof(EndOfSetBlock)));
  AppendPad(&end_part, 1024);
  AppendBytes(&out, end_part);
  mark();
  return out;
}

// S3-23
TEST_P(ListingOfMedium, ForeignMediaSaysWhatTheStandardBlocksSay) {
  const Result<MediumListing> listing = List(ForeignMedium(), GetParam());

  ASSERT_THAT(listing, IsOk());
  EXPECT_EQ(listing.value().header.name, "Foreign");
  EXPECT_EQ(listing.value().header.software_vendor_id, 0x0CBE);
  EXPECT_TRUE(listing.value().header.media_set_id.is_zero());
  ASSERT_EQ(listing.value().sets.size(), 1U);
  const SetListing& set = listing.value().sets[0];
  EXPECT_TRUE(set.foreign);
  EXPECT_TRUE(set.complete);
  EXPECT_EQ(set.set_offset, 1536U);
  EXPECT_EQ(set.set.name, "Set ä");
  EXPECT_EQ(set.set.machine_name, "OLDBOX");
  EXPECT_EQ(set.set.start_unix_s, 1500000000);
  EXPECT_EQ(set.set.software_major, 5U);
  EXPECT_TRUE(set.families.empty());
}

TEST(MediumListing, OfAForeignMediumIsRefusedByTheFamilyReader) {
  RecordingVisitor visitor;

  EXPECT_THAT(ReadAll(ForeignMedium(), &visitor), HasReason(3143));
}

TEST(MediumListing, OfDamagedForeignMediaEnds) {
  const ByteVector medium = ForeignMedium();
  for (std::size_t at = 0; at < medium.size(); ++at) {
    ByteVector damaged = medium;
    damaged[at] ^= std::byte{0x10};
    const Result<MediumListing> listing = List(damaged);
    if (!listing.ok()) {
      EXPECT_THAT(listing, testing::AnyOf(HasReason(3241), HasReason(3242), HasReason(3243),
                                          HasReason(3208)))
          << at;
    }
  }
}

}  // namespace
}  // namespace capstan::media
