// The image of a cartridge: its bytes, what is read of damaged ones, and what a crash leaves.
#include "plugins/tape/emulator/tape_image.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/plugins/tape/emulator/library_fixture.h"

namespace capstan::tape {
namespace {

using testing::HasSubstr;

class Image : public testing::Test {
 protected:
  std::unique_ptr<TapeImage> Open(std::uint64_t recorded_bytes = 0) {
    std::unique_ptr<TapeImage> image;
    const Failure failure = TapeImage::Open(path_, ImageAccess::kWrite, recorded_bytes, &image);
    EXPECT_FALSE(failure.failed()) << failure.message;
    return image;
  }

  void SetContents(const std::string& bytes) { std::ofstream(path_, std::ios::binary) << bytes; }

  std::string Contents() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  // Blocks of 5, 6 and 7 bytes, a filemark behind the second.
  void WriteFour() {
    SetContents("");
    const auto image = Open();
    ASSERT_FALSE(image->WriteBlock(0, Bytes(5)).failed());
    ASSERT_FALSE(image->WriteBlock(1, Bytes(6)).failed());
    ASSERT_FALSE(image->WriteFilemarks(2, 1).failed());
    ASSERT_FALSE(image->WriteBlock(3, Bytes(7)).failed());
    ASSERT_FALSE(image->Sync().failed());
  }

