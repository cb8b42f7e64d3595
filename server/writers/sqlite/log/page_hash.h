// PageHasher: the hash by which a page is known to be the one of an earlier backup; and HashBytes,
// by which a record of ours is known to be whole.
//
// NH (the hash under UMAC, RFC 4418): pairs of 64-bit words are added to pairs of key words and
// multiplied, the products of 128 bits summed up. With random keys two different pages of one size
// have the same sum with a probability of at most 2^-64, whatever they hold: in a database of 1 TiB
// in which every page has changed, one change is overlooked with a probability below 2^-35. The key
// is drawn for every base, so that nobody can prepare pages that collide. No bound of this kind is
// needed for records, where only damage by accident counts; their key is fixed.
// Speed: one multiplication per 16 bytes, so memory is the limit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace capstan::writers {

struct PageHash {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  bool is_zero() const { return low == 0 && high == 0; }
  friend bool operator==(const PageHash&, const PageHash&) = default;
};

// Threads: constant after construction.
class PageHasher {
 public:
  static constexpr std::size_t kBytesMax = 65536;

  explicit PageHasher(std::uint64_t seed);

  // REQUIRES: bytes.size() is a multiple of 16, at most kBytesMax
  PageHash Hash(std::span<const std::byte> bytes) const;

 private:
  std::unique_ptr<std::array<std::uint64_t, kBytesMax / 8>> key_;
};

// Of any number of bytes.
std::uint64_t HashBytes(std::span<const std::byte> bytes);

}  // namespace capstan::writers
