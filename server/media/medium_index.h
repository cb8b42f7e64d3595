// The soft filemarks of a whole medium, found from the one that ends it: with them every set is
// found without reading what is in between.
//
// A filemark lists those before it, the nearest first, as many as it holds; where that is not all
// of them, the oldest one goes on. Internal to server/media. Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "server/media/family_reader.h"

namespace capstan::media {

struct MediumIndex {
  MediumForm form;                     // with the address unit that fits
  std::vector<std::uint64_t> offsets;  // of all filemarks, ascending
  Filemarks filemarks;                 // as the next one will list them
};

struct MediumBeginning {
  MediumForm form;               // as the TAPE block says
  std::uint64_t first_mark = 0;  // where the filemark behind TAPE stands
  bool foreign = false;          // filemarks need not be to the byte as ours are
};

// Nothing if the medium does not end in a filemark that leads back to the first one.
Result<std::optional<MediumIndex>> ReadMediumIndex(MediumSource& source,
                                                   const MediumBeginning& beginning);

}  // namespace capstan::media
