// ExtentEncoder and ExtentDecoder: one extent of a database to the payload of one frame, and back.
//
// Threads: one at a time each; every worker has its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "server/engine/set_coding.h"
#include "server/media/family_writer.h"
#include "server/transform/codec.h"
#include "server/transform/frame_cipher.h"
#include "vdi/base/status.h"

namespace capstan::engine {

class ExtentEncoder {
 public:
  // kResourceExhausted without memory.
  static Result<ExtentEncoder> Create(const SetCoding& coding);

  // Where in what is stored a payload has to be that is not compressed: it is coded in place.
  std::uint32_t payload_lead() const { return coding_.form.lead(); }

  // Fills the beginning of `stored` with what STAN holds, and extent's stored_length and crc32c.
  // `payload` is extent->length bytes, in place or elsewhere. REQUIRES: stored.size() >= lead +
  // length + tail of the form.
  void Encode(std::span<const std::byte> payload, std::span<std::byte> stored,
              media::FrameExtent* extent);

 private:
  explicit ExtentEncoder(const SetCoding& coding) : coding_(coding) {}

  SetCoding coding_;
  std::unique_ptr<transform::Compressor> compressor_;
  std::optional<transform::FrameCipher> cipher_;
};

class ExtentDecoder {
 public:
  static Result<ExtentDecoder> Create(const SetCoding& coding);

  // The extent's payload: in `stored`, which is decrypted in place, or in a buffer of the
  // decoder's, until the next call. kDataLoss, with what is wrong in words, unless it is the frame
  // that was encoded, at its place.
  Result<std::span<const std::byte>> Decode(const media::FrameExtent& extent,
                                            std::span<std::byte> stored);

 private:
  explicit ExtentDecoder(const SetCoding& coding) : coding_(coding) {}

  SetCoding coding_;
  std::unique_ptr<transform::Decompressor> decompressor_;
  std::optional<transform::FrameCipher> cipher_;
  std::vector<std::byte> payload_;
};

}  // namespace capstan::engine
