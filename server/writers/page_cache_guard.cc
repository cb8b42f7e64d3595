#include "server/writers/page_cache_guard.h"

#include <algorithm>
#include <cerrno>
#include <optional>
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

std::uint64_t PagesIn(std::uint64_t length) {
  return (length + PageBytes() - 1) / PageBytes();
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
  const std::uint64_t all = PagesIn(length);
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

}  // namespace

PageCacheGuard::PageCacheGuard(int fd, std::uint64_t size_bytes, bool drop_behind)
    : fd_(fd), size_bytes_(size_bytes), drop_behind_(drop_behind) {
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
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
  const std::uint64_t offset = number * kWindowBytes;
  const std::uint64_t length = std::min(kWindowBytes, size_bytes_ - offset);
  const std::uint32_t absent_parts = FindAbsentParts(offset, length);
  if (drop_behind_) {
    MutexLock lock(mutex_);
    windows_[number] = {absent_parts, length};
  }
  if (absent_parts != 0) {
    ::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(length),
                    POSIX_FADV_WILLNEED);
  }
}

std::uint32_t PageCacheGuard::FindAbsentParts(std::uint64_t offset, std::uint64_t length) const {
  const std::uint64_t resident = CountResident(fd_, offset, length);
  if (resident >= PagesIn(length)) {
    return 0;
  }
  std::uint32_t absent = 0;
  for (std::uint64_t part = 0; part * kPartBytes < length; ++part) {
    const std::uint64_t part_length = std::min(kPartBytes, length - part * kPartBytes);
    if (resident == 0 || CountResident(fd_, offset + part * kPartBytes, part_length) == 0) {
      absent |= std::uint32_t{1} << part;
    }
  }
  return absent;
}

void PageCacheGuard::Done(std::uint64_t offset, std::uint64_t length) {
  if (!drop_behind_) {
    return;
  }
  while (length > 0) {
    const std::uint64_t number = offset / kWindowBytes;
    const std::uint64_t here = std::min(length, (number + 1) * kWindowBytes - offset);
    std::uint32_t absent_parts = 0;
    {
      MutexLock lock(mutex_);
      const auto window = windows_.find(number);
      if (window != windows_.end()) {
        window->second.unread_bytes -= std::min(here, window->second.unread_bytes);
        if (window->second.unread_bytes == 0) {
          absent_parts = window->second.absent_parts;
          windows_.erase(window);
        }
      }
    }
    Drop(number, absent_parts);
    offset += here;
    length -= here;
  }
}

void PageCacheGuard::Drop(std::uint64_t number, std::uint32_t absent_parts) const {
  for (std::uint64_t part = 0; part < 32; ++part) {
    if ((absent_parts >> part & 1) == 0) {
      continue;
    }
    std::uint64_t end = part + 1;
    while (end < 32 && (absent_parts >> end & 1) != 0) {
      ++end;
    }
    ::posix_fadvise(fd_, static_cast<off_t>(number * kWindowBytes + part * kPartBytes),
                    static_cast<off_t>((end - part) * kPartBytes), POSIX_FADV_DONTNEED);
    part = end;
  }
}

}  // namespace capstan::writers
