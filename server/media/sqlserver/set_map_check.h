// The set map (stream TSMP) at the end of a set says again what the SSET and VOLB blocks of every
// set on the medium say, which no checksum covers there: the two are compared. Internal to
// server/media. Threads: any.
#pragma once

#include <cstdint>

#include "server/media/block_composer.h"
#include "server/media/mtf_values.h"

namespace capstan::media::sqlserver {

struct ExpectedSet {
  std::uint32_t media_family_id = 0;
  std::uint16_t media_sequence_number = 0;
  std::uint16_t position = 0;  // of the set, and how many sets there are
  Bytes set_block;             // its SSET
  Bytes volume_block;          // its VOLB
  std::uint64_t displayable_size = 0;
};

// Whether `content` is a set map whose last entry says what is expected.
bool SetMapAgrees(Bytes content, const ExpectedSet& expected);

}  // namespace capstan::media::sqlserver
