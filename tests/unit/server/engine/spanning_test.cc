// Backups and restores over devices whose media can be changed, with the media in memory.

#include <algorithm>
#include <atomic>
#include <random>

#include <gmock/gmock.h>

#include "tests/unit/server/engine/removable_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MemoryWriter;
using testing::ElementsAre;
using testing::Pair;
using vdi::CommandCode;
using vdi::CompletionCode;

using Tape = TapeFixture;

TEST_F(Tape, OneCartridgeHoldsFilemarksAndNoSoftOnes) {
  writer_.files = {MemoryWriter::Pattern(400'000, 1)};

  ASSERT_THAT(Backup({"t"}), IsOk());

  devices_.Finish();
  const auto cartridges = devices_.cartridges("t");
  ASSERT_EQ(cartridges.size(), 1U);
  EXPECT_EQ(cartridges[0]->marks.size(), 3U);
  EXPECT_EQ(cartridges[0]->marks[0], 4096U);
  EXPECT_EQ(cartridges[0]->marks[2], cartridges[0]->bytes.size());
  const std::string_view text(reinterpret_cast<const char*>(cartridges[0]->bytes.data()),
                              cartridges[0]->bytes.size());
  EXPECT_EQ(text.find("SFMB"), std::string_view::npos);
  EXPECT_EQ(cartridges[0]->bytes[64], std::byte{0});  // TAPE: size of soft filemarks
  EXPECT_TRUE(devices_.loads().empty());
  ASSERT_THAT(Restore({"t"}), IsOk());
  ExpectRestored();
  EXPECT_THAT(Verify({"t"}), IsOk());
}

TEST_F(Tape, SaysWhatTheClientsOwnSoftFilemarksTake) {
  writer_.files = {MemoryWriter::Pattern(100'000, 1)};
  devices_.options.soft_filemark_block_size = 2048;

  ASSERT_THAT(Backup({"t"}), IsOk());

  devices_.Finish();
  EXPECT_EQ(devices_.cartridges("t")[0]->bytes[64], std::byte{4});
  EXPECT_THAT(Verify({"t"}), IsOk());
  devices_.options.soft_filemark_block_size = 1000;
  EXPECT_THAT(Backup({"t"}), HasReason(3261));
}

TEST_F(Tape, NeedsNoDeviceThatSkipsOrTellsPositions) {
  writer_.files = {MemoryWriter::Pattern(400'000, 1)};
  devices_.options.no_skipping = true;

  ASSERT_THAT(Backup({"t"}), IsOk());

  ASSERT_THAT(Restore({"t"}), IsOk());
  ExpectRestored();
}

TEST_F(Tape, TakesBlocksOfAnySize) {
  writer_.files = {MemoryWriter::Pattern(500'000, 1)};
  UseCapacity(420'000, 210'000);
  devices_.options.tells_zone = true;
  for (const std::uint32_t block_size : {512U, 4096U, 65536U}) {
    block_size_ = block_size;
    ASSERT_THAT(Backup({"t"}), IsOk()) << block_size;
    ASSERT_THAT(Restore({"t"}), IsOk()) << block_size;
    ExpectRestored();
  }
}

TEST_F(Tape, RestoresWithOtherTransferSizes) {
  writer_.files = {MemoryWriter::Pattern(900'000, 1)};
  UseCapacity(400'000, 150'000);
  devices_.options.tells_zone = true;
  ASSERT_THAT(Backup({"t"}), IsOk());
  for (const std::uint32_t size : {64U << 10, 128U << 10, 1024U << 10}) {
    ASSERT_THAT(Restore({"t"}, size), IsOk()) << size;
    ExpectRestored();
  }
}

// The last of the frames that a medium takes is the one that warns.

TEST_F(Tape, SpansAsManyMediaAsItTakes) {
  writer_.files = {MemoryWriter::Pattern(9 * 61440, 1)};
  devices_.options.tells_zone = true;
  const std::vector<std::pair<std::size_t, std::size_t>> cases = {{20, 1}, {5, 2}, {2, 5}};
  for (const auto& [frames, media] : cases) {
    const std::string target = "t" + std::to_string(frames);
    UseCapacity(8192 + (frames - 1) * kTransfer + 90'000, 90'000);

    ASSERT_THAT(Backup({target}), IsOk()) << frames;

    EXPECT_EQ(devices_.cartridges(target).size(), media) << frames;
    ASSERT_THAT(Restore({target}), IsOk()) << frames;
    ExpectRestored();
    EXPECT_THAT(Verify({target}), IsOk()) << frames;
  }
}

TEST_F(Tape, AsksForMediaByTheirSequenceNumber) {
  writer_.files = {MemoryWriter::Pattern(7 * 61440, 1)};
  devices_.options.tells_zone = true;
  UseCapacity(8192 + kTransfer + 90'000, 90'000);
  ASSERT_THAT(Backup({"t"}), IsOk());

  EXPECT_THAT(devices_.loads(), ElementsAre(Pair("t", 2U), Pair("t", 3U), Pair("t", 4U)));
}

using Removable = RemovableFixture;
INSTANTIATE_TEST_SUITE_P(Kinds, Removable, AllRemovableKinds(), RemovableKindName);

TEST_P(Removable, SpansMediaWhateverIsInFlightWhenTheWarningComes) {
  writer_.files = {MemoryWriter::Pattern(25 * 61440, 1)};
  buffer_count_ = 18;
  for (const std::size_t depth : {1U, 4U, 16U}) {
    for (const bool tells_zone : {false, true}) {
      SCOPED_TRACE(testing::Message() << "depth " << depth << " zone told " << tells_zone);
      const std::string target = "t" + std::to_string(depth) + (tells_zone ? "z" : "");
      devices_.options.depth = depth;
      devices_.options.tells_zone = tells_zone;
      // Untold, the zone must take whatever is in flight.
      const std::size_t zone = (tells_zone ? 3 : 20) * kTransfer;
      UseCapacity(8192 + zone + 6 * kTransfer, zone);

      ASSERT_THAT(Backup({target}), IsOk());

      EXPECT_GT(devices_.cartridges(target).size(), tells_zone ? 3U : 1U);
      ASSERT_THAT(Restore({target}), IsOk());
      ExpectRestored();
    }
  }
}

TEST_P(Removable, EveryFamilyHasMediaOfItsOwn) {
  writer_.files = {MemoryWriter::Pattern(20 * 61440, 1), MemoryWriter::Pattern(500'000, 2)};
  UseCapacity(8192 + 5 * kTransfer + 40'000, 2 * kTransfer);
  devices_.options.tells_zone = true;

  ASSERT_THAT(Backup({"a", "b", "c"}), IsOk());

  std::size_t media = 0;
  for (const char* target : {"a", "b", "c"}) {
    media += devices_.cartridges(target).size();
  }
  EXPECT_GT(media, 6U);
  ASSERT_THAT(Restore({"c", "a", "b"}), IsOk());
  ExpectRestored();
}

TEST_P(Removable, AWarningInThePreambleMakesAMediumWithoutFrames) {
  writer_.files = {MemoryWriter::Pattern(3 * 61440, 1)};
  devices_.options.zone = 60'000;
  devices_.capacity = [](const std::string&, std::size_t sequence) {
    return sequence == 1 ? std::size_t{64'000} : std::size_t{1} << 30;
  };

  ASSERT_THAT(Backup({"t"}), IsOk());

  EXPECT_EQ(devices_.cartridges("t").size(), 2U);
  ASSERT_THAT(Restore({"t"}), IsOk());
  ExpectRestored();
}

// The end of a set whose files have long names is longer than what is known to be left.

TEST_P(Removable, AWarningInTheTrailerMovesItToTheNextMedium) {
  ASSERT_THAT(catalog_->RemoveDatabase("sales"), IsOk());
  ASSERT_THAT(catalog_->AddDatabase({.name = "sales",
                                     .scheme = "memory",
                                     .location = "/" + std::string(8000, 'x') + "/sales"}),
              IsOk());
  writer_.files.clear();
  for (unsigned i = 0; i < 20; ++i) {
    writer_.files.push_back(MemoryWriter::Pattern(512, i));
  }
  // Find out how long everything is, then let the warning come a little before, everywhere.
  ASSERT_THAT(Backup({"whole"}), IsOk());
  devices_.Finish();
  const std::size_t size = devices_.cartridges("whole")[0]->bytes.size();
  ASSERT_GT(size, 20U * kTransfer + 200'000);
  std::size_t moved = 0;
  for (const std::size_t before_end : {4096U, 20'000U, 60'000U, 90'000U, 110'000U, 150'000U}) {
    const std::string target = "t" + std::to_string(before_end);
    UseCapacity(size - before_end + 200'000, 200'000);

    ASSERT_THAT(Backup({target}), IsOk()) << before_end;

    moved += devices_.cartridges(target).size() - 1;
    ASSERT_THAT(Restore({target}), IsOk()) << before_end;
    ExpectRestored();
  }
  EXPECT_GT(moved, 2U);
}

TEST_P(Removable, SendsTheRestOfAWriteThatWarnedInTheMiddle) {
  writer_.files = {MemoryWriter::Pattern(12 * 61440, 1)};
  devices_.options.short_warnings = true;
  buffer_count_ = 4;
  UseCapacity(8192 + 9 * kTransfer, 7 * kTransfer);

  ASSERT_THAT(Backup({"t"}), IsOk());

  EXPECT_GT(devices_.cartridges("t").size(), 2U);
  ASSERT_THAT(Restore({"t"}), IsOk());
  ExpectRestored();
}

TEST_P(Removable, ListsTheMediumThatIsMountedAndAsksForNoOther) {
  writer_.files = {MemoryWriter::Pattern(10 * 61440, 1)};
  ASSERT_THAT(Backup({"whole"}), IsOk());
  UseCapacity(8192 + 4 * kTransfer, 2 * kTransfer);
  devices_.options.tells_zone = true;
  ASSERT_THAT(Backup({"t"}), IsOk());
  const std::size_t loads = devices_.loads().size();

  const auto whole = engine_->List(Transfer({"whole"}));
  const auto listing = engine_->List(Transfer({"t"}));

  ASSERT_THAT(whole, IsOk());
  ASSERT_EQ(whole->sets.size(), 1U);
  EXPECT_TRUE(whole->sets[0].complete);
  EXPECT_EQ(whole->sets[0].set.backup_size_bytes, 10 * 61440U);
  ASSERT_THAT(listing, IsOk());
  EXPECT_EQ(listing->header.media_sequence_number, 1);
  ASSERT_EQ(listing->sets.size(), 1U);
  EXPECT_TRUE(listing->sets[0].continues);
  EXPECT_FALSE(listing->sets[0].continued);
  EXPECT_FALSE(listing->sets[0].complete);
  EXPECT_EQ(listing->sets[0].set.database_name, "sales");
  EXPECT_EQ(devices_.loads().size(), loads);

  devices_.Finish();
  std::swap(*devices_.cartridges("t")[0], *devices_.cartridges("t").back());
  const auto last = engine_->List(Transfer({"t"}));
  ASSERT_THAT(last, IsOk());
  EXPECT_GT(last->header.media_sequence_number, 1);
  ASSERT_EQ(last->sets.size(), 1U);
  EXPECT_TRUE(last->sets[0].continued);
  EXPECT_TRUE(last->sets[0].complete);
  EXPECT_EQ(last->sets[0].set.backup_size_bytes, 10 * 61440U);
}

TEST_F(Tape, OverwritesMediaOfOtherBackups) {
  writer_.files = {MemoryWriter::Pattern(10 * 61440, 1)};
  devices_.options.tells_zone = true;
  UseCapacity(8192 + 4 * kTransfer, 2 * kTransfer);
  ASSERT_THAT(Backup({"t"}), IsOk());

  ASSERT_THAT(Backup({"t"}), IsOk());

  ASSERT_THAT(Restore({"t"}), IsOk());
  ExpectRestored();
}

TEST_F(Tape, LoadsTheFirstMediumIfThereIsNone) {
  writer_.files = {MemoryWriter::Pattern(100'000, 1)};
  std::atomic<int> rewinds{0};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    return command.code == CommandCode::kRewind && ++rewinds == 1 ? CompletionCode::kNoMediaInDrive
                                                                  : CompletionCode::kSuccess;
  };

  ASSERT_THAT(Backup({"t"}), IsOk());

  EXPECT_THAT(devices_.loads(), ElementsAre(Pair("t", 1U)));
}

// A person who fetches a tape takes longer than a device may take to write.

// Capacities, zones and depths as they come: what was backed up is what is restored.

TEST_F(Tape, RandomMediaGiveTheSameBytes) {
  const char* seed_text = std::getenv("CAPSTAN_TEST_SEED");
  const unsigned seed =
      seed_text != nullptr ? static_cast<unsigned>(std::stoul(seed_text)) : std::random_device{}();
  SCOPED_TRACE("CAPSTAN_TEST_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  const auto pick = [&](std::size_t low, std::size_t high) {
    return std::uniform_int_distribution<std::size_t>(low, high)(random);
  };
  constexpr std::uint32_t kKinds[] = {vdi::feature::kLikeTape, vdi::feature::kRemovable,
                                      vdi::feature::kLikeDisk | vdi::feature::kRemovable};
  const char* rounds_text = std::getenv("CAPSTAN_TEST_ROUNDS");
  const int rounds = rounds_text != nullptr ? std::atoi(rounds_text) : 25;
  for (int round = 0; round < rounds; ++round) {
    writer_.files.clear();
    for (std::size_t i = 0, count = pick(1, 3); i < count; ++i) {
      writer_.files.push_back(
          MemoryWriter::Pattern(pick(1, 1'500'000), static_cast<unsigned>(random())));
    }
    buffer_count_ = static_cast<std::uint32_t>(pick(4, 20));
    block_size_ = std::uint32_t{512} << pick(0, 7);
    devices_.options.features = kKinds[pick(0, 2)];
    if (devices_.options.features != vdi::feature::kLikeTape) {
      block_size_ = 4096;
    }
    devices_.options.depth = pick(1, 16);
    devices_.options.tells_zone = pick(0, 1) == 1;
    // What is stored in part is so in whole blocks.
    devices_.options.short_warnings = *block_size_ <= 4096 && pick(0, 2) == 0;
    const std::size_t in_flight = devices_.options.tells_zone ? 1 : *buffer_count_;
    devices_.options.zone = (in_flight + 4) * kTransfer +
                            (devices_.options.short_warnings ? kTransfer : 0) + pick(0, 300'000);
    const std::size_t base = devices_.options.zone + 4 * kTransfer;
    const unsigned capacity_seed = static_cast<unsigned>(random());
    devices_.Finish();
    devices_.capacity = [=](const std::string& target, std::size_t sequence) {
      std::mt19937 own(capacity_seed + static_cast<unsigned>(sequence * 7) +
                       static_cast<unsigned char>(target.back()));
      return base + own() % 900'000;
    };
    std::vector<std::string> targets;
    for (std::size_t i = 0, count = pick(1, 3); i < count; ++i) {
      targets.push_back("r" + std::to_string(round) + "f" + std::to_string(i));
    }
    SCOPED_TRACE("round " + std::to_string(round));

    ASSERT_THAT(Backup(targets), IsOk());
    std::shuffle(targets.begin(), targets.end(), random);
    ASSERT_THAT(Restore(targets, std::uint32_t{64} << 10 << pick(0, 3)), IsOk());

    ExpectRestored();
  }
}

}  // namespace
}  // namespace capstan::engine
