// Composes the blocks of a backup set that are not frames: everything in front of them and
// everything behind them.
//
// Internal to server/media. Threads: any; the functions are stateless.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "server/media/backup_set.h"
#include "server/media/block_composer.h"
#include "server/media/family_writer.h"
#include "server/media/filemark_trail.h"

namespace capstan::media {

inline constexpr std::uint32_t kFirstFrameControlBlockId = 4;  // after SSET, VOLB and two DIRB

// Multiples of this separate the parts of a medium. Larger than kPhysicalBlock only with hard
// filemarks, where it is the device's block.
std::uint32_t PhysicalBlock(const MediumForm& form);

// What the sizes of a set's frames are multiples of, as FrameGeometry has it.
inline std::uint32_t PackingOf(const BackupSet& set, const MediumForm& form) {
  return set.compressed() ? PhysicalBlock(form) : 0;
}

// What a span says: at which medium, behind how much of the family.
SpanStream MakeSpan(const BackupSet& set, std::uint16_t media_sequence_number,
                    const FamilySummary& before);

// TAPE alone. `continued` is null on a family's first medium. Error 3244 if it gets too large.
Result<ByteVector> ComposeTape(const MediaHeader& header, const BackupSet& set,
                               const MediumForm& form, const SpanStream* continued);

// SSET, VOLB, DIRB, DIRB. Error 3244 as above. Of one size for all media of a family.
struct SetHeadFacts {
  std::uint64_t pba = 0;          // of SSET
  std::uint64_t fla = 0;          // of SSET: 0, or where the media before have got to
  bool continued = false;         // on another medium than the set's first
  bool only_end_follows = false;  // no frame comes any more
  // Of the family's beginning; of an encrypted set.
  std::optional<Authenticator::Tag> proof = std::nullopt;
  std::uint32_t restarts = 0;  // likewise, with the proof
  // All of it takes exactly so many bytes, a multiple of the physical block; kOutOfRange if padding
  // cannot do that. Nothing: as few as it can.
  std::optional<std::uint64_t> size = std::nullopt;
};
Result<ByteVector> ComposeSetHead(const BackupSet& set, const MediumForm& form,
                                  const SetHeadFacts& facts);

struct TrailerFacts {
  MediumForm form;
  std::uint64_t offset = 0;          // of the trailer on its medium; with soft filemarks
  Filemarks filemarks;               // in front of it; likewise
  std::uint32_t hard_filemarks = 1;  // in front of the set
  std::uint64_t frame_count = 0;     // of the family
  std::uint64_t frames_on_medium = 0;
  std::uint64_t set_pba = 0;     // on the medium where the set begins
  std::uint16_t set_medium = 1;  // the sequence number of that
  std::vector<FamilySummary> families;
  std::vector<MediaMapEntry> media;  // empty unless the family lies on several
  std::optional<SetMap> set_map;     // of the sets before; nothing: the medium has no set map
  std::optional<Authenticator::Tag> proof;  // of the family's end; of an encrypted set
  std::uint32_t restarts = 0;               // likewise, with the proof
};

// The content of CPBD and of CPFS without their seals.
ByteVector DescriptorContent(const BackupSet& set, bool is_final);
ByteVector FamiliesContent(const std::vector<FamilySummary>& families);

// First ESET up to and with the header of the frame index stream; the index itself and its seal
// follow. With soft filemarks there is one in front.
struct TrailerHead {
  ByteVector bytes;
  std::size_t index_covered_from = 0;  // in `bytes`; where the coverage of the index's seal begins
  std::uint64_t set_map_offset = 0;    // of TSMP, from the first ESET on; 0 without one
};
TrailerHead ComposeTrailerHead(const MediaHeader& header, const BackupSet& final_set,
                               const TrailerFacts& facts);

// Where the second ESET says that the first one and the set map stand.
struct CatalogPlace {
  std::uint64_t end_of_set_pba = 0;
  std::uint64_t set_map_pba = 0;
};

// The padding of the first ESET and the second ESET; with soft filemarks the last one as well.
// `lead` is how many bytes of the trailer stand in front of it.
ByteVector ComposeTrailerTail(const BackupSet& final_set, const TrailerFacts& facts,
                              const CatalogPlace& place, std::uint64_t lead);

// EOTM alone. `behind_sets`: sets that are whole stand in front of the one that goes on.
ByteVector ComposeEndOfMedium(const MediumForm& form, const SpanStream& span,
                              bool behind_sets = false);

}  // namespace capstan::media
