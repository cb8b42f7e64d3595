// PageVerifier: WITH CHECKSUM, the pages of a cluster in use, judged as they are read.
//
// PostgreSQL writes pages while they are read, so a page may come half old, half new. It is read
// again; if it stays wrong, its LSN decides: what changed after the backup began is in the log that
// goes with the backup, and recovery writes such a page anew as a whole. Only a page that neither
// its checksum nor its LSN explains is bad, and one whose LSN lies behind the end of the log: these
// are known at the end only (Settle).
//
// Threads: Check and AreRight from any, several at once; Settle from one, after them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/writers/chain.h"
#include "server/writers/database_writer.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// What is wrong with a page by itself, a clause; nullopt: nothing. `block` counts over all segments
// of the fork; `checksums`: whether the cluster has them.
std::optional<std::string> FindPageFault(std::span<const std::byte> page, std::uint32_t block,
                                         bool checksums);

class PageVerifier {
 public:
  struct Options {
    std::uint32_t page_bytes = 8192;
    bool checksums = false;
    Lsn start;  // of the backup
    PageErrorHandler on_page_error;
  };
  explicit PageVerifier(Options options) : options_(std::move(options)) {}

  // Whose pages they are.
  struct Source {
    std::uint32_t file_id = 1;
    const std::string& physical_name;
    int fd = -1;
    std::uint32_t first_block = 0;  // that with which the file begins
  };
  // Bytes of the file from `offset` on. Pages that they hold in part are read from the file again.
  // A page that was wrong and is right when read again takes its place in `bytes`.
  Status Check(const Source& source, std::uint64_t offset, std::span<std::byte> bytes);
  // Whether Check would find nothing wrong with these bytes as they are. Tells nobody.
  Result<bool> AreRight(const Source& source, std::uint64_t offset,
                        std::span<const std::byte> bytes) const;

  // The log of the backup ends at `stop`.
  Status Settle(Lsn stop);

 private:
  struct Doubt {
    PageError error;
    Lsn lsn;
  };

  std::uint32_t BlockAt(const Source& source, std::uint64_t offset) const;
  Status CheckPage(const Source& source, std::uint64_t offset, std::span<std::byte> page);
  Status Judge(const Source& source, std::uint32_t block, std::string fault, Lsn lsn);

  const Options options_;
  Mutex mutex_;
  std::vector<Doubt> doubts_ CAPSTAN_GUARDED_BY(mutex_);  // right, if the log goes so far
};

}  // namespace capstan::writers
