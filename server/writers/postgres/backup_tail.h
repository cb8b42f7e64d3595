// What a backup of a cluster hands out at its end: the log from its start to its stop, the files
// that tell a server where recovery begins and ends, and the manifest.
//
// Threads: any; every call stands alone.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "server/writers/chain.h"
#include "server/writers/postgres/backup_control.h"
#include "server/writers/postgres/cluster_manifest.h"
#include "server/writers/postgres/file_feed.h"
#include "server/writers/postgres/pg_control.h"
#include "server/writers/postgres/timeline_history.h"

namespace capstan::writers {

struct BackupTailParts {
  std::string data_directory;
  std::uint32_t wal_segment_bytes = 0;
  Lsn start;
  BackupControl::Stopped stopped;
  TimelineHistory history{1};  // of the timeline on which the backup ended
  // Read after all other files and before the backup was stopped.
  std::array<std::byte, kPgControlFileBytes> control_image{};
};

// The files, not open yet, in the order in which they are to be read, all with place `place_index`
// and paths relative to the data directory. They are put into `manifest` too, as files of the data
// directory. kDataLoss with the segment's name if log is missing.
Result<std::vector<FileStretch>> MakeBackupTail(const BackupTailParts& parts,
                                                std::uint32_t place_index,
                                                ClusterManifest* manifest);

// Before it is read: there may be thousands of segments.
Status OpenTailFile(BackupFile& file);

// The manifest itself, as the last of them.
FileStretch MakeManifestStretch(const ClusterManifest& manifest, std::uint32_t place_index);

}  // namespace capstan::writers
