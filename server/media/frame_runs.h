// What the index of a set says of its frames on a medium, as runs of frames that are of one file,
// or void.
// Internal to server/media. Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "server/media/block_cursor.h"
#include "server/media/media_map.h"

namespace capstan::media {

struct FrameRuns {
  std::vector<MapPiece> runs;  // offsets count from the first frame; at most 1000
  std::uint64_t size = 0;      // on the medium
};

// `end` stands at the blocks that end the set, on `source`, which has random access. Nothing if the
// index is not what the set's end says of the family `family_number`. Entries are read in batches.
Result<std::optional<FrameRuns>> ReadFrameRuns(MediumSource& source, BlockCursor end,
                                               const SetListing& set, std::uint16_t family_number);

}  // namespace capstan::media
