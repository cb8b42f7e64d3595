#include "server/engine/extent_coder.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "server/transform/key_wrap.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/engine/coding_samples.h"

namespace capstan::engine {
namespace {

using test::HasCode;
using test::IsOk;
using Bytes = std::vector<std::byte>;

SetCoding CodingOf(const CodingSample& sample) {
  SetCoding coding;
  coding.backup_set_guid = Guid::Random();
  if (sample.compression) {
    coding.compression = *sample.compression;
    coding.form.codec = sample.compression->algorithm == transform::Algorithm::kLz4
                            ? media::CodecId::kLz4
                            : media::CodecId::kZstd;
  }
  if (sample.encrypted) {
    coding.form.cipher = media::CipherId::kAes256Gcm;
    coding.key = std::make_shared<transform::SetKey>(std::move(transform::MakeSetKey()).value());
  }
  return coding;
}

struct Coded {
  media::FrameExtent extent;
  Bytes stored;
};

Coded Encode(const SetCoding& coding, const Bytes& payload, std::uint64_t sequence = 7) {
  auto encoder = ExtentEncoder::Create(coding);
  EXPECT_THAT(encoder, IsOk());
  Coded coded{.extent = {.file_index = 1,
                         .file_offset = 8192,
                         .length = static_cast<std::uint32_t>(payload.size()),
                         .sequence = sequence},
              .stored = Bytes(payload.size() + 64, std::byte{0xEE})};
  if (coding.form.compressed()) {
    encoder->Encode(payload, coded.stored, &coded.extent);
  } else {
    const auto place = std::span(coded.stored).subspan(encoder->payload_lead(), payload.size());
    std::copy(payload.begin(), payload.end(), place.begin());
    encoder->Encode(place, coded.stored, &coded.extent);
  }
  coded.stored.resize(coded.extent.stored_size());
  return coded;
}

TEST(ExtentCoder, GivesBackAnyExtent) {
  std::mt19937_64 random(20260807);
  for (const CodingSample& sample : AllCodings()) {
    const SetCoding coding = CodingOf(sample);
    auto decoder = ExtentDecoder::Create(coding);
    ASSERT_THAT(decoder, IsOk());
    for (int i = 0; i < 60; ++i) {
      const std::size_t size = i < 3 ? static_cast<std::size_t>(i) + 1 : 1 + random() % 100'000;
      const Bytes payload = i % 2 == 0 ? Rows(size, static_cast<unsigned>(i)) : [&] {
        Bytes noise(size);
        std::generate(noise.begin(), noise.end(), [&] { return static_cast<std::byte>(random()); });
        return noise;
      }();
      Coded coded = Encode(coding, payload);
      ASSERT_LE(coded.stored.size(), payload.size() + 64);
      ASSERT_EQ(coded.extent.crc32c, media::Crc32c(0, coded.stored));

      const auto back = decoder->Decode(coded.extent, coded.stored);

      ASSERT_THAT(back, IsOk());
      ASSERT_TRUE(std::equal(back->begin(), back->end(), payload.begin(), payload.end()));
    }
  }
}

// With the checksum mended, so that the codec and the cipher are all there is to find it.
TEST(ExtentCoder, FindsEveryFlippedByteOfWhatIsEncrypted) {
  for (const CodingSample& sample : AllCodings()) {
    const SetCoding coding = CodingOf(sample);
    auto decoder = ExtentDecoder::Create(coding);
    ASSERT_THAT(decoder, IsOk());
    const Coded good = Encode(coding, Rows(3000, 5));
    for (std::size_t i = 0; i < good.stored.size(); ++i) {
      Bytes bad = good.stored;
      bad[i] ^= std::byte{0x10};
      const auto decoded = decoder->Decode(good.extent, bad);
      if (coding.form.encrypted() || i < coding.form.lead()) {
        ASSERT_THAT(decoded, HasCode(Code::kDataLoss)) << sample.name << " byte " << i;
      }
    }
  }
}

TEST(ExtentCoder, FindsAFrameThatIsNotWhereItWas) {
  const SetCoding coding = CodingOf(AllCodings().back());
  auto decoder = ExtentDecoder::Create(coding);
  ASSERT_THAT(decoder, IsOk());
  const Coded good = Encode(coding, Rows(3000, 5));
  const auto decode = [&](const media::FrameExtent& extent, const SetCoding& with) {
    Bytes stored = good.stored;
    auto other = ExtentDecoder::Create(with);
    EXPECT_THAT(other, IsOk());
    return other->Decode(extent, stored).status();
  };
  ASSERT_THAT(decode(good.extent, coding), IsOk());
  for (int field = 0; field < 4; ++field) {
    media::FrameExtent moved = good.extent;
    moved.file_index += field == 0 ? 1 : 0;
    moved.file_offset += field == 1 ? 4096 : 0;
    moved.sequence += field == 2 ? 1 : 0;
    moved.length += field == 3 ? 1 : 0;
    EXPECT_THAT(decode(moved, coding), HasCode(Code::kDataLoss)) << field;
  }
  SetCoding other_set = coding;
  other_set.backup_set_guid = Guid::Random();
  EXPECT_THAT(decode(good.extent, other_set), HasCode(Code::kDataLoss));
  SetCoding other_key = CodingOf(AllCodings().back());
  other_key.backup_set_guid = coding.backup_set_guid;
  EXPECT_THAT(decode(good.extent, other_key), HasCode(Code::kDataLoss));
}

TEST(ExtentCoder, RefusesWhatIsTooShort) {
  for (const CodingSample& sample : AllCodings()) {
    const SetCoding coding = CodingOf(sample);
    auto decoder = ExtentDecoder::Create(coding);
    ASSERT_THAT(decoder, IsOk());
    Bytes stored(coding.form.lead() + coding.form.tail() - 1);
    const media::FrameExtent extent{.length = 10,
                                    .stored_length = static_cast<std::uint32_t>(stored.size())};
    EXPECT_THAT(decoder->Decode(extent, stored), HasCode(Code::kDataLoss));
  }
}

}  // namespace
}  // namespace capstan::engine
