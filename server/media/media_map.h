// The map of one medium: what every byte of it belongs to, in the order of the medium. For people
// who want to see where their sets are, how full a medium is and what is wrong with it.
//
// It costs what listing the medium costs, and the frame index of every set: payloads are not read,
// so damage inside a frame is not seen here (VERIFYONLY finds that).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/media/family_reader.h"

namespace capstan::media {

enum class PieceKind {
  kHeader,
  kFilemark,
  kSetHead,
  kFrames,
  kVoidFrames,  // of a backup that was gone on with: they keep their place and hold nothing
  kSetEnd,
  kUnfinishedSet,  // of ours: without its end; the next backup goes over it
  kForeignSet,     // of another program: not taken apart
  kHole,           // zeros where a set could have been; the next backup goes over them
  kFree,           // less than a block of such zeros, or of a set that was just begun
  kDamage,
};

// The part of a file that the frames of a piece hold: its lowest and highest byte.
struct FileRange {
  std::uint32_t file_index = 0;  // in the set's files
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct MapPiece {
  PieceKind kind = PieceKind::kHeader;
  // Bytes of the medium. Nothing where the medium does not tell: if it can only be read forward, or
  // is a container of SQL Server's, in which all is compressed.
  std::optional<std::uint64_t> offset, size;
  std::optional<std::size_t> set;              // in the listing's sets
  std::optional<std::uint64_t> frames;         // likewise
  std::optional<std::uint64_t> payload_bytes;  // before codec and cipher
  std::optional<std::uint64_t> stored_bytes;   // behind them
  std::optional<FileRange> range;              // of frames of one file
  std::string remark;                          // what is wrong, or else to be said; may be empty
};

struct MediumMap {
  MediumListing listing;
  // In order; where offsets are known they leave no byte out and none is in two.
  std::vector<MapPiece> pieces;
};

// A medium whose structure breaks off at a damaged place has a map up to there; one whose beginning
// is not that of a medium has none: errors as those of ReadListing.
Result<MediumMap> ReadMap(MediumSource& source);

}  // namespace capstan::media
