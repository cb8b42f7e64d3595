// What the standard blocks of another program's set say in the terms of set_facts.h.
// Internal to server/media. Threads: any.
#pragma once

#include "server/media/mtf_values.h"
#include "server/media/set_facts.h"

namespace capstan::media {

// `block` reaches from an SSET's first byte to its first event at least.
// REQUIRES: block.size() >= sizeof(SetBlock).
ForeignSet ParseForeignSet(Bytes block);
// Likewise of a VOLB. REQUIRES: block.size() >= sizeof(VolumeBlock).
void ParseForeignVolume(Bytes block, ForeignSet* set);

}  // namespace capstan::media
