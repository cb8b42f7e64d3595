#include "server/writers/sqlite/page_lists.h"

#include <algorithm>

namespace capstan::writers {

void PageLists::Keep(std::uint32_t page, std::span<const std::uint32_t> numbers) {
  MutexLock lock(mutex_);
  const std::size_t bytes = (lists_.size() + 1) * sizeof(List) +
                            (numbers_.size() + numbers.size()) * sizeof(std::uint32_t);
  if (bytes > bytes_max_) {
    complete_ = false;
    return;
  }
  lists_.push_back({.page = page,
                    .count = static_cast<std::uint32_t>(numbers.size()),
                    .first = numbers_.size()});
  numbers_.insert(numbers_.end(), numbers.begin(), numbers.end());
}

bool PageLists::complete() const {
  MutexLock lock(mutex_);
  return complete_;
}

void PageLists::Sort() {
  MutexLock lock(mutex_);
  std::sort(lists_.begin(), lists_.end(),
            [](const List& a, const List& b) { return a.page < b.page; });
}

std::optional<std::span<const std::uint32_t>> PageLists::Find(std::uint32_t page) const {
  MutexLock lock(mutex_);
  const auto found = std::lower_bound(lists_.begin(), lists_.end(), page,
                                      [](const List& a, std::uint32_t b) { return a.page < b; });
  if (found == lists_.end() || found->page != page) {
    return std::nullopt;
  }
  return std::span(numbers_).subspan(found->first, found->count);
}

}  // namespace capstan::writers
