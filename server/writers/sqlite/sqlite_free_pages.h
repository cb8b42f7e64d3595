// SqliteFreePages: what of a database is of no use to anybody: the leaves of its list of free
// pages, and what stands in the list's other pages, the trunks, behind the numbers of their leaves.
// What once stood there, rows that were deleted for example, need not be in a backup: SQLite does
// not read a free page, and when it makes a page of something else, it writes all of it.
//
// A list that is not sound in every respect counts as empty, so that a page is taken for a free one
// only if there is no doubt that the database says so.
//
// Memory: a bit per page of the database if any is free (two until all are found), and 8 bytes per
// trunk. Threads: constant after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "vdi/base/status.h"

namespace capstan::writers {

class SqliteFreePages {
 public:
  // Fills `target` with the database from byte `offset` on.
  using ReadAt = std::function<Status(std::uint64_t offset, std::span<std::byte> target)>;

  // Reads page 1 and the trunks. Errors are those of `read`.
  static Result<SqliteFreePages> Find(std::uint32_t page_size, std::uint32_t page_count,
                                      const ReadAt& read);

  // Whether the page is a leaf: nothing in it counts.
  bool Has(std::uint32_t page) const { return page < leaves_.size() && leaves_[page]; }
  // The list was sound.
  bool sound() const { return sound_; }

  // `bytes` are those of the database from `offset` on: what of them does not count becomes zeros.
  void Clear(std::uint64_t offset, std::span<std::byte> bytes) const;

 private:
  struct Trunk {
    std::uint32_t page = 0;
    std::uint32_t used = 0;  // bytes, from its beginning
  };

  explicit SqliteFreePages(std::uint32_t page_size) : page_size_(page_size) {}

  std::uint32_t page_size_;
  std::vector<bool> leaves_;  // by page number; empty if the list is
  // By page. None if bytes are reserved in each page: what those hold, a checksum for example, may
  // depend on all others, and trunks are read.
  std::vector<Trunk> trunks_;
  bool sound_ = true;
};

}  // namespace capstan::writers
