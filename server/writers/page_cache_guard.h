// PageCacheGuard: reads ahead of a sequential reader and drops behind it what it alone brought into
// the page cache, so that a backup does not push out what the application keeps there.
//
// The file is taken in windows. Before anything of a window is read, the kernel is asked which
// parts of it are resident; parts that were wholly absent are dropped once the whole window has
// been read, or what of it is to be read. What was there when we came stays. A part that the
// application begins to use in between is dropped with the rest and read once more by it: harmless,
// and rare. Kernels before 6.5 are asked through mincore, which answers only to those who may write
// the file; others drop nothing.
//
// Threads: Advance from one, Done from any.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "server/writers/byte_ranges.h"
#include "vdi/base/mutex.h"

namespace capstan::writers {

class PageCacheGuard {
 public:
  // `fd` outlives the guard. `drop_behind` false: reads ahead only.
  PageCacheGuard(int fd, std::uint64_t size_bytes, bool drop_behind);

  // Before the first Advance: these bytes will not be read. `ranges` stays as it is, and outlives
  // the guard.
  void PassOver(const ByteRanges& ranges);
  // The reader is about to hand out the bytes up to `offset`, in order. Call before they are read.
  void Advance(std::uint64_t offset);
  // `length` bytes from `offset` on have been read.
  void Done(std::uint64_t offset, std::uint64_t length);

 private:
  static constexpr std::uint64_t kWindowBytes = 8 << 20;

  struct Window {
    std::vector<ByteRanges::Range> absent;
    std::uint64_t unread_bytes = 0;
  };

  void Enter(std::uint64_t number);

  const int fd_;
  const std::uint64_t size_bytes_;
  const bool drop_behind_;
  // Of Advance's thread:
  std::uint64_t entered_count_ = 0;          // windows whose residence is known
  const ByteRanges* passed_over_ = nullptr;  // null: nothing

  Mutex mutex_;
  std::map<std::uint64_t, Window> windows_ CAPSTAN_GUARDED_BY(mutex_);  // entered, not yet read
};

// PageCacheVisit: the same for one stretch that is read by itself, out of the order of its file.
// Reads ahead within the stretch and not beyond, so that what lies behind it looks to others as it
// was. What the visit brought in is dropped when it ends.
//
// Threads: of one. Others may visit the same file, but nobody is to read it in its order meanwhile.
class PageCacheVisit {
 public:
  // `fd` outlives the visit. `drop_behind` false: reads ahead only.
  PageCacheVisit(int fd, ByteRanges::Range stretch, bool drop_behind);
  ~PageCacheVisit();
  PageCacheVisit(const PageCacheVisit&) = delete;
  PageCacheVisit& operator=(const PageCacheVisit&) = delete;

  // What follows `offset` is about to be read.
  void Advance(std::uint64_t offset);

 private:
  const int fd_;
  const bool drop_behind_;
  const std::uint64_t end_;
  const std::vector<ByteRanges::Range> absent_;
  std::uint64_t asked_;  // read ahead up to here
};

}  // namespace capstan::writers
