#include "server/engine/extent_coder.h"

#include <algorithm>
#include <cstring>

#include "vdi/base/check.h"

namespace capstan::engine {
namespace {

transform::Nonce NonceOf(const media::FrameExtent& extent) {
  return {.domain = transform::NonceDomain::kFrame, .number = extent.sequence};
}

// OK and empty if there is nothing to encrypt.
Result<std::optional<transform::FrameCipher>> MakeCipher(const SetCoding& coding) {
  std::optional<transform::FrameCipher> cipher;
  if (coding.form.encrypted()) {
    CAPSTAN_ASSIGN_OR_RETURN(cipher, transform::FrameCipher::Create(*coding.key));
  }
  return cipher;
}

}  // namespace

Result<ExtentEncoder> ExtentEncoder::Create(const SetCoding& coding) {
  ExtentEncoder encoder(coding);
  if (coding.form.compressed()) {
    CAPSTAN_ASSIGN_OR_RETURN(encoder.compressor_,
                             transform::Compressor::Create(coding.compression));
  }
  CAPSTAN_ASSIGN_OR_RETURN(encoder.cipher_, MakeCipher(coding));
  return encoder;
}

void ExtentEncoder::Encode(std::span<const std::byte> payload, std::span<std::byte> stored,
                           media::FrameExtent* extent) {
  const media::PayloadForm& form = coding_.form;
  CAPSTAN_CHECK(payload.size() == extent->length &&
                stored.size() >= payload.size() + form.lead() + form.tail());
  const std::span<std::byte> data = stored.subspan(form.lead());
  std::optional<std::size_t> size;
  if (compressor_ != nullptr) {
    size = compressor_->Compress(payload, data.first(payload.size() - 1));
  }
  if (!size) {
    size = payload.size();
    if (data.data() != payload.data()) {
      std::memcpy(data.data(), payload.data(), payload.size());
    }
  }
  stored = stored.first(form.lead() + *size + form.tail());
  extent->stored_length = form.plain() ? 0 : static_cast<std::uint32_t>(stored.size());
  media::PutPayloadHeaders(form, extent->length, stored);
  if (cipher_) {
    const transform::Tag tag = cipher_->Encrypt(
        NonceOf(*extent), media::AssociatedDataOf(form, coding_.backup_set_guid, *extent),
        media::CiphertextOf(form, stored));
    std::memcpy(stored.data() + stored.size() - tag.size(), tag.data(), tag.size());
  }
  extent->crc32c = media::Crc32c(0, stored);
}

Result<ExtentDecoder> ExtentDecoder::Create(const SetCoding& coding) {
  ExtentDecoder decoder(coding);
  if (coding.form.compressed()) {
    CAPSTAN_ASSIGN_OR_RETURN(decoder.decompressor_,
                             transform::Decompressor::Create(coding.compression.algorithm));
  }
  CAPSTAN_ASSIGN_OR_RETURN(decoder.cipher_, MakeCipher(coding));
  return decoder;
}

Result<std::span<const std::byte>> ExtentDecoder::Decode(const media::FrameExtent& extent,
                                                         std::span<std::byte> stored) {
  const media::PayloadForm& form = coding_.form;
  if (stored.size() != extent.stored_size() || stored.size() < form.lead() + form.tail()) {
    return Error(Code::kDataLoss, "a frame's length is wrong");
  }
  if (cipher_) {
    transform::Tag tag;
    std::memcpy(tag.data(), stored.data() + stored.size() - tag.size(), tag.size());
    if (!cipher_->Decrypt(NonceOf(extent),
                          media::AssociatedDataOf(form, coding_.backup_set_guid, extent),
                          media::CiphertextOf(form, stored), tag)) {
      return Error(Code::kDataLoss, "a frame does not belong here or was changed");
    }
  }
  bool raw = false;
  const auto data = media::DataOf(form, extent.length, stored, &raw);
  if (!data) {
    return Error(Code::kDataLoss, "the header of a frame's data is wrong");
  }
  if (raw) {
    return *data;
  }
  // Only ever as large as the largest extent, which the frame header limits.
  payload_.resize(std::max<std::size_t>(payload_.size(), extent.length));
  const std::span<std::byte> payload = std::span(payload_).first(extent.length);
  if (!decompressor_->Decompress(*data, payload).ok()) {
    return Error(Code::kDataLoss, "a frame's data cannot be decompressed");
  }
  return std::span<const std::byte>(payload);
}

}  // namespace capstan::engine
