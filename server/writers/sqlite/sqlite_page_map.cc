#include "server/writers/sqlite/sqlite_page_map.h"

#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace capstan::writers {
namespace {

// What is known of a page, as bits.
constexpr unsigned kTable = 1;          // it is a sane page of such a tree
constexpr unsigned kIndex = 2;          // likewise
constexpr unsigned kInterior = 4;       // it has children
constexpr unsigned kInsane = 8;         // it claims to be one, and is not sane
constexpr unsigned kFree = 16;          // the list of free pages has it
constexpr unsigned kExpectTable = 32;   // a parent has it among its children
constexpr unsigned kExpectIndex = 64;   // likewise
constexpr unsigned kBadChecksum = 128;  // was reported
constexpr std::size_t kReservedForChecksum = 8;
constexpr int kDepthMax = 40;  // of a tree: far more than any has

}  // namespace

SqlitePageMap::SqlitePageMap(std::uint32_t page_size, std::uint32_t page_count)
    : page_size_(page_size),
      page_count_(page_count),
      pages_(std::make_unique<std::atomic<std::uint8_t>[]>(page_count)) {}

void SqlitePageMap::UseHeader(std::span<const std::byte> first_page) {
  reserved_ = std::to_integer<std::size_t>(first_page[20]);
  has_pointer_map_ = LoadBigEndian32(&first_page[52]) != 0;
  has_header_.store(true, std::memory_order_release);
}

bool SqlitePageMap::may_have_checksums() const {
  return has_header() && reserved_ == kReservedForChecksum;
}

bool SqlitePageMap::HasBytesOfLocks(std::uint32_t page) const {
  return HasSqliteLockBytes(page, page_size_);
}

bool SqlitePageMap::IsPointerMap(std::uint32_t page) const {
  return has_header() && has_pointer_map_ && IsSqlitePointerMap(page, page_size_, reserved_);
}

BtreeBytes SqlitePageMap::Btree(std::uint32_t page, std::span<const std::byte> bytes) const {
  return {.page = bytes,
          .header_offset = page == 1 ? kSqliteHeaderBytes : 0,
          .usable_size = page_size_ - (has_header() ? reserved_ : 0)};
}

bool SqlitePageMap::AllZero(std::span<const std::byte> bytes) {
  return bytes[0] == std::byte{0} && std::memcmp(&bytes[0], &bytes[1], bytes.size() - 1) == 0;
}

// As the checksum VFS computes it: the sums of the WAL, little-endian, over all but their place.
bool SqlitePageMap::ChecksumIsRight(std::span<const std::byte> bytes) {
  const std::size_t covered = bytes.size() - kReservedForChecksum;
  const WalChecksum sum = ExtendWalChecksum({}, bytes.first(covered), ChecksumOrder::kLittleEndian);
  const std::byte* stored = bytes.data() + covered;
  return __builtin_bswap32(LoadBigEndian32(stored)) == sum.first &&
         __builtin_bswap32(LoadBigEndian32(stored + 4)) == sum.second;
}

std::optional<std::string> SqlitePageMap::FaultOfPointerMap(
    std::uint32_t page, std::span<const std::byte> bytes) const {
  constexpr unsigned kTypeMax = 5;
  const std::size_t entries = (page_size_ - reserved_) / 5;
  for (std::size_t i = 0; i < entries && in_file(page + 1 + static_cast<std::uint32_t>(i)); ++i) {
    const std::byte* entry = bytes.data() + i * 5;
    if (std::to_integer<unsigned>(entry[0]) > kTypeMax ||
        LoadBigEndian32(entry + 1) > page_count_) {
      return fmt::format("its entry for page {} in the pointer map cannot be", page + 1 + i);
    }
  }
  return std::nullopt;
}

std::optional<SqliteTrunk> SqlitePageMap::ParseTrunk(std::span<const std::byte> bytes) const {
  return ParseSqliteTrunk(bytes, reserved_);
}

void SqlitePageMap::Expect(std::uint32_t page, bool table) {
  Add(page, table ? kExpectTable : kExpectIndex);
}

bool SqlitePageMap::IsTablePage(std::uint32_t page) const {
  return (Known(page) & kTable) != 0;
}

void SqlitePageMap::NoteBadChecksum(std::uint32_t page) {
  Add(page, kBadChecksum);
}

bool SqlitePageMap::has_bad_checksum(std::uint32_t page) const {
  return (Known(page) & kBadChecksum) != 0;
}

void SqlitePageMap::ForgetBadChecksum(std::uint32_t page) {
  pages_[page - 1].fetch_and(static_cast<std::uint8_t>(~kBadChecksum), std::memory_order_relaxed);
}

bool SqlitePageMap::NoteFree(std::uint32_t page) {
  return in_file(page) &&
         (pages_[page - 1].fetch_or(kFree, std::memory_order_relaxed) & kFree) == 0;
}

