#include "server/writers/sqlite/sqlite_page_check.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "server/writers/sqlite/sqlite_format.h"

namespace capstan::writers {
namespace {

// What is known of a page, as bits.
constexpr std::uint8_t kTable = 1;          // it is a sane page of such a tree
constexpr std::uint8_t kIndex = 2;          // likewise
constexpr std::uint8_t kInterior = 4;       // it has children
constexpr std::uint8_t kInsane = 8;         // it claims to be one, and is not sane
constexpr std::uint8_t kFree = 16;          // the list of free pages has it
constexpr std::uint8_t kExpectTable = 32;   // a parent has it among its children
constexpr std::uint8_t kExpectIndex = 64;   // likewise
constexpr std::uint8_t kBadChecksum = 128;  // was reported
constexpr std::size_t kReservedForChecksum = 8;
constexpr int kDepthMax = 40;  // of a tree: far more than any has
constexpr std::uint32_t kPagesProbed = 8;

bool AllZero(std::span<const std::byte> bytes) {
  return bytes[0] == std::byte{0} && std::memcmp(&bytes[0], &bytes[1], bytes.size() - 1) == 0;
}

}  // namespace

SqlitePageCheck::SqlitePageCheck(Source source)
    : source_(std::move(source)),
      pages_(std::make_unique<std::atomic<std::uint8_t>[]>(source_.page_count)) {}

Result<std::unique_ptr<SqlitePageCheck>> SqlitePageCheck::Begin(Source source) {
  std::unique_ptr<SqlitePageCheck> check(new SqlitePageCheck(std::move(source)));
  std::vector<std::byte> first(check->source_.page_size);
  CAPSTAN_RETURN_IF_ERROR(check->ReadPage(1, first));
  const std::size_t reserved = std::to_integer<std::size_t>(first[20]);
  check->usable_size_ = check->source_.page_size - reserved;
  check->has_pointer_map_ = LoadBigEndian32(&first[52]) != 0;
  if (reserved == kReservedForChecksum) {
    CAPSTAN_RETURN_IF_ERROR(check->FindOutChecksums(first));
  }
  CAPSTAN_RETURN_IF_ERROR(check->BeginFreeList(first));
  CAPSTAN_RETURN_IF_ERROR(check->BeginRoots());
  return check;
}

Status SqlitePageCheck::BeginRoots() {
  source_.roots.push_back({.page = 1, .kind = SqliteRoot::Kind::kTable});
  std::vector<std::byte> bytes(source_.page_size);
  for (SqliteRoot& root : source_.roots) {
    if (!in_file(root.page)) {
      CAPSTAN_RETURN_IF_ERROR(source_.on_bad_page(
          1, fmt::format("its schema names page {} of {}", root.page, source_.page_count)));
      continue;
    }
    if (root.kind == SqliteRoot::Kind::kTableOrIndex) {
      CAPSTAN_RETURN_IF_ERROR(ReadPage(root.page, bytes));
      root.kind = IsTable(TypeOf(Btree(root.page, bytes))) ? SqliteRoot::Kind::kTable
                                                           : SqliteRoot::Kind::kIndex;
    }
    Expect(root.page, root.kind == SqliteRoot::Kind::kTable);
  }
  return OkStatus();
}

Status SqlitePageCheck::ReadPage(std::uint32_t page, std::span<std::byte> target) const {
  return source_.read(std::uint64_t{page - 1} * source_.page_size, target);
}

// Eight reserved bytes may serve anything. They are checksums if those of the first pages are.
Status SqlitePageCheck::FindOutChecksums(std::span<const std::byte> first_page) {
  std::vector<std::byte> bytes(first_page.begin(), first_page.end());
  std::uint32_t right = 0;
  std::uint32_t written = 0;
  for (std::uint32_t page = 1; page <= std::min(kPagesProbed, source_.page_count); ++page) {
    CAPSTAN_RETURN_IF_ERROR(ReadPage(page, bytes));
    if (!AllZero(bytes)) {
      ++written;
      right += ChecksumIsRight(bytes) ? 1 : 0;
    }
  }
  has_checksums_ = right * 2 > written || (right > 0 && written <= 2);
  return OkStatus();
}

// As the checksum VFS computes it: the sums of the WAL, little-endian, over all but their place.
bool SqlitePageCheck::ChecksumIsRight(std::span<const std::byte> bytes) const {
  const std::size_t covered = bytes.size() - kReservedForChecksum;
  const WalChecksum sum = ExtendWalChecksum({}, bytes.first(covered), ChecksumOrder::kLittleEndian);
  const std::byte* stored = bytes.data() + covered;
  return __builtin_bswap32(LoadBigEndian32(stored)) == sum.first &&
         __builtin_bswap32(LoadBigEndian32(stored + 4)) == sum.second;
}

Status SqlitePageCheck::BeginFreeList(std::span<const std::byte> first_page) {
  std::uint32_t trunk = LoadBigEndian32(&first_page[32]);
  const std::uint32_t stated = LoadBigEndian32(&first_page[36]);
  std::uint32_t owner = 1;  // of the pointer that is being followed
  std::uint64_t count = 0;
  std::vector<std::byte> bytes(source_.page_size);
  const auto mark_free = [&](std::uint32_t page) {
    ++count;
    return in_file(page) && (pages_[page - 1].fetch_or(kFree) & kFree) == 0;
  };
  while (trunk != 0) {
    if (!mark_free(trunk)) {
      return source_.on_bad_page(owner, fmt::format("its list of free pages goes to {}", trunk));
    }
    CAPSTAN_RETURN_IF_ERROR(ReadPage(trunk, bytes));
    const std::uint32_t leaves = LoadBigEndian32(&bytes[4]);
    if (leaves > usable_size_ / 4 - 2) {
      return source_.on_bad_page(trunk, fmt::format("it lists {} free pages", leaves));
    }
    for (std::uint32_t i = 0; i < leaves; ++i) {
      const std::uint32_t leaf = LoadBigEndian32(&bytes[8 + std::size_t{4} * i]);
      if (!mark_free(leaf)) {
        return source_.on_bad_page(trunk, fmt::format("its list of free pages has {}", leaf));
      }
    }
    owner = trunk;
    trunk = LoadBigEndian32(&bytes[0]);
  }
  return count == stated
             ? OkStatus()
             : source_.on_bad_page(
                   1, fmt::format("its header counts {} free pages, there are {}", stated, count));
}

bool SqlitePageCheck::HasBytesOfLocks(std::uint32_t page) const {
  return page == static_cast<std::uint64_t>(kSqliteLockBytesOffset) / source_.page_size + 1;
}

// Page 2 and then one in front of as many pages as it has entries for.
bool SqlitePageCheck::IsPointerMap(std::uint32_t page) const {
  if (!has_pointer_map_ || page < 2) {
    return false;
  }
  const auto distance = static_cast<std::uint32_t>(usable_size_ / 5 + 1);
  const std::uint32_t map = (page - 2) / distance * distance + 2;
  return page == (HasBytesOfLocks(map) ? map + 1 : map);
}

BtreeBytes SqlitePageCheck::Btree(std::uint32_t page, std::span<const std::byte> bytes) const {
  return {.page = bytes,
          .header_offset = page == 1 ? kSqliteHeaderBytes : 0,
          .usable_size = usable_size_};
}

void SqlitePageCheck::Expect(std::uint32_t page, bool table) {
  pages_[page - 1].fetch_or(table ? kExpectTable : kExpectIndex, std::memory_order_relaxed);
}

Status SqlitePageCheck::Take(std::uint64_t offset, std::span<const std::byte> bytes) {
  const std::uint32_t page_size = source_.page_size;
  while (!bytes.empty()) {
    const std::size_t within = offset % page_size;
    const std::size_t size = std::min<std::size_t>(bytes.size(), page_size - within);
    if (size == page_size) {
      CAPSTAN_RETURN_IF_ERROR(
          TakePage(static_cast<std::uint32_t>(offset / page_size + 1), bytes.first(size)));
    } else {
      CAPSTAN_RETURN_IF_ERROR(TakePiece(offset, bytes.first(size)));
    }
    offset += size;
    bytes = bytes.subspan(size);
  }
  return OkStatus();
}

Status SqlitePageCheck::TakePiece(std::uint64_t offset, std::span<const std::byte> piece) {
  const auto page = static_cast<std::uint32_t>(offset / source_.page_size + 1);
  std::vector<std::byte> whole;
  {
    MutexLock lock(mutex_);
    Piecework& work = pieces_[page];
    work.bytes.resize(source_.page_size);
    std::copy(piece.begin(), piece.end(),
              work.bytes.begin() + static_cast<std::ptrdiff_t>(offset % source_.page_size));
    work.filled += piece.size();
    if (work.filled < source_.page_size) {
      return OkStatus();
    }
    whole = std::move(work.bytes);
    pieces_.erase(page);
  }
  return TakePage(page, whole);
}

Status SqlitePageCheck::TakePage(std::uint32_t page, std::span<const std::byte> bytes) {
  if (!in_file(page) || HasBytesOfLocks(page)) {
    return OkStatus();
  }
  // A page that was never written is a hole, and has no checksum either.
  if (has_checksums_ && !ChecksumIsRight(bytes) && !AllZero(bytes)) {
    pages_[page - 1].fetch_or(kBadChecksum, std::memory_order_relaxed);
    return source_.on_bad_page(page, "its checksum is wrong");
  }
  if (IsPointerMap(page)) {
    return TakePointerMap(page, bytes);
  }
  return TakeBtreePage(page, bytes);
}

// Overflow pages and free ones can look like anything; only what is expected of a page makes what
// is found here count.
Status SqlitePageCheck::TakeBtreePage(std::uint32_t page, std::span<const std::byte> bytes) {
  const BtreeBytes btree = Btree(page, bytes);
  const BtreePage type = TypeOf(btree);
  if (type == BtreePage::kNone) {
    return OkStatus();
  }
  std::atomic<std::uint8_t>& known = pages_[page - 1];
  if (!BtreePageIsSane(btree)) {
    known.fetch_or(kInsane, std::memory_order_relaxed);
    return OkStatus();
  }
  const bool interior = IsInterior(type);
  if (interior && (known.load(std::memory_order_relaxed) & kFree) == 0) {
    const std::uint32_t count = ChildCount(btree);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t child = Child(btree, i);
      if (!in_file(child) || child == 1) {
        known.fetch_or(kInsane, std::memory_order_relaxed);
        return OkStatus();
      }
      Expect(child, IsTable(type));
    }
  }
  known.fetch_or(
      static_cast<std::uint8_t>((IsTable(type) ? kTable : kIndex) | (interior ? kInterior : 0)),
      std::memory_order_relaxed);
  return OkStatus();
}

