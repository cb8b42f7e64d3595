// What FamilyWriter composes, FamilyReader gives back.
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "server/media/descriptor_codec.h"
#include "tests/unit/server/media/medium_builder.h"

namespace capstan::media {
namespace {

using test::HasCode;
using test::HasReason;
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

}  // namespace
}  // namespace capstan::media
