// Damage on compressed and encrypted media, seen through the engine: what VERIFYONLY, SAMPLE and
// RESTORE WITH CONTINUE_AFTER_ERROR say of it, and that all the rest is restored (S0-25, S0-32).

#include <algorithm>
#include <cstdio>
#include <cstring>

#include <gmock/gmock.h>

#include "server/media/block_composer.h"
#include "server/media/capstan_layout.h"
#include "tests/support/test_certificates.h"
#include "tests/unit/server/engine/coding_samples.h"
#include "tests/unit/server/engine/engine_fixture.h"
#include "tests/unit/server/media/medium_builder.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::size_t kHeader = 40;  // a byte of a frame's header
constexpr std::size_t kData = 2600;  // a byte of its payload
// Of every frame, and yet a sample: the part that is read is rounded up to whole frames.
constexpr double kAllSampled = 99.9;

struct Stretch {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

class CodedDamage : public EngineFixture {
 protected:
  void SetUp() override {
    auto store = transform::CertificateStore::Open(directory_.Under("certificates"));
    ASSERT_THAT(store, IsOk());
    certificates_ = std::move(store).value();
    ASSERT_THAT(certificates_->Import("nightly", test::TestCertificates::First()), IsOk());
    Start();
    writer_.files = {Rows(700'000, 1)};
  }

  void BackUp(const std::vector<std::string>& targets, const CodingSample& coding) {
    BackupRequest request;
    request.transfer = Transfer(targets);
    request.database = "sales";
    request.media_use = MediaUse::kFormat;
    request.compression = coding.compression.has_value();
    request.compression_settings = coding.compression.value_or(transform::Compression());
    if (coding.encrypted) {
      request.encryption = {.encryptor = transform::CertificateName{"nightly"}};
    }
    ASSERT_THAT(engine_->Backup(request, observer_), IsOk()) << coding.name;
  }
  // The frames of a sound medium, in its order.
  std::vector<media::RecordingVisitor::Frame> FramesOf(const std::string& target) {
    media::RecordingVisitor visitor;
    EXPECT_THAT(media::ReadAll(*devices_.medium(target), &visitor), IsOk());
    EXPECT_GT(visitor.frames.size(), 8U);
    return visitor.frames;
  }
  // One bit of a frame of 'a'.
  void Flip(const media::RecordingVisitor::Frame& frame, std::size_t offset) {
    auto bytes = *devices_.medium("a");
    bytes.at(frame.medium_offset + offset) ^= std::byte{1};
    devices_.Put("a", std::move(bytes));
  }
  Status VerifyAll(double percent = 100) {
    observer_.messages.clear();
    VerifyRequest request{.transfer = Transfer({"a"})};
    request.continue_after_error = percent == 100;
    request.sample_percent = percent;
    return engine_->Verify(request, observer_);
  }
  Status RestoreAll() {
    observer_.messages.clear();
    writer_.restored.clear();
    RestoreRequest request;
    request.transfer = Transfer({"a"});
    request.database = "copy";
    request.moves = {{"sales", "/new"}};
    request.replace = true;
    request.continue_after_error = true;
    return engine_->Restore(request, observer_);
  }
  // What the lines 65014 say is lost.
  std::vector<Stretch> Lost() {
    std::vector<Stretch> lost;
    for (const std::string& text : observer_.Texts(65014)) {
      Stretch stretch;
      EXPECT_EQ(std::sscanf(text.c_str(),
                            "Lost on device 'a': %lu bytes of file '/db/sales' from byte %lu,",
                            &stretch.length, &stretch.offset),
                2)
          << text;
      lost.push_back(stretch);
    }
    return lost;
  }
  // The frames, and nothing else, are said to be lost.
  void ExpectLost(const std::vector<media::RecordingVisitor::Frame>& frames) {
    std::vector<bool> wanted(writer_.files[0].size());
    for (const auto& frame : frames) {
      std::fill_n(wanted.begin() + static_cast<long>(frame.extent.file_offset), frame.extent.length,
                  true);
    }
    std::vector<bool> said(writer_.files[0].size());
    for (const Stretch& stretch : Lost()) {
      ASSERT_LE(stretch.offset + stretch.length, said.size());
      std::fill_n(said.begin() + static_cast<long>(stretch.offset), stretch.length, true);
    }
    EXPECT_TRUE(said == wanted);
  }
  test::MemoryWriter::Bytes Without(const std::vector<media::RecordingVisitor::Frame>& frames) {
    test::MemoryWriter::Bytes bytes = writer_.files[0];
    for (const auto& frame : frames) {
      std::memset(&bytes[frame.extent.file_offset], 0, frame.extent.length);
    }
    return bytes;
  }
};

TEST_F(CodedDamage, ContinuedJobsNameWhatIsLostAndSaveTheRest) {
  for (const CodingSample& coding : AllCodings()) {
    SCOPED_TRACE(coding.name);
    BackUp({"a"}, coding);
    const auto frames = FramesOf("a");
    Flip(frames[2], kData);
    Flip(frames[5], kHeader);
    Flip(frames.back(), kData);
    const std::vector lost = {frames[2], frames[5], frames.back()};

    EXPECT_THAT(VerifyAll(), HasReason(3189));

    EXPECT_THAT(observer_.Texts(65004), SizeIs(3));
    ExpectLost(lost);
    ASSERT_THAT(RestoreAll(), IsOk());
    ExpectLost(lost);
    EXPECT_THAT(observer_.Texts(3184), SizeIs(1));
    EXPECT_TRUE(writer_.restored["/new"] == Without(lost));
  }
}

// In a packed set a frame's place is the sum of those before it: what is behind a stretch of
// several bad ones is found again all the same.
TEST_F(CodedDamage, FramesBehindAStretchOfZerosAreFoundAgain) {
  for (const CodingSample& coding : AllCodings()) {
    SCOPED_TRACE(coding.name);
    BackUp({"a"}, coding);
    const auto frames = FramesOf("a");
    auto bytes = *devices_.medium("a");
    std::memset(bytes.data() + frames[1].medium_offset + 100, 0,
                frames[4].medium_offset - frames[1].medium_offset - 100);
    devices_.Put("a", std::move(bytes));
    const std::vector lost = {frames[1], frames[2], frames[3]};

    EXPECT_THAT(VerifyAll(), HasReason(3189));

    ExpectLost(lost);
    ASSERT_THAT(RestoreAll(), IsOk());
    EXPECT_TRUE(writer_.restored["/new"] == Without(lost));
  }
}

TEST_F(CodedDamage, ASampleDecodesWhatItReads) {
  for (const CodingSample& coding : AllCodings()) {
    SCOPED_TRACE(coding.name);
    BackUp({"a"}, coding);
    const auto frames = FramesOf("a");
    ASSERT_THAT(VerifyAll(kAllSampled), IsOk());
    ASSERT_THAT(observer_.Texts(65012), SizeIs(1));
    EXPECT_THAT(observer_.Texts(65012)[0], HasSubstr("(100.0 percent, "));
    EXPECT_THAT(observer_.Texts(65014), IsEmpty());
    Flip(frames[3], kData);
    Flip(frames[6], kHeader);

    EXPECT_THAT(VerifyAll(kAllSampled), HasReason(3189));

    ExpectLost({frames[3], frames[6]});
  }
}

// Writes into a frame's header what its payload calls for.
void MendChecksums(std::span<std::byte> frame, std::span<const std::byte> payload) {
  std::size_t at = 0;
  for (media::StreamHeader header; header.type != media::StreamType::kFrame; at += 4) {
    header = media::LoadStruct<media::StreamHeader>(frame.subspan(at));
  }
  const std::size_t content = at - 4 + sizeof(media::StreamHeader);
  const auto put = [&](std::size_t offset, std::uint32_t crc) {
    std::memcpy(&frame[offset], &crc, sizeof(crc));
  };
  put(content + offsetof(media::FrameStream, payload_crc32c), media::Crc32c(0, payload));
  const std::size_t seal = content + sizeof(media::FrameStream) - sizeof(std::uint32_t);
  put(seal, media::Crc32c(0, frame.first(seal)));
}

// Whoever can compute a CRC can mend one: the tag of a frame is what proves it.
TEST_F(CodedDamage, ASampleFindsAChangedFrameWhoseChecksumsAreRight) {
  const CodingSample coding = AllCodings().back();
  ASSERT_FALSE(coding.compression);
  BackUp({"a"}, coding);
  const auto frames = FramesOf("a");
  auto bytes = *devices_.medium("a");
  const std::span<std::byte> frame = std::span(bytes).subspan(frames[3].medium_offset);
  const auto payload =
      std::search(frame.begin(), frame.end(), frames[3].payload.begin(), frames[3].payload.end());
  payload[100] ^= std::byte{1};
  MendChecksums(frame, {payload, payload + static_cast<long>(frames[3].payload.size())});
  devices_.Put("a", std::move(bytes));

  EXPECT_THAT(VerifyAll(kAllSampled), HasReason(3189));

  ASSERT_THAT(observer_.Texts(65004), SizeIs(1));
  EXPECT_THAT(observer_.Texts(65004)[0], HasSubstr("does not belong here or was changed"));
  ExpectLost({frames[3]});
}

// S0-32: frames of an older backup of the same database, each whole and at its old place.
TEST_F(CodedDamage, FramesReplayedFromAnOlderEncryptedSetAreLostNotRestored) {
  const CodingSample coding = AllCodings().back();
  BackUp({"a"}, coding);
  const auto older = *devices_.medium("a");
  BackUp({"a"}, coding);
  const auto frames = FramesOf("a");
  auto bytes = *devices_.medium("a");
  ASSERT_EQ(bytes.size(), older.size());
  const std::size_t at = frames[4].medium_offset;
  std::copy_n(older.begin() + static_cast<long>(at), 64 << 10,
              bytes.begin() + static_cast<long>(at));
  devices_.Put("a", std::move(bytes));

  EXPECT_THAT(Verify({"a"}), HasReason(3241));
  EXPECT_THAT(VerifyAll(), HasReason(3189));

  ExpectLost({frames[4]});
  ASSERT_THAT(RestoreAll(), IsOk());
  EXPECT_TRUE(writer_.restored["/new"] == Without({frames[4]}));
}

// S0-32: devices may be named in any order, and each family be there once and of this set.
TEST_F(CodedDamage, FamiliesMayChangePlacesAndNotBeReplaced) {
  for (const CodingSample& coding : AllCodings()) {
    SCOPED_TRACE(coding.name);
    BackUp({"b", "c"}, coding);
    const auto b = *devices_.medium("b");
    const auto c = *devices_.medium("c");
    devices_.Put("b", c);
    devices_.Put("c", b);
    EXPECT_THAT(Verify({"b", "c"}), IsOk());
    devices_.Put("b", b);
    EXPECT_THAT(Verify({"b", "c"}), HasReason(3227));
    BackUp({"b", "c"}, coding);
    devices_.Put("c", c);
    EXPECT_THAT(Verify({"b", "c"}), HasReason(3258));
  }
}

// S0-48: without its key nothing can be said of an encrypted set.
TEST_F(CodedDamage, ASampleWithoutTheKeyIsRefused) {
  BackUp({"a"}, AllCodings().back());
  ASSERT_THAT(certificates_->Remove("nightly"), IsOk());
  EXPECT_THAT(VerifyAll(kAllSampled), HasReason(33111));
}

}  // namespace
}  // namespace capstan::engine
