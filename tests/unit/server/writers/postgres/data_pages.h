// Pages of relations, made for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "server/writers/postgres/page_checksum.h"

namespace capstan::writers::test_pages {

inline constexpr std::size_t kPageBytes = 8192;

inline void SetNumber(std::vector<std::byte>& page, std::size_t offset, std::uint16_t value) {
  std::memcpy(page.data() + offset, &value, sizeof(value));
}

// A page with a sane header and a right checksum.
inline std::vector<std::byte> MakePage(Lsn lsn, std::uint32_t block, std::byte fill) {
  std::vector<std::byte> page(kPageBytes, fill);
  const auto high = static_cast<std::uint32_t>(lsn.value >> 32);
  const auto low = static_cast<std::uint32_t>(lsn.value);
  std::memcpy(page.data(), &high, sizeof(high));
  std::memcpy(page.data() + 4, &low, sizeof(low));
  SetNumber(page, 12, 28);
  SetNumber(page, 14, 4096);
  SetNumber(page, 16, kPageBytes);
  SetNumber(page, 8, ComputePageChecksum(page, block));
  return page;
}

}  // namespace capstan::writers::test_pages