  test::TemporaryDirectory directory_;
  const std::string path_ = directory_.Under("a.tap");
};

std::string Literal(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) {
    text.push_back(static_cast<char>(byte));
  }
  return text;
}

TEST_F(Image, BytesAreThoseOfTheFormat) {
  SetContents("");
  const auto image = Open();
  const auto block = std::as_bytes(std::span("abc", 3));

  ASSERT_FALSE(image->WriteBlock(0, block).failed());
  ASSERT_FALSE(image->WriteBlock(1, block.first(2)).failed());
  ASSERT_FALSE(image->WriteFilemarks(2, 2).failed());

  EXPECT_EQ(Contents(), Literal({3, 0, 0, 0, 'a', 'b', 'c', 0, 3, 0, 0, 0,  //
                                 2, 0, 0, 0, 'a', 'b', 2,   0, 0, 0,        //
                                 0, 0, 0, 0, 0,   0,   0,   0}));
}

TEST_F(Image, GapsMarkersAndForeignRecordsAreSkipped) {
  const std::string gap = Literal({0xFE, 0xFF, 0xFF, 0xFF});
  const std::string a = Literal({1, 0, 0, 0, 'a', 0, 1, 0, 0, 0});
  const std::string note = Literal({2, 0, 0, 0xE0, 'x', 'y', 2, 0, 0, 0xE0});
  const std::string bad = Literal({2, 0, 0, 0x80, 'x', 'y', 2, 0, 0, 0x80});
  // A record was written over the first half of a gap's word.
  SetContents(note + gap + gap + a + gap + a + Literal({0xFF, 0xFF}) + gap + bad);

  const auto image = Open();

  ASSERT_EQ(image->index().count(), 3U);
  EXPECT_EQ(image->index().Find(1).kind, ObjectKind::kBlock);
  EXPECT_EQ(image->index().Find(2).kind, ObjectKind::kDamaged);
  EXPECT_FALSE(image->was_torn());
}

TEST_F(Image, NothingBehindTheEndOfMediumIsRead) {
  const std::string a = Literal({1, 0, 0, 0, 'a', 0, 1, 0, 0, 0});
  SetContents(a + Literal({0xFF, 0xFF, 0xFF, 0xFF}) + a);
  {
    const auto image = Open();
    EXPECT_EQ(image->index().count(), 1U);
    ASSERT_FALSE(image->WriteFilemarks(1, 1).failed());
  }

  EXPECT_EQ(Contents(), a + Literal({0, 0, 0, 0}));
}

// As a crash leaves it: what is whole is read, the rest is cut before the next block is written.
TEST_F(Image, EveryPrefixEndsBehindItsLastWholeObject) {
  WriteFour();
  const std::string whole = Contents();
  const std::vector<std::size_t> ends = {0, 14, 28, 32, 48};
  ASSERT_EQ(whole.size(), ends.back());

  for (std::size_t size = 0; size <= whole.size(); ++size) {
    SCOPED_TRACE(size);
    SetContents(whole.substr(0, size));
    const auto behind = std::upper_bound(ends.begin(), ends.end(), size) - 1;
    const auto count = static_cast<std::uint64_t>(behind - ends.begin());
    {
      const auto image = Open();
      EXPECT_EQ(image->index().count(), count);
      EXPECT_EQ(image->was_torn(), size != *behind);
      ASSERT_FALSE(image->WriteBlock(count, Bytes(1)).failed());
    }
    EXPECT_EQ(Contents().size(), *behind + 10);
    EXPECT_EQ(Contents().substr(0, *behind), whole.substr(0, *behind));
    EXPECT_EQ(Open()->index().count(), count + 1);
  }
}

// What was flushed is missed when it is gone, and no append hides that.
TEST_F(Image, MissingEndThatWasRecordedIsDamage) {
  WriteFour();
  const std::string whole = Contents();
  for (const std::size_t size : {47U, 32U, 20U}) {
    SCOPED_TRACE(size);
    SetContents(whole.substr(0, size));
    const auto image = Open(whole.size());
    const std::uint64_t last = image->index().count() - 1;

    EXPECT_EQ(image->index().Find(last).kind, ObjectKind::kDamaged);
    const Failure failure = image->WriteBlock(last + 1, Bytes(1));
    EXPECT_THAT(failure.message, HasSubstr("behind the damaged end"));
    EXPECT_EQ(Contents().size(), size);
    EXPECT_FALSE(image->WriteBlock(last, Bytes(1)).failed());
  }
}

// Any bit of any length word: the block is damaged, and those behind it are not.
TEST_F(Image, DamagedLengthsLeaveTheOtherBlocks) {
  WriteFour();
  const std::string whole = Contents();
  for (const std::size_t word : {0U, 10U, 14U, 24U}) {
    for (std::size_t bit = 0; bit < 32; ++bit) {
      SCOPED_TRACE(testing::Message() << "word at " << word << ", bit " << bit);
      std::string damaged = whole;
      damaged[word + bit / 8] = static_cast<char>(damaged[word + bit / 8] ^ (1 << (bit % 8)));
      SetContents(damaged);
      const auto image = Open(whole.size());
      const std::uint64_t object = word / 14;

      ASSERT_EQ(image->index().count(), 4U);
      EXPECT_EQ(image->index().Find(object).kind, ObjectKind::kDamaged);
      EXPECT_EQ(image->index().Find(2).kind, ObjectKind::kFilemark);
      std::vector<std::byte> buffer(7);
      ASSERT_FALSE(image->ReadBlock(3, buffer).failed());
      EXPECT_EQ(buffer, Bytes(7));
    }
  }
}

// A lost machine may leave zeros that nobody wrote; they are no filemarks.
TEST_F(Image, HoleAtTheEndIsTorn) {
  WriteFour();
  std::filesystem::resize_file(path_, 1U << 20U);

  const auto image = Open(48);

  // Up to the end of the page, zeros look written.
  EXPECT_TRUE(image->was_torn());
  EXPECT_LE(image->index().count(), 4U + 4096 / 4);
  EXPECT_EQ(image->index().Find(3).length, 7U);
}

TEST_F(Image, BlockThatChangedUnderTheIndexIsNoticed) {
  WriteFour();
  const auto image = Open();
  std::string damaged = Contents();
  damaged[0] = 4;
  std::fstream(path_, std::ios::binary | std::ios::in | std::ios::out) << damaged;
  std::vector<std::byte> buffer(7);

  const Failure failure = image->ReadBlock(0, buffer);

  EXPECT_THAT(failure.message, HasSubstr("unable to find a whole block in"));
}

TEST_F(Image, UnreadableFileIsAnError) {
  std::unique_ptr<TapeImage> image;

  const Failure failure =
      TapeImage::Open(directory_.Under("none.tap"), ImageAccess::kRead, 0, &image);

  EXPECT_EQ(failure.os_error, ENOENT);
  EXPECT_THAT(failure.message, HasSubstr("none.tap"));
}

TEST_F(Image, BlocksOfOneSizeShareAnEntry) {
  SetContents("");
  const auto image = Open();
  for (std::uint64_t i = 0; i < 1000; ++i) {
    ASSERT_FALSE(image->WriteBlock(i, Bytes(64)).failed());
  }
  EXPECT_EQ(image->index().entries(), 1U);
  EXPECT_EQ(Open()->index().entries(), 1U);
  EXPECT_EQ(image->index().Find(999).offset, 999U * 72);
}

// Random commands, against a list of objects.
class DriveModel : public TapeLibrary {
 protected:
  struct Object {
    bool filemark = false;
    std::size_t size = 0;
    unsigned seed = 0;
  };

  std::size_t Pick(std::size_t count) { return random_() % count; }

