// The checksum that PostgreSQL keeps of a data page, and what of a page's header can be judged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "server/writers/chain.h"

namespace capstan::writers {

constexpr std::size_t kDataPageHeaderBytes = 24;

struct DataPageHeader {
  Lsn lsn;  // of the end of the log record that changed it last
  std::uint16_t checksum = 0;
  std::uint16_t lower = 0;
  std::uint16_t upper = 0;
  std::uint16_t special = 0;

  // It has been added to its file, and nothing was ever put on it.
  bool is_new() const { return upper == 0; }
};

// REQUIRES: page.size() >= kDataPageHeaderBytes
DataPageHeader ReadDataPageHeader(std::span<const std::byte> page);

// `block` counts from the beginning of the relation's fork, over all its segments.
// REQUIRES: page.size() is a multiple of 128.
std::uint16_t ComputePageChecksum(std::span<const std::byte> page, std::uint32_t block);

bool IsAllZero(std::span<const std::byte> bytes);

}  // namespace capstan::writers
