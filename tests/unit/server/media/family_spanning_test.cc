// Families on several media, with filemarks as blocks and as events of the device.

#include <algorithm>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/media/block_composer.h"
#include "tests/unit/server/media/medium_builder.h"
#include "tests/unit/server/media/span_builder.h"

namespace capstan::media {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;

// Mounts the media in their order, whatever number the reader asks for.
Status ReadTapes(const std::vector<Tape>& tapes, RecordingVisitor* visitor,
                 std::size_t chunk_size = 10'000, Media media = Media::kSeveral) {
  const auto reader = FamilyReader::Create("dev", 1, visitor, {.media = media});
  for (const Tape& tape : tapes) {
    if (reader->next_medium() != 0) {
      reader->BeginNextMedium();
    }
    std::size_t at = 0;
    for (std::size_t mark = 0; mark <= tape.marks.size(); ++mark) {
      const std::size_t end = mark < tape.marks.size() ? tape.marks[mark] : tape.bytes.size();
      while (at < end) {
        const std::size_t size = std::min(chunk_size, end - at);
        CAPSTAN_RETURN_IF_ERROR(reader->Consume(std::span(tape.bytes).subspan(at, size)));
        at += size;
      }
      if (mark < tape.marks.size()) {
        CAPSTAN_RETURN_IF_ERROR(reader->OnFilemark());
      }
    }
    CAPSTAN_RETURN_IF_ERROR(reader->EndMedium());
  }
  return reader->Finish();
}

class Spanning : public testing::TestWithParam<bool> {
 protected:
  MediumForm form() const { return GetParam() ? HardForm() : MediumForm{}; }
  std::vector<Tape> ThreeMedia() const {
    SpanBuilder builder(form());
    builder.Add(2);
    builder.NextMedium();
    builder.Add(3);
    builder.NextMedium();
    builder.Add(1);
    builder.End();
    return builder.Take();
  }
};
INSTANTIATE_TEST_SUITE_P(Filemarks, Spanning, testing::Bool(),
                         [](const auto& hard) { return hard.param ? "hard" : "soft"; });

TEST_P(Spanning, GivesEveryFrameBackInWhateverPiecesItArrives) {
  const std::vector<Tape> tapes = ThreeMedia();
  for (const std::size_t chunk_size : {1000U, 4096U, 65536U, 1U << 20}) {
    RecordingVisitor visitor;

    ASSERT_THAT(ReadTapes(tapes, &visitor, chunk_size), IsOk()) << chunk_size;

    ASSERT_EQ(visitor.frames.size(), 6U);
    for (std::uint64_t i = 0; i < 6; ++i) {
      EXPECT_EQ(visitor.frames[i].extent.sequence, i);
    }
    EXPECT_EQ(visitor.frames[2].medium_offset, visitor.frames[0].medium_offset);
    EXPECT_EQ(visitor.headers.size(), 1U);
    EXPECT_EQ(visitor.begins.size(), 1U);
    ASSERT_EQ(visitor.summaries.size(), 1U);
    EXPECT_EQ(visitor.summaries[0].frame_count, 6U);
    EXPECT_EQ(visitor.summaries, visitor.trailers[0].families);
  }
}

// The end of a set that was cut off anywhere counts for nothing; it comes again, whole.
TEST_P(Spanning, TakesUpAnEndThatDidNotFitAnywhere) {
  for (std::uint64_t limit = 0;; limit += 4096) {
    SpanBuilder builder(form());
    builder.Add(400);  // an index of three blocks
    const FamilySummary own = builder.writer().summary();
    const std::uint64_t whole =
        (*builder.writer().Trailer(FinalOf(TestSet(65536), 0), std::span(&own, 1)))->size_bytes();
    // The last block of all is a filemark, or is followed by one: the set is whole with it.
    if (limit + 4096 >= whole) {
      ASSERT_GT(limit, 3 * 4096U);
      break;
    }
    if (limit > 0) {
      builder.End(limit);
    }
    builder.NextMedium(/*only_end_follows=*/true);
    builder.End();
    RecordingVisitor visitor;

    ASSERT_THAT(ReadTapes(builder.Take(), &visitor), IsOk()) << limit;

    EXPECT_EQ(visitor.frames.size(), 400U);
    EXPECT_EQ(visitor.summaries[0].frame_count, 400U);
  }
}

TEST_P(Spanning, NeedsEveryMediumInItsOrder) {
  const std::vector<Tape> tapes = ThreeMedia();
  RecordingVisitor visitor;

  EXPECT_THAT(ReadTapes({tapes[0]}, &visitor), HasReason(3256));
  EXPECT_THAT(ReadTapes({tapes[0], tapes[2]}, &visitor), HasReason(3247));
  EXPECT_THAT(ReadTapes({tapes[0], tapes[0]}, &visitor), HasReason(3247));
  EXPECT_THAT(ReadTapes({tapes[1], tapes[2]}, &visitor), HasReason(3249));
  EXPECT_THAT(ReadTapes({tapes[0], Tape{}}, &visitor), HasReason(3254));
  EXPECT_THAT(ReadTapes({tapes[0]}, &visitor, 4096, Media::kOne), HasReason(3256));
}

TEST_P(Spanning, TellsMediaOfOtherFamiliesSetsAndTimesApart) {
  const std::vector<Tape> tapes = ThreeMedia();
  const auto second_of = [&](const MediaHeader& header, int frames) {
    SpanBuilder builder(form(), header);
    builder.Add(frames);
    builder.NextMedium();
    builder.End();
    return builder.Take()[1];
  };
  MediaHeader other_set = TestHeader();
  other_set.media_set_id = TestGuid(0x60);
  MediaHeader other_family = TestHeader();
  other_family.media_family_id += 1;
  RecordingVisitor visitor;

  EXPECT_THAT(ReadTapes({tapes[0], second_of(other_set, 2)}, &visitor), HasReason(3258));
  EXPECT_THAT(ReadTapes({tapes[0], second_of(other_family, 2)}, &visitor), HasReason(3133));
  EXPECT_THAT(ReadTapes({tapes[0], second_of(TestHeader(), 1)}, &visitor), HasReason(3232));
}

// No byte of any medium is unprotected, EOTM and repeated blocks included.
TEST_P(Spanning, FindsAFlippedBitAnywhere) {
  std::vector<Tape> tapes = ThreeMedia();
  for (std::size_t medium = 0; medium < tapes.size(); ++medium) {
    std::vector<std::byte>& bytes = tapes[medium].bytes;
    for (std::size_t at = 0; at < bytes.size();
         at += at < 20'000 || at + 20'000 > bytes.size() ? 13 : 4099) {
      const std::byte kept = bytes[at];
      bytes[at] ^= std::byte{1} << (at % 8);
      RecordingVisitor visitor;
      EXPECT_FALSE(ReadTapes(tapes, &visitor, 65536).ok()) << medium << " " << at;
      bytes[at] = kept;
    }
  }
}

TEST_P(Spanning, EveryPrefixOfAMediumIsIncomplete) {
  const std::vector<Tape> tapes = ThreeMedia();
  for (std::size_t size = 0; size < tapes[1].bytes.size(); size += 1777) {
    Tape cut{.bytes = {tapes[1].bytes.begin(),
                       tapes[1].bytes.begin() + static_cast<std::ptrdiff_t>(size)},
             .marks = {}};
    for (const std::size_t mark : tapes[1].marks) {
      if (mark <= size) {
        cut.marks.push_back(mark);
      }
    }
    RecordingVisitor visitor;
    EXPECT_FALSE(ReadTapes({tapes[0], cut, tapes[2]}, &visitor).ok()) << size;
  }
}

// MTF 1.00a, "Normal EOM processing".
TEST_P(Spanning, EndsAndContinuesMediaAsTheSpecificationSays) {
  SpanBuilder builder(form());
  builder.Add(2);
  builder.NextMedium();
  builder.Add(1);
  builder.NextMedium(/*only_end_follows=*/true);
  builder.End();
  const std::vector<Tape> tapes = builder.Take();
  const std::size_t set_at = GetParam() ? 4096 : 8192;
  const auto header_at = [&](std::size_t tape, std::size_t offset) {
    return LoadStruct<BlockHeader>(Bytes(tapes[tape].bytes).subspan(offset));
  };

  for (const std::size_t tape : {1U, 2U}) {
    const auto medium = LoadStruct<TapeBlock>(tapes[tape].bytes);
    EXPECT_EQ(medium.header.attributes & kContinuation, kContinuation);
    EXPECT_EQ(+medium.media_family_id, TestHeader().media_family_id);
    EXPECT_EQ(+medium.media_sequence_number, tape + 1);
    EXPECT_EQ(+medium.soft_filemark_units, GetParam() ? 0 : 8);
    EXPECT_EQ(header_at(tape, set_at).attributes,
              tape == 2 ? kContinuation | kEndOfSetAtEom : kContinuation);
    EXPECT_EQ(header_at(tape, set_at + 1024).type, BlockType::kVolume);
    EXPECT_EQ(header_at(tape, set_at + 1024).attributes, kContinuation);
    // Repeated blocks do not count: the first frame has the FLA that it would have had.
    const std::size_t frame_at = set_at + 4096;
    EXPECT_EQ(+header_at(tape, set_at).fla, (tape == 1 ? 2 : 3) * 64U);
    if (tape == 1) {
      EXPECT_EQ(+header_at(tape, frame_at).fla, 4 + 2 * 64U);
      EXPECT_EQ(+header_at(tape, frame_at).control_block_id, 4U);
    }
  }
  const std::size_t end_at = tapes[0].bytes.size() - (GetParam() ? 4096 : 2 * 4096);
  EXPECT_EQ(header_at(0, end_at).type, BlockType::kEndOfMedium);
  EXPECT_EQ(header_at(0, end_at).attributes, kEotmHasNoEset);
  if (GetParam()) {
    EXPECT_THAT(tapes[0].marks, testing::ElementsAre(4096, end_at, end_at + 4096));
  } else {
    EXPECT_EQ(header_at(0, end_at - 4096).type, BlockType::kSoftFilemark);
    EXPECT_EQ(header_at(0, end_at + 4096).type, BlockType::kSoftFilemark);
  }
}

TEST(HardFilemarks, GiveTheDevicesPositionsToTheBlocksThatHoldThem) {
  SpanBuilder builder(HardForm());
  builder.Add(1);
  builder.End();
  const std::vector<Tape> tapes = builder.Take();
  ASSERT_EQ(tapes[0].marks.size(), 3U);
  const auto set = LoadStruct<SetBlock>(Bytes(tapes[0].bytes).subspan(tapes[0].marks[0]));
  EXPECT_EQ(+set.pba, 1000U + 4096 / 512);
  const auto second = LoadStruct<EndOfSetBlock>(Bytes(tapes[0].bytes).last(4096));
  EXPECT_EQ(+second.first_pba, 1000U + tapes[0].marks[1] / 512);
  const std::size_t set_map_at = tapes[0].marks[1] + (second.set_map_pba - second.first_pba) * 512;
  const auto stream = LoadStruct<StreamHeader>(Bytes(tapes[0].bytes).subspan(set_map_at));
  EXPECT_EQ(stream.type, StreamType::kSetMap);
}

TEST(HardFilemarks, ArePartOfTheMediumAsMuchAsItsBytes) {
  SpanBuilder builder(HardForm());
  builder.Add(2);
  builder.End();
  const Tape whole = builder.Take()[0];
  RecordingVisitor visitor;
  ASSERT_THAT(ReadTapes({whole}, &visitor), IsOk());

  for (std::size_t i = 0; i < whole.marks.size(); ++i) {
    Tape missing = whole;
    missing.marks.erase(missing.marks.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(ReadTapes({missing}, &visitor).ok()) << i;
    Tape doubled = whole;
    doubled.marks.insert(doubled.marks.begin() + static_cast<std::ptrdiff_t>(i), whole.marks[i]);
    // One more behind the end is not looked at.
    EXPECT_EQ(ReadTapes({doubled}, &visitor).ok(), i == 2) << i;
    Tape displaced = whole;
    displaced.marks[i] -= 512;
    EXPECT_FALSE(ReadTapes({displaced}, &visitor).ok()) << i;
  }
  Tape within = whole;
  within.marks.insert(within.marks.begin() + 1, 8192 + 65536 + 700);
  EXPECT_THAT(ReadTapes({within}, &visitor), HasCode(Code::kDataLoss));
}

TEST(HardFilemarks, AreSeparatedByTheDevicesBlocks) {
  MediumForm form = HardForm();
  form.block_size = 65536;
  SpanBuilder builder(form);
  builder.Add(1);
  builder.NextMedium();
  builder.Add(1);
  builder.End();
  const std::vector<Tape> tapes = builder.Take();
  for (const Tape& tape : tapes) {
    EXPECT_EQ(tape.bytes.size() % 65536, 0U);
    for (const std::size_t mark : tape.marks) {
      EXPECT_EQ(mark % 65536, 0U);
    }
  }
  RecordingVisitor visitor;
  EXPECT_THAT(ReadTapes(tapes, &visitor), IsOk());
}

TEST(FamilyWriter, EndsAMediumFamilyAtTheLastSequenceNumber) {
  MediaHeader header = TestHeader();
  header.media_sequence_number = 65535;
  auto writer = FamilyWriter::Create(header, TestSet(65536));
  ASSERT_THAT(writer, IsOk());

  EXPECT_THAT((*writer)->NextMedium(false), HasCode(Code::kOutOfRange));
}

}  // namespace
}  // namespace capstan::media
