// What is on media, without moving any cartridge.
#pragma once

#include <memory>
#include <string>

#include "plugins/tape/cartridge_memory.h"
#include "plugins/tape/shelf.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

struct MediumFacts {
  bool exists = false;  // something is recorded
  std::uint64_t size_bytes = 0;
  std::uint64_t free_bytes = UINT64_MAX;
  std::int64_t used_unix_s = 0;
};

// `drive` null: somebody else uses it, and only what the library knows is told; EBUSY if that is
// nothing. `shelf` and `memory` may be null.
Failure FindFacts(const std::string& name, TapeDrive* drive, Shelf* shelf, CartridgeMemory* memory,
                  MediumFacts* facts);

// Whether a writing of that token has begun a medium of the library that is still there. What was
// flushed is on the tape, so there is no more to a commit. ENOENT if not; where notes do not last,
// nobody can tell, and the engine's word is taken.
Failure FindWriting(Shelf& shelf, CartridgeMemory& memory, const std::string& token);

}  // namespace capstan::tape
