#include "server/media/set_digest.h"

#include <bit>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "vdi/base/check.h"

namespace capstan::media {
namespace {

static_assert(std::endian::native == std::endian::little, "the structures are hashed as they are");

// What is hashed of a frame, and at the end of all of them: the byte order and the place of every
// field are part of the format.
struct FrameFacts {
  std::uint64_t sequence;
  std::uint64_t file_offset;
  std::uint32_t file_index;
  std::uint32_t length;
  std::uint32_t stored_length;
  std::uint32_t crc32c;
};
static_assert(sizeof(FrameFacts) == 32);

struct SetFacts {
  std::uint64_t frame_count;
  std::array<std::uint64_t, 4> sum;
};
static_assert(sizeof(SetFacts) == 40);

// `hash` has kSetDigestSize bytes.
template <typename Facts>
void Sha256(const Facts& facts, void* hash) {
  // Looked up once, for good: that takes longer than to hash these few bytes.
  static const EVP_MD* const kSha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  unsigned size = 0;
  CAPSTAN_CHECK(EVP_Digest(&facts, sizeof facts, static_cast<unsigned char*>(hash), &size, kSha256,
                           nullptr) == 1 &&
                size == kSetDigestSize);
}

}  // namespace

void SetDigest::Add(const FrameExtent& frame) {
  if (frame.is_void()) {
    return;
  }
  Sum hash;
  Sha256(FrameFacts{.sequence = frame.sequence,
                    .file_offset = frame.file_offset,
                    .file_index = frame.file_index,
                    .length = frame.length,
                    .stored_length = frame.stored_size(),
                    .crc32c = frame.crc32c},
         hash.data());
  MutexLock lock(mutex_);
  ++frame_count_;
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < sum_.size(); ++i) {
    const std::uint64_t with_carry = hash[i] + carry;
    carry = with_carry < carry ? 1 : 0;
    sum_[i] += with_carry;
    carry += sum_[i] < with_carry ? 1 : 0;
  }
}

std::string SetDigest::Value() const {
  std::string digest(kSetDigestSize, '\0');
  MutexLock lock(mutex_);
  Sha256(SetFacts{.frame_count = frame_count_, .sum = sum_}, digest.data());
  return digest;
}

std::string PrintDigest(std::string_view digest) {
  std::string text = "0x";
  for (const char byte : digest) {
    text += fmt::format("{:02X}", static_cast<unsigned char>(byte));
  }
  return text;
}

}  // namespace capstan::media
