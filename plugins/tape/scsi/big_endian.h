// Numbers as SCSI sends them: most significant byte first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace capstan::tape {

// The `width` (1 to 8) bytes at `offset`, which must lie within.
inline std::uint64_t GetBigEndian(std::span<const std::uint8_t> bytes, std::size_t offset,
                                  std::size_t width) {
  std::uint64_t value = 0;
  for (const std::uint8_t byte : bytes.subspan(offset, width)) {
    value = value << 8 | byte;
  }
  return value;
}

inline void PutBigEndian(std::span<std::uint8_t> bytes, std::size_t offset, std::size_t width,
                         std::uint64_t value) {
  for (std::size_t index = 0; index < width; ++index) {
    bytes[offset + index] = static_cast<std::uint8_t>(value >> (8 * (width - 1 - index)));
  }
}

}  // namespace capstan::tape