Status SqlitePageCheck::TakePointerMap(std::uint32_t page, std::span<const std::byte> bytes) {
  constexpr unsigned kTypeMax = 5;
  for (std::size_t i = 0; i < usable_size_ / 5 && in_file(page + 1 + static_cast<std::uint32_t>(i));
       ++i) {
    const std::byte* entry = bytes.data() + i * 5;
    const std::uint32_t parent = LoadBigEndian32(entry + 1);
    if (std::to_integer<unsigned>(entry[0]) > kTypeMax || parent > source_.page_count) {
      return source_.on_bad_page(
          page, fmt::format("its entry for page {} in the pointer map cannot be", page + 1 + i));
    }
  }
  return OkStatus();
}

bool SqlitePageCheck::Fits(std::uint32_t page) const {
  const std::uint8_t known = pages_[page - 1].load(std::memory_order_relaxed);
  if ((known & (kExpectTable | kExpectIndex)) == 0 || (known & kBadChecksum) != 0) {
    return true;
  }
  const std::uint8_t wanted = static_cast<std::uint8_t>(((known & kExpectTable) != 0 ? kTable : 0) |
                                                        ((known & kExpectIndex) != 0 ? kIndex : 0));
  return (known & (kTable | kIndex)) == wanted && (known & (kInsane | kFree)) == 0;
}

