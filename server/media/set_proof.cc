#include "server/media/set_proof.h"

#include <algorithm>
#include <array>

#include "server/media/capstan_layout.h"

namespace capstan::media {

Bytes ProvedDescriptor(Bytes content) {
  const auto head = LoadStruct<DescriptorStream>(content);
  return content.first(
      std::min<std::size_t>(content.size(), sizeof(head) + std::size_t{head.length}));
}

std::uint64_t ProofNumber(std::uint16_t family_number, std::uint32_t restarts) {
  return std::uint64_t{restarts} << 32 | family_number;
}

Authenticator::Tag ProveHead(Authenticator& authenticator, const MediaHeader& header,
                             std::uint32_t restarts, Bytes descriptor) {
  const AuthenticatedHead head{.family_number = header.family_number,
                               .family_count = header.family_count,
                               .media_family_id = header.media_family_id,
                               .media_set_id = header.media_set_id.bytes};
  const std::array<Bytes, 2> pieces = {AsBytes(head), descriptor};
  return authenticator.HeadTag(ProofNumber(header.family_number, restarts), pieces);
}

Authenticator::Tag ProveEnd(Authenticator& authenticator, const MediaHeader& header,
                            const EndTexts& texts) {
  const AuthenticatedEnd end{
      .family_number = header.family_number,
      .family_count = header.family_count,
      .descriptor_length = static_cast<std::uint32_t>(texts.descriptor.size()),
      .frame_count = texts.frame_count};
  const std::uint64_t number = ProofNumber(header.family_number, texts.restarts);
  for (const Bytes piece : {texts.families, texts.descriptor, AsBytes(end)}) {
    authenticator.AddToEnd(number, piece);
  }
  return authenticator.EndTag(number);
}

// The comparison takes the same time wherever they differ.
bool SameTag(const Authenticator::Tag& a, const Authenticator::Tag& b) {
  std::byte difference{0};
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference |= a[i] ^ b[i];
  }
  return difference == std::byte{0};
}

}  // namespace capstan::media
