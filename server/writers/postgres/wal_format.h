// How PostgreSQL lays out its write-ahead log: segment files, pages, records; names of segments.
//
// The layout is PostgreSQL's own, in the byte order of the machine, and is the same from version 13
// to 16 as far as it is read here. Everything that is parsed is untrusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "server/writers/chain.h"

namespace capstan::writers {

inline constexpr std::uint32_t kWalSegmentSizeMin = 1U << 20;
inline constexpr std::uint32_t kWalSegmentSizeMax = 1U << 30;
inline constexpr std::uint32_t kWalPageSize = 8192;
inline constexpr std::size_t kWalPageHeaderSize = 24;
inline constexpr std::size_t kWalLongPageHeaderSize = 40;  // of a segment's first page
inline constexpr std::size_t kWalRecordHeaderSize = 24;
inline constexpr std::uint64_t kWalAlignment = 8;  // of a record's beginning

inline constexpr std::uint16_t kWalPageContinues = 0x0001;   // begins amid a record
inline constexpr std::uint16_t kWalPageLongHeader = 0x0002;  // has a long header
inline constexpr std::uint16_t kWalPageOverwrites = 0x0008;  // the record before it was given up
inline constexpr std::uint16_t kWalPageKnownFlags = 0x000F;

struct WalPageHeader {
  std::uint16_t magic = 0;  // of PostgreSQL's version
  std::uint16_t flags = 0;
  std::uint32_t timeline = 0;
  Lsn address;
  std::uint32_t remaining = 0;  // bytes of the record that continues
  // Of a long header.
  std::uint64_t system_identifier = 0;
  std::uint32_t segment_size = 0;
  std::uint32_t page_size = 0;

  std::size_t size() const {
    return (flags & kWalPageLongHeader) != 0 ? kWalLongPageHeaderSize : kWalPageHeaderSize;
  }
};

// nullopt: `page` is too short for a header.
std::optional<WalPageHeader> ParseWalPageHeader(std::span<const std::byte> page);

struct WalRecordHeader {
  std::uint32_t length = 0;  // of all of it
  std::uint32_t transaction = 0;
  Lsn previous;
  std::uint8_t info = 0;
  std::uint8_t resource_manager = 0;
  std::uint32_t crc32c = 0;  // of what follows the header, then of the header before this
};
WalRecordHeader ParseWalRecordHeader(std::span<const std::byte, kWalRecordHeaderSize> bytes);

// CRC32C as PostgreSQL keeps it in records and in its control file, continuing from `crc` (0 at the
// start).
std::uint32_t WalCrc32c(std::uint32_t crc, std::span<const std::byte> bytes);

// A power of two from 1 MiB to 1 GiB.
bool IsWalSegmentSize(std::uint64_t size);

// "000000010000000000000003", the file of the segment that holds `lsn`.
std::string WalSegmentName(std::uint32_t timeline, Lsn lsn, std::uint32_t segment_size);

struct WalSegment {
  std::uint32_t timeline = 0;
  Lsn begin;
};
// nullopt: not the name of a segment of this size.
std::optional<WalSegment> ParseWalSegmentName(std::string_view name, std::uint32_t segment_size);

inline Lsn WalSegmentBegin(Lsn lsn, std::uint32_t segment_size) {
  return {lsn.value - lsn.value % segment_size};
}

// "0/3000148", as PostgreSQL prints and reads LSNs.
std::string PostgresLsnText(Lsn lsn);
std::optional<Lsn> ParsePostgresLsn(std::string_view text);

// PostgreSQL counts microseconds from 2000-01-01.
inline constexpr std::int64_t kPostgresEpochUnixUs = 946'684'800'000'000;

}  // namespace capstan::writers
