// The places of all soft filemarks of a medium that SQL Server wrote, from the one that ends it:
// each lists those before it, nearest first, as byte offsets, in one layout until version 9.0 and
// another since. Internal to server/media. Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "server/media/family_reader.h"
#include "server/media/mtf_values.h"

namespace capstan::media::sqlserver {

// Offsets of earlier filemarks, descending; nothing if `mark`, a whole filemark, contradicts
// itself.
struct FilemarkEntries {
  std::vector<std::uint64_t> offsets;
  bool full = false;   // the oldest may have fallen out
  bool exact = false;  // every other byte of the filemark is what SQL Server writes, too
};
std::optional<FilemarkEntries> ParseFilemark(Bytes mark);

// Of all filemarks, the last one included, ascending. Nothing if the medium does not end in one, or
// they do not fit together: then only walking tells what is there.
// REQUIRES: source.size_bytes() != 0; `mark_size` is what the TAPE block says.
Result<std::optional<std::vector<std::uint64_t>>> ReadFilemarks(MediumSource& source,
                                                                std::uint32_t mark_size);

}  // namespace capstan::media::sqlserver
