#include "server/writers/sqlite/sqlite_format.h"

#include <bit>
#include <cstring>
#include <string_view>

#include <fmt/core.h>

namespace capstan::writers {
namespace {

constexpr std::string_view kMagic("SQLite format 3\0", 16);
constexpr std::uint8_t kFormatWal = 2;

std::uint32_t Load32(const std::byte* bytes, bool swap) {
  std::uint32_t value;
  std::memcpy(&value, bytes, sizeof value);
  return swap ? __builtin_bswap32(value) : value;
}

}  // namespace

Result<SqliteHeader> ParseSqliteHeader(std::span<const std::byte, kSqliteHeaderBytes> bytes) {
  if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return Error(Code::kDataLoss, "file is not a database");
  }
  const std::uint32_t stored_page_size = LoadBigEndian32(&bytes[16]) >> 16;
  SqliteHeader header;
  header.page_size = stored_page_size == 1 ? 65536 : stored_page_size;
  if (!std::has_single_bit(header.page_size) || header.page_size < 512) {
    return Error(Code::kDataLoss, "file is not a database: its page size is {}", stored_page_size);
  }
  header.wal = std::to_integer<std::uint8_t>(bytes[19]) == kFormatWal;
  header.change_counter = LoadBigEndian32(&bytes[24]);
  const std::uint32_t version_valid_for = LoadBigEndian32(&bytes[92]);
  if (version_valid_for == header.change_counter) {
    header.page_count = LoadBigEndian32(&bytes[28]);
  }
  header.version_number = LoadBigEndian32(&bytes[96]);
  return header;
}

std::optional<SqliteTrunk> ParseSqliteTrunk(std::span<const std::byte> page, std::size_t reserved) {
  const std::uint32_t leaves = LoadBigEndian32(&page[4]);
  if (leaves > (page.size() - reserved) / 4 - 2) {
    return std::nullopt;
  }
  SqliteTrunk trunk{.next = LoadBigEndian32(&page[0]), .leaves = {}};
  for (std::uint32_t i = 0; i < leaves; ++i) {
    trunk.leaves.push_back(LoadBigEndian32(&page[8 + std::size_t{4} * i]));
  }
  return trunk;
}

bool HasSqliteLockBytes(std::uint32_t page, std::uint32_t page_size) {
  return page == static_cast<std::uint64_t>(kSqliteLockBytesOffset) / page_size + 1;
}

// Page 2 and then one in front of as many pages as it has entries for.
bool IsSqlitePointerMap(std::uint32_t page, std::uint32_t page_size, std::size_t reserved) {
  if (page < 2) {
    return false;
  }
  const auto distance = static_cast<std::uint32_t>((page_size - reserved) / 5 + 1);
  const std::uint32_t map = (page - 2) / distance * distance + 2;
  return page == (HasSqliteLockBytes(map, page_size) ? map + 1 : map);
}

std::string SqliteVersionText(std::uint32_t version_number) {
  return fmt::format("{}.{}.{}", version_number / 1000000, version_number / 1000 % 1000,
                     version_number % 1000);
}

std::uint32_t LoadBigEndian32(const std::byte* bytes) {
  return Load32(bytes, std::endian::native == std::endian::little);
}

WalChecksum ExtendWalChecksum(WalChecksum checksum, std::span<const std::byte> bytes,
                              ChecksumOrder order) {
  const bool swap =
      (order == ChecksumOrder::kLittleEndian) != (std::endian::native == std::endian::little);
  for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    checksum.first += Load32(&bytes[i], swap) + checksum.second;
    checksum.second += Load32(&bytes[i + 4], swap) + checksum.first;
  }
  return checksum;
}

}  // namespace capstan::writers
