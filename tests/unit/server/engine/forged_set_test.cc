// What somebody without the key can do to an encrypted set who gets every checksum, index and
// summary right, and what somebody with the key finds.
//
// The forger has the medium: he knows every frame as it is stored, and the tags that prove both
// ends. He composes another medium of it with FamilyWriter, which makes all of it sound.

#include <functional>
#include <optional>

#include <gtest/gtest.h>

#include "server/engine/extent_coder.h"
#include "server/media/family_reader.h"
#include "server/media/family_writer.h"
#include "server/transform/key_wrap.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/engine/coding_samples.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MessageHas;
using Bytes = std::vector<std::byte>;

constexpr std::uint32_t kTransfer = 65536;

struct StoredFrame {
  media::FrameExtent extent;
  Bytes stored;
};

struct KnownTags {
  media::Authenticator::Tag head{};
  media::Authenticator::Tag end{};
};

// Says what it was told to say, whatever it is asked to prove.
class Parrot final : public media::Authenticator {
 public:
  explicit Parrot(const KnownTags& tags) : tags_(tags) {}
  Tag HeadTag(std::uint64_t, std::span<const std::span<const std::byte>>) override {
    return tags_.head;
  }
  void AddToEnd(std::uint64_t, std::span<const std::byte>) override {}
  Tag EndTag(std::uint64_t) override { return tags_.end; }

 private:
  const KnownTags tags_;
};

// Writes down the tags of a real one.
class Listener final : public media::Authenticator {
 public:
  explicit Listener(std::shared_ptr<const transform::SetKey> key) : real_(std::move(key)) {}
  Tag HeadTag(std::uint64_t number, std::span<const std::span<const std::byte>> pieces) override {
    return tags.head = real_.HeadTag(number, pieces);
  }
  void AddToEnd(std::uint64_t number, std::span<const std::byte> piece) override {
    real_.AddToEnd(number, piece);
  }
  Tag EndTag(std::uint64_t number) override { return tags.end = real_.EndTag(number); }

  KnownTags tags;

 private:
  KeyAuthenticator real_;
};

// Reads as a restore does.
class Reader final : public media::FamilyVisitor {
 public:
  explicit Reader(const SetCoding& coding)
      : decoder_(std::move(ExtentDecoder::Create(coding)).value()), authenticator_(coding.key) {}
  Status OnMediaHeader(const media::MediaHeader&) override { return OkStatus(); }
  Status OnSetBegin(const media::BackupSet&) override { return OkStatus(); }
  media::Authenticator* authenticator() override { return &authenticator_; }
  Status OnFrame(const media::FrameView& frame) override {
    CAPSTAN_RETURN_IF_ERROR(media::VerifyFrame(frame, "dev"));
    Bytes stored(frame.payload.begin(), frame.payload.end());
    const auto payload = decoder_.Decode(frame.extent, stored);
    return payload.ok() ? OkStatus()
                        : SqlError65004(frame.medium_offset, payload.status().message());
  }
  Status OnSetEnd(const media::SetTrailer&, const media::FamilySummary&) override {
    return OkStatus();
  }

 private:
  static Status SqlError65004(std::uint64_t offset, std::string_view what) {
    return Error(Code::kDataLoss, "Damage on device 'dev' at byte {}: {}.", offset, what)
        .WithReason(65004);
  }

  ExtentDecoder decoder_;
  KeyAuthenticator authenticator_;
};

