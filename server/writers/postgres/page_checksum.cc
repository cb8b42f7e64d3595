#include "server/writers/postgres/page_checksum.h"

#include <array>
#include <cstring>

namespace capstan::writers {
namespace {

// FNV-1a in 32 lanes side by side, with a shift that brings high bits down, as the developers of
// PostgreSQL describe it (storage/checksum_impl.h): lane i takes every 32nd word of the page.
constexpr std::size_t kLanes = 32;
constexpr std::uint32_t kPrime = 16777619;
constexpr std::array<std::uint32_t, kLanes> kSeeds = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};

// Where the checksum itself stands; it counts as zero.
constexpr std::size_t kChecksumOffset = 8;
constexpr std::size_t kChecksumBytes = 2;

using Lanes = std::uint32_t __attribute__((vector_size(32)));  // 8 of them
constexpr std::size_t kVectors = kLanes / 8;

[[gnu::always_inline]] inline void Mix(Lanes& sum, const Lanes& word) {
  const Lanes mixed = sum ^ word;
  sum = (mixed * kPrime) ^ (mixed >> 17);
}

// The compiler turns this into the widest instructions that its function is allowed.
[[gnu::always_inline]] inline std::uint32_t SumOf(const std::byte* page, std::size_t size) {
  std::array<Lanes, kVectors> sums;
  std::memcpy(&sums, kSeeds.data(), sizeof(sums));
  std::array<Lanes, kVectors> words;
  // The first row has the checksum in it.
  std::array<std::byte, sizeof(words)> first;
  std::memcpy(first.data(), page, first.size());
  std::memset(first.data() + kChecksumOffset, 0, kChecksumBytes);
  std::memcpy(&words, first.data(), sizeof(words));
  for (std::size_t i = 0; i < kVectors; ++i) {
    Mix(sums[i], words[i]);
  }
  for (std::size_t at = sizeof(words); at < size; at += sizeof(words)) {
    std::memcpy(&words, page + at, sizeof(words));
    for (std::size_t i = 0; i < kVectors; ++i) {
      Mix(sums[i], words[i]);
    }
  }
  for (int round = 0; round < 2; ++round) {
    for (std::size_t i = 0; i < kVectors; ++i) {
      Mix(sums[i], Lanes{});
    }
  }
  Lanes folded = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  std::uint32_t result = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    result ^= folded[i];
  }
  return result;
}

std::uint32_t SumPlain(const std::byte* page, std::size_t size) {
  return SumOf(page, size);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] std::uint32_t SumAvx2(const std::byte* page, std::size_t size) {
  return SumOf(page, size);
}

std::uint32_t Sum(const std::byte* page, std::size_t size) {
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  return has_avx2 ? SumAvx2(page, size) : SumPlain(page, size);
}
#else
std::uint32_t Sum(const std::byte* page, std::size_t size) {
  return SumPlain(page, size);
}
#endif

template <typename T>
T At(std::span<const std::byte> page, std::size_t offset) {
  T value{};
  std::memcpy(&value, page.data() + offset, sizeof(T));
  return value;
}

}  // namespace

DataPageHeader ReadDataPageHeader(std::span<const std::byte> page) {
  // The two halves of the LSN stand high one first.
  const std::uint64_t high = At<std::uint32_t>(page, 0);
  return {.lsn = {high << 32 | At<std::uint32_t>(page, 4)},
          .checksum = At<std::uint16_t>(page, kChecksumOffset),
          .lower = At<std::uint16_t>(page, 12),
          .upper = At<std::uint16_t>(page, 14),
          .special = At<std::uint16_t>(page, 16)};
}

std::uint16_t ComputePageChecksum(std::span<const std::byte> page, std::uint32_t block) {
  const std::uint32_t sum = Sum(page.data(), page.size()) ^ block;
  return static_cast<std::uint16_t>(sum % 65535 + 1);
}

bool IsAllZero(std::span<const std::byte> bytes) {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace capstan::writers
