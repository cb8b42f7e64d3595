// Void frames: they keep their place, cost nothing, and are told from frames wherever frames are
// looked at.
#include <cstring>
#include <functional>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "server/media/capstan_layout.h"
#include "server/media/frame.h"
#include "server/media/media_map.h"
#include "server/media/set_digest.h"
#include "tests/unit/server/media/memory_source.h"
#include "tests/unit/server/media/resumed_family.h"

namespace capstan::media {
namespace {

using test::HasReason;
using test::IsOk;
using testing::ElementsAre;
using testing::IsEmpty;

// A medium that was gone on with, and what is on it.
struct VoidMedium {
  std::vector<std::byte> bytes;
  std::vector<Salvage::Frame> frames;
  std::uint64_t trailer_offset = 0;
  FamilySummary summary;
};

class VoidFrames : public testing::TestWithParam<SetForm> {
 protected:
  FamilyOptions Options(std::uint64_t preamble_size, std::uint32_t restarts) {
    FamilyOptions options{.header = HeaderOf(GetParam()),
                          .set = SetOf(GetParam()),
                          .form = {},
                          .append = {},
                          .preamble_size = preamble_size,
                          .restarts = restarts};
    if (GetParam().encrypted) {
      authenticators_.push_back(std::make_unique<NumberedAuthenticator>(&proved_));
      options.authenticator = authenticators_.back().get();
    }
    return options;
  }

  // Frames of 4096 bytes each, of which those are void that `voids` says; the last `added` of them
  // are the second session's. `tell`, of a void frame: whether the head and the index know of it.
  enum class Tell { kBoth, kIndexAlone, kHeadAlone };
  VoidMedium Make(const std::vector<bool>& voids, std::size_t added = 0, Tell tell = Tell::kBoth) {
    FamilySession first(Options(0, 0), {});
    first.PutPreamble();
    for (std::size_t i = 0; i + added < voids.size(); ++i) {
      AddFrame(&first, i, i);
    }
    const Salvage found = Salvage::Of(first.medium());
    EXPECT_EQ(found.frames.size() + added, voids.size());
    FamilySession second(Options(found.frames.front().offset, ++restarts_), first.medium());
    for (std::size_t i = 0; i < found.frames.size(); ++i) {
      const Salvage::Frame& frame = found.frames[i];
      if (voids[i] && tell != Tell::kIndexAlone) {
        MakeVoid(std::span(second.medium()).subspan(frame.offset, kPhysicalBlock));
      }
      const bool is_void = voids[i] && tell != Tell::kHeadAlone;
      second.writer().AdoptFrame(is_void ? frame.extent.AsVoid() : frame.extent);
    }
    second.PutPreamble();
    for (std::size_t i = 0; i < added; ++i) {
      AddFrame(&second, found.frames.size() + i, (std::uint64_t{1} << 32) + i);
    }
    VoidMedium medium{.bytes = {},
                      .frames = Salvage::Of(second.medium()).frames,
                      .trailer_offset = second.writer().trailer_offset(),
                      .summary = second.writer().summary()};
    second.End();
    medium.bytes = std::move(second.medium());
    return medium;
  }

  static void AddFrame(FamilySession* session, std::size_t place, std::uint64_t sequence) {
    session->Add({.file_index = place % 4 == 3 ? 1U : 0U,
                  .file_offset = place * 4096,
                  .length = 4096,
                  .sequence = sequence},
                 static_cast<std::uint32_t>(1000 + place * 500));
  }

  NumberedAuthenticator::Seen proved_;
  std::uint32_t restarts_ = 0;