class ForgedSet : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    original_ = NewCoding();
    frames_ = EncodeAll(original_);
    Listener listener(original_.key);
    medium_ = Compose(SetOf(original_), frames_, listener);
    tags_ = listener.tags;
  }

  static SetCoding NewCoding() {
    SetCoding coding;
    coding.backup_set_guid = Guid::Random();
    coding.form.codec = GetParam() ? media::CodecId::kZstd : media::CodecId::kNone;
    coding.form.cipher = media::CipherId::kAes256Gcm;
    coding.key = std::make_shared<transform::SetKey>(std::move(transform::MakeSetKey()).value());
    coding.encryption = {.key_algorithm = "aes_256",
                         .encryptor_type = "CERTIFICATE",
                         .thumbprint = std::string(20, 't'),
                         .wrapped_key = "wrapped"};
    return coding;
  }
  static std::vector<StoredFrame> EncodeAll(const SetCoding& coding) {
    auto encoder = ExtentEncoder::Create(coding);
    EXPECT_THAT(encoder, IsOk());
    const Bytes database = Rows(240'000, 3);
    std::vector<StoredFrame> frames;
    for (std::uint64_t at = 0; at < database.size(); at += 60'000) {
      StoredFrame frame{.extent = {.file_offset = at, .length = 60'000, .sequence = at / 60'000},
                        .stored = Bytes(60'000 + 64)};
      const auto part = std::span(database).subspan(at, 60'000);
      const auto place = std::span(frame.stored).subspan(encoder->payload_lead(), 60'000);
      if (!coding.form.compressed()) {
        std::copy(part.begin(), part.end(), place.begin());
      }
      encoder->Encode(coding.form.compressed() ? part : place, frame.stored, &frame.extent);
      frame.stored.resize(frame.extent.stored_size());
      frames.push_back(std::move(frame));
    }
    return frames;
  }
  static media::BackupSet SetOf(const SetCoding& coding) {
    media::BackupSet set;
    DescribeCoding(coding, &set);
    set.database_name = "sales";
    set.writer = "memory";
    set.start_unix_s = 1785600001;
    set.transfer_size = kTransfer;
    set.files = {
        {.logical_name = "sales", .physical_name = "/srv/sales.db", .size_bytes = 240'000}};
    return set;
  }
  static void Append(Bytes* medium, media::MediumPart& part) {
    Bytes piece(4096);
    while (const std::size_t size = part.Fill(piece)) {
      medium->insert(medium->end(), piece.begin(), piece.begin() + static_cast<long>(size));
    }
  }
  static Bytes Compose(const media::BackupSet& set, const std::vector<StoredFrame>& frames,
                       media::Authenticator& authenticator, std::uint16_t family_number = 1,
                       std::uint32_t restarts = 0) {
    const media::MediaHeader header{.media_set_id = Guid(),
                                    .family_count = 2,
                                    .family_number = family_number,
                                    .media_family_id = 7,
                                    .encrypted = true};
    auto writer = media::FamilyWriter::Create({.header = header,
                                               .set = set,
                                               .append = {},
                                               .authenticator = &authenticator,
                                               .restarts = restarts});
    EXPECT_THAT(writer, IsOk());
    Bytes medium;
    Append(&medium, *(*writer)->Preamble());
    for (const StoredFrame& frame : frames) {
      const media::FrameGeometry geometry = (*writer)->geometry();
      Bytes buffer(geometry.FrameSize(frame.extent.stored_size()));
      std::copy(frame.stored.begin(), frame.stored.end(), buffer.begin() + geometry.payload_offset);
      media::FrameExtent extent = frame.extent;
      extent.crc32c = media::Crc32c(0, frame.stored);
      (*writer)->SealFrame(buffer, extent);
      medium.insert(medium.end(), buffer.begin(), buffer.end());
    }
    const media::FamilySummary own = (*writer)->summary();
    media::FamilySummary other = own;
    other.family_number = family_number == 1 ? 2 : 1;
    media::BackupSet final_set = set;
    final_set.finish_unix_s = set.start_unix_s + 7;
    auto trailer = (*writer)->Trailer(final_set, std::vector{own, other});
    EXPECT_THAT(trailer, IsOk());
    Append(&medium, **trailer);
    return medium;
  }
  Bytes Forge(const std::vector<StoredFrame>& frames) {
    Parrot parrot(tags_);
    return Compose(SetOf(original_), frames, parrot);
  }
  // With the key of the original.
  Status Read(const Bytes& medium) const {
    Reader visitor(original_);
    const auto reader = media::FamilyReader::Create("dev", 1, &visitor);
    CAPSTAN_RETURN_IF_ERROR(reader->Consume(medium));
    return reader->Finish();
  }
  // Without one: what checksums alone find, which is nothing, or the forger was clumsy.
  static Status ReadWithoutKey(const Bytes& medium) {
    class Blind final : public media::FamilyVisitor {
     public:
      Status OnMediaHeader(const media::MediaHeader&) override { return OkStatus(); }
      Status OnSetBegin(const media::BackupSet&) override { return OkStatus(); }
      Status OnFrame(const media::FrameView& frame) override {
        return media::VerifyFrame(frame, "dev");
      }
      Status OnSetEnd(const media::SetTrailer&, const media::FamilySummary&) override {
        return OkStatus();
      }
    } visitor;
    const auto reader = media::FamilyReader::Create("dev", 1, &visitor);
    CAPSTAN_RETURN_IF_ERROR(reader->Consume(medium));
    return reader->Finish();
  }
  void ExpectFound(const Bytes& medium) const {
    EXPECT_THAT(ReadWithoutKey(medium), IsOk());
    const Status status = Read(medium);
    EXPECT_THAT(status, HasReason(65004));
    EXPECT_THAT(status, MessageHas("does not belong here or was changed"));
    EXPECT_THAT(status, MessageHas("'dev'"));
  }

  SetCoding original_;
  std::vector<StoredFrame> frames_;
  Bytes medium_;
  KnownTags tags_;
};

TEST_P(ForgedSet, OriginalIsRight) {
  EXPECT_THAT(Read(medium_), IsOk());
  // And the forger's tools are good: the same frames and tags give the same medium.
  EXPECT_TRUE(Forge(frames_) == medium_);
}

TEST_P(ForgedSet, ChangedPayloadIsFound) {
  for (const std::size_t at : {0U, 5U, 24U, 30U, 48U, 1000U}) {
    std::vector<StoredFrame> frames = frames_;
    frames[1].stored[at] ^= std::byte{1};
    const Bytes medium = Forge(frames);
    EXPECT_THAT(ReadWithoutKey(medium), IsOk());
    EXPECT_THAT(Read(medium), HasReason(65004)) << at;
  }
  std::vector<StoredFrame> frames = frames_;
  frames[1].stored.back() ^= std::byte{1};  // of the tag
  ExpectFound(Forge(frames));
}

TEST_P(ForgedSet, FramesThatChangedPlacesAreFound) {
  // What they carry, under the names of one another.
  std::vector<StoredFrame> frames = frames_;
  std::swap(frames[0].extent.file_offset, frames[2].extent.file_offset);
  ExpectFound(Forge(frames));
  // Whole, in another order.
  frames = frames_;
  std::swap(frames[0], frames[2]);
  ExpectFound(Forge(frames));
}

TEST_P(ForgedSet, FamilyCutShortIsFound) {
  for (std::size_t count = 0; count < frames_.size(); ++count) {
    ExpectFound(Forge({frames_.begin(), frames_.begin() + static_cast<long>(count)}));
  }
  std::vector<StoredFrame> doubled = frames_;
  doubled.push_back(frames_.back());
  ExpectFound(Forge(doubled));
}

TEST_P(ForgedSet, FrameOfAnotherSetIsFound) {
  SetCoding older = original_;  // under the same key, as it never happens
  older.backup_set_guid = Guid::Random();
  std::vector<StoredFrame> frames = frames_;
  frames[1] = EncodeAll(older)[1];
  ExpectFound(Forge(frames));
  frames[1] = EncodeAll(NewCoding())[1];
  ExpectFound(Forge(frames));
}

TEST_P(ForgedSet, OtherWordsAboutTheSetAreFound) {
  Parrot parrot(tags_);
  media::BackupSet set = SetOf(original_);
  set.database_name = "salad";
  ExpectFound(Compose(set, frames_, parrot));
  set = SetOf(original_);
  set.files.front().size_bytes = 100;
  ExpectFound(Compose(set, frames_, parrot));
}

TEST_P(ForgedSet, FamilyUnderAnotherNumberIsFound) {
  Parrot parrot(tags_);
  ExpectFound(Compose(SetOf(original_), frames_, parrot, 2));
}

// A backup that is gone on with keeps its key, and both its ends are proved anew.
TEST_P(ForgedSet, ProofsOfBeforeItWasGoneOnWithAreFound) {
  KeyAuthenticator authenticator(original_.key);
  EXPECT_THAT(Read(Compose(SetOf(original_), frames_, authenticator, 1, 1)), IsOk());
  Parrot parrot(tags_);
  ExpectFound(Compose(SetOf(original_), frames_, parrot, 1, 1));
}

TEST_P(ForgedSet, WrongKeyIsFoundBeforeAnyFrame) {
  SetCoding wrong = NewCoding();
  wrong.backup_set_guid = original_.backup_set_guid;
  original_.key = wrong.key;
  const Status status = Read(medium_);
  EXPECT_THAT(status, HasReason(65004));
  EXPECT_THAT(status, MessageHas("the description of the backup set"));
}

// Where checksums are not mended, they find it by themselves.
TEST_P(ForgedSet, EveryFlippedByteIsFound) {
  for (std::size_t i = 0; i < medium_.size(); i += i % 65536 < 2048 ? 1 : 61) {
    medium_[i] ^= std::byte{0x40};
    ASSERT_FALSE(Read(medium_).ok()) << "byte " << i;
    medium_[i] ^= std::byte{0x40};
  }
  EXPECT_THAT(Read(medium_), IsOk());
}

TEST_P(ForgedSet, NeedsAnAuthenticatorToBeWritten) {
  EXPECT_FALSE(media::FamilyWriter::Create({}, SetOf(original_)).ok());
  media::BackupSet plain = SetOf(original_);
  plain.encryption = {};
  Parrot parrot(tags_);
  EXPECT_FALSE(
      media::FamilyWriter::Create({.set = plain, .append = {}, .authenticator = &parrot}).ok());
}

INSTANTIATE_TEST_SUITE_P(Encrypted, ForgedSet, testing::Bool(), [](const auto& coding) {
  return coding.param ? "AndCompressed" : "Alone";
});

}  // namespace
}  // namespace capstan::engine
