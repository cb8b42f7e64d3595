// SqliteReadBackCheck: verifies of the pages of a backup what SqlitePageCheck verifies of those of
// a database, with nothing but the pages as they come: each once, in any order, and none can be
// read again. What a page says of others is kept until the roots are known:
//
//   interior pages   their children          trunks of free pages   the pages they list
//   the schema       the roots it names      pointer maps           what cannot be
//
// Whether the database has the checksums of the checksum VFS is decided at the end as well: by most
// of the pages that were written. Pages that come before the first one are judged as if no bytes
// were reserved in them, and not as a pointer map.
//
// Memory: one byte per page and 4 for each child of an interior page, at most 17 per page. Threads:
// as PageCheck.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/sqlite/page_assembler.h"
#include "server/writers/sqlite/page_lists.h"
#include "server/writers/sqlite/sqlite_page_map.h"
#include "vdi/base/mutex.h"

namespace capstan::writers {

class SqliteReadBackCheck final : public PageCheck {
 public:
  // kInvalidArgument if `files` is not the one file of a database.
  static Result<std::unique_ptr<PageCheck>> Begin(std::span<const DatabaseFile> files,
                                                  PageErrorHandler on_page_error);

  Status Take(const Extent& extent, std::span<const std::byte> bytes) override;
  void Miss(std::uint32_t file_index, std::uint64_t offset, std::uint64_t length) override;
  Status Finish() override;

 private:
  struct PageRange {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
  };

  SqliteReadBackCheck(const DatabaseFile& file, std::uint32_t page_count,
                      PageErrorHandler on_page_error);

  Status TakePage(std::uint32_t page, std::span<const std::byte> bytes);
  void TakeFirstPage(std::span<const std::byte> bytes);
  void TakeChecksum(std::uint32_t page, std::span<const std::byte> bytes);
  void KeepTrunk(std::uint32_t page, std::span<const std::byte> bytes);
  void KeepChildren(std::uint32_t page, std::span<const std::byte> bytes);
  void KeepRoots(std::uint32_t page, std::span<const std::byte> bytes);
  void NoteFault(std::uint32_t page, std::string cause) CAPSTAN_EXCLUDES(mutex_);

  Status Tell(std::uint32_t page, const std::string& cause) const;
  Status FinishChecksums();
  Status FinishFaults() CAPSTAN_EXCLUDES(mutex_);
  Status FinishFreeList();
  Result<std::vector<SqliteRoot>> FinishRoots();

  const DatabaseFile file_;
  const PageErrorHandler on_page_error_;
  SqlitePageMap map_;
  PageAssembler assembler_;
  std::vector<std::byte> header_;  // of page 1, if it is one; written by whoever takes that page
  std::vector<PageRange> missed_;

  std::atomic<std::uint64_t> written_pages_{0};    // of those whose checksum was looked at
  std::atomic<std::uint64_t> right_checksums_{0};  // likewise
  PageLists children_;
  PageLists trunks_;  // the next one, then the leaves
  PageLists roots_;   // page and kind, one after the other
  Mutex mutex_;
  std::vector<std::pair<std::uint32_t, std::string>> faults_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::writers
