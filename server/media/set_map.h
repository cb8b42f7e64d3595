// MTF's type 1 set map (TSMP), which the end of a set carries: an entry for every set of the
// medium so far. Internal to server/media. Threads: any.
#pragma once

#include <optional>

#include "server/media/family_writer.h"
#include "server/media/mtf_values.h"

namespace capstan::media {

// How large a set map may get, in bytes: beyond that the oldest sets fall out of it, as the oldest
// filemarks do of a filemark.
inline constexpr std::size_t kSetMapSizeMax = 1 << 20;

// The content of a TSMP stream, taken apart; nothing if it contradicts itself.
std::optional<SetMap> ParseSetMap(Bytes content);

}  // namespace capstan::media
