// SqlitePageCheck: what BACKUP WITH CHECKSUM verifies of an SQLite database, from the pages as they
// go by: the checksums that the checksum VFS keeps, and the structure of every page whose role in
// the file is certain. What that is and what it is not: sqlite.md.
//
// The pages are seen once, in any order. What a page's parents say of it is kept in one byte per
// page and compared at the end. A page that does not fit is looked for from the roots of all trees
// before it is called bad, since a page that nothing refers to may hold anything.
//
// Memory: one byte per page. Threads: Take from several at once, the rest from one.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/writers/sqlite/sqlite_btree_page.h"
#include "server/writers/sqlite/sqlite_format.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class SqlitePageCheck {
 public:
  struct Source {
    std::uint32_t page_size = 0;
    std::uint32_t page_count = 0;
    std::vector<SqliteRoot> roots;  // without the schema's own, which is page 1
    // Fills `target` with the database from byte `offset` on.
    std::function<Status(std::uint64_t offset, std::span<std::byte> target)> read;
    // Called for every bad page with its number, from 1, and what is wrong with it. An error ends
    // the check.
    std::function<Status(std::uint32_t page, const std::string& cause)> on_bad_page;
  };

  // Reads page 1 and the list of free pages.
  static Result<std::unique_ptr<SqlitePageCheck>> Begin(Source source);

  // The bytes of the database from `offset` on, every one of them once.
  Status Take(std::uint64_t offset, std::span<const std::byte> bytes) CAPSTAN_EXCLUDES(mutex_);
  // All bytes have been taken.
  Status Finish();

 private:
  explicit SqlitePageCheck(Source source);

  Status ReadPage(std::uint32_t page, std::span<std::byte> target) const;
  Status BeginRoots();
  Status BeginFreeList(std::span<const std::byte> first_page);
  Status FindOutChecksums(std::span<const std::byte> first_page);
  Status TakePiece(std::uint64_t offset, std::span<const std::byte> piece) CAPSTAN_EXCLUDES(mutex_);
  Status TakePage(std::uint32_t page, std::span<const std::byte> bytes);
  Status TakeBtreePage(std::uint32_t page, std::span<const std::byte> bytes);
  Status TakePointerMap(std::uint32_t page, std::span<const std::byte> bytes);
  bool ChecksumIsRight(std::span<const std::byte> bytes) const;
  bool IsPointerMap(std::uint32_t page) const;
  bool HasBytesOfLocks(std::uint32_t page) const;
  bool in_file(std::uint32_t page) const { return page >= 1 && page <= source_.page_count; }
  BtreeBytes Btree(std::uint32_t page, std::span<const std::byte> bytes) const;
  void Expect(std::uint32_t page, bool table);
  // Whether the page is what all that refer to it say.
  bool Fits(std::uint32_t page) const;
  std::string CauseOf(std::uint32_t page) const;
  // Walks all trees down to the leaves and reports what does not fit there.
  Status Confirm();
  Status Descend(std::uint32_t root, bool table, std::vector<bool>* visited);

  Source source_;
  std::size_t usable_size_ = 0;
  bool has_checksums_ = false;
  bool has_pointer_map_ = false;
  std::unique_ptr<std::atomic<std::uint8_t>[]> pages_;  // what is known of each, page 1 first

  Mutex mutex_;
  // Pages that arrive in several pieces, with how much of them is there.
  struct Piecework {
    std::vector<std::byte> bytes;
    std::size_t filled = 0;
  };
  std::map<std::uint32_t, Piecework> pieces_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::writers
