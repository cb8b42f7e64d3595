// The texts that an Authenticator proves: what both ends of a family say of an encrypted set.
//
// Internal to server/media. Threads: any; the functions are stateless.
#pragma once

#include <cstdint>

#include "server/media/authenticator.h"
#include "server/media/backup_set.h"
#include "server/media/mtf_values.h"

namespace capstan::media {

// The part of a CPBD stream's content that is proved: all but what fills it up, and its seal.
// `content` is at least a DescriptorStream.
Bytes ProvedDescriptor(Bytes content);

// As Authenticator has it.
std::uint64_t ProofNumber(std::uint16_t family_number, std::uint32_t restarts);

// Of a family's beginning.
Authenticator::Tag ProveHead(Authenticator& authenticator, const MediaHeader& header,
                             std::uint32_t restarts, Bytes descriptor);
// Of its end, when every entry of the index has been added. `families`: the content of CPFS without
// its seal.
struct EndTexts {
  Bytes families;
  Bytes descriptor;
  std::uint64_t frame_count = 0;
  std::uint32_t restarts = 0;
};
Authenticator::Tag ProveEnd(Authenticator& authenticator, const MediaHeader& header,
                            const EndTexts& texts);

bool SameTag(const Authenticator::Tag& a, const Authenticator::Tag& b);

}  // namespace capstan::media
