// What Capstan must know of SQLite's published file format: the database header, and the checksum
// that the WAL and the wal-index share. (SQLite documentation, "Database File Format" and "WAL-mode
// File Format".)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vdi/base/status.h"

namespace capstan::writers {

inline constexpr std::size_t kSqliteHeaderBytes = 100;
inline constexpr std::size_t kSqliteWalHeaderBytes = 32;
inline constexpr std::size_t kSqliteFrameHeaderBytes = 24;  // in front of each page of the WAL
inline constexpr std::uint64_t kSqlitePageCountMax = 4294967294;
// SQLite's locks are on bytes from here on: one PENDING, one RESERVED, 510 SHARED.
inline constexpr std::int64_t kSqliteLockBytesOffset = 0x40000000;
inline constexpr std::int64_t kSqliteLockBytesCount = 512;

using SqliteHeaderBytes = std::array<std::byte, kSqliteHeaderBytes>;

struct SqliteHeader {
  std::uint32_t page_size = 0;       // bytes
  bool wal = false;                  // the file asks its readers to use a WAL
  std::uint32_t change_counter = 0;  // raised by every commit of rollback-journal mode
  // Pages of the database, 0 where the last program to write the file did not keep the field; then
  // the size of the file counts.
  std::uint32_t page_count = 0;
  std::uint32_t version_number = 0;  // SQLITE_VERSION_NUMBER of the last program to write the file
};

// kDataLoss if the bytes are not the header of a database.
Result<SqliteHeader> ParseSqliteHeader(std::span<const std::byte, kSqliteHeaderBytes> bytes);

// The root of a b-tree, as the schema has it.
struct SqliteRoot {
  enum class Kind {
    kTable,         // keyed by rowid
    kIndex,         // of an index
    kTableOrIndex,  // perhaps of a table without rowid, whose b-tree is an index
  };
  std::uint32_t page = 0;
  Kind kind = Kind::kTable;
};

// A page of the list of free pages that names others.
struct SqliteTrunk {
  std::uint32_t next = 0;             // 0: the last one
  std::vector<std::uint32_t> leaves;  // what is in them is of no use to anybody
};
// Nothing if the page, of which the last `reserved` bytes are not SQLite's, cannot be one.
std::optional<SqliteTrunk> ParseSqliteTrunk(std::span<const std::byte> page, std::size_t reserved);

// SQLite uses no page that has the bytes of its locks.
bool HasSqliteLockBytes(std::uint32_t page, std::uint32_t page_size);
// Whether that is a page of the pointer map, in a database that has one (auto_vacuum).
bool IsSqlitePointerMap(std::uint32_t page, std::uint32_t page_size, std::size_t reserved);

// 3040001 -> "3.40.1"
std::string SqliteVersionText(std::uint32_t version_number);

std::uint32_t LoadBigEndian32(const std::byte* bytes);

enum class ChecksumOrder { kLittleEndian, kBigEndian };

// The running checksum of WAL and wal-index.
struct WalChecksum {
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  friend bool operator==(const WalChecksum&, const WalChecksum&) = default;
};

// Carries `checksum` on over `bytes`, whose size is a multiple of 8.
WalChecksum ExtendWalChecksum(WalChecksum checksum, std::span<const std::byte> bytes,
                              ChecksumOrder order);

}  // namespace capstan::writers
