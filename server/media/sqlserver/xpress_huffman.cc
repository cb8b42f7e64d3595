#include "server/media/sqlserver/xpress_huffman.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace capstan::media::sqlserver {
namespace {

constexpr std::size_t kSymbols = 512;  // 256 bytes, then matches
constexpr int kCodeBitsMax = 15;
constexpr std::size_t kCodeTableBytes = kSymbols / 2;
constexpr std::uint16_t kNoSymbol = 0xFFFF;

// From the next 15 bits to the symbol that they begin with.
class SymbolTable {
 public:
  // False if the lengths are not those of a prefix code.
  bool Build(Bytes table) {
    std::size_t filled = 0;
    for (std::size_t bits = 1; bits <= kCodeBitsMax; ++bits) {
      for (std::size_t symbol = 0; symbol < kSymbols; ++symbol) {
        if (Length(table, symbol) != bits) {
          continue;
        }
        const std::size_t span = std::size_t{1} << (kCodeBitsMax - bits);
        if (filled + span > symbols_.size()) {
          return false;
        }
        std::fill_n(symbols_.begin() + static_cast<std::ptrdiff_t>(filled), span,
                    static_cast<std::uint16_t>(symbol << 4 | bits));
        filled += span;
      }
    }
    std::fill(symbols_.begin() + static_cast<std::ptrdiff_t>(filled), symbols_.end(), kNoSymbol);
    return true;
  }

  // Symbol << 4 | code length.
  std::uint16_t at(std::uint32_t next_bits) const { return symbols_[next_bits]; }

 private:
  static std::size_t Length(Bytes table, std::size_t symbol) {
    const auto pair = std::to_integer<std::size_t>(table[symbol / 2]);
    return symbol % 2 == 0 ? pair & 15 : pair >> 4;
  }

  std::array<std::uint16_t, 1 << kCodeBitsMax> symbols_;
};

// Bits come from 16-bit words, of which two are always taken in beforehand; lengths of long matches
// stand between the words as plain bytes. Behind the end there are zeros, which overrun() tells.
class BitReader {
 public:
  explicit BitReader(Bytes input) : input_(input) {
    const std::uint32_t first = Word();
    bits_ = first << 16 | Word();
  }

  std::uint32_t Peek15() const { return bits_ >> (32 - kCodeBitsMax); }
  std::uint32_t Take(int count) {
    const std::uint32_t value = count == 0 ? 0 : bits_ >> (32 - count);
    bits_ <<= count;
    spare_ -= count;
    if (spare_ < 0) {
      bits_ |= Word() << -spare_;
      spare_ += 16;
    }
    return value;
  }

  std::uint32_t Byte() { return Raw(1); }
  std::uint32_t Word() { return Raw(2); }
  std::uint32_t DoubleWord() { return Raw(4); }
  // More was taken than was there; the words taken in beforehand do not count.
  bool overrun() const { return position_ > input_.size() + 4; }

 private:
  std::uint32_t Raw(std::size_t size) {
    std::uint32_t value = 0;
    if (position_ + size <= input_.size()) {
      std::memcpy(&value, input_.data() + position_, size);
    }
    position_ += size;
    return value;
  }

  const Bytes input_;
  std::size_t position_ = 0;
  std::uint32_t bits_ = 0;
  int spare_ = 16;  // valid bits below the upper 16
};

// As far as it is more than the 3 that every match has. Less than 15 is no such length.
std::uint32_t LongMatchLength(BitReader* reader) {
  std::uint32_t length = reader->Byte();
  if (length != 255) {
    return length + 15;
  }
  length = reader->Word();
  return length != 0 ? length : reader->DoubleWord();
}

}  // namespace

bool DecompressXpressHuffman(Bytes compressed, std::span<std::byte> target) {
  if (compressed.size() < kCodeTableBytes + 4 || target.size() > kXpressChunkMax) {
    return false;
  }
  SymbolTable table;
  if (!table.Build(compressed.first(kCodeTableBytes))) {
    return false;
  }
  BitReader reader(compressed.subspan(kCodeTableBytes));
  std::size_t filled = 0;
  while (filled < target.size()) {
    const std::uint16_t entry = table.at(reader.Peek15());
    if (entry == kNoSymbol || reader.overrun()) {
      return false;
    }
    reader.Take(entry & 15);
    const std::uint32_t symbol = entry >> 4;
    if (symbol < 256) {
      target[filled++] = static_cast<std::byte>(symbol);
      continue;
    }
    std::uint32_t length = symbol & 15;
    if (length == 15) {
      length = LongMatchLength(&reader);
      if (length < 15) {
        return false;
      }
    }
    length += 3;
    const auto distance_bits = static_cast<int>(symbol - 256) >> 4;
    const std::size_t distance = (std::size_t{1} << distance_bits) + reader.Take(distance_bits);
    if (distance > filled || length > target.size() - filled) {
      return false;
    }
    // Byte by byte: source and target of a match may overlap.
    for (const std::size_t end = filled + length; filled < end; ++filled) {
      target[filled] = target[filled - distance];
    }
  }
  return !reader.overrun();
}

}  // namespace capstan::media::sqlserver
