// ByteRanges: which bytes of a file, as ranges; those that touch are one.
//
// Memory: a node of a tree per range that stands apart. Threads: as a container.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

namespace capstan::writers {

class ByteRanges {
 public:
  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;  // behind the last byte
    friend bool operator==(const Range&, const Range&) = default;
  };

  // False: one of these bytes is there already, and nothing has changed.
  // REQUIRES: range.begin < range.end
  bool Add(Range range);
  bool Overlaps(Range range) const;
  // The first stretch of `within` of which nothing is there; nullopt: all of it is.
  std::optional<Range> NextGap(Range within) const;
  // How many bytes of `within` are there.
  std::uint64_t CountIn(Range within) const;
  std::size_t range_count() const { return ends_.size(); }

 private:
  using Ends = std::map<std::uint64_t, std::uint64_t>;

  // The first range that ends behind `offset`.
  Ends::const_iterator FirstBehind(std::uint64_t offset) const;

  Ends ends_;  // by begin; no two touch
};

}  // namespace capstan::writers
