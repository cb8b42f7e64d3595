// Decompression, against an encoder of its own. That the format is SQL Server's is proven with real
// media (tests/conformance/sqlserver).
#include "server/media/sqlserver/xpress_huffman.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/xpress_encoder.h"

namespace capstan::media::sqlserver {
namespace {

using Buffer = std::vector<std::byte>;

Buffer Random(std::size_t size, unsigned values, unsigned seed) {
  std::mt19937 random(seed);
  Buffer bytes(size);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random() % values);
  }
  return bytes;
}

TEST(XpressHuffman, GivesBackWhatWasCompressed) {
  std::vector<Buffer> plains = {Buffer(1), Buffer(65536), Random(65536, 256, 1),
                                Random(65536, 2, 2), Random(4096, 16, 3)};
  for (const std::size_t run : {3UL, 17UL, 18UL, 19UL, 272UL, 273UL, 274UL, 40000UL}) {
    Buffer plain = Random(100, 256, 4);
    plain.insert(plain.end(), run, std::byte{7});
    const Buffer tail = Random(100, 256, 5);
    plain.insert(plain.end(), tail.begin(), tail.end());
    plains.push_back(plain);
  }

  for (const Buffer& plain : plains) {
    const Buffer packed = test::CompressXpressHuffman(plain);
    Buffer back(plain.size(), std::byte{0xEE});
    ASSERT_TRUE(DecompressXpressHuffman(packed, back)) << plain.size();
    EXPECT_EQ(back, plain);
  }
}

TEST(XpressHuffman, RefusesWhatEndsTooEarly) {
  const Buffer plain = Random(5000, 200, 6);
  const Buffer packed = test::CompressXpressHuffman(plain);
  Buffer back(plain.size());

  for (std::size_t size = 0; size + 8 < packed.size(); size += 13) {
    EXPECT_FALSE(DecompressXpressHuffman(Bytes(packed).first(size), back)) << size;
  }
}

TEST(XpressHuffman, RefusesATableThatIsNoCode) {
  Buffer packed = test::CompressXpressHuffman(Random(5000, 200, 7));
  std::fill_n(packed.begin(), 256, std::byte{0x11});  // 512 codes of one bit
  Buffer back(5000);

  EXPECT_FALSE(DecompressXpressHuffman(packed, back));
}

TEST(XpressHuffman, NeverWritesOutsideWhateverTheInput) {
  std::mt19937 random(8);
  const Buffer plain = Random(20000, 8, 9);
  const Buffer packed = test::CompressXpressHuffman(plain);
  Buffer back(plain.size());

  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    Buffer spoiled = packed;
    spoiled[random() % spoiled.size()] ^= static_cast<std::byte>(1 << random() % 8);
    refused += !DecompressXpressHuffman(spoiled, back) || back != plain;
  }
  EXPECT_GT(refused, 1900);  // a sanitizer sees the rest
}

}  // namespace
}  // namespace capstan::media::sqlserver
