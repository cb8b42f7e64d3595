// Composes the blocks of a backup set that are not frames: everything in front of them and
// everything behind them.
//
// Internal to server/media. Threads: any; the functions are stateless.
#pragma once

#include <cstdint>
#include <span>

#include "server/media/backup_set.h"
#include "server/media/block_composer.h"
#include "server/media/family_writer.h"

namespace capstan::media {

inline constexpr std::uint64_t kFirstSetOffset = 2 * std::uint64_t{kPhysicalBlock};
inline constexpr std::uint32_t kFirstFrameControlBlockId = 4;  // after SSET, VOLB and two DIRB

// TAPE, filemark, SSET, VOLB, DIRB, DIRB. Error 3244 if a block gets too large.
Result<ByteVector> ComposePreamble(const MediaHeader& header, const BackupSet& set);

struct TrailerFacts {
  std::uint64_t offset = 0;  // of the trailer on the medium
  std::uint64_t frame_count = 0;
  std::span<const FamilySummary> families;
};

// Filemark and first ESET up to and with the header of the frame index stream; the index itself and
// its seal follow.
struct TrailerHead {
  ByteVector bytes;
  std::size_t index_covered_from = 0;  // in `bytes`; where the coverage of the index's seal begins
  std::uint32_t set_map_block = 0;     // physical block of TSMP
};
TrailerHead ComposeTrailerHead(const MediaHeader& header, const BackupSet& final_set,
                               const TrailerFacts& facts);

// The padding of the first ESET, the second ESET and the last filemark. `offset` is where on the
// medium they begin.
ByteVector ComposeTrailerTail(const BackupSet& final_set, const TrailerFacts& facts,
                              std::uint32_t set_map_block, std::uint64_t offset);

}  // namespace capstan::media
