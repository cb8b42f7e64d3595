// SqlitePageMap: one byte for each page of a database, with what the page turned out to be and what
// its parents in the b-trees, the schema and the list of free pages say that it is. What fits
// together is sound, in whatever order the pages came.
//
// A page that nothing refers to may hold anything, also what looks like a page of a b-tree. So a
// page that does not fit is called bad only if it is reached from a root.
//
// Threads: NoteBtreePage, NoteBadChecksum, IsPointerMap and the judging of single pages from
// several at once, behind UseHeader or before it; the rest from one.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/writers/sqlite/sqlite_btree_page.h"
#include "server/writers/sqlite/sqlite_format.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// Called for a bad page with its number, from 1, and what is wrong with it. An error ends the
// check.
using OnBadSqlitePage = std::function<Status(std::uint32_t page, const std::string& cause)>;

inline constexpr char kWrongChecksum[] = "its checksum is wrong";

class SqlitePageMap {
 public:
  SqlitePageMap(std::uint32_t page_size, std::uint32_t page_count);

  // Page 1. Until then the database counts as one without reserved bytes and pointer map. Once.
  void UseHeader(std::span<const std::byte> first_page);
  bool has_header() const { return has_header_.load(std::memory_order_acquire); }
  // Whether pages have room for the checksums of the checksum VFS, which may serve anything else.
  bool may_have_checksums() const;

  std::uint32_t page_size() const { return page_size_; }
  std::uint32_t page_count() const { return page_count_; }
  bool in_file(std::uint32_t page) const { return page >= 1 && page <= page_count_; }
  bool HasBytesOfLocks(std::uint32_t page) const;
  bool IsPointerMap(std::uint32_t page) const;
  BtreeBytes Btree(std::uint32_t page, std::span<const std::byte> bytes) const;

  // Of one page. A page that was never written is a hole, and has no checksum.
  static bool AllZero(std::span<const std::byte> bytes);
  static bool ChecksumIsRight(std::span<const std::byte> bytes);
  // What is wrong with a page of the pointer map; nothing if nothing is.
  std::optional<std::string> FaultOfPointerMap(std::uint32_t page,
                                               std::span<const std::byte> bytes) const;
  // Nothing if the page cannot be one.
  std::optional<SqliteTrunk> ParseTrunk(std::span<const std::byte> bytes) const;

  // Notes what the page is, and of an interior one what its children must be. True if it is
  // interior and sane.
  bool NoteBtreePage(std::uint32_t page, std::span<const std::byte> bytes);
  // What such a page says of others counts for nothing, and nothing more is said of it.
  void NoteBadChecksum(std::uint32_t page);
  bool has_bad_checksum(std::uint32_t page) const;
  void ForgetBadChecksum(std::uint32_t page);
  // Notes what is in the list that page 1 begins, and reports what cannot be. `trunk_at` gives the
  // trunk on a page; nothing if the page cannot be one.
  using TrunkAt = std::function<Result<std::optional<SqliteTrunk>>(std::uint32_t page)>;
  Status WalkFreeList(std::span<const std::byte> first_page, const TrunkAt& trunk_at,
                      const OnBadSqlitePage& on_bad_page);
  // Something says that the page is one of such a tree.
  void Expect(std::uint32_t page, bool table);
  bool IsTablePage(std::uint32_t page) const;

  // Whether every page is what all that refer to it say.
  bool AllFit() const;
  // Walks the trees of `roots` down to the leaves and reports what does not fit there.
  // `children_of` adds the children of an interior page; none, if they are not known.
  using ChildrenOf =
      std::function<Status(std::uint32_t page, std::vector<std::uint32_t>* children)>;
  Status Confirm(const std::vector<SqliteRoot>& roots, const ChildrenOf& children_of,
                 const OnBadSqlitePage& on_bad_page) const;

 private:
  // False if the page is not in the file or was free already.
  bool NoteFree(std::uint32_t page);
  bool Fits(std::uint32_t page) const;
  std::string CauseOf(std::uint32_t page) const;
  std::uint8_t Known(std::uint32_t page) const {
    return pages_[page - 1].load(std::memory_order_relaxed);
  }
  void Add(std::uint32_t page, unsigned bits) {
    pages_[page - 1].fetch_or(static_cast<std::uint8_t>(bits), std::memory_order_relaxed);
  }

  const std::uint32_t page_size_;
  const std::uint32_t page_count_;
  std::unique_ptr<std::atomic<std::uint8_t>[]> pages_;  // page 1 first

  // Written once, before has_header_ is set (release); read after it was seen (acquire).
  std::size_t reserved_ = 0;  // bytes at the end of every page
  bool has_pointer_map_ = false;
  std::atomic<bool> has_header_{false};
};

}  // namespace capstan::writers
