// The recovery fork of a PostgreSQL cluster, as a GUID: the same for everybody who looks at the
// cluster, and another one after each recovery to a point in time or promotion.
#pragma once

#include <cstdint>

#include "server/writers/chain.h"
#include "vdi/base/guid.h"

namespace capstan::writers {

// `begin`: where the timeline branched off; 0 for timeline 1.
Guid PostgresFork(std::uint64_t system_identifier, std::uint32_t timeline, Lsn begin);

}  // namespace capstan::writers
