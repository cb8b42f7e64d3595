// What is in a SIMH .tap image, found by one pass over the words around its records.
//
// A record is u32le n, n bytes, one more if n is odd, u32le n again; a filemark is a word 0. Images
// of others may have gaps, an end-of-medium word and classes of the extended format, which are
// skipped as that format asks.
#pragma once

#include <cstdint>

#include "plugins/tape/emulator/block_index.h"
#include "plugins/tape/failure.h"

namespace capstan::tape {

// Bytes that a block of `length` takes in an image.
constexpr std::uint64_t StoredSize(std::uint64_t length) {
  return length + (length & 1U) + 8;
}
inline constexpr std::uint64_t kFilemarkSize = 4;

struct ImageScan {
  // A record whose two lengths differ is damaged if intact ones follow; otherwise a crash tore it
  // off, and the tape ends in front of it.
  BlockIndex index;
  bool torn = false;
};

// Fails only if the file cannot be read.
Failure ScanImage(int fd, std::uint64_t file_size, ImageScan* scan);

}  // namespace capstan::tape
