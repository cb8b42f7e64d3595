// DirectFileWriter: fills a new file past the page cache, several writes in flight.
//
// Writing back a page cache full of new pages is several times slower than the disk; direct I/O is
// not, but it wants aligned memory, and one write at a time does not fill a disk. So Write copies
// into aligned buffers, which threads of this class write. A memory page of the file that lies in
// one piece only goes direct; pages that are shared between pieces, and all pages where the file
// system has no direct I/O, go through the page cache: no page ever goes both ways, as a late
// write-back would undo the direct one.
//
// Lives as long as the file is being filled. Memory: kBufferCount x kBufferBytes.
// Failure: the first error is kept, and is what every later call returns.
// Threads: Write and Drain from any. Owns the threads that write; each wait ends when the disk
// answers one of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class DirectFileWriter {
 public:
  // `fd` is the file at `path`, open for writing; it outlives the writer. Never fails: a file that
  // cannot be opened a second time for direct I/O is written through `fd` alone.
  DirectFileWriter(int fd, const std::string& path);
  ~DirectFileWriter();  // finishes what is in flight; errors are lost
  DirectFileWriter(const DirectFileWriter&) = delete;
  DirectFileWriter& operator=(const DirectFileWriter&) = delete;

  // The source is free again on return; the bytes are in the file after Drain. Pieces of the file
  // must not overlap. Errors carry the operating system's number.
  Status Write(std::uint64_t offset, std::span<const std::byte> source) CAPSTAN_EXCLUDES(mutex_);

  // Waits until nothing is in flight. Durable is what is written only after a sync.
  Status Drain() CAPSTAN_EXCLUDES(mutex_);

  bool direct() const { return direct_fd_.valid(); }

 private:
  static constexpr std::size_t kBufferCount = 4;
  static constexpr std::size_t kBufferBytes = 1 << 20;
  static constexpr std::uint64_t kPageBytes = 4096;  // covers what disks ask of direct I/O

  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  struct Buffer {
    std::unique_ptr<std::byte, Free> memory;
    std::uint64_t offset = 0;
    std::size_t length = 0;
  };

  Status WriteDirect(std::uint64_t offset, std::span<const std::byte> source)
      CAPSTAN_EXCLUDES(mutex_);
  void Work() CAPSTAN_EXCLUDES(mutex_);
  Status WriteBuffer(const Buffer& buffer) const;
  Status Keep(Status status) CAPSTAN_EXCLUDES(mutex_);

  const int fd_;
  UniqueFd direct_fd_;  // not valid: everything goes through the page cache
  std::array<Buffer, kBufferCount> buffers_;

  Mutex mutex_;
  CondVar freed_;
  CondVar filled_;
  std::vector<Buffer*> free_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<Buffer*> full_ CAPSTAN_GUARDED_BY(mutex_);
  Status failure_ CAPSTAN_GUARDED_BY(mutex_);
  bool stopping_ CAPSTAN_GUARDED_BY(mutex_) = false;

  std::vector<std::jthread> threads_;  // last: joined before the rest goes
};

}  // namespace capstan::writers
