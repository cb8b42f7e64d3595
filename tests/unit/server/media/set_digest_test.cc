#include "server/media/set_digest.h"

#include <algorithm>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/media/descriptor_codec.h"
#include "tests/unit/server/media/medium_builder.h"

namespace capstan::media {
namespace {

constexpr FrameExtent kFrame{.file_index = 1,
                             .file_offset = 61440,
                             .length = 4096,
                             .sequence = 7,
                             .crc32c = 0xE3069283,
                             .stored_length = 1000};

std::string DigestOf(const std::vector<FrameExtent>& frames) {
  SetDigest digest;
  for (const FrameExtent& frame : frames) {
    digest.Add(frame);
  }
  return digest.Value();
}

// Part of the format: computed independently of this code, as format.md has it.
TEST(SetDigest, IsWhatTheFormatSays) {
  EXPECT_EQ(PrintDigest(DigestOf({})),
            "0x2C34CE1DF23B838C5ABF2A7F6437CCA3D3067ED509FF25F11DF6B11B582B51EB");
  EXPECT_EQ(PrintDigest(DigestOf({kFrame})),
            "0x2A65CCEF5FC2AC7E2C890BD8A2C138B0DB56DFC1DF6E1041D4F613B028C5E749");
  std::vector<FrameExtent> many(300, kFrame);
  for (std::size_t i = 0; i < many.size(); ++i) {
    many[i].sequence = i;
  }
  EXPECT_EQ(PrintDigest(DigestOf(many)),
            "0x900EA7E9DE3D39BE669FAE86BF287BD5E08245C1962C27D21B65CC8347F8CA82");
}

TEST(SetDigest, OrderMeansNothing) {
  std::vector<FrameExtent> frames(20, kFrame);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    frames[i].sequence = i;
  }
  const std::string forward = DigestOf(frames);
  std::reverse(frames.begin(), frames.end());
  EXPECT_EQ(DigestOf(frames), forward);
}

TEST(SetDigest, EveryFactOfAFrameCounts) {
  const auto changed = [](auto FrameExtent::*field) {
    FrameExtent frame = kFrame;
    frame.*field += 1;
    return DigestOf({frame});
  };
  const std::string original = DigestOf({kFrame});
  EXPECT_NE(changed(&FrameExtent::file_index), original);
  EXPECT_NE(changed(&FrameExtent::file_offset), original);
  EXPECT_NE(changed(&FrameExtent::length), original);
  EXPECT_NE(changed(&FrameExtent::sequence), original);
  EXPECT_NE(changed(&FrameExtent::crc32c), original);
  EXPECT_NE(changed(&FrameExtent::stored_length), original);
  EXPECT_NE(DigestOf({kFrame, kFrame}), original);
  EXPECT_NE(DigestOf({}), original);
}

// Of a frame that is stored as it is, whether that is said or not.
TEST(SetDigest, ALengthAsStoredMayBeLeftOut) {
  FrameExtent said = kFrame;
  said.stored_length = said.length;
  FrameExtent left_out = kFrame;
  left_out.stored_length = 0;
  EXPECT_EQ(DigestOf({said}), DigestOf({left_out}));
}

TEST(SetDigest, IsInTheDescriptionWholeOrNotAtAll) {
  BackupSet set = TestSet(65536);
  for (const std::string& digest : {std::string(), std::string(kSetDigestSize, '\x8F')}) {
    set.digest = digest;
    const std::string bytes = EncodeDescriptor(set);
    const auto decoded = DecodeDescriptor(std::as_bytes(std::span(bytes)));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->digest, digest);
  }
  set.digest = std::string(kSetDigestSize - 1, 'x');
  const std::string bytes = EncodeDescriptor(set);
  EXPECT_FALSE(DecodeDescriptor(std::as_bytes(std::span(bytes))));
}

}  // namespace
}  // namespace capstan::media