  void Write() {
    model_.resize(at_);
    const Object object{.size = 1 + Pick(Pick(8) == 0 ? 70'000 : 300), .seed = next_seed_++};
    ASSERT_TRUE(drive_->Write(Bytes(object.size, object.seed)).done());
    model_.push_back(object);
    at_ = model_.size();
  }

  void WriteMarks() {
    const std::size_t count = Pick(3);
    if (count > 0) {
      model_.resize(at_);
      model_.insert(model_.end(), count, Object{.filemark = true});
      at_ = model_.size();
    }
    ASSERT_TRUE(drive_->WriteFilemarks(static_cast<std::uint32_t>(count)).done());
  }

  void Read() {
    std::vector<std::byte> buffer(200 + Pick(80'000));
    const Answer answer = drive_->Read(buffer);
    if (at_ == model_.size()) {
      ASSERT_EQ(answer.outcome, Outcome::kEndOfData);
      return;
    }
    const Object& object = model_[at_++];
    if (object.filemark) {
      ASSERT_EQ(answer.outcome, Outcome::kFilemark);
      return;
    }
    ASSERT_EQ(answer.bytes, object.size);
    ASSERT_EQ(answer.outcome,
              object.size > buffer.size() ? Outcome::kBlockTooLong : Outcome::kDone);
    if (answer.done()) {
      buffer.resize(object.size);
      ASSERT_EQ(buffer, Bytes(object.size, object.seed));
    }
  }

  void SpaceBlocks() {
    const int count = static_cast<int>(Pick(11)) - 5;
    Outcome expected = Outcome::kDone;
    for (int i = 0; i < count && expected == Outcome::kDone; ++i) {
      expected = at_ == model_.size()     ? Outcome::kEndOfData
                 : model_[at_++].filemark ? Outcome::kFilemark
                                          : Outcome::kDone;
    }
    for (int i = 0; i > count && expected == Outcome::kDone; --i) {
      expected = at_ == 0                 ? Outcome::kBeginning
                 : model_[--at_].filemark ? Outcome::kFilemark
                                          : Outcome::kDone;
    }
    ASSERT_EQ(drive_->SpaceBlocks(count).outcome, expected) << count;
  }

  void SpaceFilemarks() {
    const int count = static_cast<int>(Pick(7)) - 3;
    Outcome expected = Outcome::kDone;
    for (int left = count; left > 0 && expected == Outcome::kDone;) {
      if (at_ == model_.size()) {
        expected = Outcome::kEndOfData;
      } else {
        left -= model_[at_++].filemark ? 1 : 0;
      }
    }
    for (int left = count; left < 0 && expected == Outcome::kDone;) {
      if (at_ == 0) {
        expected = Outcome::kBeginning;
      } else {
        left += model_[--at_].filemark ? 1 : 0;
      }
    }
    ASSERT_EQ(drive_->SpaceFilemarks(count).outcome, expected) << count;
  }

  void Step() {
    switch (Pick(12)) {
      case 0:
      case 1:
      case 2:
        return Write();
      case 3:
        return WriteMarks();
      case 4:
      case 5:
        return Read();
      case 6:
        return SpaceBlocks();
      case 7:
        return SpaceFilemarks();
      case 8:
        at_ = Pick(model_.size() + 1);
        ASSERT_EQ(drive_->Locate(at_).outcome, Outcome::kDone);
        return;
      case 9:
      case 10:
        at_ = model_.size();
        ASSERT_EQ(drive_->SpaceToEndOfData().outcome, Outcome::kDone);
        return;
      default:
        at_ = 0;
        if (Pick(2) == 0) {
          ASSERT_EQ(drive_->Rewind().outcome, Outcome::kDone);
        } else {
          Reopen();
        }
    }
  }

  std::mt19937 random_;
  std::vector<Object> model_;
  std::size_t at_ = 0;
  unsigned next_seed_ = 1;
};

TEST_F(DriveModel, RandomCommandsDoWhatAListOfObjectsDoes) {
  const char* const wanted = std::getenv("CAPSTAN_TEST_SEED");
  const unsigned seed =
      wanted != nullptr ? static_cast<unsigned>(std::atoi(wanted)) : std::random_device()();
  SCOPED_TRACE("CAPSTAN_TEST_SEED=" + std::to_string(seed));
  random_.seed(seed);
  CreateLoaded();

  for (int step = 0; step < 3'000 && !HasFatalFailure(); ++step) {
    SCOPED_TRACE(step);
    Step();
    ASSERT_EQ(PositionOf(), at_);
  }
}

}  // namespace
}  // namespace capstan::tape
