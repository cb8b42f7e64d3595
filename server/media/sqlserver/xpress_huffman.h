// Xpress Huffman: the compression of SQL Server's containers ([MS-XCA], LZ77+Huffman).
// Threads: any.
#pragma once

#include <cstddef>
#include <span>

#include "server/media/mtf_values.h"

namespace capstan::media::sqlserver {

// What one chunk can hold.
inline constexpr std::size_t kXpressChunkMax = 65536;

// Fills all of `target` from one chunk. False if `compressed` does not make that much, or is not
// such a chunk. REQUIRES: target.size() <= kXpressChunkMax.
bool DecompressXpressHuffman(Bytes compressed, std::span<std::byte> target);

}  // namespace capstan::media::sqlserver
