#include "server/writers/positioned_io.h"

#include <algorithm>
#include <cerrno>

#include <unistd.h>

namespace capstan::writers {
namespace {

Status EndOfFile(std::uint64_t offset) {
  return Error(Code::kDataLoss, "the file ends at byte {}, earlier than it must", offset);
}

// How much could be read before the end of the file.
Result<std::size_t> ReadUpToEnd(int fd, std::uint64_t offset, std::span<std::byte> target) {
  std::size_t done = 0;
  while (done < target.size()) {
    const ssize_t count =
        ::pread(fd, target.data() + done, target.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return OsError(errno, fmt::format("read at byte {}", offset + done));
    }
    if (count == 0) {
      break;
    }
    done += static_cast<std::size_t>(count);
  }
  return done;
}

}  // namespace

Status ReadFully(int fd, std::uint64_t offset, std::span<std::byte> target) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t done, ReadUpToEnd(fd, offset, target));
  return done == target.size() ? OkStatus() : EndOfFile(offset + done);
}

Status ReadOrZero(int fd, std::uint64_t offset, std::span<std::byte> target) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t done, ReadUpToEnd(fd, offset, target));
  std::ranges::fill(target.subspan(done), std::byte{0});
  return OkStatus();
}

Status ReadVectorFully(int fd, std::uint64_t offset, std::span<iovec> parts) {
  while (!parts.empty()) {
    const ssize_t count =
        ::preadv(fd, parts.data(), static_cast<int>(parts.size()), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return OsError(errno, fmt::format("read at byte {}", offset));
    }
    if (count == 0) {
      return EndOfFile(offset);
    }
    offset += static_cast<std::uint64_t>(count);
    auto rest = static_cast<std::size_t>(count);
    while (!parts.empty() && rest >= parts.front().iov_len) {
      rest -= parts.front().iov_len;
      parts = parts.subspan(1);
    }
    if (rest > 0) {
      parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + rest;
      parts.front().iov_len -= rest;
    }
  }
  return OkStatus();
}

Status WriteFully(int fd, std::uint64_t offset, std::span<const std::byte> source) {
  std::size_t done = 0;
  while (done < source.size()) {
    const ssize_t count =
        ::pwrite(fd, source.data() + done, source.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return OsError(errno, fmt::format("write at byte {}", offset + done));
    }
    done += static_cast<std::size_t>(count);
  }
  return OkStatus();
}

}  // namespace capstan::writers
