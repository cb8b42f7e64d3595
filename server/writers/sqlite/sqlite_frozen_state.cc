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

// What is looked at of a database file besides its header: enough to tell it from another one that
// has as many pages and transactions, little enough to be read while everybody waits.
constexpr std::uint64_t kSampleCount = 16;
constexpr std::uint64_t kSampleBytes = 4096;

void AppendBigEndian32(std::string& text, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    text += static_cast<char>(value >> shift & 0xff);
  }
}

// Over samples spread evenly from the first byte to the last.
Result<WalChecksum> ChecksumOfSamples(int fd, std::uint64_t size) {
  std::array<std::byte, kSampleBytes> sample{};
  WalChecksum checksum;
  for (std::uint64_t i = 0; i < kSampleCount; ++i) {
    const std::uint64_t last = size > kSampleBytes ? size - kSampleBytes : 0;
    CAPSTAN_RETURN_IF_ERROR(ReadOrZero(fd, last * i / (kSampleCount - 1), sample));
    checksum = ExtendWalChecksum(checksum, sample, ChecksumOrder::kLittleEndian);
  }
  return checksum;
}

}  // namespace

Result<std::string> FrozenStateOfDatabase(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    return OsError(errno, "fstat");
  }
  std::string state(kSqliteHeaderBytes, '\0');
  CAPSTAN_RETURN_IF_ERROR(ReadFully(fd, 0, std::as_writable_bytes(std::span(state))));
  CAPSTAN_ASSIGN_OR_RETURN(const WalChecksum checksum,
                           ChecksumOfSamples(fd, static_cast<std::uint64_t>(info.st_size)));
  AppendBigEndian32(state, checksum.first);
  AppendBigEndian32(state, checksum.second);
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
