// Damage on media, seen through the engine: what VERIFYONLY and RESTORE say of it, what they save
// in spite of it, and where else they say the backup is.

#include <cstring>

#include <gmock/gmock.h>

#include "tests/unit/server/engine/engine_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MemoryWriter;
using test::MessageHas;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::size_t kTransfer = 64 << 10;
constexpr std::size_t kPayload = kTransfer - 4096;  // of a full frame

class DamageTest : public EngineFixture {
 protected:
  void SetUp() override {
    EngineFixture::SetUp();
    writer_.files = {MemoryWriter::Pattern(1'000'000, 7)};
    ASSERT_THAT(Backup({"a"}), IsOk());
    good_ = *devices_.medium("a");
  }
  // Where the n-th frame of a medium begins.
  static std::size_t FrameAt(const test::MemoryDevices::Bytes& medium, std::size_t number) {
    for (std::size_t at = 0;; at += 4096) {
      if (std::memcmp(medium.data() + at, "FILE", 4) == 0) {
        return at + number * kTransfer;
      }
    }
  }
  // One bit of the n-th frame of 'a', in its header or in its data.
  void Flip(std::size_t frame, std::size_t offset) {
    auto bytes = *devices_.medium("a");
    bytes[FrameAt(bytes, frame) + offset] ^= std::byte{1};
    devices_.Put("a", std::move(bytes));
  }
  Status VerifyAll(const std::vector<std::string>& targets = {"a"}, double percent = 100) {
    observer_.messages.clear();
    VerifyRequest request{.transfer = Transfer(targets)};
    request.continue_after_error = percent == 100;
    request.sample_percent = percent;
    return engine_->Verify(request, observer_);
  }
  Status RestoreAll(const std::vector<std::string>& targets = {"a"}) {
    observer_.messages.clear();
    RestoreRequest request;
    request.transfer = Transfer(targets);
    request.database = "copy";
    request.moves = {{"sales", "/new"}};
    request.replace = true;
    request.continue_after_error = true;
    return engine_->Restore(request, observer_);
  }
  // The database with zeros in the place of these frames.
  MemoryWriter::Bytes Without(const std::vector<std::size_t>& frames) const {
    MemoryWriter::Bytes bytes = writer_.files[0];
    for (const std::size_t frame : frames) {
      const std::size_t begin = frame * kPayload;
      std::memset(bytes.data() + begin, 0, std::min(kPayload, bytes.size() - begin));
    }
    return bytes;
  }

  test::MemoryDevices::Bytes good_;
};

constexpr std::size_t kHeader = 40;
constexpr std::size_t kData = 5000;

TEST_F(DamageTest, VerifyWithoutContinueStopsAtTheFirstAndSaysWhatIsLost) {
  Flip(2, kData);
  Flip(5, kData);

  const Status status = Verify({"a"});

  EXPECT_THAT(status, HasReason(65004));
  EXPECT_THAT(std::string(status.hint()),
              HasSubstr("61440 bytes of file '/db/sales' from byte 122880, pages"));
}

TEST_F(DamageTest, VerifyWithContinueNamesAllOfIt) {
  Flip(2, kData);
  Flip(3, kHeader);
  Flip(7, kHeader);

  EXPECT_THAT(VerifyAll(), HasReason(3189));

  EXPECT_THAT(observer_.Texts(65004), SizeIs(3));
  const auto lost = observer_.Texts(65014);
  ASSERT_THAT(lost, SizeIs(2)) << "two frames that follow one another are one stretch";
  EXPECT_THAT(lost[0], HasSubstr("device 'a': 122880 bytes of file '/db/sales' from byte 122880"));
  EXPECT_THAT(lost[1], HasSubstr("61440 bytes of file '/db/sales' from byte 430080"));
  EXPECT_THAT(observer_.Texts(3262), IsEmpty());
}

TEST_F(DamageTest, RestoreWithContinueKeepsEveryGoodFrame) {
  Flip(2, kData);
  Flip(7, kHeader);
  EXPECT_THAT(Restore({"a"}, "copy", {{"sales", "/new"}}), HasReason(65004));
  EXPECT_EQ(writer_.restored.count("/new"), 0U);

  ASSERT_THAT(RestoreAll(), IsOk());

  EXPECT_EQ(writer_.restored["/new"], Without({2, 7}));
  EXPECT_THAT(observer_.Texts(3184), SizeIs(1));
  EXPECT_THAT(observer_.Texts(65014), SizeIs(2));
}

TEST_F(DamageTest, RestoreWithContinueOfASoundSetSaysNothing) {
  ASSERT_THAT(RestoreAll(), IsOk());
  EXPECT_EQ(writer_.restored["/new"], writer_.files[0]);
  EXPECT_THAT(observer_.Texts(3184), IsEmpty());
  EXPECT_THAT(observer_.Texts(65014), IsEmpty());
}

// Every length that a medium may be cut to behind its first frame: what was on it is restored.
TEST_F(DamageTest, ACutOffMediumGivesWhatIsThere) {
  const std::size_t first = FrameAt(good_, 0);
  for (const std::size_t size : {first + kTransfer, first + 5 * kTransfer + 12288,
                                 good_.size() - 12288, good_.size() - 4096, good_.size() - 1}) {
    devices_.Put("a", test::MemoryDevices::Bytes(
                          good_.begin(), good_.begin() + static_cast<std::ptrdiff_t>(size)));
    EXPECT_THAT(Verify({"a"}), testing::Not(IsOk())) << size;
    EXPECT_THAT(VerifyAll(), HasReason(3189)) << size;
    ASSERT_THAT(RestoreAll(), IsOk()) << size;
    const std::size_t frames = std::min<std::size_t>((size - first) / kTransfer, 17);
    std::vector<std::size_t> lost;
    for (std::size_t i = frames; i * kPayload < writer_.files[0].size(); ++i) {
      lost.push_back(i);
    }
    EXPECT_EQ(writer_.restored["/new"], Without(lost)) << size;
    ASSERT_THAT(catalog_->RemoveDatabase("copy"), IsOk());
    writer_.restored.clear();
  }
}

