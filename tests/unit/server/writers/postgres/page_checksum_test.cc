#include "server/writers/postgres/page_checksum.h"

#include <array>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace capstan::writers {
namespace {

// One lane after the other, as the algorithm is described.
std::uint16_t ChecksumLaneByLane(std::vector<std::byte> page, std::uint32_t block,
                                 const std::array<std::uint32_t, 32>& seeds) {
  page[8] = page[9] = std::byte{0};
  std::uint32_t result = 0;
  for (std::size_t lane = 0; lane < 32; ++lane) {
    std::uint32_t sum = seeds[lane];
    const auto mix = [&sum](std::uint32_t word) {
      const std::uint32_t mixed = sum ^ word;
      sum = mixed * 16777619U ^ mixed >> 17;
    };
    for (std::size_t at = lane * 4; at < page.size(); at += 128) {
      std::uint32_t word = 0;
      std::memcpy(&word, page.data() + at, sizeof(word));
      mix(word);
    }
    mix(0);
    mix(0);
    result ^= sum;
  }
  return static_cast<std::uint16_t>((result ^ block) % 65535 + 1);
}

constexpr std::array<std::uint32_t, 32> kSeeds = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};

// That real servers agree is seen in tests of whole clusters.
TEST(PageChecksum, IsThatOfLanesOneAfterTheOther) {
  std::mt19937 random(7);
  for (const std::size_t size : {1024U, 8192U, 32768U}) {
    for (std::uint32_t block = 0; block < 20; ++block) {
      std::vector<std::byte> page(size);
      for (std::byte& byte : page) {
        byte = static_cast<std::byte>(random());
      }
      EXPECT_EQ(ComputePageChecksum(page, block * 77777),
                ChecksumLaneByLane(page, block * 77777, kSeeds));
    }
  }
}

TEST(PageChecksum, CountsItselfAsNothing) {
  std::vector<std::byte> page(8192, std::byte{5});
  const std::uint16_t before = ComputePageChecksum(page, 3);

  page[8] = std::byte{0x77};

  EXPECT_EQ(ComputePageChecksum(page, 3), before);
  page[10] = std::byte{0x77};
  EXPECT_NE(ComputePageChecksum(page, 3), before);
}

TEST(PageHeader, HasItsLsnHighHalfFirst) {
  std::vector<std::byte> page(24);
  page[0] = std::byte{2};
  page[4] = std::byte{1};
  page[14] = std::byte{0x80};

  const DataPageHeader header = ReadDataPageHeader(page);

  EXPECT_EQ(header.lsn, Lsn{0x2'0000'0001});
  EXPECT_EQ(header.upper, 0x80);
  EXPECT_FALSE(header.is_new());
}

TEST(PageBytes, AreAllZeroOrNot) {
  std::vector<std::byte> bytes(100);
  EXPECT_TRUE(IsAllZero(bytes));
  EXPECT_TRUE(IsAllZero({}));
  bytes[99] = std::byte{1};
  EXPECT_FALSE(IsAllZero(bytes));
}

}  // namespace
}  // namespace capstan::writers
