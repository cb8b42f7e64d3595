// The files of a cluster's log as a restore handles them: cut at a point, moved from folder to
// folder. No server has them open.
#pragma once

#include <cstdint>
#include <string>

#include "server/writers/chain.h"
#include "server/writers/postgres/cluster_place.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// Nothing of the log from `end` on is left in the directory.
Status TrimLog(const std::string& directory, Lsn end, std::uint32_t segment_size);

// Segments and histories in `from` become those in `to`, in place of what has their names there;
// histories first, then segments in the order of their names. Durable.
Status MoveLogFiles(const std::string& from, const std::string& to, const FileOwner& owner);

}  // namespace capstan::writers
