// Media as SQL Server makes them, of any version, plain or compressed, for tests that must not
// depend on real ones. Byte layouts are those of server/media/sqlserver; that they are SQL Server's
// is what tests/conformance/sqlserver proves with real media.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace capstan::test {

struct SqlServerMediumOptions {
  int major = 13;                 // 9 = SQL Server 2005, 10, 11 ... 17
  int minor = 0;                  // 50 with 10: 2008 R2
  std::uint32_t mark_size = 512;  // 512 or 4096
  bool compressed = false;        // WITH COMPRESSION; not in version 9
  bool checksums = false;         // WITH CHECKSUM
  char type = 'D';                // D, I, L
  std::uint32_t sets = 1;
  std::uint32_t extents = 3;    // of 64 KiB, per data file and set
  std::uint64_t gap_bytes = 0;  // of page data in the last set that are not made: see SparseMedium
  std::uint16_t family_count = 1;
  std::uint16_t family_number = 1;
  std::string media_name;
  std::string media_password_md5;   // 16 bytes
  std::uint32_t extra_files = 0;    // data files beside the first one, to make configurations long
  std::uint8_t media_set = 0;       // tells media sets and their backup sets apart
  std::uint64_t expected_size = 0;  // BackupSize of a striped set; 0: of this family alone
};

// A medium of which `gap` bytes, which are zeros, stand at `gap_offset` and are not in `bytes`.
struct SparseMedium {
  std::vector<std::byte> bytes;
  std::uint64_t gap_offset = 0;
  std::uint64_t gap_bytes = 0;
  std::uint64_t data_size = 0;  // in front of the last set's final configuration
  std::uint64_t size() const { return bytes.size() + gap_bytes; }
};

// REQUIRES: gap_bytes is a multiple of 64 KiB.
SparseMedium MakeSqlServerMedium(const SqlServerMediumOptions& options);

}  // namespace capstan::test