// A family whose beginning is gone is lost; what is on the other one is not.
TEST_F(DamageTest, OneOfTwoFamiliesWithoutItsHeadCostsItsFramesAlone) {
  ASSERT_THAT(Backup({"b", "c"}), IsOk());
  auto bytes = *devices_.medium("c");
  std::memset(bytes.data() + 8192, 0x5A, 8192);
  devices_.Put("c", std::move(bytes));

  EXPECT_THAT(VerifyAll({"b", "c"}), HasReason(3189));

  std::uint64_t lost = 0;
  for (const std::string& text : observer_.Texts(65014)) {
    EXPECT_THAT(text, HasSubstr("device 'c'"));
    lost += std::stoull(text.substr(text.find("': ") + 3));
  }
  EXPECT_GT(lost, 0U);
  EXPECT_LT(lost, writer_.files[0].size());
  EXPECT_THAT(RestoreAll({"b", "c"}), IsOk());
}

// S0-32: whole media, but one of them of another backup.
TEST_F(DamageTest, AFamilyOfAnOlderBackupIsRefusedByName) {
  ASSERT_THAT(Backup({"b", "c"}), IsOk());
  const auto old = *devices_.medium("c");
  ASSERT_THAT(Backup({"b", "c"}), IsOk());
  devices_.Put("c", old);

  EXPECT_THAT(VerifyAll({"b", "c"}), HasReason(3258));
  EXPECT_THAT(RestoreAll({"b", "c"}), HasReason(3258));
}

// Frames of an older backup of the same database, each at its old place and whole in itself.
TEST_F(DamageTest, FramesReplayedFromAnOlderSetAreLostNotRestored) {
  writer_.files[0][2 * kPayload + 17] ^= std::byte{1};
  ASSERT_THAT(Backup({"a"}), IsOk());
  auto bytes = *devices_.medium("a");
  ASSERT_EQ(bytes.size(), good_.size());
  std::memcpy(bytes.data() + FrameAt(bytes, 2), good_.data() + FrameAt(good_, 2), kTransfer);
  devices_.Put("a", std::move(bytes));

  EXPECT_THAT(Verify({"a"}), HasReason(3241));
  ASSERT_THAT(RestoreAll(), IsOk());
  EXPECT_EQ(writer_.restored["/new"], Without({2}));
}

// S0-31
TEST_F(DamageTest, NamesALaterBackupThatTheCatalogKnows) {
  ASSERT_THAT(Backup({"later"}), IsOk());
  Flip(2, kData);

  const Status status = VerifyAll();

  EXPECT_THAT(status, HasReason(3189));
  EXPECT_THAT(std::string(status.hint()), HasSubstr("a later backup of 'sales' of "));
  EXPECT_THAT(std::string(status.hint()), HasSubstr("file 1 on 'later'"));
}

TEST_F(DamageTest, ASampleStatesItsCoverageAndVariesFromRunToRun) {
  ASSERT_THAT(VerifyAll({"a"}, 25), IsOk()) << testing::PrintToString(observer_.messages);
  ASSERT_THAT(observer_.Texts(65012), SizeIs(1));
  EXPECT_THAT(observer_.Texts(65012)[0], HasSubstr("5 of 17 frames (29.4 percent, "));
  EXPECT_THAT(observer_.Texts(3262), SizeIs(1));
  EXPECT_THAT(observer_.Texts(65014), SizeIs(0)) << "what was not read is not lost";

  Flip(9, kHeader);
  int found = 0;
  for (int i = 0; i < 60; ++i) {
    const Status status = VerifyAll({"a"}, 10);
    found += status.ok() ? 0 : 1;
    EXPECT_TRUE(status.ok() || status.reason() == 3189);
    EXPECT_THAT(observer_.Texts(65014), SizeIs(status.ok() ? 0 : 1));
  }
  EXPECT_GT(found, 0) << "two of 17 frames in each of 60 runs";
  EXPECT_LT(found, 60);
}

TEST_F(DamageTest, ASampleSeesADamagedEndWhateverItChooses) {
  auto bytes = good_;
  bytes[bytes.size() - 4096 - 3000] ^= std::byte{1};
  devices_.Put("a", std::move(bytes));
  const Status status = VerifyAll({"a"}, 1);
  EXPECT_EQ(status.code(), Code::kDataLoss);
}

TEST_F(DamageTest, TheMediaNameMustBeTheMediums) {
  VerifyRequest request{.transfer = Transfer({"a"})};
  request.media_name = "Weekly";
  EXPECT_THAT(engine_->Verify(request, observer_), HasReason(4037));
  request.sample_percent = 50;
  EXPECT_THAT(engine_->Verify(request, observer_), HasReason(4037));
}

TEST_F(DamageTest, ASetWithoutChecksumsIsRefusedWithChecksumAsked) {
  VerifyRequest request{.transfer = Transfer({"a"})};
  request.transfer.checksum = true;
  EXPECT_THAT(engine_->Verify(request, observer_), HasReason(3187));
}

}  // namespace
}  // namespace capstan::engine
