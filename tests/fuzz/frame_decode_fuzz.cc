// Whatever a frame stores: it decodes to as many bytes as its header says, or is refused, within
// the two buffers that are there for it. What was encoded decodes to itself, and no change to
// something encrypted goes unnoticed.
//
//   byte 0        bits 0 and 1: codec; bit 2: encrypted; bit 3: the rest is a payload to be
//   encoded,
//                 whose first two bytes say what is then changed
//   byte 1 and 2  length before coding, / 4
//   the rest      what the frame stores
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "server/engine/extent_coder.h"

namespace capstan::engine {
namespace {

SetCoding CodingOf(std::uint8_t choice) {
  SetCoding coding;
  coding.form.codec = static_cast<media::CodecId>((choice & 3) % 3);
  coding.compression.algorithm = coding.form.codec == media::CodecId::kLz4
                                     ? transform::Algorithm::kLz4
                                     : transform::Algorithm::kZstd;
  if ((choice & 4) != 0) {
    coding.form.cipher = media::CipherId::kAes256Gcm;
    coding.key = std::make_shared<transform::SetKey>(
        transform::SecretBytes(transform::kSetKeySize));  // of zeros
  }
  return coding;
}

ExtentDecoder DecoderOf(const SetCoding& coding) {
  auto decoder = ExtentDecoder::Create(coding);
  CAPSTAN_CHECK(decoder.ok());
  return std::move(decoder).value();
}

void DecodeHostile(const SetCoding& coding, std::uint32_t length,
                   std::span<const std::byte> input) {
  std::vector<std::byte> stored(input.begin(), input.end());
  ExtentDecoder decoder = DecoderOf(coding);
  const media::FrameExtent extent{.length = length,
                                  .stored_length = static_cast<std::uint32_t>(stored.size())};
  const auto payload = decoder.Decode(extent, stored);
  CAPSTAN_CHECK(!payload.ok() || payload->size() == length || coding.form.plain());
}

void EncodeAndChange(const SetCoding& coding, std::span<const std::byte> input) {
  if (input.size() < 3) {
    return;
  }
  const std::span<const std::byte> payload = input.subspan(2);
  auto encoder = ExtentEncoder::Create(coding);
  CAPSTAN_CHECK(encoder.ok());
  media::FrameExtent extent{.length = static_cast<std::uint32_t>(payload.size()), .sequence = 3};
  std::vector<std::byte> stored(payload.size() + 64);
  encoder->Encode(payload, stored, &extent);
  stored.resize(extent.stored_size());
  std::vector<std::byte> changed = stored;

  ExtentDecoder decoder = DecoderOf(coding);
  const auto back = decoder.Decode(extent, stored);
  CAPSTAN_CHECK(back.ok() &&
                std::equal(back->begin(), back->end(), payload.begin(), payload.end()));

  changed[static_cast<std::size_t>(input[0]) * changed.size() / 256] ^= input[1];
  const auto other = decoder.Decode(extent, changed);
  CAPSTAN_CHECK(!coding.form.encrypted() || input[1] == std::byte{0} || !other.ok());
}

}  // namespace
}  // namespace capstan::engine

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace capstan::engine;  // NOLINT(google-build-using-namespace): the whole program
  if (size < 3) {
    return 0;
  }
  const SetCoding coding = CodingOf(data[0]);
  const auto input = std::as_bytes(std::span(data, size)).subspan(3);
  if ((data[0] & 8) != 0) {
    EncodeAndChange(coding, input);
  } else {
    DecodeHostile(coding, (data[1] | static_cast<std::uint32_t>(data[2]) << 8) * 4 + 1, input);
  }
  return 0;
}
