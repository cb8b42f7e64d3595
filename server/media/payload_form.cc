#include "server/media/payload_form.h"

#include <cstring>

#include "server/media/capstan_layout.h"
#include "server/media/mtf_values.h"
#include "vdi/base/check.h"

namespace capstan::media {
namespace {

PayloadHeader MakeHeader(std::uint16_t id, std::uint32_t size_before, std::uint32_t size) {
  return {.id = id, .size_to_end = size_before, .size_before = size_before, .size = size};
}

void Put(std::span<std::byte> target, PayloadHeader header) {
  header.checksum = HeaderChecksum(header);
  std::memcpy(target.data(), &header, sizeof(header));
}

PayloadHeader EncryptionHeader(const PayloadForm& form, std::uint32_t stored_size) {
  const auto size = static_cast<std::uint32_t>(stored_size - sizeof(PayloadHeader) - form.tail());
  PayloadHeader header = MakeHeader(kEncryptionHeaderId, size, size + form.tail());
  header.format_attributes = form.compressed() ? kStreamCompressed : std::uint16_t{0};
  return header;
}

bool Is(Bytes bytes, PayloadHeader expected) {
  expected.checksum = HeaderChecksum(expected);
  return std::memcmp(bytes.data(), &expected, sizeof(expected)) == 0;
}

}  // namespace

std::optional<PayloadForm> PayloadFormOf(const BackupSet& set) {
  PayloadForm form;
  if (set.compression_algorithm == "ZSTD") {
    form.codec = CodecId::kZstd;
  } else if (set.compression_algorithm == "LZ4") {
    form.codec = CodecId::kLz4;
  } else if (set.compressed()) {
    return std::nullopt;
  }
  if (set.encryption.key_algorithm == kAes256Name) {
    form.cipher = CipherId::kAes256Gcm;
  } else if (set.encrypted()) {
    return std::nullopt;
  }
  return form;
}

std::uint16_t PayloadForm::codec_algorithm() const {
  switch (codec) {
    case CodecId::kZstd:
      return kZstdAlgorithm;
    case CodecId::kLz4:
      return kLz4Algorithm;
    case CodecId::kNone:
      break;
  }
  return 0;
}

std::uint16_t PayloadForm::cipher_algorithm() const {
  return encrypted() ? kAes256GcmAlgorithm : std::uint16_t{0};
}

void PutPayloadHeaders(const PayloadForm& form, std::uint32_t original_size,
                       std::span<std::byte> stored) {
  const auto stored_size = static_cast<std::uint32_t>(stored.size());
  CAPSTAN_CHECK(stored_size >= form.lead() + form.tail());
  if (form.encrypted()) {
    Put(stored, EncryptionHeader(form, stored_size));
  }
  if (form.compressed()) {
    Put(stored.subspan(form.lead() - sizeof(PayloadHeader)),
        MakeHeader(kCompressionHeaderId, original_size, stored_size - form.lead() - form.tail()));
  }
}

std::span<std::byte> CiphertextOf(const PayloadForm& form, std::span<std::byte> stored) {
  CAPSTAN_CHECK(form.encrypted() && stored.size() >= form.lead() + form.tail());
  return stored.subspan(sizeof(PayloadHeader), stored.size() - sizeof(PayloadHeader) - form.tail());
}

std::optional<std::span<const std::byte>> DataOf(const PayloadForm& form,
                                                 std::uint32_t original_size, Bytes stored,
                                                 bool* raw) {
  if (stored.size() < form.lead() + form.tail()) {
    return std::nullopt;
  }
  const Bytes data = stored.subspan(form.lead(), stored.size() - form.lead() - form.tail());
  if (form.encrypted() &&
      !Is(stored, EncryptionHeader(form, static_cast<std::uint32_t>(stored.size())))) {
    return std::nullopt;
  }
  *raw = data.size() == original_size;
  if (data.empty() || data.size() > original_size || (!form.compressed() && !*raw)) {
    return std::nullopt;
  }
  if (form.compressed() && !Is(stored.subspan(form.lead() - sizeof(PayloadHeader)),
                               MakeHeader(kCompressionHeaderId, original_size,
                                          static_cast<std::uint32_t>(data.size())))) {
    return std::nullopt;
  }
  return data;
}

std::array<std::byte, 48> AssociatedDataOf(const PayloadForm& form, const Guid& backup_set_guid,
                                           const FrameExtent& extent) {
  const FrameAssociatedData data{.backup_set_guid = backup_set_guid.bytes,
                                 .sequence = extent.sequence,
                                 .file_offset = extent.file_offset,
                                 .file_index = extent.file_index,
                                 .stored_length = extent.stored_size(),
                                 .original_length = extent.length,
                                 .codec = static_cast<std::uint8_t>(form.codec),
                                 .cipher = static_cast<std::uint8_t>(form.cipher)};
  std::array<std::byte, sizeof(data)> bytes;
  std::memcpy(bytes.data(), &data, sizeof(data));
  return bytes;
}

}  // namespace capstan::media
