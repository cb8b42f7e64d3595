#include "vdi/base/aligned_bytes.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace capstan {
namespace {

TEST(AlignedBytes, BeginOnACacheLine) {
  for (const std::size_t size : {1U, 100U, 5000U, 1U << 20}) {
    const AlignedBytes bytes(size);
    EXPECT_EQ(bytes.span().size(), size);
    EXPECT_TRUE(BeginsOnCacheLine(bytes.span().data()));
    EXPECT_FALSE(BeginsOnCacheLine(bytes.span().data() + 2));
  }
  EXPECT_TRUE(AlignedBytes(0).span().empty());
}

TEST(CopyBytes, CopiesAllAndNothingElse) {
  constexpr std::size_t kAround = 7;
  for (const std::size_t size : {0U, 1U, 2047U, 2048U, 2049U, 10'000U}) {
    std::vector<std::byte> source(size);
    for (std::size_t i = 0; i < size; ++i) {
      source[i] = static_cast<std::byte>(i * 31 % 251 + 1);
    }
    std::vector<std::byte> target(size + 2 * kAround);

    CopyBytes(std::span(target).subspan(kAround), source);

    EXPECT_TRUE(std::equal(source.begin(), source.end(), target.begin() + kAround)) << size;
    const auto is_zero = [](std::byte byte) { return byte == std::byte{0}; };
    EXPECT_TRUE(std::all_of(target.begin(), target.begin() + kAround, is_zero)) << size;
    EXPECT_TRUE(std::all_of(target.end() - kAround, target.end(), is_zero)) << size;
  }
}

}  // namespace
}  // namespace capstan
