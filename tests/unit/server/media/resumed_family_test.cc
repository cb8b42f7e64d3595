// A family that a backup was interrupted at, and that the next one goes on with: whatever was cut
// off, the result is to a reader what one session would have written.
#include "tests/unit/server/media/resumed_family.h"

#include <cstring>

#include <gmock/gmock.h>

#include "server/media/capstan_layout.h"
#include "tests/unit/server/media/memory_source.h"

namespace capstan::media {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;

class ResumedFamily : public testing::TestWithParam<SetForm> {
 protected:
  FamilyOptions Options(std::int64_t seconds, std::uint64_t preamble_size, std::uint32_t restarts,
                        std::uint16_t families = 1, std::uint16_t number = 1) {
    FamilyOptions options{.header = HeaderOf(GetParam(), families, number),
                          .set = LaterSet(SetOf(GetParam()), seconds),
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

  // `count` frames from place `first` of the file on, as session `restarts` numbers them.
  static void AddFrames(FamilySession* session, std::uint32_t restarts, std::uint32_t first,
                        std::uint32_t count) {
    for (std::uint32_t i = first; i < first + count; ++i) {
      session->Add({.file_index = i % 5 == 4 ? 1U : 0U,
                    .file_offset = std::uint64_t{i} * 61440,
                    .length = i % 3 == 2 ? 4151U : 20480U,
                    .sequence = (std::uint64_t{restarts} << 32) + i},
                   700 + i * 2900);
    }
  }

  FamilySession Interrupted(std::uint32_t frames, std::uint16_t families = 1,
                            std::uint16_t number = 1) {
    FamilySession session(Options(0, 0, 0, families, number), {});
    session.PutPreamble();
    AddFrames(&session, 0, 100U * (number - 1U), frames);
    return session;
  }

  // Adopts what `found` has, every `void_every`-th as void; cuts off what is behind that.
  FamilySession GoOn(std::vector<std::byte> medium, const Salvage& found, std::uint32_t restarts,
                     std::size_t void_every) {
    const std::uint64_t preamble_size = found.frames.front().offset;
    FamilySession session(Options(restarts * 1000, preamble_size, restarts,
                                  found.header->family_count, found.header->family_number),
                          std::move(medium));
    std::vector<std::byte>& bytes = session.medium();
    for (std::size_t i = 0; i < found.frames.size(); ++i) {
      FrameExtent extent = found.frames[i].extent;
      if (!extent.is_void() && i % void_every == 0) {
        MakeVoid(std::span(bytes).subspan(found.frames[i].offset, kPhysicalBlock));
        extent = extent.AsVoid();
      }
      EXPECT_EQ(session.writer().trailer_offset(), found.frames[i].offset);
      EXPECT_EQ(session.writer().frames_on_medium(), i);
      session.writer().AdoptFrame(extent);
    }
    EXPECT_EQ(session.writer().trailer_offset(), found.end());
    bytes.resize(found.end());
    session.PutPreamble();
    EXPECT_EQ(bytes.size(), found.end()) << "the preamble has kept its size";
    return session;
  }

  // Reads a whole medium and says how that ended. A real reader proves what an encrypted one says.
  Status ReadProved(std::span<const std::byte> medium, RecordingVisitor* visitor) {
    std::optional<NumberedAuthenticator> authenticator;
    if (GetParam().encrypted) {
      visitor->proves_with = &authenticator.emplace(&proved_);
    }
    return ReadAll(medium, visitor);
  }

  NumberedAuthenticator::Seen proved_;

 private:
  std::vector<std::unique_ptr<NumberedAuthenticator>> authenticators_;
};

std::string NameOf(const testing::TestParamInfo<SetForm>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Forms, ResumedFamily, testing::ValuesIn(kForms), NameOf);

// Where a medium may end: around every structure of its frames, and here and there between.
std::vector<std::size_t> CutsOf(const Salvage& whole, std::size_t size) {
  std::set<std::size_t> cuts = {size};
  for (const Salvage::Frame& frame : whole.frames) {
    const std::size_t end = frame.offset + frame.size;
    for (const std::size_t at : {0U, 1U, 51U, 52U, 151U, 174U, 237U, 262U, 511U, 1023U, 1024U}) {
      cuts.insert(frame.offset + at);
    }
    for (std::size_t at = frame.offset; at < end; at += 4099) {
      cuts.insert(at);
    }
    cuts.insert({end - 4096, end - 23, end - 1, end});
  }
  for (std::size_t at = whole.end(); at < size; at += 509) {
    cuts.insert(at);
  }
  return {cuts.begin(), cuts.end()};
}

enum class Tail { kNone, kZeros, kGarbage };

std::vector<std::byte> Cut(const std::vector<std::byte>& medium, std::size_t size, Tail tail) {
  std::vector<std::byte> cut(medium.begin(), medium.begin() + static_cast<std::ptrdiff_t>(size));
  if (tail != Tail::kNone) {
    cut.resize(size + 150000, tail == Tail::kZeros ? std::byte{0} : std::byte{0x5A});
  }
  return cut;
}

// Wherever the medium ends: the frames in front of that are handed out, each of them right.
TEST_P(ResumedFamily, FindsEveryWholeFrameOfAMediumThatWasCut) {
  FamilySession session = Interrupted(5);
  session.End();
  const std::vector<std::byte> whole = session.medium();
  const Salvage sound = Salvage::Of(whole);
  ASSERT_THAT(sound.status, IsOk());
  ASSERT_EQ(sound.frames.size(), 5U);
  for (const std::size_t size : CutsOf(sound, whole.size())) {
    for (const Tail tail : {Tail::kNone, Tail::kZeros, Tail::kGarbage}) {
      const std::vector<std::byte> cut = Cut(whole, size, tail);
      std::size_t expected = 0;
      while (expected < 5 &&
             sound.frames[expected].offset + sound.frames[expected].size <= cut.size()) {
        const auto first = static_cast<std::ptrdiff_t>(sound.frames[expected].offset);
        const auto last = first + static_cast<std::ptrdiff_t>(sound.frames[expected].size);
        if (!std::equal(cut.begin() + first, cut.begin() + last, whole.begin() + first)) {
          break;
        }
        ++expected;
      }

      const Salvage found = Salvage::Of(cut);

      ASSERT_EQ(found.frames.size(), expected) << size;
      for (std::size_t i = 0; i < expected; ++i) {
        ASSERT_TRUE(SameExtent(found.frames[i].extent, sound.frames[i].extent)) << size;
        ASSERT_EQ(found.frames[i].offset, sound.frames[i].offset);
      }
      if (cut.size() >= whole.size() && std::equal(whole.begin(), whole.end(), cut.begin())) {
        ASSERT_THAT(found.status, IsOk());  // what is behind the set is not looked at
      } else if (tail == Tail::kNone) {
        ASSERT_THAT(found.status, HasReason(3256)) << size;
      } else {
        ASSERT_THAT(found.status, testing::AnyOf(HasReason(3241), HasReason(65004))) << size;
      }
    }
  }
}

// Behind each cut: half of what is found stays, half becomes void, new frames follow.
TEST_P(ResumedFamily, ReadsAsIfOneSessionHadWrittenItWhereverItWasCut) {
  const std::vector<std::byte> interrupted = [this] {
    FamilySession session = Interrupted(5);
    session.End();
    return session.medium();
  }();
  const Salvage sound = Salvage::Of(interrupted);
  std::uint32_t restarts = 0;
  for (const std::size_t size : CutsOf(sound, interrupted.size())) {
    const std::vector<std::byte> cut =
        Cut(interrupted, size, size % 2 == 0 ? Tail::kZeros : Tail::kGarbage);
    const Salvage found = Salvage::Of(cut);
    if (found.frames.empty()) {
      continue;
    }
    ++restarts;  // each is the first one, but no number may come twice
    FamilySession session = GoOn(cut, found, restarts, 2);
    AddFrames(&session, restarts % 200 + 1, 10, 3);
    session.End();
    RecordingVisitor visitor;

    ASSERT_THAT(ReadProved(session.medium(), &visitor), IsOk()) << size;

    std::uint64_t payload_bytes = 0;
    std::vector<FrameExtent> expected, expected_void;
    for (std::size_t i = 0; i < found.frames.size(); ++i) {
      (i % 2 == 0 ? expected_void : expected).push_back(found.frames[i].extent);
    }
    for (const FrameExtent& extent : session.extents()) {
      expected.push_back(extent);
    }
    ASSERT_EQ(visitor.frames.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_TRUE(SameExtent(visitor.frames[i].extent, expected[i]));
      payload_bytes += expected[i].stored_size();
    }
    ASSERT_EQ(visitor.void_frames.size(), expected_void.size());
    for (std::size_t i = 0; i < expected_void.size(); ++i) {
      ASSERT_TRUE(SameExtent(visitor.void_frames[i].extent, expected_void[i].AsVoid()));
    }
    ASSERT_EQ(visitor.summaries.front(), session.writer().summary());
    ASSERT_EQ(visitor.summaries.front().payload_bytes, payload_bytes);
    ASSERT_EQ(visitor.summaries.front().frame_count, expected.size() + expected_void.size());
    ASSERT_EQ(visitor.begins.front().start_unix_s,
              TestSet(65536).start_unix_s + std::int64_t{restarts} * 1000);
    ASSERT_TRUE(visitor.trailers.front().lost_frames.empty());
  }
  EXPECT_GT(restarts, 50U);
}

// What AdoptFrame leaves is what SealFrame would have left: to the byte.
TEST_P(ResumedFamily, HasTheBytesThatAFamilyWrittenAtOnceHas) {
  FamilySession at_once(Options(7, 0, 1), {});
  at_once.PutPreamble();
  AddFrames(&at_once, 0, 0, 7);
  const Salvage found = Salvage::Of(at_once.medium());
  std::vector<std::byte> first_three = at_once.medium();
  at_once.End();
  FamilySession resumed(Options(7, found.frames.front().offset, 1), {});
  first_three.resize(found.frames[3].offset);

  for (std::size_t i = 0; i < 3; ++i) {
    resumed.writer().AdoptFrame(found.frames[i].extent);
  }
  resumed.medium() = first_three;
  resumed.PutPreamble();
  AddFrames(&resumed, 0, 3, 4);
  resumed.End();

  EXPECT_EQ(resumed.medium().size(), at_once.medium().size());
  EXPECT_TRUE(resumed.medium() == at_once.medium());
}

TEST_P(ResumedFamily, CanBeGoneOnWithAgainAndAgain) {
  std::vector<std::byte> medium = Interrupted(6).medium();
  std::set<std::uint64_t> expected = {0, 1, 2, 3, 4, 5};
  std::size_t frames = 6;
  for (const std::uint32_t restarts : {1U, 2U, 3U, 255U}) {
    medium.resize(medium.size() + 70000);  // as a file whose room was there before
    const Salvage found = Salvage::Of(medium);
    ASSERT_EQ(found.frames.size(), frames);
    ASSERT_EQ(found.sequences(), expected);
    FamilySession session = GoOn(medium, found, restarts, restarts % 5 + 2);
    for (std::size_t i = 0; i < found.frames.size(); i += restarts % 5 + 2) {
      expected.erase(found.frames[i].extent.sequence);
    }
    AddFrames(&session, restarts, 20 * restarts, 3);
    frames += 3;
    for (const FrameExtent& extent : session.extents()) {
      expected.insert(extent.sequence);
    }
    medium = session.medium();
    if (restarts == 255) {
      session.End();
      medium = session.medium();
    }
  }
  RecordingVisitor visitor;

  ASSERT_THAT(ReadProved(medium, &visitor), IsOk());

  EXPECT_EQ(visitor.frames.size(), expected.size());
  EXPECT_EQ(visitor.frames.size() + visitor.void_frames.size(), frames);
  EXPECT_EQ(Salvage::Of(medium).sequences(), expected);
}

// Each family is cut elsewhere, and one is begun anew, with the same key.
TEST_P(ResumedFamily, GoesOnWithOthers) {
  std::vector<std::vector<std::byte>> media;
  for (const std::uint16_t number : {std::uint16_t{1}, std::uint16_t{2}, std::uint16_t{3}}) {
    media.push_back(Interrupted(4, 3, number).medium());
  }
  media[1].resize(Salvage::Of(media[1]).frames[2].offset + 777);
  std::vector<FamilySession> sessions;
  sessions.push_back(GoOn(media[0], Salvage::Of(media[0]), 1, 3));
  sessions.push_back(GoOn(media[1], Salvage::Of(media[1]), 1, 1));
  sessions.emplace_back(Options(1000, 0, 1, 3, 3), std::vector<std::byte>());
  sessions.back().PutPreamble();
  std::vector<FamilySummary> families;
  std::uint64_t payload_bytes = 0;
  for (std::uint32_t i = 0; i < 3; ++i) {
    AddFrames(&sessions[i], 1, 100 * i + 50, 2);
    families.push_back(sessions[i].writer().summary());
    payload_bytes += families.back().payload_bytes;
  }
  const std::size_t expected[] = {2 + 2, 0 + 2, 2};
  const std::size_t expected_void[] = {2, 2, 0};
  for (std::size_t i = 0; i < 3; ++i) {
    sessions[i].End(families, payload_bytes);
    RecordingVisitor visitor;

    ASSERT_THAT(ReadProved(sessions[i].medium(), &visitor), IsOk());

    EXPECT_EQ(visitor.frames.size(), expected[i]);
    EXPECT_EQ(visitor.void_frames.size(), expected_void[i]);
    EXPECT_EQ(visitor.trailers.front().families, families);
  }
}

// What somebody says who has kept what stood there before the backup was gone on with.
TEST_P(ResumedFamily, IsNotProvedByWhatWasSaidOfItBefore) {
  if (!GetParam().encrypted) {
    GTEST_SKIP() << "nothing is proved of such a set";
  }
  const std::vector<std::byte> before = Interrupted(3).medium();
  const Salvage found = Salvage::Of(before);
  FamilySession session = GoOn(before, found, 1, 2);
  session.End();
  std::vector<std::byte> medium = session.medium();
  std::copy_n(before.begin(), found.frames.front().offset, medium.begin());
  RecordingVisitor visitor;

  // Sound by itself, and not what the end is of.
  EXPECT_THAT(ReadProved(medium, &visitor), HasReason(3241));
}

TEST_P(ResumedFamily, KeepsThePreambleAtItsSizeWhateverItSays) {
  const std::uint64_t needed = Interrupted(0).medium().size();
  for (const std::uint64_t more : {0U, 4096U, 8192U, 1U << 20, 3U << 20}) {
    FamilySession session(Options(5, needed + more, 1), {});
    session.PutPreamble();
    EXPECT_EQ(session.medium().size(), needed + more);
    EXPECT_EQ(session.writer().trailer_offset(), needed + more);
    AddFrames(&session, 1, 0, 2);
    session.End();
    RecordingVisitor visitor;
    ASSERT_THAT(ReadProved(session.medium(), &visitor), IsOk()) << more;
    EXPECT_EQ(visitor.frames.size(), 2U);
    EXPECT_EQ(visitor.frames.front().medium_offset, needed + more);
    MemorySource source(session.medium());
    const Result<MediumListing> listing = ReadListing(source);
    ASSERT_THAT(listing, IsOk());
    EXPECT_TRUE(listing->sets.at(0).complete);
    // As the engine reads: no frame is put together from two transfers.
    Salvage found = Salvage::Of(session.medium());
    EXPECT_THAT(found.status, IsOk());
  }
}

TEST_P(ResumedFamily, RefusesAPreambleThatDoesNotFit) {
  const std::uint64_t needed = Interrupted(0).medium().size();
  for (const std::uint64_t size :
       {std::uint64_t{4096}, std::uint64_t{8192}, needed - 4096, needed + (17U << 20)}) {
    EXPECT_THAT(FamilyWriter::Create(Options(5, size, 1)), HasCode(Code::kOutOfRange)) << size;
  }
  FamilyOptions larger = Options(5, needed, 2);
  larger.set.files.resize(200, larger.set.files[0]);
  EXPECT_THAT(FamilyWriter::Create(larger), HasCode(Code::kOutOfRange));
  for (const std::uint64_t size : {std::uint64_t{1}, needed - 1, needed + 512}) {
    EXPECT_THAT(FamilyWriter::Create(Options(5, size, 1)), HasCode(Code::kInvalidArgument)) << size;
  }
  FamilyOptions appended = Options(5, needed, 1);
  appended.append = AppendPoint{.offset = 8192, .form = {}, .filemarks = {}, .set_map = SetMap()};
  EXPECT_THAT(FamilyWriter::Create(appended), HasCode(Code::kInvalidArgument));
  FamilyOptions tape = Options(5, needed, 1);
  tape.form.hard_filemarks = true;
  EXPECT_THAT(FamilyWriter::Create(tape), HasCode(Code::kInvalidArgument));
  if (GetParam().encrypted) {
    EXPECT_THAT(FamilyWriter::Create(Options(5, needed, 0)), HasCode(Code::kInvalidArgument));
  }
}

// What whoever goes on with a medium sees at its end, and what in front of its frames.
TEST_P(ResumedFamily, SaysHowAMediumEndsThatCannotBeReadFurther) {
  const std::vector<std::byte> medium = Interrupted(2).medium();
  const std::size_t data = Salvage::Of(medium).frames.front().offset;
  const auto status = [&](std::size_t size, Tail tail) {
    return Salvage::Of(Cut(medium, size, tail)).status;
  };
  EXPECT_THAT(status(0, Tail::kNone), HasReason(3254));
  EXPECT_THAT(status(0, Tail::kZeros), HasReason(3242));
  EXPECT_THAT(status(100, Tail::kNone), HasReason(3208));
  EXPECT_THAT(status(data - 1, Tail::kNone), HasReason(3208));
  EXPECT_THAT(status(data - 4096, Tail::kZeros), HasReason(3241));
  EXPECT_THAT(status(data, Tail::kNone), HasReason(3256));
  EXPECT_THAT(status(data, Tail::kZeros), HasReason(3241));
  EXPECT_THAT(status(medium.size(), Tail::kNone), HasReason(3256));
  EXPECT_THAT(status(medium.size(), Tail::kZeros), HasReason(3241));
  EXPECT_THAT(status(medium.size(), Tail::kGarbage), HasReason(3241));
}

}  // namespace
}  // namespace capstan::media
