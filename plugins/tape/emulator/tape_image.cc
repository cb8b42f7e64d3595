#include "plugins/tape/emulator/tape_image.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "plugins/tape/emulator/image_scan.h"

namespace capstan::tape {
namespace {

// Enough for a disk to be busy with, and written in well under a second at the end.
constexpr std::uint64_t kWriteBehindStep = 8U << 20U;
constexpr std::uint64_t kWriteBehindWindow = 64U << 20U;
constexpr std::uint64_t kReadAhead = 16U << 20U;

constexpr std::size_t kPartsMax = 3;

std::array<std::byte, 4> Encode(std::uint32_t word) {
  return {static_cast<std::byte>(word & 0xFFU), static_cast<std::byte>((word >> 8U) & 0xFFU),
          static_cast<std::byte>((word >> 16U) & 0xFFU),
          static_cast<std::byte>((word >> 24U) & 0xFFU)};
}

// The first `done` bytes are behind us.
std::span<iovec> Advance(std::span<iovec> parts, std::size_t done) {
  while (!parts.empty() && done >= parts.front().iov_len) {
    done -= parts.front().iov_len;
    parts = parts.subspan(1);
  }
  if (!parts.empty()) {
    parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + done;
    parts.front().iov_len -= done;
  }
  return parts;
}

// errno, or 0. preadv and pwritev move less than asked at signals and on full disks.
template <typename Call>
int Transfer(Call call, int fd, std::span<iovec> parts, std::uint64_t offset) {
  while (!parts.empty()) {
    const ssize_t moved =
        call(fd, parts.data(), static_cast<int>(parts.size()), static_cast<off_t>(offset));
    if (moved < 0 && errno == EINTR) {
      continue;
    }
    if (moved <= 0) {
      return moved < 0 ? errno : EIO;
    }
    offset += static_cast<std::uint64_t>(moved);
    parts = Advance(parts, static_cast<std::size_t>(moved));
  }
  return 0;
}

int SyncRange(int fd, std::uint64_t begin, std::uint64_t end, unsigned flags) {
  const int result =
      ::sync_file_range(fd, static_cast<off_t>(begin), static_cast<off_t>(end - begin), flags);
  // Some file systems have no such thing; Sync does the work then.
  return result == 0 || errno == ENOSYS || errno == EINVAL || errno == ESPIPE ? 0 : errno;
}

}  // namespace

Failure TapeImage::Open(const std::string& path, ImageAccess access, std::uint64_t recorded_bytes,
                        std::unique_ptr<TapeImage>* image) {
  const int mode = access == ImageAccess::kWrite ? O_RDWR : O_RDONLY;
  Descriptor file(::open(path.c_str(), mode | O_CLOEXEC));
  struct stat status = {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) {
    return FileFailure(errno, "open the image", path);
  }
  std::unique_ptr<TapeImage> opened(new TapeImage(path, std::move(file)));
  opened->file_size_ = static_cast<std::uint64_t>(status.st_size);
  ImageScan scan;
  if (Failure failure = ScanImage(opened->file_.get(), opened->file_size_, &scan);
      failure.failed()) {
    failure.message += " '" + path + "'";
    return failure;
  }
  opened->index_ = std::move(scan.index);
  opened->was_torn_ = scan.torn;
  const std::uint64_t end = opened->index_.end_offset();
  const bool ends_early = scan.torn || opened->file_size_ < recorded_bytes;
  if (ends_early && end < recorded_bytes) {
    opened->index_.Append({ObjectKind::kDamaged, end, opened->file_size_ - end, 0});
    opened->damaged_end_ = true;
  }
  opened->begun_end_ = opened->finished_end_ = end;
  *image = std::move(opened);
  return {};
}

// Makes the file end where object number `object` goes. On the disk, too: old records behind new
// ones would be read as if they followed them.
Failure TapeImage::Prepare(std::uint64_t object) {
  if (damaged_end_ && object >= index_.count()) {
    return {.os_error = EIO,
            .message = "nothing can be written behind the damaged end of '" + path_ + "'",
            .hint = "erase the cartridge, or write in front of the damage"};
  }
  index_.Truncate(object);
  damaged_end_ = false;
  const std::uint64_t end = index_.end_offset();
  if (file_size_ == end) {
    return {};
  }
  if (::ftruncate(file_.get(), static_cast<off_t>(end)) != 0 || ::fdatasync(file_.get()) != 0) {
    return FileFailure(errno, "cut", path_);
  }
  file_size_ = begun_end_ = finished_end_ = end;
  return {};
}

Failure TapeImage::Append(const TapeObject& object,
                          std::span<const std::span<const std::byte>> parts) {
  std::array<iovec, kPartsMax> vectors = {};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    // pwritev reads only.
    vectors[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
  }
  synced_ = false;
  const int error =
      Transfer(::pwritev, file_.get(), std::span(vectors).first(parts.size()), object.offset);
  if (error != 0) {
    // What is there of it must not become the front of another record.
    if (::ftruncate(file_.get(), static_cast<off_t>(file_size_)) != 0) {
      file_size_ = UINT64_MAX;  // the next Prepare tries again
    }
    Failure failure = FileFailure(error, "write", path_);
    if (error == ENOSPC || error == EDQUOT) {
      failure.hint = "make room on the disk that holds the library";
    }
    return failure;
  }
  index_.Append(object);
  file_size_ = object.end();
  return {};
}

Failure TapeImage::WriteBlock(std::uint64_t object, std::span<const std::byte> block) {
  if (Failure failure = Prepare(object); failure.failed()) {
    return failure;
  }
  const auto length = static_cast<std::uint32_t>(block.size());
  const std::array<std::byte, 4> word = Encode(length);
  std::array<std::byte, 5> tail = {};  // the odd one out, and the word
  const std::size_t pad = length & 1U;
  std::memcpy(tail.data() + pad, word.data(), word.size());
  const std::array<std::span<const std::byte>, kPartsMax> parts = {
      word, block, std::span<const std::byte>(tail).first(pad + 4)};
  Failure failure =
      Append({ObjectKind::kBlock, index_.end_offset(), StoredSize(length), length}, parts);
  return failure.failed() ? failure : WriteBehind();
}

Failure TapeImage::WriteFilemarks(std::uint64_t object, std::uint32_t count) {
  if (Failure failure = Prepare(object); failure.failed()) {
    return failure;
  }
  const std::array<std::byte, kFilemarkSize> mark = {};
  const std::array<std::span<const std::byte>, 1> parts = {mark};
  for (std::uint32_t i = 0; i < count; ++i) {
    Failure failure = Append({ObjectKind::kFilemark, index_.end_offset(), kFilemarkSize, 0}, parts);
    if (failure.failed()) {
      return failure;
    }
  }
  return {};
}

// Keeps the disk busy, bounds what is not written yet, and gives the page cache back.
Failure TapeImage::WriteBehind() {
  int error = 0;
  if (file_size_ - begun_end_ >= kWriteBehindStep) {
    error = SyncRange(file_.get(), begun_end_, file_size_, SYNC_FILE_RANGE_WRITE);
    begun_end_ = file_size_;
  }
  if (error == 0 && begun_end_ - finished_end_ > kWriteBehindWindow) {
    const std::uint64_t end = begun_end_ - kWriteBehindWindow / 2;
    error =
        SyncRange(file_.get(), finished_end_, end,
                  SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    ::posix_fadvise(file_.get(), static_cast<off_t>(finished_end_),
                    static_cast<off_t>(end - finished_end_), POSIX_FADV_DONTNEED);
    finished_end_ = end;
  }
  return error == 0 ? Failure() : FileFailure(error, "write", path_);
}

Failure TapeImage::Sync() {
  if (synced_) {
    return {};
  }
  if (::fdatasync(file_.get()) != 0) {
    return FileFailure(errno, "flush", path_);
  }
  synced_ = true;
  begun_end_ = finished_end_ = file_size_;
  return {};
}

void TapeImage::ReadAhead(std::uint64_t end) {
  if (end + kReadAhead / 2 > ahead_end_ || ahead_end_ > end + 2 * kReadAhead) {
    ::posix_fadvise(file_.get(), static_cast<off_t>(end), static_cast<off_t>(kReadAhead),
                    POSIX_FADV_WILLNEED);
    ahead_end_ = end + kReadAhead;
  }
}

Failure TapeImage::ReadBlock(std::uint64_t object, std::span<std::byte> buffer) {
  const TapeObject found = index_.Find(object);
  ReadAhead(found.end());
  std::array<std::byte, 4> head = {};
  std::array<std::byte, 5> tail = {};
  const std::size_t pad = found.length & 1U;
  std::array<iovec, kPartsMax> vectors = {iovec{head.data(), head.size()},
                                          iovec{buffer.data(), found.length},
                                          iovec{tail.data(), pad + 4}};
  const int error = Transfer(::preadv, file_.get(), vectors, found.offset);
  if (error != 0) {
    return FileFailure(error, "read", path_);
  }
  const std::array<std::byte, 4> word = Encode(found.length);
  if (head != word || std::memcmp(tail.data() + pad, word.data(), word.size()) != 0) {
    return FileFailure(EIO, "find a whole block in", path_);
  }
  return {};
}

}  // namespace capstan::tape
