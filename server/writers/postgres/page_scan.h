// PageScan: which pages of one file have changed since a full backup, found by several threads at
// once, told in the order of the file.
//
// Reading a page only to look at its LSN is all that a differential backup does with most of a
// cluster, so it takes as long as one processor takes to fetch the bytes: two fetch them in half.
// Files that are read in an instant are not worth a thread.
//
// Threads: Run from one at a time. Those that it starts have ended when it returns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "server/writers/postgres/page_changes.h"
#include "vdi/base/aligned_bytes.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class PageScan {
 public:
  struct File {
    int fd = -1;
    std::uint64_t size_bytes = 0;  // whole pages
    // Told before bytes are read up to there, in the order of the file; by one thread at a time.
    std::function<void(std::uint64_t end)> before_read;
  };
  // A part of a file, and what of it is to be taken: offsets of runs count from the part's.
  struct Part {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::vector<PageChanges::Run> runs;
  };

  explicit PageScan(PageChanges changes) : changes_(std::move(changes)), buffer_(kPartBytes) {}

  // Calls `take` for each part from the calling thread; its error ends the scan. While it waits,
  // no more than a few parts are read ahead.
  Status Run(const File& file, const std::function<Status(const Part&)>& take);

  const PageChanges& changes() const { return changes_; }

  static constexpr std::size_t kPartBytes = 256 << 10;  // fits the processor's cache

 private:
  static constexpr std::uint64_t kThreadsWorthBytes = 8 << 20;

  class Team;
  Result<Part> Find(const File& file, std::uint64_t number, std::span<std::byte> buffer) const;

  const PageChanges changes_;
  const AlignedBytes buffer_;  // of Run's thread
};

}  // namespace capstan::writers
