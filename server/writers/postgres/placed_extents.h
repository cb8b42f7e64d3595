// PlacedExtents: which extents of a set a restore has put into a data directory. The files that
// their parts went into do not say how an extent was made of them, so that is kept here: with it
// an interrupted restore's extents are put together again, byte by byte, and compared.
//
// A file in the data directory, `capstan.extents`, which nobody needs once the restore is over:
//
//   title line, version u16, job name (u16 length, bytes), CRC32C u32 of the two
//   per extent: length u32 and CRC32C u32 of what follows: file index u32, offset u64, length u32,
//   length of its end u32, its end, what of its payload stands in no file
//
// Numbers are little endian. An extent that is there more than once counts as it was added last.
// Threads: Add and Find from any; Sync from one, while others add.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/postgres/cluster_place.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

struct PlacedExtent {
  Extent extent;
  std::vector<std::byte> end;    // of the bundle, behind its payload: directory and footer
  std::vector<std::byte> apart;  // payloads of parts that are in no file of their own, in order
};

class PlacedExtents {
 public:
  // Empty, over one that may be there.
  static Result<std::unique_ptr<PlacedExtents>> Create(const std::string& data_directory,
                                                       const std::string& job_name,
                                                       const FileOwner& owner);
  // To be added to. What stands behind damage, or was not written to its end, is forgotten: it will
  // be restored again. kNotFound if the restore of that job left none.
  static Result<std::unique_ptr<PlacedExtents>> Open(const std::string& data_directory,
                                                     const std::string& job_name);
  static bool IsThere(const std::string& data_directory, const std::string& job_name);
  static Status Remove(const std::string& data_directory);

  // 65006.
  Status Add(const PlacedExtent& placed) CAPSTAN_EXCLUDES(mutex_);
  // What was added before Sync began lasts.
  Status Sync();
  // nullopt: it was not there when this was opened.
  Result<std::optional<PlacedExtent>> Find(const Extent& extent) const;

 private:
  struct Position {
    std::uint64_t offset = 0;  // of the extent in its file of the set
    std::uint64_t at = 0;      // in our file
    std::uint32_t file_index = 0;
  };

  PlacedExtents(std::string path, UniqueFd fd, std::uint64_t end)
      : path_(std::move(path)), fd_(std::move(fd)), end_(end) {}

  static Result<std::unique_ptr<PlacedExtents>> OpenFile(const std::string& data_directory,
                                                         const std::string& job_name, int flags);
  Status ReadPositions();
  // The one that begins at `at`, and where the next does; kDataLoss for none.
  Result<std::pair<PlacedExtent, std::uint64_t>> Read(std::uint64_t at) const;

  const std::string path_;
  const UniqueFd fd_;
  std::vector<Position> positions_;  // of those that were there when this was opened; sorted

  Mutex mutex_;
  std::uint64_t end_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::writers
