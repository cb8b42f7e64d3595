#include "server/writers/sqlite/sqlite_free_pages.h"

#include <algorithm>
#include <optional>

#include "server/writers/sqlite/sqlite_format.h"

namespace capstan::writers {
namespace {

constexpr std::uint32_t kTrunkHeaderBytes = 8;

// What page 1 says of the list, and which pages were in it so far.
class FreeList {
 public:
  FreeList(std::span<const std::byte> first_page, std::uint32_t page_count)
      : page_size_(static_cast<std::uint32_t>(first_page.size())),
        page_count_(page_count),
        stated_(LoadBigEndian32(&first_page[36])),
        reserved_(std::to_integer<std::size_t>(first_page[20])),
        has_pointer_map_(LoadBigEndian32(&first_page[52]) != 0),
        taken_(std::size_t{page_count} + 1) {}

  std::size_t reserved() const { return reserved_; }
  bool complete() const { return count_ == stated_; }

  // False if the page cannot be free, or was in the list already.
  bool Take(std::uint32_t page) {
    if (page < 2 || page > page_count_ || taken_[page] || HasSqliteLockBytes(page, page_size_) ||
        (has_pointer_map_ && IsSqlitePointerMap(page, page_size_, reserved_))) {
      return false;
    }
    taken_[page] = true;
    ++count_;
    return true;
  }

 private:
  const std::uint32_t page_size_;
  const std::uint32_t page_count_;
  const std::uint32_t stated_;
  const std::size_t reserved_;
  const bool has_pointer_map_;
  std::vector<bool> taken_;
  std::uint64_t count_ = 0;
};

}  // namespace

Result<SqliteFreePages> SqliteFreePages::Find(std::uint32_t page_size, std::uint32_t page_count,
                                              const ReadAt& read) {
  SqliteFreePages found(page_size);
  SqliteFreePages unsound(page_size);
  unsound.sound_ = false;
  std::vector<std::byte> page(page_size);
  CAPSTAN_RETURN_IF_ERROR(read(0, page));
  std::uint32_t next = LoadBigEndian32(&page[32]);
  if (next == 0) {
    return LoadBigEndian32(&page[36]) == 0 ? found : unsound;
  }
  FreeList list(page, page_count);
  found.leaves_.resize(std::size_t{page_count} + 1);
  while (next != 0) {
    if (!list.Take(next)) {
      return unsound;
    }
    CAPSTAN_RETURN_IF_ERROR(read(std::uint64_t{next - 1} * page_size, page));
    const std::optional<SqliteTrunk> trunk = ParseSqliteTrunk(page, list.reserved());
    if (!trunk ||
        !std::ranges::all_of(trunk->leaves, [&](std::uint32_t leaf) { return list.Take(leaf); })) {
      return unsound;
    }
    for (const std::uint32_t leaf : trunk->leaves) {
      found.leaves_[leaf] = true;
    }
    if (list.reserved() == 0) {
      const auto leaves = static_cast<std::uint32_t>(trunk->leaves.size());
      found.trunks_.push_back({.page = next, .used = kTrunkHeaderBytes + 4 * leaves});
    }
    next = trunk->next;
  }
  std::ranges::sort(found.trunks_, {}, &Trunk::page);
  return list.complete() ? found : unsound;
}

void SqliteFreePages::Clear(std::uint64_t offset, std::span<std::byte> bytes) const {
  if (leaves_.empty() || bytes.empty()) {
    return;
  }
  const std::uint64_t end = offset + bytes.size();
  const auto clear = [&](std::uint64_t from, std::uint64_t to) {
    from = std::max(from, offset);
    to = std::min(to, end);
    if (from < to) {
      std::ranges::fill(bytes.subspan(from - offset, to - from), std::byte{0});
    }
  };
  const auto first = static_cast<std::uint32_t>(offset / page_size_ + 1);
  const auto last = static_cast<std::uint32_t>((end - 1) / page_size_ + 1);
  for (std::uint32_t page = first; page <= last; ++page) {
    if (Has(page)) {
      clear(std::uint64_t{page - 1} * page_size_, std::uint64_t{page} * page_size_);
    }
  }
  for (auto trunk = std::ranges::lower_bound(trunks_, first, {}, &Trunk::page);
       trunk != trunks_.end() && trunk->page <= last; ++trunk) {
    clear(std::uint64_t{trunk->page - 1} * page_size_ + trunk->used,
          std::uint64_t{trunk->page} * page_size_);
  }
}

}  // namespace capstan::writers
