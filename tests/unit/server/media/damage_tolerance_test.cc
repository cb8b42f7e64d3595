// A reader that tolerates damage goes on behind it, hands out every good frame, and says what is
// lost: no more and no less.
#include <cstring>
#include <set>

#include <gmock/gmock.h>

#include "server/media/block_composer.h"
#include "server/media/frame.h"
#include "server/messages/messages.h"
#include "tests/unit/server/media/medium_builder.h"

namespace capstan::media {
namespace {

using test::HasReason;
using test::IsOk;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint32_t kTransfer = 65536;

// What a tolerant reader tells; frames whose payload is bad are counted apart, as the engine does.
class TolerantVisitor final : public FamilyVisitor {
 public:
  Status OnMediaHeader(const MediaHeader&) override { return OkStatus(); }
  Status OnSetBegin(const BackupSet&) override { return OkStatus(); }
  Status OnFrame(const FrameView& frame) override {
    (VerifyFrame(frame, "dev").ok() ? good : bad_payload).push_back(frame.extent.sequence);
    return refuse ? SqlError(3241, "the visitor's own") : OkStatus();
  }
  Status OnSetEnd(const SetTrailer& the_trailer, const FamilySummary& the_seen) override {
    trailer = the_trailer;
    seen = the_seen;
    ++ends;
    return OkStatus();
  }
  Status OnDamage(const MediumDamage& found) override {
    damage.push_back(found);
    return OkStatus();
  }
  std::vector<std::uint64_t> lost() const {
    std::vector<std::uint64_t> sequences;
    for (const LostFrame& frame : trailer.lost_frames) {
      sequences.push_back(frame.extent.sequence);
    }
    return sequences;
  }

