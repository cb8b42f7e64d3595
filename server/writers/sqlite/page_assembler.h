// PageAssembler: whole pages out of stretches of a file that need not end where pages do. A page
// that lies within one stretch is handed on in place.
//
// Memory: the pages of which a part has come. Threads: Take from several at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class PageAssembler {
 public:
  explicit PageAssembler(std::uint32_t page_size) : page_size_(page_size) {}

  // The bytes of the file from `offset` on, every one of them once. Calls `on_page(number from 1,
  // bytes)` for each page that is complete with them; its error is this one's.
  template <typename OnPage>
  Status Take(std::uint64_t offset, std::span<const std::byte> bytes, const OnPage& on_page)
      CAPSTAN_EXCLUDES(mutex_) {
    while (!bytes.empty()) {
      const auto page = static_cast<std::uint32_t>(offset / page_size_ + 1);
      const std::size_t within = offset % page_size_;
      const std::size_t size = std::min<std::size_t>(bytes.size(), page_size_ - within);
      if (size == page_size_) {
        CAPSTAN_RETURN_IF_ERROR(on_page(page, bytes.first(size)));
      } else if (const std::vector<std::byte> whole = Add(page, within, bytes.first(size));
                 !whole.empty()) {
        CAPSTAN_RETURN_IF_ERROR(on_page(page, std::span(whole)));
      }
      offset += size;
      bytes = bytes.subspan(size);
    }
    return OkStatus();
  }

 private:
  struct Part {
    std::vector<std::byte> bytes;
    std::size_t filled = 0;
  };

  // The whole page once that is its last piece; empty before.
  std::vector<std::byte> Add(std::uint32_t page, std::size_t within,
                             std::span<const std::byte> piece) CAPSTAN_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    Part& part = parts_[page];
    part.bytes.resize(page_size_);
    std::copy(piece.begin(), piece.end(), part.bytes.begin() + static_cast<std::ptrdiff_t>(within));
    part.filled += piece.size();
    if (part.filled < page_size_) {
      return {};
    }
    std::vector<std::byte> whole = std::move(part.bytes);
    parts_.erase(page);
    return whole;
  }

  const std::uint32_t page_size_;
  Mutex mutex_;
  std::map<std::uint32_t, Part> parts_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::writers
