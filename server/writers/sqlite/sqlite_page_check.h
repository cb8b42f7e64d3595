// SqlitePageCheck: what BACKUP WITH CHECKSUM verifies of an SQLite database, from the pages as they
// go by: the checksums that the checksum VFS keeps, and the structure of every page whose role in
// the file is certain. What that is and what it is not: sqlite.md.
//
// The pages are seen once, in any order, but those that say what others are: the first one, the
// roots, and the trunks of the list of free pages are read from the database beforehand. A page
// that does not fit is looked for from the roots of all trees before it is called bad
// (SqlitePageMap).
//
// Memory: one byte per page. Threads: Take from several at once, the rest from one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "server/writers/sqlite/page_assembler.h"
#include "server/writers/sqlite/sqlite_format.h"
#include "server/writers/sqlite/sqlite_page_map.h"
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
    OnBadSqlitePage on_bad_page;
  };

  // Reads page 1 and the list of free pages.
  static Result<std::unique_ptr<SqlitePageCheck>> Begin(Source source);

  // The bytes of the database from `offset` on, every one of them once.
  Status Take(std::uint64_t offset, std::span<const std::byte> bytes);
  // All bytes have been taken.
  Status Finish();

 private:
  explicit SqlitePageCheck(Source source);

  Status ReadPage(std::uint32_t page, std::span<std::byte> target) const;
  Status BeginRoots();
  Status BeginFreeList(std::span<const std::byte> first_page);
  Status FindOutChecksums(std::span<const std::byte> first_page);
  Status TakePage(std::uint32_t page, std::span<const std::byte> bytes);

  Source source_;
  SqlitePageMap map_;
  PageAssembler assembler_;
  bool has_checksums_ = false;
};

}  // namespace capstan::writers
