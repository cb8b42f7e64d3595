#include "plugins/tape/scsi/scsi_changer.h"

#include <cerrno>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/plugins/tape/scsi/scripted_transport.h"

namespace capstan::tape {
namespace {

using test::InquiryAnswerOf;
using test::ScriptedUnit;
using test::SenseAnswer;
using testing::HasSubstr;

constexpr std::uint8_t kInitialize = 0x07;
constexpr std::uint8_t kInquiry = 0x12;
constexpr std::uint8_t kModeSense = 0x1A;
constexpr std::uint8_t kMove = 0xA5;
constexpr std::uint8_t kElements = 0xB8;

// One element of `type`; of 16 bytes, without a volume tag.
test::ScriptedAnswer OneElement(std::uint8_t type, std::uint8_t address) {
  return {.data = {0, address, 0, 1, 0, 0, 0, 24, type, 0, 0, 16, 0, 0, 0, 16,
                   0, address, 1, 0, 0, 0, 0, 0,  0,    0, 0, 0,  0, 0, 0, 0}};
}

// One picker (1), one slot (2), no port, one drive (4).
class ScsiChangerTest : public testing::Test {
 protected:
  ScsiChangerTest() {
    unit_.Always(kInquiry, InquiryAnswerOf(8));
    unit_.Always(kModeSense, {.data = {23, 0, 0, 0, 0x1D, 18, 0, 1, 0, 1, 0, 2,
                                       0,  1, 0, 3, 0,    0,  0, 4, 0, 1, 0, 0}});
  }

  void Open() {
    const Failure failure = ScsiChanger::Open("robot", unit_.Connect(), &changer_);
    ASSERT_FALSE(failure.failed()) << failure.message;
  }
  void ExpectElements() {
    unit_.Next(kElements, OneElement(1, 1));
    unit_.Next(kElements, OneElement(2, 2));
    unit_.Next(kElements, OneElement(4, 4));
  }

  ScriptedUnit unit_;
  std::unique_ptr<MediumChanger> changer_;
  std::vector<Element> elements_;
};

TEST_F(ScsiChangerTest, InventoryAsksOneTypeAfterTheOther) {
  Open();
  ExpectElements();
  EXPECT_TRUE(changer_->Inventory(&elements_).done());

  ASSERT_EQ(elements_.size(), 3U);
  EXPECT_EQ(elements_[0].kind, ElementKind::kPicker);
  EXPECT_EQ(elements_[1].kind, ElementKind::kSlot);
  EXPECT_EQ(elements_[2].kind, ElementKind::kDrive);
  EXPECT_EQ(unit_.CountOf(kElements), 3U);  // none for ports, of which there are none
}

TEST_F(ScsiChangerTest, InventoryBeginsAnewWhenADoorWasOpened) {
  Open();
  unit_.Next(kElements, OneElement(1, 1));
  unit_.Next(kElements, SenseAnswer(0x06, 0x28, 0x01));
  ExpectElements();
  EXPECT_TRUE(changer_->Inventory(&elements_).done());

  EXPECT_EQ(elements_.size(), 3U);
  EXPECT_EQ(unit_.unused(), 0U);
}

TEST_F(ScsiChangerTest, InventoryIsTakenWhereTheLibraryWantsIt) {
  Open();
  unit_.Next(kElements, SenseAnswer(0x02, 0x04, 0x02));
  ExpectElements();
  EXPECT_TRUE(changer_->Inventory(&elements_).done());
  EXPECT_EQ(unit_.CountOf(kInitialize), 1U);

  unit_.Always(kElements, SenseAnswer(0x02, 0x04, 0x02));
  EXPECT_EQ(changer_->Inventory(&elements_).outcome, Outcome::kNotReady);
  EXPECT_EQ(unit_.CountOf(kInitialize), 2U);
}

TEST_F(ScsiChangerTest, LargeLibrariesAreAskedInPortions) {
  unit_.Always(kModeSense, {.data = {23, 0,    0, 0, 0x1D, 18, 0, 1, 0, 0, 0, 2,
                                     3,  0x84, 0, 3, 0,    0,  0, 4, 0, 0, 0, 0}});
  unit_.Always(kElements, OneElement(2, 2));
  Open();
  EXPECT_TRUE(changer_->Inventory(&elements_).done());
  EXPECT_EQ(unit_.CountOf(kElements), 3U);  // 900 slots
  EXPECT_EQ(unit_.commands.back()[2] << 8 | unit_.commands.back()[3], 802);
  EXPECT_EQ(unit_.commands.back()[5], 100);
}

TEST_F(ScsiChangerTest, NonsenseIsNoInventory) {
  Open();
  unit_.Always(kElements, {.data = {0, 1, 0}});
  const Answer answer = changer_->Inventory(&elements_);
  EXPECT_EQ(answer.outcome, Outcome::kHardwareError);
  EXPECT_THAT(answer.failure.message, HasSubstr("makes no sense"));
}

TEST_F(ScsiChangerTest, MoveNamesThePickerAndTriesAgainBehindAnAttention) {
  Open();
  unit_.Next(kMove, SenseAnswer(0x06, 0x28, 0x01));
  EXPECT_TRUE(changer_->Move(2, 4).done());
  EXPECT_THAT(unit_.commands.back(), testing::ElementsAre(kMove, 0, 0, 1, 0, 2, 0, 4, 0, 0, 0, 0));
}

TEST_F(ScsiChangerTest, MoveSaysWhyItCannot) {
  Open();
  unit_.Next(kMove, SenseAnswer(0x05, 0x3B, 0x0D));
  EXPECT_EQ(changer_->Move(2, 4).failure.message,
            "unable to move the cartridge from element 2 to 4 of 'robot': illegal request: the "
            "destination is full (5/3B/0D)");
  unit_.Next(kMove, {.status = ScsiStatus::kBusy});
  EXPECT_EQ(changer_->Move(2, 4).outcome, Outcome::kBusy);
  EXPECT_EQ(changer_->Move(2, 70'000).failure.os_error, EINVAL);
}

TEST_F(ScsiChangerTest, OpenRefusesWhatIsNoLibrary) {
  unit_.Always(kInquiry, InquiryAnswerOf(1));
  EXPECT_THAT(ScsiChanger::Open("robot", unit_.Connect(), &changer_).message,
              HasSubstr("no medium changer"));
  unit_.Always(kInquiry, {.data = {8, 0, 0}});
  EXPECT_THAT(ScsiChanger::Open("robot", unit_.Connect(), &changer_).message,
              HasSubstr("too short"));
  unit_.Always(kInquiry, InquiryAnswerOf(8));
  unit_.Always(kModeSense, {.data = {3, 0, 0, 0}});
  EXPECT_THAT(ScsiChanger::Open("robot", unit_.Connect(), &changer_).message,
              HasSubstr("which elements"));
}

}  // namespace
}  // namespace capstan::tape
