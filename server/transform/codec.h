// Codec: compresses and decompresses extents, each by itself. Two directions, two classes: both
// keep the library's working memory, so that the next extent does not pay for it.
//
// Threads: one at a time each; every worker has its own.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "server/transform/settings.h"
#include "vdi/base/status.h"

namespace capstan::transform {

// HEADERONLY CompressionAlgorithm: "ZSTD", "LZ4".
std::string_view AlgorithmName(Algorithm algorithm);
std::optional<Algorithm> AlgorithmOfName(std::string_view name);

class Compressor {
 public:
  virtual ~Compressor() = default;
  // kResourceExhausted without memory.
  static Result<std::unique_ptr<Compressor>> Create(const Compression& settings);

  // Compresses all of `source` into the beginning of `target`; returns how many bytes that took, or
  // nothing if they do not fit: then the content of `target` is undefined. A target that is smaller
  // than the source therefore says how much must be gained. REQUIRES: they do not overlap.
  virtual std::optional<std::size_t> Compress(std::span<const std::byte> source,
                                              std::span<std::byte> target) = 0;
};

class Decompressor {
 public:
  virtual ~Decompressor() = default;
  // kResourceExhausted without memory.
  static Result<std::unique_ptr<Decompressor>> Create(Algorithm algorithm);

  // Fills all of `target`. kDataLoss unless `source` is exactly one compressed extent of
  // target.size() bytes. `source` may be hostile: nothing but `target` is written, and no memory is
  // taken on its word.
  virtual Status Decompress(std::span<const std::byte> source, std::span<std::byte> target) = 0;
};

}  // namespace capstan::transform
