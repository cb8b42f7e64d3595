// The emulated tape of tape_client behaves as a drive does: only then do tests that use it say
// something about the server.
#include "tests/conformance/vdi/clients/cartridge.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"

namespace vendor {
namespace {

constexpr std::uint32_t kBlock = 512;

class CartridgeTest : public testing::Test {
 protected:
  CartridgeTest() { EXPECT_TRUE(tape_.Load(path_, /*create=*/true)); }

  static std::vector<std::uint8_t> Blocks(unsigned count, std::uint8_t value) {
    return std::vector<std::uint8_t>(std::size_t{count} * kBlock, value);
  }
  int Write(Cartridge& tape, unsigned blocks, std::uint8_t value) {
    const auto data = Blocks(blocks, value);
    return tape.Write(data.data(), data.size()).code;
  }
  // The value of the next block, or the negated code.
  int ReadBlock(Cartridge& tape) {
    auto data = Blocks(1, 0);
    const Completion completion = tape.Read(data.data(), data.size());
    return completion.code == ERROR_SUCCESS ? data[0] : -completion.code;
  }
  // Two blocks of 1, a mark, three blocks of 2, a mark: addresses 0-1, 2, 3-5, 6; end at 7.
  void Record(Cartridge& tape) {
    EXPECT_EQ(Write(tape, 2, 1), ERROR_SUCCESS);
    EXPECT_EQ(tape.WriteMark().code, ERROR_SUCCESS);
    EXPECT_EQ(Write(tape, 3, 2), ERROR_SUCCESS);
    EXPECT_EQ(tape.WriteMark().code, ERROR_SUCCESS);
  }

