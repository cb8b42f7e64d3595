// The two ends of a set of SQL Server's, which say all that a listing shows, without what is
// between them: its first blocks, and the configuration that stands right before its filemark. Of
// plain media and of containers, where an index tells which record to begin with. Internal to
// server/media. Threads: any.
#pragma once

#include <cstdint>
#include <optional>

#include "server/media/block_composer.h"
#include "server/media/family_reader.h"

namespace capstan::media::sqlserver {

struct SetPlace {
  std::uint64_t begin = 0;       // of its SSET, or of the record that begins with it
  std::uint64_t filemark = 0;    // of the filemark behind its data
  std::uint64_t trailer = 0;     // behind that: of its ESET, or of the record with it
  std::uint32_t block_size = 0;  // format logical block
  bool in_container = false;
};

// From the set's SSET on; 64 KiB at most.
Result<ByteVector> ReadSetHead(MediumSource& source, const SetPlace& place);

// The content of the MQCI stream of the MSLS block that ends in front of the filemark. Nothing if
// there is none there.
Result<std::optional<ByteVector>> ReadFinalConfiguration(MediumSource& source,
                                                         const SetPlace& place);

// Whether an ESET stands where it belongs.
Result<bool> HasTrailer(MediumSource& source, const SetPlace& place);

}  // namespace capstan::media::sqlserver
