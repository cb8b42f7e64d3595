// PageCacheGuard: reads ahead of a sequential reader and drops behind it what it alone brought into
// the page cache, so that a backup does not push out what the application keeps there.
//
// The file is taken in windows. Before anything of a window is read, the kernel is asked which
// parts of it are resident; parts that were wholly absent are dropped once the whole window has
// been read. What was there when we came stays. A part that the application begins to use in
// between is dropped with the rest and read once more by it: harmless, and rare. Kernels before 6.5
// are asked through mincore, which answers only to those who may write the file; others drop
// nothing.
//
// Threads: Advance from one, Done from any.
#pragma once

#include <cstdint>
#include <map>

#include "vdi/base/mutex.h"

namespace capstan::writers {

class PageCacheGuard {
 public:
  // `fd` outlives the guard. `drop_behind` false: reads ahead only.
  PageCacheGuard(int fd, std::uint64_t size_bytes, bool drop_behind);

  // The reader is about to hand out the bytes up to `offset`, in order. Call before they are read.
  void Advance(std::uint64_t offset);
  // `length` bytes from `offset` on have been read.
  void Done(std::uint64_t offset, std::uint64_t length);

 private:
  static constexpr std::uint64_t kWindowBytes = 8 << 20;
  static constexpr std::uint64_t kPartBytes = kWindowBytes / 32;

  struct Window {
    std::uint32_t absent_parts = 0;  // a bit per part
    std::uint64_t unread_bytes = 0;
  };

  void Enter(std::uint64_t number);
  std::uint32_t FindAbsentParts(std::uint64_t offset, std::uint64_t length) const;
  void Drop(std::uint64_t number, std::uint32_t absent_parts) const;

  const int fd_;
  const std::uint64_t size_bytes_;
  const bool drop_behind_;
  std::uint64_t entered_count_ = 0;  // windows whose residence is known; of Advance's thread

  Mutex mutex_;
  std::map<std::uint64_t, Window> windows_ CAPSTAN_GUARDED_BY(mutex_);  // entered, not yet read
};

}  // namespace capstan::writers
