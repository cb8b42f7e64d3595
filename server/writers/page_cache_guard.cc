#include "server/writers/page_cache_guard.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace capstan::writers {
namespace {

// cachestat(2), Linux 6.5; not in the C library yet.
#if !defined(SYS_cachestat)
constexpr long SYS_cachestat = 451;
#endif
struct CachestatRange {
  std::uint64_t offset;
  std::uint64_t length;
};
struct Cachestat {
  std::uint64_t cached;
  std::uint64_t dirty;
  std::uint64_t writeback;
  std::uint64_t evicted;
  std::uint64_t recently_evicted;
};

std::uint64_t PageBytes() {
  static const auto bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

// Memory pages that hold some of these bytes.
std::uint64_t PagesIn(std::uint64_t offset, std::uint64_t length) {
  return (offset + length + PageBytes() - 1) / PageBytes() - offset / PageBytes();
}

// Resident memory pages of the range; nullopt where the kernel cannot tell.
std::optional<std::uint64_t> CountByCachestat(int fd, std::uint64_t offset, std::uint64_t length) {
  CachestatRange range{offset, length};
  Cachestat result{};
  if (::syscall(SYS_cachestat, fd, &range, &result, 0) != 0) {
    return std::nullopt;
  }
  return result.cached;
}

std::uint64_t CountByMincore(int fd, std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t all = PagesIn(offset, length);
  length += offset % PageBytes();
  offset -= offset % PageBytes();
  void* const address =
      ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (address == MAP_FAILED) {
    return all;
  }
  std::vector<unsigned char> resident(all);
  const bool known = ::mincore(address, length, resident.data()) == 0;
  ::munmap(address, length);
  return known ? static_cast<std::uint64_t>(
                     std::ranges::count_if(resident, [](unsigned char r) { return (r & 1) != 0; }))
               : all;
}

std::uint64_t CountResident(int fd, std::uint64_t offset, std::uint64_t length) {
  if (const auto count = CountByCachestat(fd, offset, length)) {
    return *count;
  }
  return CountByMincore(fd, offset, length);
}

constexpr std::uint64_t kPartBytes = 256 << 10;
// So far ahead of its reader a visit asks for more, a part at a time: some kernels bring in no more
// of what they are asked for at once.
constexpr std::uint64_t kVisitAheadBytes = 32 * kPartBytes;

// The parts of `range` that are wholly absent; those side by side as one.
std::vector<ByteRanges::Range> FindAbsentParts(int fd, ByteRanges::Range range) {
  const std::uint64_t length = range.end - range.begin;
  const std::uint64_t resident = CountResident(fd, range.begin, length);
  if (resident >= PagesIn(range.begin, length)) {
    return {};
  }
  if (resident == 0) {
    return {range};
  }
  std::vector<ByteRanges::Range> absent;
  for (std::uint64_t begin = range.begin; begin < range.end; begin += kPartBytes) {
    const std::uint64_t end = std::min(begin + kPartBytes, range.end);
    if (CountResident(fd, begin, end - begin) != 0) {
      continue;
    }
    if (!absent.empty() && absent.back().end == begin) {
      absent.back().end = end;
    } else {
      absent.push_back({begin, end});
    }
  }
  return absent;
}

void Advise(int fd, ByteRanges::Range range, int advice) {
  ::posix_fadvise(fd, static_cast<off_t>(range.begin), static_cast<off_t>(range.end - range.begin),
                  advice);
}

void Drop(int fd, const std::vector<ByteRanges::Range>& ranges) {
  for (const ByteRanges::Range& range : ranges) {
    Advise(fd, range, POSIX_FADV_DONTNEED);
  }
}

}  // namespace

PageCacheGuard::PageCacheGuard(int fd, std::uint64_t size_bytes, bool drop_behind)
    : fd_(fd), size_bytes_(size_bytes), drop_behind_(drop_behind) {
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
}

void PageCacheGuard::PassOver(const ByteRanges& ranges) {
  passed_over_ = &ranges;
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);  // visits have said otherwise
}

void PageCacheGuard::Advance(std::uint64_t offset) {
  // One window ahead of the reader, so that the kernel's own read-ahead has not been there yet.
  const std::uint64_t window_count = (size_bytes_ + kWindowBytes - 1) / kWindowBytes;
  const std::uint64_t wanted = std::min(offset / kWindowBytes + 2, window_count);
  while (entered_count_ < wanted) {
    Enter(entered_count_++);
  }
}

void PageCacheGuard::Enter(std::uint64_t number) {
  static const ByteRanges kNothing;
  const ByteRanges& passed_over = passed_over_ != nullptr ? *passed_over_ : kNothing;
  ByteRanges::Range rest{number * kWindowBytes, std::min((number + 1) * kWindowBytes, size_bytes_)};
  Window window;
  std::vector<ByteRanges::Range> to_read;  // ahead
  while (const auto stretch = passed_over.NextGap(rest)) {
    window.unread_bytes += stretch->end - stretch->begin;
    const std::vector<ByteRanges::Range> absent = FindAbsentParts(fd_, *stretch);
    if (!absent.empty()) {
      to_read.push_back(*stretch);
    }
    window.absent.insert(window.absent.end(), absent.begin(), absent.end());
    rest.begin = stretch->end;
  }
  if (drop_behind_ && window.unread_bytes != 0) {
    MutexLock lock(mutex_);
    windows_[number] = std::move(window);
  }
  for (const ByteRanges::Range& stretch : to_read) {
    Advise(fd_, stretch, POSIX_FADV_WILLNEED);
  }
}

void PageCacheGuard::Done(std::uint64_t offset, std::uint64_t length) {
  if (!drop_behind_) {
    return;
  }
  while (length > 0) {
    const std::uint64_t number = offset / kWindowBytes;
    const std::uint64_t here = std::min(length, (number + 1) * kWindowBytes - offset);
    std::vector<ByteRanges::Range> absent;
    {
      MutexLock lock(mutex_);
      const auto window = windows_.find(number);
      if (window != windows_.end()) {
        window->second.unread_bytes -= std::min(here, window->second.unread_bytes);
        if (window->second.unread_bytes == 0) {
          absent = std::move(window->second.absent);
          windows_.erase(window);
        }
      }
    }
    Drop(fd_, absent);
    offset += here;
    length -= here;
  }
}

PageCacheVisit::PageCacheVisit(int fd, ByteRanges::Range stretch, bool drop_behind)
    : fd_(fd),
      drop_behind_(drop_behind),
      end_(stretch.end),
      absent_(FindAbsentParts(fd, stretch)),
      asked_(absent_.empty() ? stretch.end : stretch.begin) {
  // The kernel reads exactly what is read, and what Advance asks for.
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM);
}

PageCacheVisit::~PageCacheVisit() {
  if (drop_behind_) {
    Drop(fd_, absent_);
  }
}

void PageCacheVisit::Advance(std::uint64_t offset) {
  while (asked_ < std::min(end_, offset + kVisitAheadBytes)) {
    const std::uint64_t next = std::min(asked_ + kPartBytes, end_);
    Advise(fd_, {asked_, next}, POSIX_FADV_WILLNEED);
    asked_ = next;
  }
}

}  // namespace capstan::writers
