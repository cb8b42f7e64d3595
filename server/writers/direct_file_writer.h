// DirectFileWriter: writes a file that is being restored past the page cache.
//
// What a restore writes is not read again soon, so it should neither push the applications' pages
// out of memory nor wait for writeback. Payload arrives at odd addresses (the media format puts it
// there), so each piece is copied once into an aligned buffer; what is not aligned in the file, and
// everything where the file system refuses O_DIRECT, goes through the page cache. Threads: any
// number may write at once, different places of the file. At most kBuffers writes are on their way;
// more wait their turn.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class DirectFileWriter {
 public:
  static constexpr std::size_t kBuffers = 8;
  static constexpr std::size_t kBufferSize = 1 << 20;  // bytes

  // `fd` is the file at `path`, open for writing; it must outlive the writer. Never fails: a file
  // that cannot be opened a second time for direct I/O is written through `fd` alone.
  DirectFileWriter(int fd, const std::string& path);
  ~DirectFileWriter();
  DirectFileWriter(const DirectFileWriter&) = delete;
  DirectFileWriter& operator=(const DirectFileWriter&) = delete;

  // Writes all of `source` at `offset`. Errors carry the operating system's number.
  Status Write(std::uint64_t offset, std::span<const std::byte> source);

  bool direct() const { return direct_.load(std::memory_order_relaxed); }

 private:
  struct AlignedBuffer;

  std::unique_ptr<AlignedBuffer> Take() CAPSTAN_EXCLUDES(mutex_);
  void Return(std::unique_ptr<AlignedBuffer> buffer) CAPSTAN_EXCLUDES(mutex_);
  // Writes the pages that lie wholly inside; returns how many bytes of `source` that were.
  Result<std::size_t> WriteDirect(std::uint64_t offset, std::span<const std::byte> source);

  const int fd_;
  UniqueFd direct_fd_;
  std::atomic<bool> direct_;

  Mutex mutex_;
  CondVar returned_;
  std::size_t made_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::vector<std::unique_ptr<AlignedBuffer>> free_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::writers
