#include "server/writers/sqlite/sqlite_frozen_state.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>

#include <sys/stat.h>

#include "server/writers/positioned_io.h"
#include "server/writers/sqlite/sqlite_format.h"

namespace capstan::writers {
namespace {

constexpr std::size_t kNumberBytes = 4;

void AppendBigEndian32(std::string& text, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    text += static_cast<char>(value >> shift & 0xff);
  }
}

}  // namespace

Result<std::string> FrozenStateOfDatabase(int fd) {
  std::string state(kSqliteHeaderBytes, '\0');
  CAPSTAN_RETURN_IF_ERROR(ReadFully(fd, 0, std::as_writable_bytes(std::span(state))));
  return state;
}

Result<std::string> FrozenStateOfWal(int fd, std::uint32_t page_size, std::uint32_t last_frame) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    return OsError(errno, "fstat");
  }
  if (info.st_size == 0 && last_frame == 0) {
    return std::string();
  }
  std::string state(kSqliteWalHeaderBytes, '\0');
  CAPSTAN_RETURN_IF_ERROR(ReadFully(fd, 0, std::as_writable_bytes(std::span(state))));
  AppendBigEndian32(state, last_frame);
  if (last_frame > 0) {
    std::string frame(kSqliteFrameHeaderBytes, '\0');
    const std::uint64_t offset = kSqliteWalHeaderBytes + std::uint64_t{last_frame - 1} *
                                                             (kSqliteFrameHeaderBytes + page_size);
    CAPSTAN_RETURN_IF_ERROR(ReadFully(fd, offset, std::as_writable_bytes(std::span(frame))));
    state += frame;
  }
  return state;
}

std::uint32_t LastFrameOf(const std::string& wal_state) {
  if (wal_state.size() < kSqliteWalHeaderBytes + kNumberBytes) {
    return 0;
  }
  return LoadBigEndian32(
      reinterpret_cast<const std::byte*>(wal_state.data() + kSqliteWalHeaderBytes));
}

}  // namespace capstan::writers
