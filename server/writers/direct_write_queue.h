// DirectWriteQueue: fills files past the page cache, several writes in flight.
//
// Writing back a page cache full of new pages is several times slower than the disk; direct I/O is
// not, but it wants aligned memory, and one write at a time does not fill a disk. So Write copies
// into aligned buffers, which threads of this class write. A memory page of a file that lies in
// one piece only goes direct; pages that are shared between pieces, and all pages where the file
// system has no direct I/O, go through the page cache: no page ever goes both ways, as a late
// write-back would undo the direct one.
//
// Lives as long as the files are being filled. Memory: kBufferCount x kBufferBytes.
// Failure: the first error is kept, and is what every later call returns.
// Threads: Write and Drain from any. Owns the threads that write; each wait ends when the disk
// answers one of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

// One that is being filled. Never fails to open: a file that cannot be opened a second time for
// direct I/O is written through the page cache alone.
class FilledFile {
 public:
  // `fd` is the file at `path`, open for writing; it outlives this.
  FilledFile(int fd, std::string path);
  FilledFile(UniqueFd fd, std::string path);

  const std::string& path() const { return path_; }
  bool direct() const { return direct_fd_.valid(); }

 private:
  friend class DirectWriteQueue;
  const UniqueFd owned_fd_;
  const int fd_;
  const std::string path_;
  const UniqueFd direct_fd_;
};

class DirectWriteQueue {
 public:
  // Makes of the system's error, whose number `why` carries, what is returned.
  using Explain = std::function<Status(const FilledFile& file, const Status& why)>;

  explicit DirectWriteQueue(Explain explain);
  ~DirectWriteQueue();  // finishes what is in flight; errors are lost
  DirectWriteQueue(const DirectWriteQueue&) = delete;
  DirectWriteQueue& operator=(const DirectWriteQueue&) = delete;

  // The source is free again on return; the bytes are in the file after Drain. Pieces of one file
  // must not overlap.
  Status Write(const std::shared_ptr<const FilledFile>& file, std::uint64_t offset,
               std::span<const std::byte> source) CAPSTAN_EXCLUDES(mutex_);

  // Waits until all that was written before is in the files, whatever others write meanwhile.
  // Durable it is only after a sync.
  Status Drain() CAPSTAN_EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kBufferCount = 4;
  static constexpr std::size_t kBufferBytes = 1 << 20;

  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  struct Buffer {
    std::unique_ptr<std::byte, Free> memory;
    std::shared_ptr<const FilledFile> file;
    std::uint64_t offset = 0;
    std::size_t length = 0;
    std::uint64_t ticket = 0;  // in the order of Write; 0: free
  };

  Status WriteDirect(const std::shared_ptr<const FilledFile>& file, std::uint64_t offset,
                     std::span<const std::byte> source) CAPSTAN_EXCLUDES(mutex_);
  Status WriteCached(const FilledFile& file, std::uint64_t offset,
                     std::span<const std::byte> source) CAPSTAN_EXCLUDES(mutex_);
  void Work() CAPSTAN_EXCLUDES(mutex_);
  static Status WriteBuffer(const FilledFile& file, const Buffer& buffer);
  Status Keep(const FilledFile& file, const Status& status) CAPSTAN_EXCLUDES(mutex_);

  const Explain explain_;
  std::array<Buffer, kBufferCount> buffers_;
  bool has_buffers_ = true;  // without memory for them all goes through the page cache

  Mutex mutex_;
  CondVar freed_;
  CondVar filled_;
  std::vector<Buffer*> free_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<Buffer*> full_ CAPSTAN_GUARDED_BY(mutex_);
  std::uint64_t last_ticket_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  Status failure_ CAPSTAN_GUARDED_BY(mutex_);
  bool stopping_ CAPSTAN_GUARDED_BY(mutex_) = false;

  std::vector<std::jthread> threads_;  // last: joined before the rest goes
};

}  // namespace capstan::writers
