// One page of an SQLite b-tree, as far as it can be judged by itself. (SQLite documentation,
// "Database File Format", section 1.6.)
//
// Threads: any; stateless.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace capstan::writers {

enum class BtreePage : std::uint8_t {
  kNone = 0,  // does not claim to be one
  kIndexInterior = 2,
  kTableInterior = 5,
  kIndexLeaf = 10,
  kTableLeaf = 13,
};

constexpr bool IsTable(BtreePage type) {
  return type == BtreePage::kTableInterior || type == BtreePage::kTableLeaf;
}
constexpr bool IsInterior(BtreePage type) {
  return type == BtreePage::kIndexInterior || type == BtreePage::kTableInterior;
}

// A page and what of it the b-tree uses.
struct BtreeBytes {
  std::span<const std::byte> page;
  std::size_t header_offset = 0;  // 100 on page 1
  std::size_t usable_size = 0;    // of the page
};

BtreePage TypeOf(const BtreeBytes& bytes);

// Whether header, cell pointers and free blocks are what they may be. REQUIRES: a type.
bool BtreePageIsSane(const BtreeBytes& bytes);

std::uint32_t CellCount(const BtreeBytes& bytes);

// The number of children of an interior page that is sane, and the page number of each.
std::uint32_t ChildCount(const BtreeBytes& bytes);
std::uint32_t Child(const BtreeBytes& bytes, std::uint32_t index);

}  // namespace capstan::writers
