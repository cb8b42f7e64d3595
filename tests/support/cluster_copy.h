// What a backup session of a PostgreSQL cluster hands out, kept in memory, and put into folders
// again: the plainest restore there can be, for tests of backups.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/postgres/cluster_manifest.h"

namespace capstan::test {

struct ClusterSet {
  writers::DatabaseDescription description;
  writers::LsnRange lsns;
  Guid recovery_fork;
  std::string writer_data;
  std::vector<std::pair<writers::Extent, std::vector<std::byte>>> extents;

  std::uint64_t size_bytes() const;
};

struct CopyOptions {
  std::uint32_t extent_bytes_max = 1 << 20;
  std::uint32_t piece_bytes = 256 << 10;  // as the engine reads
  bool shared_volumes = false;            // several readers per volume, as where extents are coded
  // Called when the first extent of the data has been read.
  std::function<void()> after_first_extent;
};

// All of it, one thread per volume, and the tail.
Result<ClusterSet> ReadCluster(writers::BackupSession& session, const CopyOptions& options = {});

// The manifest of a set that is whole.
Result<writers::ClusterManifest> ManifestOf(const ClusterSet& set);

// Writes a full set, or a differential one over its base, below `folder`: data/, and tablespaces as
// ts1/ and so on, linked from data/pg_tblspc.
Status WriteCluster(const ClusterSet& set, const std::string& folder);

}  // namespace capstan::test
