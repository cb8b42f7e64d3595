// PageLists: lists of numbers that pages hold, kept while pages go by once, until it is known whose
// are wanted. Many pages only look as if they had one.
//
// Memory: 4 bytes per number and 16 per list, up to a limit; what would go beyond is not kept.
// Threads: Keep from several at once, the rest from one when all have been kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vdi/base/mutex.h"

namespace capstan::writers {

class PageLists {
 public:
  explicit PageLists(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  void Keep(std::uint32_t page, std::span<const std::uint32_t> numbers) CAPSTAN_EXCLUDES(mutex_);

  // All that were handed in are there.
  bool complete() const CAPSTAN_EXCLUDES(mutex_);
  // Before the first Find.
  void Sort() CAPSTAN_EXCLUDES(mutex_);
  // The list of the page, until the next Keep.
  std::optional<std::span<const std::uint32_t>> Find(std::uint32_t page) const
      CAPSTAN_EXCLUDES(mutex_);

 private:
  struct List {
    std::uint32_t page = 0;
    std::uint32_t count = 0;
    std::size_t first = 0;  // in numbers_
  };

  const std::size_t bytes_max_;
  mutable Mutex mutex_;
  std::vector<List> lists_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<std::uint32_t> numbers_ CAPSTAN_GUARDED_BY(mutex_);
  bool complete_ CAPSTAN_GUARDED_BY(mutex_) = true;
};

}  // namespace capstan::writers