  capstan::test::TemporaryDirectory directory_;
  const std::string path_ = directory_.path() + "/1.tape";
  Cartridge tape_{{.block_size = kBlock, .soft_mark_size = 0, .capacity = 0, .early_warning = 0}};
};

TEST_F(CartridgeTest, ReadStopsBehindAMarkAndAtTheEnd) {
  Record(tape_);
  tape_.Rewind();
  auto data = Blocks(8, 0);

  const Completion first = tape_.Read(data.data(), data.size());
  EXPECT_EQ(first.code, kFilemarkDetected);
  EXPECT_EQ(first.bytes, 2 * kBlock);
  EXPECT_EQ(ReadBlock(tape_), 2);
  const Completion rest = tape_.Read(data.data(), data.size());
  EXPECT_EQ(rest.code, kFilemarkDetected);
  EXPECT_EQ(rest.bytes, 2 * kBlock);
  EXPECT_EQ(ReadBlock(tape_), -kNoDataDetected);
}

TEST_F(CartridgeTest, EveryPositionIsReachedAgainAfterALoad) {
  Record(tape_);
  Cartridge again({.block_size = kBlock, .soft_mark_size = 0, .capacity = 0, .early_warning = 0});
  ASSERT_TRUE(again.Load(path_, /*create=*/false));
  const std::vector<int> expected = {1, 1, -kFilemarkDetected, 2,
                                     2, 2, -kFilemarkDetected, -kNoDataDetected};
  for (std::size_t address = 0; address < expected.size(); ++address) {
    const auto position = static_cast<std::int64_t>(address);
    EXPECT_EQ(again.SetPosition(position).code, ERROR_SUCCESS) << address;
    EXPECT_EQ(again.GetPosition().position, position);
    EXPECT_EQ(ReadBlock(again), expected[address]) << address;
  }
  EXPECT_EQ(again.SetPosition(8).code, kNoDataDetected);
}

TEST_F(CartridgeTest, SkipsPassMarksForwardsAndBackwards) {
  Record(tape_);
  tape_.Rewind();
  EXPECT_EQ(tape_.SkipMarks(1).code, ERROR_SUCCESS);
  EXPECT_EQ(tape_.GetPosition().position, 3);
  EXPECT_EQ(tape_.SkipMarks(2).code, kNoDataDetected);
  EXPECT_EQ(tape_.GetPosition().position, 7);
  EXPECT_EQ(tape_.SkipMarks(-2).code, ERROR_SUCCESS);
  EXPECT_EQ(tape_.GetPosition().position, 2);
  EXPECT_EQ(tape_.SkipMarks(-1).code, kBeginningOfMedia);
  EXPECT_EQ(tape_.GetPosition().position, 0);
}

TEST_F(CartridgeTest, SkippingBlocksEndsAtAMark) {
  Record(tape_);
  tape_.Rewind();
  EXPECT_EQ(tape_.SkipBlocks(1).code, ERROR_SUCCESS);
  EXPECT_EQ(tape_.GetPosition().position, 1);
  EXPECT_EQ(tape_.SkipBlocks(3).code, kFilemarkDetected);
  EXPECT_EQ(tape_.GetPosition().position, 3);
  EXPECT_EQ(tape_.SkipBlocks(2).code, ERROR_SUCCESS);
  EXPECT_EQ(tape_.SkipBlocks(-2).code, ERROR_SUCCESS);
  EXPECT_EQ(tape_.GetPosition().position, 3);
  EXPECT_EQ(tape_.SkipBlocks(-5).code, kFilemarkDetected);
  EXPECT_EQ(tape_.GetPosition().position, 2);
  EXPECT_EQ(tape_.SkipBlocks(-5).code, kBeginningOfMedia);
}

TEST_F(CartridgeTest, WritingEndsTheDataThere) {
  Record(tape_);
  ASSERT_EQ(tape_.SetPosition(4).code, ERROR_SUCCESS);
  EXPECT_EQ(Write(tape_, 1, 9), ERROR_SUCCESS);
  EXPECT_EQ(ReadBlock(tape_), -kNoDataDetected);
  Cartridge again({.block_size = kBlock, .soft_mark_size = 0, .capacity = 0, .early_warning = 0});
  ASSERT_TRUE(again.Load(path_, /*create=*/false));
  ASSERT_EQ(again.SkipMarks(1).code, ERROR_SUCCESS);
  EXPECT_EQ(ReadBlock(again), 2);
  EXPECT_EQ(ReadBlock(again), 9);
  EXPECT_EQ(ReadBlock(again), -kNoDataDetected);
}

TEST_F(CartridgeTest, WarnsBeforeItIsFullAndStoresNothingThatDoesNotFit) {
  Cartridge small({.block_size = kBlock,
                   .soft_mark_size = 0,
                   .capacity = std::uint64_t{8} * kBlock,
                   .early_warning = std::uint64_t{4} * kBlock});
  ASSERT_TRUE(small.Load(directory_.path() + "/2.tape", /*create=*/true));
  EXPECT_EQ(Write(small, 3, 1), ERROR_SUCCESS);
  EXPECT_EQ(Write(small, 2, 2), kEndOfMedia);
  EXPECT_EQ(small.WriteMark().code, kEndOfMedia);
  EXPECT_EQ(Write(small, 3, 3), kEomOverflow);
  small.Rewind();
  auto data = Blocks(8, 0);
  EXPECT_EQ(small.Read(data.data(), data.size()).bytes, 5 * kBlock);
  EXPECT_EQ(ReadBlock(small), -kNoDataDetected);
}

TEST_F(CartridgeTest, SoftMarksTakeBlocks) {
  Cartridge soft(
      {.block_size = kBlock, .soft_mark_size = 4 * kBlock, .capacity = 0, .early_warning = 0});
  ASSERT_TRUE(soft.Load(directory_.path() + "/3.tape", /*create=*/true));
  Record(soft);
  EXPECT_EQ(soft.GetPosition().position, 2 + 4 + 3 + 4);
  soft.Rewind();
  EXPECT_EQ(soft.SkipMarks(1).code, ERROR_SUCCESS);
  EXPECT_EQ(soft.GetPosition().position, 6);
  EXPECT_EQ(ReadBlock(soft), 2);
}

TEST_F(CartridgeTest, RefusesWhatIsNoCartridge) {
  EXPECT_FALSE(tape_.Load(directory_.path() + "/missing", /*create=*/false));
  EXPECT_FALSE(tape_.Load("/proc/self/exe", /*create=*/false));
}

}  // namespace
}  // namespace vendor
