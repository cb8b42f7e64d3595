#include "server/writers/sqlite/log/page_hash.h"

#include <algorithm>
#include <cstring>

namespace capstan::writers {
namespace {

__extension__ using Wide = unsigned __int128;

// SplitMix64: spreads a seed over as many words as are asked for.
std::uint64_t NextKey(std::uint64_t* state) {
  std::uint64_t z = (*state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::uint64_t Load64(const std::byte* bytes) {
  std::uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

std::uint64_t Fold(std::uint64_t a, std::uint64_t b) {
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

PageHasher::PageHasher(std::uint64_t seed)
    : key_(std::make_unique<std::array<std::uint64_t, kBytesMax / 8>>()) {
  for (std::uint64_t& word : *key_) {
    word = NextKey(&seed);
  }
}

PageHash PageHasher::Hash(std::span<const std::byte> bytes) const {
  Wide sum = 0;
  const std::uint64_t* key = key_->data();
  for (std::size_t i = 0; i + 16 <= bytes.size(); i += 16, key += 2) {
    sum += static_cast<Wide>(Load64(&bytes[i]) + key[0]) * (Load64(&bytes[i + 8]) + key[1]);
  }
  return {.low = static_cast<std::uint64_t>(sum), .high = static_cast<std::uint64_t>(sum >> 64)};
}

std::uint64_t HashBytes(std::span<const std::byte> bytes) {
  static const PageHasher* const hasher = new PageHasher(0x636170737461);  // never destroyed
  std::uint64_t hash = 0x2545f4914f6cdd1d ^ bytes.size();
  while (!bytes.empty()) {
    const std::size_t whole = std::min(bytes.size(), PageHasher::kBytesMax) & ~std::size_t{15};
    PageHash part;
    if (whole != 0) {
      part = hasher->Hash(bytes.first(whole));
      bytes = bytes.subspan(whole);
    } else {
      std::array<std::byte, 16> padded{};
      std::ranges::copy(bytes, padded.begin());
      part = hasher->Hash(padded);
      bytes = {};
    }
    hash = Fold(hash ^ part.low ^ 0x9e3779b97f4a7c15, part.high ^ 0xd6e8feb86659fd93);
  }
  return hash;
}

}  // namespace capstan::writers
