#include "server/writers/byte_ranges.h"

#include <algorithm>
#include <iterator>

#include "vdi/base/check.h"

namespace capstan::writers {

ByteRanges::Ends::const_iterator ByteRanges::FirstBehind(std::uint64_t offset) const {
  const auto behind = ends_.upper_bound(offset);
  if (behind == ends_.begin()) {
    return behind;
  }
  const auto before = std::prev(behind);
  return before->second > offset ? before : behind;
}

bool ByteRanges::Overlaps(Range range) const {
  const auto found = FirstBehind(range.begin);
  return found != ends_.end() && found->first < range.end;
}

bool ByteRanges::Add(Range range) {
  CAPSTAN_CHECK(range.begin < range.end);
  if (Overlaps(range)) {
    return false;
  }
  const auto behind = ends_.upper_bound(range.begin);
  const auto before = behind == ends_.begin() ? ends_.end() : std::prev(behind);
  if (behind != ends_.end() && behind->first == range.end) {
    range.end = behind->second;
    ends_.erase(behind);
  }
  if (before != ends_.end() && before->second == range.begin) {
    before->second = range.end;
  } else {
    ends_.emplace(range.begin, range.end);
  }
  return true;
}

std::optional<ByteRanges::Range> ByteRanges::NextGap(Range within) const {
  auto next = FirstBehind(within.begin);
  // No two touch, so that behind one there is a gap.
  if (next != ends_.end() && next->first <= within.begin) {
    within.begin = next->second;
    ++next;
  }
  if (within.begin >= within.end) {
    return std::nullopt;
  }
  if (next != ends_.end()) {
    within.end = std::min(within.end, next->first);
  }
  return within;
}

std::uint64_t ByteRanges::CountIn(Range within) const {
  std::uint64_t count = 0;
  for (auto next = FirstBehind(within.begin); next != ends_.end() && next->first < within.end;
       ++next) {
    count += std::min(within.end, next->second) - std::max(within.begin, next->first);
  }
  return count;
}

}  // namespace capstan::writers
