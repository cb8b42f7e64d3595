#include "server/writers/postgres/wal_format.h"

#include <bit>
#include <charconv>
#include <cstring>

#include <fmt/format.h>
#include <isa-l/crc.h>

namespace capstan::writers {
namespace {

template <typename T>
T Load(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

// The whole of `text` as a hexadecimal number of at most 32 bits, in PostgreSQL's capitals.
std::optional<std::uint32_t> ParseHex(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

std::optional<WalPageHeader> ParseWalPageHeader(std::span<const std::byte> page) {
  if (page.size() < kWalPageHeaderSize) {
    return std::nullopt;
  }
  WalPageHeader header{.magic = Load<std::uint16_t>(page, 0),
                       .flags = Load<std::uint16_t>(page, 2),
                       .timeline = Load<std::uint32_t>(page, 4),
                       .address = {Load<std::uint64_t>(page, 8)},
                       .remaining = Load<std::uint32_t>(page, 16)};
  if ((header.flags & kWalPageLongHeader) != 0) {
    if (page.size() < kWalLongPageHeaderSize) {
      return std::nullopt;
    }
    header.system_identifier = Load<std::uint64_t>(page, 24);
    header.segment_size = Load<std::uint32_t>(page, 32);
    header.page_size = Load<std::uint32_t>(page, 36);
  }
  return header;
}

WalRecordHeader ParseWalRecordHeader(std::span<const std::byte, kWalRecordHeaderSize> bytes) {
  return {.length = Load<std::uint32_t>(bytes, 0),
          .transaction = Load<std::uint32_t>(bytes, 4),
          .previous = {Load<std::uint64_t>(bytes, 8)},
          .info = Load<std::uint8_t>(bytes, 16),
          .resource_manager = Load<std::uint8_t>(bytes, 17),
          .crc32c = Load<std::uint32_t>(bytes, 20)};
}

std::uint32_t WalCrc32c(std::uint32_t crc, std::span<const std::byte> bytes) {
  // ISA-L takes the data as if it might change it, and an int as length: pieces are far smaller.
  auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
  return ~crc32_iscsi(data, static_cast<int>(bytes.size()), ~crc);
}

bool IsWalSegmentSize(std::uint64_t size) {
  return std::has_single_bit(size) && size >= kWalSegmentSizeMin && size <= kWalSegmentSizeMax;
}

std::string WalSegmentName(std::uint32_t timeline, Lsn lsn, std::uint32_t segment_size) {
  const std::uint64_t number = lsn.value / segment_size;
  const std::uint64_t per_id = (std::uint64_t{1} << 32) / segment_size;
  return fmt::format("{:08X}{:08X}{:08X}", timeline, number / per_id, number % per_id);
}

std::optional<WalSegment> ParseWalSegmentName(std::string_view name, std::uint32_t segment_size) {
  if (name.size() != 24) {
    return std::nullopt;
  }
  const auto timeline = ParseHex(name.substr(0, 8));
  const auto high = ParseHex(name.substr(8, 8));
  const auto low = ParseHex(name.substr(16, 8));
  if (!timeline || !high || !low) {
    return std::nullopt;
  }
  const std::uint64_t per_id = (std::uint64_t{1} << 32) / segment_size;
  const WalSegment segment{.timeline = *timeline,
                           .begin = {(*high * per_id + *low) * segment_size}};
  // Small letters, and numbers that carry over, are no names of PostgreSQL's.
  if (*timeline == 0 || WalSegmentName(*timeline, segment.begin, segment_size) != name) {
    return std::nullopt;
  }
  return segment;
}

std::string PostgresLsnText(Lsn lsn) {
  return fmt::format("{:X}/{:X}", lsn.value >> 32, lsn.value & 0xFFFF'FFFF);
}

std::optional<Lsn> ParsePostgresLsn(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return std::nullopt;
  }
  const auto high = ParseHex(text.substr(0, slash));
  const auto low = ParseHex(text.substr(slash + 1));
  if (!high || !low) {
    return std::nullopt;
  }
  return Lsn{std::uint64_t{*high} << 32 | *low};
}

}  // namespace capstan::writers
