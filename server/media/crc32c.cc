#include <algorithm>
#include <climits>

#include <isa-l/crc.h>

#include "server/media/family_writer.h"

namespace capstan::media {

// The library leaves out the inversions before and after, takes an int for the length and a pointer
// to non-const that it only reads.
std::uint32_t Crc32c(std::uint32_t seed, std::span<const std::byte> data) {
  std::uint32_t crc = ~seed;
  while (!data.empty()) {
    const std::size_t size = std::min<std::size_t>(data.size(), INT_MAX / 2);
    auto* bytes = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(data.data()));
    crc = crc32_iscsi(bytes, static_cast<int>(size), crc);
    data = data.subspan(size);
  }
  return ~crc;
}

}  // namespace capstan::media