Status SqlitePageMap::WalkFreeList(std::span<const std::byte> first_page, const TrunkAt& trunk_at,
                                   const OnBadSqlitePage& on_bad_page) {
  const std::uint32_t stated = LoadBigEndian32(&first_page[36]);
  std::uint32_t next = LoadBigEndian32(&first_page[32]);
  std::uint32_t owner = 1;  // of the pointer that is being followed
  std::uint64_t count = 0;
  while (next != 0) {
    if (!NoteFree(next)) {
      return on_bad_page(owner, fmt::format("its list of free pages goes to {}", next));
    }
    ++count;
    owner = next;
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<SqliteTrunk> trunk, trunk_at(owner));
    if (!trunk) {
      return on_bad_page(owner, "it cannot be a part of the list of free pages");
    }
    for (const std::uint32_t leaf : trunk->leaves) {
      if (!NoteFree(leaf)) {
        return on_bad_page(owner, fmt::format("its list of free pages has {}", leaf));
      }
      ++count;
    }
    next = trunk->next;
  }
  return count == stated
             ? OkStatus()
             : on_bad_page(
                   1, fmt::format("its header counts {} free pages, there are {}", stated, count));
}

// Overflow pages and free ones can look like anything; only what is expected of a page makes what
// is found here count.
bool SqlitePageMap::NoteBtreePage(std::uint32_t page, std::span<const std::byte> bytes) {
  const BtreeBytes btree = Btree(page, bytes);
  const BtreePage type = TypeOf(btree);
  if (type == BtreePage::kNone) {
    return false;
  }
  if (!BtreePageIsSane(btree)) {
    Add(page, kInsane);
    return false;
  }
  const bool interior = IsInterior(type);
  if (interior && (Known(page) & kFree) == 0) {
    const std::uint32_t count = ChildCount(btree);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t child = Child(btree, i);
      if (!in_file(child) || child == 1) {
        Add(page, kInsane);
        return false;
      }
      Expect(child, IsTable(type));
    }
  }
  Add(page, (IsTable(type) ? kTable : kIndex) | (interior ? kInterior : 0));
  return interior;
}

bool SqlitePageMap::Fits(std::uint32_t page) const {
  const unsigned known = Known(page);
  if ((known & (kExpectTable | kExpectIndex)) == 0 || (known & kBadChecksum) != 0) {
    return true;
  }
  const unsigned wanted =
      ((known & kExpectTable) != 0 ? kTable : 0) | ((known & kExpectIndex) != 0 ? kIndex : 0);
  return (known & (kTable | kIndex)) == wanted && (known & (kInsane | kFree)) == 0;
}

bool SqlitePageMap::AllFit() const {
  for (std::uint32_t page = 1; page <= page_count_; ++page) {
    if (!Fits(page)) {
      return false;
    }
  }
  return true;
}

std::string SqlitePageMap::CauseOf(std::uint32_t page) const {
  const unsigned known = Known(page);
  if ((known & kInsane) != 0) {
    return "its header, cell pointers or free blocks cannot be";
  }
  if ((known & kFree) != 0) {
    return "it is in use and in the list of free pages";
  }
  return (known & (kTable | kIndex)) == 0 ? "it is no page of a b-tree, and ought to be one"
                                          : "it is of another kind of b-tree than its parent";
}

Status SqlitePageMap::Confirm(const std::vector<SqliteRoot>& roots, const ChildrenOf& children_of,
                              const OnBadSqlitePage& on_bad_page) const {
  struct Pending {
    std::uint32_t page;
    int depth;
    bool table;
  };
  std::vector<Pending> pending;
  for (const SqliteRoot& root : roots) {
    if (in_file(root.page)) {
      pending.push_back({root.page, 0, root.kind == SqliteRoot::Kind::kTable});
    }
  }
  std::vector<bool> visited(page_count_);
  std::vector<std::uint32_t> children;
  while (!pending.empty()) {
    const Pending at = pending.back();
    pending.pop_back();
    const unsigned known = Known(at.page);
    // Of a bad checksum it has been told; what the page says of others counts for nothing.
    if (visited[at.page - 1] || at.depth > kDepthMax || (known & kBadChecksum) != 0) {
      continue;
    }
    visited[at.page - 1] = true;
    if ((known & (kInsane | kFree)) != 0 ||
        (known & (kTable | kIndex)) != (at.table ? kTable : kIndex)) {
      CAPSTAN_RETURN_IF_ERROR(on_bad_page(at.page, CauseOf(at.page)));
      continue;
    }
    if ((known & kInterior) == 0) {
      continue;
    }
    children.clear();
    CAPSTAN_RETURN_IF_ERROR(children_of(at.page, &children));
    for (const std::uint32_t child : children) {
      pending.push_back({child, at.depth + 1, at.table});
    }
  }
  return OkStatus();
}

}  // namespace capstan::writers
