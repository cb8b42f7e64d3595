#include "plugins/disk/medium_file.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace capstan::disk {
namespace {

// CAPSTAN_DISK_IO may hold "buffered": direct I/O off, for storage that mishandles it.
bool DirectIsWanted() {
  const char* const wish = std::getenv("CAPSTAN_DISK_IO");
  return wish == nullptr || std::strstr(wish, "buffered") == nullptr;
}

// cachestat(2), Linux 6.5; not in the C library yet.
#if !defined(SYS_cachestat)
constexpr long SYS_cachestat = 451;
#endif
struct CachestatRange {
  std::uint64_t offset;
  std::uint64_t length;
};
struct Cachestat {
  std::uint64_t cached;  // pages
  std::uint64_t dirty;
  std::uint64_t writeback;
  std::uint64_t evicted;
  std::uint64_t recently_evicted;
};

bool IsAligned(std::uint64_t value, std::uint32_t alignment) {
  return value % alignment == 0;
}

}  // namespace

Failure MediumFile::Open(const std::string& path, int flags) {
  owned_ = Descriptor(::open(path.c_str(), flags | O_NONBLOCK | O_CLOEXEC));
  if (!owned_.valid()) {
    return Failure::Unable(errno, "open", path);
  }
  fd_ = owned_.get();
  OpenDirect(path, flags);
  return Failure::None();
}

void MediumFile::Attach(int fd, const std::string& path) {
  fd_ = fd;
  OpenDirect(path, O_RDWR);
}

void MediumFile::OpenDirect(const std::string& path, int flags) {
  struct stat ours {};
  struct stat opened {};
  direct_allowed_.store(false, std::memory_order_relaxed);
  if (!DirectIsWanted() || ::fstat(fd_, &ours) != 0 || !S_ISREG(ours.st_mode)) {
    return;
  }
  direct_ = Descriptor(::open(path.c_str(), flags | O_DIRECT | O_CLOEXEC));
  if (!direct_.valid() || ::fstat(direct_.get(), &opened) != 0 || ours.st_ino != opened.st_ino ||
      ours.st_dev != opened.st_dev) {
    direct_.Reset();
    return;
  }
#ifdef STATX_DIOALIGN
  struct statx limits {};
  if (::statx(direct_.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &limits) == 0 &&
      (limits.stx_mask & STATX_DIOALIGN) != 0) {
    if (limits.stx_dio_offset_align == 0 || limits.stx_dio_mem_align == 0) {
      direct_.Reset();
      return;
    }
    offset_alignment_ = limits.stx_dio_offset_align;
    memory_alignment_ = limits.stx_dio_mem_align;
  }
#endif
  direct_allowed_.store(true, std::memory_order_relaxed);
}

void MediumFile::AllocateAhead(std::int64_t end, std::uint64_t size) const {
  struct statvfs space {};
  if (size == 0 || ::fstatvfs(fd_, &space) != 0 ||
      size > static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize) {
    return;
  }
  if (::fallocate(fd_, FALLOC_FL_KEEP_SIZE, end, static_cast<off_t>(size)) != 0) {
    // What was allocated before it failed goes back.
    [[maybe_unused]] const int ignored = ::ftruncate(fd_, end);
  }
}

int MediumFile::DescriptorFor(const void* buffer, std::uint32_t size, std::int64_t position) const {
  const bool fits = IsAligned(static_cast<std::uint64_t>(position), offset_alignment_) &&
                    IsAligned(size, offset_alignment_) &&
                    IsAligned(reinterpret_cast<std::uintptr_t>(buffer), memory_alignment_);
  return fits && direct() ? direct_.get() : fd_;
}

bool MediumFile::IsCached(std::uint32_t size, std::int64_t position) const {
  static const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  CachestatRange range{static_cast<std::uint64_t>(position), size};
  Cachestat found{};
  return size > 0 && ::syscall(SYS_cachestat, fd_, &range, &found, 0) == 0 &&
         found.cached >= (range.offset % page_bytes + size + page_bytes - 1) / page_bytes;
}

}  // namespace capstan::disk
