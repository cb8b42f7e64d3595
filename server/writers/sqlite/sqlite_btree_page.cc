#include "server/writers/sqlite/sqlite_btree_page.h"

#include <algorithm>
#include <cstring>

#include "server/writers/sqlite/sqlite_format.h"

namespace capstan::writers {
namespace {

constexpr std::size_t kCellSizeMin = 4;  // a cell that is freed must have room for a free block

std::uint32_t Load16(const std::byte* bytes) {
  std::uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return __builtin_bswap16(value);
}

std::size_t HeaderSize(BtreePage type) {
  return IsInterior(type) ? 12 : 8;
}

// Free blocks form a chain in ascending order, not nearer than 4 bytes to one another.
bool FreeBlocksAreSane(const BtreeBytes& bytes, std::size_t first, std::size_t content_start) {
  const std::byte* page = bytes.page.data();
  std::size_t block = first;
  std::size_t earliest = content_start;
  while (block != 0) {
    if (block < earliest || block + kCellSizeMin > bytes.usable_size) {
      return false;
    }
    const std::size_t size = Load16(page + block + 2);
    if (size < kCellSizeMin || block + size > bytes.usable_size) {
      return false;
    }
    earliest = block + size + kCellSizeMin;
    block = Load16(page + block);
  }
  return true;
}

}  // namespace

BtreePage TypeOf(const BtreeBytes& bytes) {
  switch (std::to_integer<unsigned>(bytes.page[bytes.header_offset])) {
    case 2:
      return BtreePage::kIndexInterior;
    case 5:
      return BtreePage::kTableInterior;
    case 10:
      return BtreePage::kIndexLeaf;
    case 13:
      return BtreePage::kTableLeaf;
    default:
      return BtreePage::kNone;
  }
}

bool BtreePageIsSane(const BtreeBytes& bytes) {
  const std::byte* header = bytes.page.data() + bytes.header_offset;
  const std::size_t cell_count = Load16(header + 3);
  const std::size_t pointers = bytes.header_offset + HeaderSize(TypeOf(bytes));
  const std::size_t pointers_end = pointers + 2 * cell_count;
  std::size_t content_start = Load16(header + 5);
  content_start = content_start == 0 ? 65536 : content_start;
  if (pointers_end > content_start || content_start > bytes.usable_size) {
    return false;
  }
  // All at once: a branch per cell would cost more than the rest.
  std::uint32_t lowest = 0xFFFF;
  std::uint32_t highest = 0;
  for (std::size_t at = pointers; at < pointers_end; at += 2) {
    const std::uint32_t cell = Load16(bytes.page.data() + at);
    lowest = std::min(lowest, cell);
    highest = std::max(highest, cell);
  }
  if (cell_count > 0 && (lowest < content_start || highest + kCellSizeMin > bytes.usable_size)) {
    return false;
  }
  return FreeBlocksAreSane(bytes, Load16(header + 1), content_start);
}

std::uint32_t CellCount(const BtreeBytes& bytes) {
  return Load16(bytes.page.data() + bytes.header_offset + 3);
}

std::uint32_t ChildCount(const BtreeBytes& bytes) {
  return CellCount(bytes) + 1;  // one more on the right
}

std::uint32_t Child(const BtreeBytes& bytes, std::uint32_t index) {
  const std::byte* header = bytes.page.data() + bytes.header_offset;
  if (index + 1 == ChildCount(bytes)) {
    return LoadBigEndian32(header + 8);
  }
  return LoadBigEndian32(bytes.page.data() + Load16(header + 12 + std::size_t{2} * index));
}

}  // namespace capstan::writers
