#include "server/transform/codec.h"

#include <algorithm>
#include <cstdlib>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::transform {
namespace {

using test::HasCode;
using test::IsOk;
using Bytes = std::vector<std::byte>;

std::uint64_t Seed() {
  const char* const given = std::getenv("CAPSTAN_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 20260807;
  testing::Test::RecordProperty("seed", std::to_string(seed));
  return seed;
}

// From zeros through rows of text to noise, as databases have them side by side.
Bytes RandomExtent(std::mt19937_64& random) {
  Bytes extent(1 + random() % (random() % 8 == 0 ? 2'000'000 : 70'000));
  std::size_t at = 0;
  while (at < extent.size()) {
    const std::size_t run = std::min<std::size_t>(extent.size() - at, 1 + random() % 9000);
    const auto kind = random() % 3;
    for (std::size_t i = 0; i < run; ++i) {
      extent[at + i] = kind == 0   ? std::byte{0}
                       : kind == 1 ? static_cast<std::byte>("customer,order,42 "[i % 18])
                                   : static_cast<std::byte>(random());
    }
    at += run;
  }
  return extent;
}

std::vector<Compression> AllSettings() {
  std::vector<Compression> all;
  for (const Algorithm algorithm : {Algorithm::kZstd, Algorithm::kLz4}) {
    for (const Level level : {Level::kLow, Level::kMedium, Level::kHigh}) {
      all.push_back({.algorithm = algorithm, .level = level});
    }
  }
  return all;
}

Bytes Compressed(const Bytes& extent, const Compression& settings) {
  auto compressor = Compressor::Create(settings);
  EXPECT_THAT(compressor, IsOk());
  Bytes target(extent.size() + 1024 + extent.size() / 16);
  const auto size = (*compressor)->Compress(extent, target);
  EXPECT_TRUE(size.has_value());
  target.resize(size.value_or(0));
  return target;
}

TEST(Codec, GivesBackWhatItGot) {
  std::mt19937_64 random(Seed());
  for (const Compression& settings : AllSettings()) {
    auto compressor = Compressor::Create(settings);
    auto decompressor = Decompressor::Create(settings.algorithm);
    ASSERT_THAT(compressor, IsOk());
    ASSERT_THAT(decompressor, IsOk());
    for (int i = 0; i < 40; ++i) {
      const Bytes extent = RandomExtent(random);
      Bytes target(extent.size() + 1024 + extent.size() / 16);
      const auto size = (*compressor)->Compress(extent, target);
      ASSERT_TRUE(size.has_value());
      Bytes back(extent.size(), std::byte{0xEE});

      ASSERT_THAT((*decompressor)->Decompress(std::span(target).first(*size), back), IsOk());

      ASSERT_TRUE(back == extent);
    }
  }
}

TEST(Codec, SaysSoWhenItDoesNotFit) {
  std::mt19937_64 random(7);
  Bytes noise(65536);
  std::generate(noise.begin(), noise.end(), [&] { return static_cast<std::byte>(random()); });
  const Bytes zeros(65536);
  for (const Compression& settings : AllSettings()) {
    auto compressor = Compressor::Create(settings);
    ASSERT_THAT(compressor, IsOk());
    Bytes target(noise.size() - 1);

    EXPECT_FALSE((*compressor)->Compress(noise, target).has_value());
    // The context is as good as before.
    EXPECT_TRUE((*compressor)->Compress(zeros, target).has_value());
    EXPECT_FALSE((*compressor)->Compress(zeros, std::span(target).first(3)).has_value());
  }
}

TEST(Codec, RefusesWhatIsCutOffOrOfAnotherSizeOrFollowedByMore) {
  std::mt19937_64 random(11);
  const Bytes extent = RandomExtent(random);
  for (const Algorithm algorithm : {Algorithm::kZstd, Algorithm::kLz4}) {
    auto decompressor = Decompressor::Create(algorithm);
    ASSERT_THAT(decompressor, IsOk());
    const Bytes good = Compressed(extent, {.algorithm = algorithm});
    const auto decompress = [&](std::span<const std::byte> source, std::size_t size) {
      Bytes target(size);
      return (*decompressor)->Decompress(source, target);
    };
    const auto cut = std::span(good).first(good.size() - 1);
    Bytes twice(2 * good.size());
    std::copy(good.begin(), good.end(), twice.begin());
    std::copy(good.begin(), good.end(), twice.begin() + static_cast<std::ptrdiff_t>(good.size()));

    ASSERT_THAT(decompress(good, extent.size()), IsOk());
    EXPECT_THAT(decompress(cut, extent.size()), HasCode(Code::kDataLoss));
    EXPECT_THAT(decompress(twice, extent.size() * 2), HasCode(Code::kDataLoss));
    EXPECT_THAT(decompress(good, extent.size() - 1), HasCode(Code::kDataLoss));
    EXPECT_THAT(decompress(good, extent.size() + 1), HasCode(Code::kDataLoss));
    EXPECT_THAT(decompress({}, extent.size()), HasCode(Code::kDataLoss));
  }
}

// With a sanitizer this shows that nothing is read or written beside the two buffers.
TEST(Codec, SurvivesAnyFlippedByte) {
  std::mt19937_64 random(Seed());
  Bytes extent = RandomExtent(random);
  extent.resize(3000, std::byte{1});
  for (const Algorithm algorithm : {Algorithm::kZstd, Algorithm::kLz4}) {
    auto decompressor = Decompressor::Create(algorithm);
    ASSERT_THAT(decompressor, IsOk());
    const Bytes good = Compressed(extent, {.algorithm = algorithm});
    Bytes target(extent.size());
    for (std::size_t i = 0; i < good.size(); ++i) {
      Bytes bad = good;
      bad[i] ^= static_cast<std::byte>(1 + random() % 255);
      (void)(*decompressor)->Decompress(bad, target);  // right or wrong, but within bounds
    }
    EXPECT_THAT((*decompressor)->Decompress(good, target), IsOk());
    EXPECT_TRUE(target == extent);
  }
}

TEST(Codec, KnowsItsAlgorithmsByName) {
  EXPECT_EQ(AlgorithmOfName("ZSTD"), Algorithm::kZstd);
  EXPECT_EQ(AlgorithmOfName("LZ4"), Algorithm::kLz4);
  EXPECT_EQ(AlgorithmOfName("MS_XPRESS"), std::nullopt);
  EXPECT_EQ(AlgorithmOfName(""), std::nullopt);
}

}  // namespace
}  // namespace capstan::transform