std::string SqlitePageCheck::CauseOf(std::uint32_t page) const {
  const std::uint8_t known = pages_[page - 1].load(std::memory_order_relaxed);
  if ((known & kInsane) != 0) {
    return "its header, cell pointers or free blocks cannot be";
  }
  if ((known & kFree) != 0) {
    return "it is in use and in the list of free pages";
  }
  return (known & (kTable | kIndex)) == 0 ? "it is no page of a b-tree, and ought to be one"
                                          : "it is of another kind of b-tree than its parent";
}

Status SqlitePageCheck::Finish() {
  for (std::uint32_t page = 1; page <= source_.page_count; ++page) {
    if (!Fits(page)) {
      return Confirm();
    }
  }
  return OkStatus();
}

Status SqlitePageCheck::Confirm() {
  std::vector<bool> visited(source_.page_count);
  for (const SqliteRoot& root : source_.roots) {
    if (in_file(root.page)) {
      CAPSTAN_RETURN_IF_ERROR(Descend(root.page, root.kind == SqliteRoot::Kind::kTable, &visited));
    }
  }
  return OkStatus();
}

Status SqlitePageCheck::Descend(std::uint32_t root, bool table, std::vector<bool>* visited) {
  std::vector<std::pair<std::uint32_t, int>> pending = {{root, 0}};
  std::vector<std::byte> bytes(source_.page_size);
  while (!pending.empty()) {
    const auto [page, depth] = pending.back();
    pending.pop_back();
    if ((*visited)[page - 1] || depth > kDepthMax) {
      continue;
    }
    (*visited)[page - 1] = true;
    const std::uint8_t known = pages_[page - 1].load(std::memory_order_relaxed);
    if ((known & kBadChecksum) != 0) {
      continue;  // has been reported; what it says of others counts for nothing
    }
    const std::uint8_t wanted = table ? kTable : kIndex;
    if ((known & (kInsane | kFree)) != 0 || (known & (kTable | kIndex)) != wanted) {
      CAPSTAN_RETURN_IF_ERROR(source_.on_bad_page(page, CauseOf(page)));
      continue;
    }
    if ((known & kInterior) == 0) {
      continue;
    }
    CAPSTAN_RETURN_IF_ERROR(ReadPage(page, bytes));
    const BtreeBytes btree = Btree(page, bytes);
    for (std::uint32_t i = 0; i < ChildCount(btree); ++i) {
      pending.emplace_back(Child(btree, i), depth + 1);
    }
  }
  return OkStatus();
}

}  // namespace capstan::writers
