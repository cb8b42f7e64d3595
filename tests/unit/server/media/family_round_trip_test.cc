// What FamilyWriter composes, FamilyReader gives back.
#include <cstdlib>
#include <random>

#include <gtest/gtest.h>

#include "server/media/descriptor_codec.h"
#include "tests/unit/server/media/medium_builder.h"

namespace capstan::media {
namespace {

using test::IsOk;

void ExpectFrames(const RecordingVisitor& visitor, const Medium& medium) {
  ASSERT_EQ(visitor.frames.size(), medium.extents.size());
  for (std::size_t i = 0; i < visitor.frames.size(); ++i) {
    const auto& frame = visitor.frames[i];
    const FrameExtent& extent = medium.extents[i];
    EXPECT_EQ(frame.medium_offset, medium.offsets[i]);
    EXPECT_EQ(frame.extent.file_index, extent.file_index);
    EXPECT_EQ(frame.extent.file_offset, extent.file_offset);
    EXPECT_EQ(frame.extent.length, extent.length);
    EXPECT_EQ(frame.extent.sequence, extent.sequence);
    EXPECT_EQ(frame.extent.crc32c, extent.crc32c);
    EXPECT_EQ(frame.payload, PayloadOf({.file_index = extent.file_index,
                                        .file_offset = extent.file_offset,
                                        .length = extent.length}));
  }
}

TEST(FamilyRoundTrip, GivesEveryFieldOfHeaderAndSetBack) {
  const Medium medium = SmallMedium();
  RecordingVisitor visitor;

  ASSERT_THAT(ReadAll(medium.bytes, &visitor), IsOk());

  ASSERT_EQ(visitor.headers.size(), 1U);
  const MediaHeader& header = visitor.headers[0];
  EXPECT_EQ(header.media_set_id, TestHeader().media_set_id);
  EXPECT_EQ(header.media_family_id, TestHeader().media_family_id);
  EXPECT_EQ(header.name, TestHeader().name);
  EXPECT_EQ(header.description, TestHeader().description);
  EXPECT_EQ(header.software_name, "Capstan");
  EXPECT_EQ(header.software_vendor_id, kSoftwareVendorId);
  EXPECT_EQ(header.date_unix_s, TestHeader().date_unix_s);
  EXPECT_EQ(header.media_sequence_number, 1);
  EXPECT_FALSE(header.compressed);
  // The descriptor's encoding has every field of a set.
  ASSERT_EQ(visitor.begins.size(), 1U);
  EXPECT_EQ(EncodeDescriptor(visitor.begins[0]), EncodeDescriptor(TestSet(65536)));
  ASSERT_EQ(visitor.trailers.size(), 1U);
  EXPECT_EQ(EncodeDescriptor(visitor.trailers[0].set),
            EncodeDescriptor(FinalOf(TestSet(65536), medium.summary.payload_bytes)));
  EXPECT_EQ(visitor.trailers[0].families, std::vector<FamilySummary>{medium.summary});
  EXPECT_EQ(visitor.summaries, std::vector<FamilySummary>{medium.summary});
  ExpectFrames(visitor, medium);
}

TEST(FamilyRoundTrip, TellsTheSameInWhateverPiecesTheMediumArrives) {
  const Medium medium = SmallMedium();
  for (const std::size_t chunk_size : {1U, 511U, 512U, 4096U, 65535U, 65536U, 65537U, 0U}) {
    RecordingVisitor visitor;

    ASSERT_THAT(ReadAll(medium.bytes, &visitor, chunk_size), IsOk()) << chunk_size;

    ExpectFrames(visitor, medium);
    EXPECT_EQ(visitor.summaries, std::vector<FamilySummary>{medium.summary});
  }
}

// A device that hands out what next_read_size asks for, as the engine's do.
Status ReadAsAsked(const Medium& medium, std::uint32_t transfer_size_max,
                   RecordingVisitor* visitor) {
  auto reader = FamilyReader::Create("dev", 1, visitor);
  std::size_t at = 0;
  while (!reader->done() && at < medium.bytes.size()) {
    const std::size_t size = reader->next_read_size(transfer_size_max);
    EXPECT_GT(size, 0U);
    EXPECT_EQ(size % kPhysicalBlock, 0U);
    EXPECT_LE(size, transfer_size_max);
    visitor->chunk = std::span(medium.bytes).subspan(at, std::min(size, medium.bytes.size() - at));
    CAPSTAN_RETURN_IF_ERROR(reader->Consume(visitor->chunk));
    at += visitor->chunk.size();
  }
  return reader->Finish();
}

TEST(FamilyRoundTrip, CopiesNoFrameIfReadAsAsked) {
  const Medium medium = SmallMedium();
  RecordingVisitor visitor;

  ASSERT_THAT(ReadAsAsked(medium, 65536, &visitor), IsOk());

  ExpectFrames(visitor, medium);
  EXPECT_EQ(visitor.copied_frames, 0);
}

TEST(FamilyRoundTrip, CopiesNoFrameBehindADescriptorOfManyFiles) {
  BackupSet set = TestSet(131072);
  set.files.resize(5000, set.files[0]);
  for (std::size_t i = 0; i < set.files.size(); ++i) {
    set.files[i].file_id = static_cast<std::uint32_t>(i + 1);
  }
  MediumBuilder builder(TestHeader(), set);
  builder.Add({.file_index = 4999, .length = 100000, .sequence = 0});
  const Medium medium = builder.Finish();
  ASSERT_GT(medium.data_offset, 2U * 131072);
  RecordingVisitor visitor;

  ASSERT_THAT(ReadAsAsked(medium, 131072, &visitor), IsOk());

  ExpectFrames(visitor, medium);
  EXPECT_EQ(visitor.copied_frames, 0);
}

TEST(FamilyRoundTrip, PutsFramesTogetherWhenTransfersAreSmaller) {
  const Medium medium = SmallMedium();
  RecordingVisitor visitor;

  ASSERT_THAT(ReadAsAsked(medium, 8192, &visitor), IsOk());

  ExpectFrames(visitor, medium);
  EXPECT_EQ(visitor.copied_frames, 3);
}

TEST(FamilyRoundTrip, HoldsASetWithoutFrames) {
  const Medium medium = MediumBuilder(TestHeader(), TestSet(65536)).Finish();
  RecordingVisitor visitor;

  ASSERT_THAT(ReadAsAsked(medium, 65536, &visitor), IsOk());

  EXPECT_EQ(visitor.summaries, std::vector<FamilySummary>{FamilySummary{}});
}

TEST(FamilyRoundTrip, TrailerIsTheSameInWhateverPiecesItIsTaken) {
  std::vector<std::vector<std::byte>> media;
  for (const std::size_t fill_size : {4096U, 8192U, 1048576U}) {
    MediumBuilder builder(TestHeader(), TestSet(65536));
    for (std::uint32_t i = 0; i < 400; ++i) {  // an index of more than two blocks of 4096 bytes
      builder.Add({.file_offset = i * 100, .length = 100, .sequence = i});
    }
    const FamilySummary own = builder.summary();
    media.push_back(builder.Finish(FinalOf(TestSet(65536), 40000), {own}, fill_size).bytes);
  }

  EXPECT_EQ(media[0], media[1]);
  EXPECT_EQ(media[0], media[2]);
  RecordingVisitor visitor;
  EXPECT_THAT(ReadAll(media[0], &visitor, 5000), IsOk());
}

// The index is kept in blocks of 4096 entries.
TEST(FamilyRoundTrip, HoldsAnIndexOfSeveralBlocks) {
  auto writer = FamilyWriter::Create(TestHeader(), TestSet(65536));
  ASSERT_THAT(writer, IsOk());
  std::vector<std::byte> buffer(65536);
  RecordingVisitor visitor(false);
  visitor.keep_payload = false;
  auto reader = FamilyReader::Create("dev", 1, &visitor);
  ASSERT_THAT(reader->Consume(BytesOf(*(*writer)->Preamble())), IsOk());
  for (std::uint32_t i = 0; i < 9000; ++i) {
    (*writer)->SealFrame(buffer, {.file_offset = i * 60000U, .length = 1, .sequence = i});
    ASSERT_THAT(reader->Consume(buffer), IsOk());
  }

  const FamilySummary own = (*writer)->summary();
  auto trailer = (*writer)->Trailer(FinalOf(TestSet(65536), 9000), std::span(&own, 1));
  ASSERT_THAT(trailer, IsOk());
  while (const std::size_t size = (*trailer)->Fill(buffer)) {
    ASSERT_THAT(reader->Consume(std::span(buffer).first(size)), IsOk());
  }

  EXPECT_TRUE(reader->done());
  EXPECT_EQ(visitor.summaries, std::vector<FamilySummary>{own});
}

TEST(FamilyRoundTrip, RandomFamiliesTogetherHoldEveryPiece) {
  const char* seed_text = std::getenv("CAPSTAN_TEST_SEED");
  const unsigned seed =
      seed_text != nullptr ? static_cast<unsigned>(std::stoul(seed_text)) : std::random_device{}();
  SCOPED_TRACE("CAPSTAN_TEST_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  const auto pick = [&](std::uint64_t low, std::uint64_t high) {
    return std::uniform_int_distribution<std::uint64_t>(low, high)(random);
  };
  for (int round = 0; round < 20; ++round) {
    const auto transfer_size = static_cast<std::uint32_t>(65536 + 4096 * pick(0, 60));
    const auto count = static_cast<std::uint16_t>(pick(1, 4));
    std::vector<MediumBuilder> builders;
    for (std::uint16_t i = 0; i < count; ++i) {
      MediaHeader header = TestHeader();
      header.family_count = count;
      header.family_number = static_cast<std::uint16_t>(i + 1);
      builders.emplace_back(header, TestSet(transfer_size));
    }
    const std::uint64_t pieces = pick(0, 30);
    for (std::uint64_t sequence = 0; sequence < pieces; ++sequence) {
      MediumBuilder& builder = builders[pick(0, count - 1U)];
      const std::uint32_t capacity = builder.geometry().payload_capacity;
      builder.Add(
          {.file_index = static_cast<std::uint32_t>(pick(0, 1)),
           .file_offset = pick(0, std::uint64_t{1} << 48),
           .length = static_cast<std::uint32_t>(pick(0, 2) == 0 ? capacity : pick(1, capacity)),
           .sequence = sequence});
    }
    std::vector<FamilySummary> families;
    std::uint64_t payload_bytes = 0;
    for (MediumBuilder& builder : builders) {
      families.push_back(builder.summary());
      payload_bytes += families.back().payload_bytes;
    }
    std::vector<int> seen(pieces);
    for (MediumBuilder& builder : builders) {
      const Medium medium =
          builder.Finish(FinalOf(TestSet(transfer_size), payload_bytes), families);
      RecordingVisitor visitor;
      ASSERT_THAT(ReadAll(medium.bytes, &visitor, pick(1, 300000)), IsOk());
      ExpectFrames(visitor, medium);
      EXPECT_EQ(visitor.trailers.at(0).families, families);
      for (const auto& frame : visitor.frames) {
        ++seen.at(frame.extent.sequence);
      }
    }
    EXPECT_EQ(seen, std::vector<int>(pieces, 1));
  }
}

}  // namespace
}  // namespace capstan::media
