// Clusters of PostgreSQL on this host that nobody has told of: running ones by their sockets and
// pid files, others by their control file, where distributions put them and in folders that are
// named.
//
// Nothing is asked of a server. Threads: any.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"

namespace capstan::writers {

struct DiscoveryPlaces {
  std::vector<std::string> socket_folders;
  std::vector<std::string> cluster_folders;  // with data directories in them, or in folders of them
  bool processes = false;                    // all of this host that may be looked at
};
// Of Debian, Red Hat and those who build from source.
DiscoveryPlaces UsualPlaces();

// In order of their data directories. What cannot be read is left out.
Result<std::vector<DiscoveredDatabase>> DiscoverClusters(std::span<const std::string> folders,
                                                         const DiscoveryPlaces& places);
inline Result<std::vector<DiscoveredDatabase>> DiscoverClusters(
    std::span<const std::string> folders) {
  return DiscoverClusters(folders, UsualPlaces());
}

}  // namespace capstan::writers
