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

Authenticator::Tag ProveHead(Authenticator& authenticator, const MediaHeader& header,
                             Bytes descriptor) {
  const AuthenticatedHead head{.family_number = header.family_number,
                               .family_count = header.family_count,
                               .media_family_id = header.media_family_id,
                               .media_set_id = header.media_set_id.bytes};
  const std::array<Bytes, 2> pieces = {AsBytes(head), descriptor};
  return authenticator.HeadTag(header.family_number, pieces);
}

Authenticator::Tag ProveEnd(Authenticator& authenticator, const MediaHeader& header,
                            const EndTexts& texts) {
  const AuthenticatedEnd end{
      .family_number = header.family_number,
      .family_count = header.family_count,
      .descriptor_length = static_cast<std::uint32_t>(texts.descriptor.size()),
      .frame_count = texts.frame_count};
  for (const Bytes piece : {texts.families, texts.descriptor, AsBytes(end)}) {
    authenticator.AddToEnd(header.family_number, piece);
  }
  return authenticator.EndTag(header.family_number);
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
