#include "server/engine/restart/restored_frames.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace capstan::engine {
namespace {

using test::HasCode;
using test::IsOk;
using Match = RestoredFrames::Match;

RestoredFrame Frame(std::uint64_t sequence, std::uint32_t crc32c = 7) {
  return {.extent = {.file_index = 1,
                     .file_offset = sequence * 4096,
                     .length = 4096,
                     .sequence = sequence,
                     .crc32c = crc32c,
                     .stored_length = 100},
          .contents_crc32c = 9};
}

TEST(RestoredFrames, AreWhatTheyWereAfterEncoding) {
  const std::vector<RestoredFrame> frames = {Frame(3), Frame(1)};

  const auto decoded = DecodeFrames(EncodeFrames(frames) + EncodeFrames({{Frame(2)}}));

  ASSERT_THAT(decoded, IsOk());
  ASSERT_EQ(decoded->size(), 3U);
  EXPECT_EQ((*decoded)[0].extent.sequence, 3U);
  EXPECT_EQ((*decoded)[2].extent.file_offset, 8192U);
  EXPECT_EQ((*decoded)[2].extent.stored_length, 100U);
  EXPECT_EQ((*decoded)[2].extent.crc32c, 7U);
  EXPECT_EQ((*decoded)[2].contents_crc32c, 9U);
}

TEST(RestoredFrames, RefuseWhatNobodyEncoded) {
  const std::string encoded = EncodeFrames({{Frame(3)}});
  EXPECT_THAT(DecodeFrames(encoded.substr(1)), HasCode(Code::kDataLoss));
  EXPECT_THAT(DecodeFrames(std::string(encoded.size(), '\0')), HasCode(Code::kDataLoss));
}

TEST(RestoredFrames, CoverOnlyWhatWasFoundRight) {
  RestoredFrames frames({Frame(3), Frame(1), Frame(3, 8)});
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ(frames[1].extent.crc32c, 8U) << "the last of the same";
  EXPECT_FALSE(frames.Covers(Frame(1).extent));

  frames.MarkRight(0);

  EXPECT_TRUE(frames.Covers(Frame(1).extent));
  EXPECT_FALSE(frames.Covers(Frame(1, 8).extent));
  EXPECT_FALSE(frames.Covers(Frame(3, 8).extent));
  EXPECT_EQ(frames.right_bytes(), 4096U);
  EXPECT_EQ(frames.Find(Frame(1).extent), Match::kRestored);
  EXPECT_EQ(frames.Find(Frame(3).extent), Match::kOther);
  EXPECT_EQ(frames.Find(Frame(2).extent), Match::kUnknown);
}

}  // namespace
}  // namespace capstan::engine