  std::vector<std::uint64_t> good;
  std::vector<std::uint64_t> bad_payload;
  std::vector<MediumDamage> damage;
  SetTrailer trailer;
  FamilySummary seen;
  int ends = 0;
  bool refuse = false;
};

Status ReadTolerantly(std::span<const std::byte> bytes, TolerantVisitor* visitor,
                      std::uint16_t position = 1, std::size_t chunk = 0) {
  auto reader = FamilyReader::Create("dev", position, visitor, {.tolerate_damage = true});
  for (std::size_t at = 0; at < bytes.size() && !reader->done();) {
    const std::size_t size = chunk != 0 ? chunk : reader->next_read_size(kTransfer);
    const auto piece = bytes.subspan(at, std::min(size, bytes.size() - at));
    CAPSTAN_RETURN_IF_ERROR(reader->Consume(piece));
    at += piece.size();
  }
  return reader->Finish();
}

Medium MediumOf(std::uint64_t frames, std::uint8_t guid = 0x80) {
  BackupSet set = TestSet(kTransfer);
  set.backup_set_guid = TestGuid(guid);
  MediumBuilder builder(TestHeader(), set);
  for (std::uint64_t i = 0; i < frames; ++i) {
    builder.Add({.file_offset = i * 4096, .length = 4096, .sequence = i});
  }
  return builder.Finish();
}

TEST(DamageTolerance, ASoundMediumReadsAsEver) {
  const Medium medium = MediumOf(5);
  TolerantVisitor visitor;
  ASSERT_THAT(ReadTolerantly(medium.bytes, &visitor), IsOk());
  EXPECT_THAT(visitor.good, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(visitor.damage, IsEmpty());
  EXPECT_FALSE(visitor.trailer.damaged);
  EXPECT_EQ(visitor.seen, medium.summary);
}

TEST(DamageTolerance, ABadFrameIsNamedByTheIndexWhateverTheChunks) {
  Medium medium = MediumOf(5);
  medium.bytes[medium.offsets[1] + 40] ^= std::byte{1};   // of its header
  medium.bytes[medium.offsets[3] + 160] ^= std::byte{1};  // of its frame header
  for (const std::size_t chunk : {0U, 1000U, 4096U, 5000U, 65536U, 1U << 20}) {
    TolerantVisitor visitor;
    ASSERT_THAT(ReadTolerantly(medium.bytes, &visitor, 1, chunk), IsOk());
    EXPECT_THAT(visitor.good, ElementsAre(0, 2, 4));
    EXPECT_THAT(visitor.lost(), ElementsAre(1, 3));
    ASSERT_EQ(visitor.damage.size(), 2U);
    EXPECT_EQ(visitor.damage[0].offset, medium.offsets[1]);
    EXPECT_EQ(visitor.damage[0].size, kTransfer);
    EXPECT_THAT(visitor.damage[0].text, testing::HasSubstr("'dev' at byte"));
    EXPECT_EQ(visitor.trailer.lost_frames[0].extent.file_offset, 4096U);
    EXPECT_EQ(visitor.trailer.lost_frames[0].extent.length, 4096U);
    EXPECT_EQ(visitor.trailer.lost_frames[1].medium_offset, medium.offsets[3]);
    EXPECT_EQ(visitor.trailer.lost_frames[1].number, 3U);
    EXPECT_EQ(visitor.seen, medium.summary) << "what the family says that it held";
  }
}

TEST(DamageTolerance, ABadPayloadIsHandedOutForItsVisitorToJudge) {
  Medium medium = MediumOf(3);
  medium.bytes[medium.offsets[1] + 1500] ^= std::byte{1};
  TolerantVisitor visitor;
  ASSERT_THAT(ReadTolerantly(medium.bytes, &visitor), IsOk());
  EXPECT_THAT(visitor.good, ElementsAre(0, 2));
  EXPECT_THAT(visitor.bad_payload, ElementsAre(1));
  EXPECT_THAT(visitor.damage, IsEmpty());
}

TEST(DamageTolerance, AStretchOverSeveralFramesAndTheLastFrames) {
  Medium middle = MediumOf(6);
  std::memset(middle.bytes.data() + middle.offsets[1] + 100, 0xA5, 2 * kTransfer);
  TolerantVisitor first;
  ASSERT_THAT(ReadTolerantly(middle.bytes, &first), IsOk());
  EXPECT_THAT(first.good, ElementsAre(0, 4, 5));
  EXPECT_THAT(first.lost(), ElementsAre(1, 2, 3));
  EXPECT_EQ(first.damage.size(), 1U);

  Medium last = MediumOf(3);
  std::memset(last.bytes.data() + last.offsets[1], 0, 2 * kTransfer);
  TolerantVisitor second;
  ASSERT_THAT(ReadTolerantly(last.bytes, &second), IsOk());
  EXPECT_THAT(second.lost(), ElementsAre(1, 2));

  Medium all = MediumOf(3);
  std::memset(all.bytes.data() + all.offsets[0], 0, 3 * kTransfer);
  TolerantVisitor third;
  ASSERT_THAT(ReadTolerantly(all.bytes, &third), IsOk());
  EXPECT_THAT(third.lost(), ElementsAre(0, 1, 2));
}

TEST(DamageTolerance, AFilemarkBehindTheFramesCostsNoFrame) {
  Medium medium = MediumOf(3);
  medium.bytes[medium.trailer_offset + 50] ^= std::byte{1};
  TolerantVisitor visitor;
  ASSERT_THAT(ReadTolerantly(medium.bytes, &visitor), IsOk());
  EXPECT_THAT(visitor.good, ElementsAre(0, 1, 2));
  EXPECT_THAT(visitor.lost(), IsEmpty());
  EXPECT_EQ(visitor.damage.size(), 1U);
  EXPECT_FALSE(visitor.trailer.damaged);
}

// Without the index nobody knows which frames there were; what was handed out is good all the same.
TEST(DamageTolerance, ADamagedOrMissingEndIsSaidOnce) {
  const Medium whole = MediumOf(3);
  for (std::size_t at = whole.trailer_offset + kPhysicalBlock; at < whole.bytes.size(); at += 97) {
    Medium medium = whole;
    medium.bytes[at] ^= std::byte{4};
    TolerantVisitor visitor;
    ASSERT_THAT(ReadTolerantly(medium.bytes, &visitor), IsOk()) << at;
    EXPECT_THAT(visitor.good, ElementsAre(0, 1, 2)) << at;
    EXPECT_EQ(visitor.damage.size(), 1U) << at;
    EXPECT_EQ(visitor.ends, 1) << at;
  }
  for (std::size_t size = whole.data_offset; size < whole.bytes.size(); size += 4096) {
    TolerantVisitor visitor;
    ASSERT_THAT(ReadTolerantly(std::span(whole.bytes).first(size), &visitor), IsOk()) << size;
    EXPECT_TRUE(visitor.trailer.damaged) << size;
    EXPECT_EQ(visitor.damage.size(), 1U) << size;
    EXPECT_EQ(visitor.good.size(),
              std::min<std::size_t>(3, (size - whole.data_offset) / kTransfer));
    EXPECT_EQ(visitor.trailer.set.files.size(), 2U) << size;
  }
}

TEST(DamageTolerance, WhatStandsInFrontOfTheFramesIsNeeded) {
  const Medium whole = MediumOf(2);
  for (std::size_t at = 4096; at < whole.data_offset; at += 61) {
    Medium medium = whole;
    medium.bytes[at] ^= std::byte{4};
    TolerantVisitor visitor;
    EXPECT_FALSE(ReadTolerantly(medium.bytes, &visitor).ok()) << at;
  }
}

TEST(DamageTolerance, AnErrorOfTheVisitorIsOne) {
  const Medium medium = MediumOf(2);
  TolerantVisitor visitor;
  visitor.refuse = true;
  EXPECT_THAT(ReadTolerantly(medium.bytes, &visitor), HasReason(3241));
  EXPECT_EQ(visitor.ends, 0);
}

// A frame of an older backup in the place of this one's: whole, and not of this set (S0-32).
TEST(DamageTolerance, AFrameOfAnotherSetIsLostNotBelieved) {
  Medium medium = MediumOf(4);
  const Medium older = MediumOf(4, 0x40);
  std::memcpy(medium.bytes.data() + medium.offsets[2], older.bytes.data() + older.offsets[2],
              kTransfer);
  TolerantVisitor visitor;
  ASSERT_THAT(ReadTolerantly(medium.bytes, &visitor), IsOk());
  EXPECT_THAT(visitor.good, ElementsAre(0, 1, 3));
  EXPECT_THAT(visitor.lost(), ElementsAre(2));
}

// Whatever bit of whatever frame is flipped: every other frame is handed out, and what is not good
// is known by its number.
TEST(DamageTolerance, EveryFrameIsEitherGoodOrNamed) {
  const Medium whole = MediumOf(4);
  for (std::size_t at = whole.offsets[1]; at < whole.offsets[2];
       at += at < whole.offsets[1] + 400 ? 1 : 509) {
    Medium medium = whole;
    medium.bytes[at] ^= static_cast<std::byte>(1U << at % 8);
    TolerantVisitor visitor;
    ASSERT_THAT(ReadTolerantly(medium.bytes, &visitor), IsOk()) << at;
    ASSERT_THAT(visitor.good, ElementsAre(0, 2, 3)) << at;
    std::vector<std::uint64_t> named = visitor.lost();
    named.insert(named.end(), visitor.bad_payload.begin(), visitor.bad_payload.end());
    ASSERT_THAT(named, ElementsAre(1)) << at;
  }
}

}  // namespace
}  // namespace capstan::media
