// MediumFile: the open file behind a device, through the page cache and, where allowed, around it.
//
// Direct I/O needs aligned positions, sizes and memory, and some file systems refuse it altogether
// (tmpfs, some network shares), a few of them only at the first transfer. So there are two
// descriptors of one file, and each attempt is given the one that fits.
// Threads: DescriptorFor, RefuseDirect and direct from any; the rest is constant.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "plugins/disk/descriptor.h"
#include "plugins/disk/failure.h"

namespace capstan::disk {

inline constexpr std::uint32_t kAlignment = 4096;  // what we ask of buffers and positions

class MediumFile {
 public:
  // An existing regular file, or a harmless device such as /dev/zero, for reading or (a device)
  // writing.
  Failure Open(const std::string& path, int flags);

  // A file that is open already; `fd` is borrowed and outlives this object. `path` leads to it.
  void Attach(int fd, const std::string& path);

  // Allocates `size` bytes behind `end`, which is and stays the size of the file, where that is
  // cheap and there is room. An estimate may be far too high (compression), so want of room is no
  // failure here.
  void AllocateAhead(std::int64_t end, std::uint64_t size) const;

  int fd() const { return fd_; }  // through the page cache
  int DescriptorFor(const void* buffer, std::uint32_t size, std::int64_t position) const;
  // Whether all of the range is in the page cache, from where a read is several times faster than
  // from the disk. False where the kernel cannot tell (before Linux 6.5).
  bool IsCached(std::uint32_t size, std::int64_t position) const;
  bool IsDirect(int fd) const { return fd == direct_.get() && fd >= 0; }
  void RefuseDirect() { direct_allowed_.store(false, std::memory_order_relaxed); }
  bool direct() const { return direct_allowed_.load(std::memory_order_relaxed); }

 private:
  void OpenDirect(const std::string& path, int flags);

  Descriptor owned_;
  int fd_ = -1;
  Descriptor direct_;
  std::uint32_t offset_alignment_ = kAlignment;
  std::uint32_t memory_alignment_ = kAlignment;
  std::atomic<bool> direct_allowed_{false};
};

}  // namespace capstan::disk
