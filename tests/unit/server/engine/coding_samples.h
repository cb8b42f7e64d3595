// What tests of compressed and encrypted sets have in common: every way to code a set, and
// databases that can be compressed.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/transform/settings.h"

namespace capstan::engine {

struct CodingSample {
  std::string name;
  std::optional<transform::Compression> compression;
  bool encrypted = false;
};

inline std::vector<CodingSample> AllCodings() {
  using transform::Algorithm;
  std::vector<CodingSample> samples;
  for (const bool encrypted : {false, true}) {
    const std::string suffix = encrypted ? " and AES" : "";
    samples.push_back({"ZSTD" + suffix, {{.algorithm = Algorithm::kZstd}}, encrypted});
    samples.push_back({"LZ4" + suffix, {{.algorithm = Algorithm::kLz4}}, encrypted});
  }
  samples.push_back({"AES", std::nullopt, true});
  return samples;
}

// Rows of text with numbers that change, then a stretch of noise, over and over.
inline std::vector<std::byte> Rows(std::size_t size, unsigned seed) {
  constexpr std::string_view kRow = "customer 0000000, paid in full on 2026-11-21; ";
  std::vector<std::byte> bytes(size);
  std::uint64_t state = seed * 0x9E3779B97F4A7C15ULL + 1;
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t column = i % kRow.size();
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const bool noise = i % 300'000 > 220'000;
    const bool digit = column >= 9 && column < 16;
    bytes[i] = noise   ? static_cast<std::byte>(state >> 56)
               : digit ? static_cast<std::byte>('0' + (state >> 60) % 10)
                       : static_cast<std::byte>(kRow[column]);
  }
  return bytes;
}

// A file with a passphrase that only its owner may read.
inline transform::Secret WritePassphrase(const std::string& path, std::string_view text) {
  std::ofstream(path) << text << '\n';
  std::filesystem::permissions(path, static_cast<std::filesystem::perms>(0600));
  return {.from = transform::Secret::From::kFile, .name = path};
}

}  // namespace capstan::engine
