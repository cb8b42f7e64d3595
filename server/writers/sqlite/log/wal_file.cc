#include "server/writers/sqlite/log/wal_file.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>

#include "server/writers/positioned_io.h"

namespace capstan::writers {
namespace {

// SQLite documentation, "Database File Format", section 4.1. Numbers are big endian.
constexpr std::uint32_t kMagic = 0x377f0682;  // the lowest bit: checksums in big endian order
constexpr std::uint32_t kVersion = 3007000;

}  // namespace

Result<WalFile> WalFile::Open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    return OsError(errno, fmt::format("open '{}'", path));
  }
  return WalFile(std::move(fd));
}

Result<WalPosition> WalFile::Begin() const {
  std::array<std::byte, kSqliteWalHeaderBytes> bytes;
  CAPSTAN_RETURN_IF_ERROR(Annotate(ReadFully(fd_.get(), 0, bytes), "the WAL"));
  const std::uint32_t magic = LoadBigEndian32(&bytes[0]);
  WalPosition position;
  position.page_size = LoadBigEndian32(&bytes[8]);
  position.order = (magic & 1) != 0 ? ChecksumOrder::kBigEndian : ChecksumOrder::kLittleEndian;
  std::copy_n(&bytes[16], position.salt.size(), position.salt.begin());
  position.checksum = ExtendWalChecksum({}, std::span(bytes).first(24), position.order);
  if ((magic & ~1U) != kMagic || LoadBigEndian32(&bytes[4]) != kVersion ||
      !std::has_single_bit(position.page_size) || position.page_size < 512 ||
      position.page_size > 65536 ||
      position.checksum != WalChecksum{LoadBigEndian32(&bytes[24]), LoadBigEndian32(&bytes[28])}) {
    return Error(Code::kDataLoss, "the WAL has no valid header");
  }
  return position;
}

Result<std::span<const std::byte>> WalFile::Read(std::uint32_t count, WalPosition* position,
                                                 std::uint32_t* commit_frame) {
  const std::size_t stride = position->page_size + kSqliteFrameHeaderBytes;
  buffer_.resize(std::max(buffer_.size(), count * stride));
  const std::span<std::byte> bytes = std::span(buffer_).first(count * stride);
  CAPSTAN_RETURN_IF_ERROR(Annotate(
      ReadFully(fd_.get(), kSqliteWalHeaderBytes + std::uint64_t{position->frame} * stride, bytes),
      "the WAL"));
  CAPSTAN_RETURN_IF_ERROR(FollowFrames(bytes, position, commit_frame));
  return std::span<const std::byte>(bytes);
}

Result<WalChecksum> WalFile::StoredChecksum(std::uint32_t frame, std::uint32_t page_size) const {
  const std::uint64_t offset =
      kSqliteWalHeaderBytes + std::uint64_t{frame - 1} * (page_size + kSqliteFrameHeaderBytes);
  std::array<std::byte, 8> bytes;
  CAPSTAN_RETURN_IF_ERROR(Annotate(ReadFully(fd_.get(), offset + 16, bytes), "the WAL"));
  return WalChecksum{LoadBigEndian32(&bytes[0]), LoadBigEndian32(&bytes[4])};
}

std::uint32_t WalFile::FramesPerBlock(std::uint32_t page_size) {
  return static_cast<std::uint32_t>((kLogBlockPayloadMax / 2) /
                                    (page_size + kSqliteFrameHeaderBytes));
}

bool WalFile::exists() const {
  struct stat info {};
  return ::fstat(fd_.get(), &info) == 0 && info.st_nlink != 0;
}

}  // namespace capstan::writers