 private:
  std::vector<std::unique_ptr<NumberedAuthenticator>> authenticators_;
};

std::string NameOf(const testing::TestParamInfo<SetForm>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Forms, VoidFrames, testing::ValuesIn(kForms), NameOf);

// What a reader that goes on behind damage is told.
class TolerantVisitor final : public FamilyVisitor {
 public:
  Status OnMediaHeader(const MediaHeader&) override { return OkStatus(); }
  Status OnSetBegin(const BackupSet&) override { return OkStatus(); }
  Status OnFrame(const FrameView& frame) override {
    EXPECT_THAT(VerifyFrame(frame, "dev"), IsOk());
    good.push_back(frame.extent.sequence);
    return OkStatus();
  }
  Status OnVoidFrame(const FrameView& frame) override {
    voids.push_back(frame.extent.sequence);
    return OkStatus();
  }
  Status OnSetEnd(const SetTrailer& the_trailer, const FamilySummary& the_seen) override {
    trailer = the_trailer;
    seen = the_seen;
    return OkStatus();
  }
  Status OnDamage(const MediumDamage&) override {
    ++damages;
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
  std::vector<std::uint64_t> voids;
  SetTrailer trailer;
  FamilySummary seen;
  int damages = 0;
};

Status ReadTolerantly(std::span<const std::byte> bytes, TolerantVisitor* visitor) {
  auto reader = FamilyReader::Create("dev", 1, visitor, {.tolerate_damage = true});
  CAPSTAN_RETURN_IF_ERROR(reader->Consume(bytes));
  return reader->Finish();
}

Status ReadUnverified(std::span<const std::byte> bytes) {
  RecordingVisitor visitor(false);
  visitor.keep_payload = false;
  return ReadAll(bytes, &visitor);
}

TEST_P(VoidFrames, EveryFlippedBitButThoseOfTheirPayloadsIsFound) {
  VoidMedium medium = Make({true, false});
  ASSERT_THAT(ReadUnverified(medium.bytes), IsOk());
  const Salvage::Frame& frame = medium.frames[0];
  const auto bytes = std::span(medium.bytes).subspan(frame.offset, frame.size);
  ParsedFrame parsed;
  FrameStream stream;
  ASSERT_FALSE(ParseFrameHead(bytes, &parsed, &stream));
  const std::size_t payload_end = parsed.payload_offset + stream.payload_length;
  for (std::size_t at = 0; at < bytes.size();) {
    const bool in_payload = at >= parsed.payload_offset && at < payload_end;
    for (unsigned bit = 0; bit < 8; ++bit) {
      bytes[at] ^= static_cast<std::byte>(1U << bit);
      ASSERT_EQ(ReadUnverified(medium.bytes).ok(), in_payload) << at << " bit " << bit;
      bytes[at] ^= static_cast<std::byte>(1U << bit);
    }
    at += in_payload ? 97 : at > payload_end + 64 ? 409 : 1;
  }
}

TEST_P(VoidFrames, AreMadeOnceAndForAll) {
  const VoidMedium whole = Make({false, false});
  const Salvage::Frame& frame = whole.frames[0];
  std::vector<std::byte> once = whole.bytes;
  MakeVoid(std::span(once).subspan(frame.offset, kPhysicalBlock));
  std::vector<std::byte> twice = once;

  MakeVoid(std::span(twice).subspan(frame.offset, kPhysicalBlock));

  EXPECT_TRUE(once == twice);
  EXPECT_FALSE(once == whole.bytes);
  const auto payload = static_cast<std::ptrdiff_t>(frame.offset + 300);
  EXPECT_TRUE(std::equal(once.begin() + payload, once.end(), whole.bytes.begin() + payload));
  ParsedFrame parsed;
  FrameStream stream;
  ASSERT_FALSE(ParseFrameHead(Bytes(once).subspan(frame.offset), &parsed, &stream));
  EXPECT_TRUE(parsed.extent.is_void());
  EXPECT_TRUE(SameExtent(parsed.extent, frame.extent.AsVoid()));
  EXPECT_TRUE(SameExtent(parsed.extent.AsVoid(), parsed.extent));
  EXPECT_EQ(parsed.extent.payload_size(), 0U);
  EXPECT_EQ(parsed.extent.stored_size(), frame.extent.stored_size());
}

// The bytes of one, for whoever writes another reader.
TEST(VoidFrame, HasTheseBytes) {
  Medium medium = SmallMedium();
  const auto head = std::span(medium.bytes).subspan(medium.offsets[2], kPhysicalBlock);
  const auto hex = [&head](std::size_t from, std::size_t size) {
    std::string text;
    for (const std::byte byte : head.subspan(from, size)) {
      text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    }
    return text;
  };

  MakeVoid(head);

  EXPECT_EQ(hex(0, 20), "46494c450000000098000e010000000000000000");
  EXPECT_EQ(hex(174, 40),
            "02000000010000000200000000000000000000000000000037100000000000009e8fa00980818283");
  EXPECT_EQ(hex(240, 22), "43505644000000003710000000000000000000002204");
}

// The one says so and the other does not: the medium is not what was written.
TEST_P(VoidFrames, AreThoseOfTheIndex) {
  EXPECT_THAT(ReadUnverified(Make({false, true, false}).bytes), IsOk());
  EXPECT_THAT(ReadUnverified(Make({false, true, false}, 0, Tell::kIndexAlone).bytes),
              HasReason(3241));
  EXPECT_THAT(ReadUnverified(Make({false, true, false}, 0, Tell::kHeadAlone).bytes),
              HasReason(3241));
}

TEST_P(VoidFrames, MayBeAllThereAre) {
  const VoidMedium medium = Make({true, true, true});
  RecordingVisitor visitor;

  ASSERT_THAT(ReadAll(medium.bytes, &visitor), IsOk());

  EXPECT_THAT(visitor.frames, IsEmpty());
  EXPECT_EQ(visitor.void_frames.size(), 3U);
  EXPECT_EQ(visitor.summaries.front().payload_bytes, 0U);
  EXPECT_EQ(visitor.summaries.front().frame_count, 3U);
}

TEST_P(VoidFrames, CostNothingWhereTheyAreLost) {
  const VoidMedium whole = Make({false, true, false, true, true, false});
  for (const bool with_others : {false, true}) {
    std::vector<std::byte> bytes = whole.bytes;
    for (const std::size_t i : {1U, 4U}) {
      bytes[whole.frames[i].offset + 190] ^= std::byte{1};
    }
    if (with_others) {
      bytes[whole.frames[2].offset + 190] ^= std::byte{1};
    }
    TolerantVisitor visitor;

    ASSERT_THAT(ReadTolerantly(bytes, &visitor), IsOk());

    EXPECT_GE(visitor.damages, 1);
    EXPECT_FALSE(visitor.trailer.damaged);
    EXPECT_EQ(visitor.seen, whole.summary);
    EXPECT_THAT(visitor.voids, ElementsAre(3));
    if (with_others) {
      EXPECT_THAT(visitor.good, ElementsAre(0, 5));
      EXPECT_THAT(visitor.lost(), ElementsAre(2));
    } else {
      EXPECT_THAT(visitor.good, ElementsAre(0, 2, 5));
      EXPECT_THAT(visitor.lost(), IsEmpty());
    }
  }
}

// As a sample is read: the end first, then the frames that the index names.
TEST_P(VoidFrames, AreNotAmongThoseThatTheIndexNames) {
  const VoidMedium medium = Make({true, false, true, true, false, false, true}, 2);
  TolerantVisitor index;
  auto reader = FamilyReader::Create("dev", 1, &index, {.tolerate_damage = true});
  const auto first = static_cast<std::size_t>(medium.frames.front().offset);
  ASSERT_THAT(reader->Consume(std::span(medium.bytes).first(first)), IsOk());
  ASSERT_TRUE(reader->at_frame());
  ASSERT_THAT(reader->JumpToEnd(medium.trailer_offset), IsOk());
  ASSERT_THAT(reader->Consume(std::span(medium.bytes).subspan(medium.trailer_offset)), IsOk());
  ASSERT_THAT(reader->Finish(), IsOk());

  ASSERT_THAT(index.lost(),
              ElementsAre(1, 4, std::uint64_t{1} << 32, (std::uint64_t{1} << 32) + 1));
  TolerantVisitor frames;
  auto picker = FamilyReader::Create("dev", 1, &frames, {.tolerate_damage = true});
  ASSERT_THAT(picker->Consume(std::span(medium.bytes).first(first)), IsOk());
  for (const LostFrame& frame : index.trailer.lost_frames) {
    const Salvage::Frame& stands = medium.frames.at(frame.number);
    EXPECT_TRUE(SameExtent(frame.extent, stands.extent));
    EXPECT_EQ(frame.medium_offset, stands.offset);
    EXPECT_EQ(frame.size, stands.size);
    ASSERT_THAT(picker->JumpToFrame(frame.number, frame.medium_offset), IsOk());
    ASSERT_THAT(picker->Consume(std::span(medium.bytes).subspan(frame.medium_offset, frame.size)),
                IsOk());
  }
  EXPECT_EQ(frames.good, index.lost());
  EXPECT_THAT(frames.voids, IsEmpty());
}

TEST_P(VoidFrames, AreNoPartOfTheDigestOfTheSet) {
  const VoidMedium medium = Make({true, false, true, false});
  SetDigest all, without;
  for (const Salvage::Frame& frame : medium.frames) {
    all.Add(frame.extent);
    if (!frame.extent.is_void()) {
      without.Add(frame.extent);
    }
  }
  EXPECT_EQ(all.Value(), without.Value());
  EXPECT_NE(all.Value(), SetDigest().Value());
}

TEST_P(VoidFrames, AreDrawnAsWhatTheyAre) {
  const VoidMedium medium = Make({false, false, true, true, true, false, false}, 1);
  MemorySource source(medium.bytes);

  const Result<MediumMap> map = ReadMap(source);

  ASSERT_THAT(map, IsOk());
  std::vector<PieceKind> kinds;
  std::uint64_t at = 0;
  std::uint64_t stored = 0;
  for (const MapPiece& piece : map->pieces) {
    kinds.push_back(piece.kind);
    EXPECT_EQ(piece.offset, at);
    at += piece.size.value_or(0);
    stored += piece.stored_bytes.value_or(0);
  }
  using enum PieceKind;
  EXPECT_EQ(at, medium.bytes.size());
  EXPECT_EQ(stored, medium.summary.payload_bytes);
  EXPECT_THAT(kinds, ElementsAre(kHeader, kFilemark, kSetHead, kFrames, kVoidFrames, kFrames,
                                 kFilemark, kSetEnd, kFilemark));
  const MapPiece& piece = map->pieces[4];
  EXPECT_EQ(piece.offset, medium.frames[2].offset);
  EXPECT_EQ(piece.frames, 3U);
  EXPECT_EQ(piece.payload_bytes, 0U);
  EXPECT_EQ(piece.stored_bytes, 0U);
  EXPECT_FALSE(piece.range);
  EXPECT_EQ(piece.set, 0U);
  EXPECT_FALSE(piece.remark.empty());
  EXPECT_EQ(map->pieces[3].payload_bytes, 8192U);
  EXPECT_EQ(map->pieces[3].range->end, 8192U);
  EXPECT_EQ(map->pieces[5].range->begin, 5 * 4096U);
}

// The last of as many pieces as are told apart takes what follows, void or not.
TEST_P(VoidFrames, AreCountedInWhatCannotBeToldApart) {
  if (GetParam().codec[0] == '\0') {
    GTEST_SKIP() << "frames of 64 KiB are many bytes";
  }
  std::vector<bool> voids(1200);
  for (std::size_t i = 0; i < voids.size(); i += 2) {
    voids[i] = true;
  }
  const VoidMedium medium = Make(voids);
  MemorySource source(medium.bytes);

  const Result<MediumMap> map = ReadMap(source);

  ASSERT_THAT(map, IsOk());
  std::uint64_t frames = 0;
  std::uint64_t payload = 0;
  for (const MapPiece& piece : map->pieces) {
    frames += piece.frames.value_or(0);
    payload += piece.payload_bytes.value_or(0);
    EXPECT_EQ(piece.kind == PieceKind::kVoidFrames, !piece.remark.empty());
  }
  EXPECT_EQ(frames, 1200U);
  EXPECT_EQ(payload, 600 * 4096U);
  EXPECT_EQ(map->pieces[1002].kind, PieceKind::kFrames);
  EXPECT_GT(map->pieces[1002].frames, 100U);
}

TEST_P(VoidFrames, StandInAnUnfinishedSetAsOthersDo) {
  const VoidMedium medium = Make({false, true, false, true});
  MemorySource source(std::span(medium.bytes).first(medium.trailer_offset));

  const Result<MediumMap> map = ReadMap(source);

  ASSERT_THAT(map, IsOk());
  EXPECT_EQ(map->pieces.back().kind, PieceKind::kUnfinishedSet);
  EXPECT_EQ(map->pieces.back().frames, 4U);
}

}  // namespace
}  // namespace capstan::media
