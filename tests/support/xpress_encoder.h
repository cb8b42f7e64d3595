// Compresses as [MS-XCA] LZ77+Huffman has it, for media that tests make: every kind of symbol that
// a decoder must know comes about, the ratio does not matter.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace capstan::test {

// One chunk. REQUIRES: plain.size() <= 65536.
std::vector<std::byte> CompressXpressHuffman(std::span<const std::byte> plain);

}  // namespace capstan::test
