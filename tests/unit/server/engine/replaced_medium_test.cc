// The digest of a set: the same however its frames were spread, on the medium and in the catalog,
// and by it a medium is found that is sound in itself and not the one that was backed up to (S0-32,
// S1-46).

#include <array>
#include <cstring>
#include <set>

#include <gmock/gmock.h>

#include "server/media/set_digest.h"
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

// What the impostor's end of set says its digest is.
enum class Claim { kNothing, kItsOwn, kTheOriginals };
// Whether frames stand in front of its own that mean nothing any more.
enum class Before { kNothing, kVoidFrames };

class ReplacedMedium : public EngineFixture {
 protected:
  static constexpr std::uint32_t kVoidFrames = 5;  // on each medium

  void SetUp() override {
    EngineFixture::SetUp();
    writer_.files = {MemoryWriter::Pattern(1'000'000, 7)};
  }
  std::string Digest() {
    const auto rows = catalog_->Query("SELECT backup_set_digest FROM msdb_dbo_backupset", {});
    EXPECT_THAT(rows, IsOk());
    return rows.ok() && rows->rows.size() == 1 ? rows->rows[0][0].value_or("NULL") : "";
  }
  media::SetListing SetOn(const std::string& target) {
    const auto listing = engine_->List(Transfer({target}));
    EXPECT_THAT(listing, IsOk());
    return listing.ok() ? listing->sets.at(0) : media::SetListing();
  }

  // Media in the places of `targets`, each sound and all of them together, with headers and
  // descriptions of those that are there, but with these bytes of the database.
  void Replace(const std::vector<std::string>& targets, const MemoryWriter::Bytes& data,
               Claim claim, Before before = Before::kNothing) {
    media::BackupSet set = SetOn(targets[0]).set;
    std::vector<std::unique_ptr<media::FamilyWriter>> families;
    std::vector<MemoryWriter::Bytes> media(targets.size());
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const auto listing = engine_->List(Transfer({targets[i]}));
      ASSERT_THAT(listing, IsOk());
      if (before == Before::kVoidFrames) {
        families.push_back(BehindVoidFrames(listing->header, set, &media[i]));
        continue;
      }
      auto writer = media::FamilyWriter::Create(listing->header, set);
      ASSERT_THAT(writer, IsOk());
      families.push_back(std::move(writer).value());
      Append(*families.back()->Preamble(), &media[i]);
    }
    media::SetDigest digest;
    const media::FrameGeometry geometry = families[0]->geometry();
    for (std::uint64_t at = 0, sequence = 0; at < data.size(); ++sequence) {
      media::FrameExtent frame{.file_offset = at,
                               .length = static_cast<std::uint32_t>(std::min<std::uint64_t>(
                                   geometry.payload_capacity, data.size() - at)),
                               .sequence = sequence};
      const auto payload = std::span(data).subspan(at, frame.length);
      frame.crc32c = media::Crc32c(0, payload);
      MemoryWriter::Bytes buffer(geometry.transfer_size);
      std::memcpy(buffer.data() + geometry.payload_offset, payload.data(), payload.size());
      const std::size_t family = sequence % families.size();
      families[family]->SealFrame(buffer, frame);
      media[family].insert(media[family].end(), buffer.begin(), buffer.end());
      digest.Add(frame);
      at += frame.length;
    }
    if (claim != Claim::kTheOriginals) {
      set.digest = claim == Claim::kItsOwn ? digest.Value() : "";
    }
    std::vector<media::FamilySummary> summaries;
    for (const auto& family : families) {
      summaries.push_back(family->summary());
    }
    for (std::size_t i = 0; i < targets.size(); ++i) {
      auto trailer = families[i]->Trailer(set, summaries);
      ASSERT_THAT(trailer, IsOk());
      Append(**trailer, &media[i]);
      devices_.Put(targets[i], std::move(media[i]));
    }
  }

  MemoryWriter::Bytes OtherContents() const {
    MemoryWriter::Bytes data = writer_.files[0];
    data[500'000] ^= std::byte{1};
    return data;
  }

  Status VerifyPart(double percent) {
    VerifyRequest request{.transfer = Transfer({"a", "b"})};
    request.sample_percent = percent;
    return engine_->Verify(request, observer_);
  }
  Status RestoreAll(bool continue_after_error) {
    RestoreRequest request;
    request.transfer = Transfer({"a", "b"});
    request.database = "copy";
    request.moves = {{"sales", "/new"}};
    request.continue_after_error = continue_after_error;
    return engine_->Restore(request, observer_);
  }

 private:
  // As a backup leaves it that was gone on with: frames of bytes that changed meanwhile, at places
  // that the database does not even have.
  static std::unique_ptr<media::FamilyWriter> BehindVoidFrames(const media::MediaHeader& header,
                                                               const media::BackupSet& set,
                                                               MemoryWriter::Bytes* medium) {
    auto first = media::FamilyWriter::Create(header, set);
    EXPECT_THAT(first, IsOk());
    Append(*(*first)->Preamble(), medium);
    const std::size_t preamble_size = medium->size();
    std::vector<media::FrameExtent> frames;
    for (std::uint32_t i = 0; i < kVoidFrames; ++i) {
      MemoryWriter::Bytes buffer((*first)->geometry().transfer_size, std::byte{0x77});
      const auto payload = std::span(buffer).subspan((*first)->geometry().payload_offset, 5000);
      frames.push_back({.file_offset = 2'000'000,
                        .length = 5000,
                        .sequence = 1000 * header.family_number + i,
                        .crc32c = media::Crc32c(0, payload)});
      (*first)->SealFrame(buffer, frames.back());
      media::MakeVoid(buffer);
      medium->insert(medium->end(), buffer.begin(), buffer.end());
    }
    auto second = media::FamilyWriter::Create({.header = header,
                                               .set = set,
                                               .form = {},
                                               .append = {},
                                               .preamble_size = preamble_size,
                                               .restarts = 1});
    EXPECT_THAT(second, IsOk());
    for (const media::FrameExtent& frame : frames) {
      (*second)->AdoptFrame(frame.AsVoid());
    }
    return std::move(second).value();
  }

  static void Append(media::MediumPart& part, MemoryWriter::Bytes* bytes) {
    MemoryWriter::Bytes piece(65536);
    while (const std::size_t size = part.Fill(piece)) {
      bytes->insert(bytes->end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(size));
    }
  }
};

TEST_F(ReplacedMedium, DigestIsInTheCatalogAndOnEveryMedium) {
  ASSERT_THAT(Backup({"a", "b"}), IsOk());
  const std::string digest = Digest();
  EXPECT_THAT(digest, testing::MatchesRegex("0x[0-9A-F]+"));
  EXPECT_THAT(digest, SizeIs(2 + 2 * media::kSetDigestSize));
  EXPECT_EQ(media::PrintDigest(SetOn("a").set.digest), digest);
  EXPECT_EQ(media::PrintDigest(SetOn("b").set.digest), digest);
  EXPECT_THAT(Verify({"b", "a"}), IsOk());
}

// The same frames over another number of families are the same set; other frames are not.
TEST_F(ReplacedMedium, DigestIsOfTheContentsAlone) {
  std::set<std::string> digests;
  for (const std::vector<std::string>& targets :
       {std::vector<std::string>{"a"}, std::vector<std::string>{"a", "b", "c"}}) {
    ASSERT_THAT(Backup(targets), IsOk());
    digests.insert(SetOn("a").set.digest);
  }
  EXPECT_THAT(digests, SizeIs(1));
  writer_.files[0] = OtherContents();
  ASSERT_THAT(Backup({"a"}), IsOk());
  digests.insert(SetOn("a").set.digest);
  EXPECT_THAT(digests, SizeIs(2));
}

TEST_F(ReplacedMedium, ImpostorIsFoundByVerify) {
  ASSERT_THAT(Backup({"a", "b"}), IsOk());
  const std::string remembered = Digest();
  for (const Claim claim : {Claim::kNothing, Claim::kItsOwn}) {
    Replace({"a", "b"}, OtherContents(), claim);
    for (const double percent : {100.0, 1.0}) {
      observer_.messages.clear();
      const Status status = VerifyPart(percent);
      EXPECT_THAT(status, HasReason(65023)) << percent;
      EXPECT_THAT(status, MessageHas("'a', 'b'"));
      EXPECT_THAT(status, MessageHas("the catalog remembers " + remembered));
      EXPECT_THAT(std::string(status.hint()), HasSubstr("find the medium of that backup"));
      EXPECT_THAT(observer_.Texts(3262), IsEmpty());
    }
  }
}

TEST_F(ReplacedMedium, TheSameFramesOnOtherMediaAreTheBackup) {
  ASSERT_THAT(Backup({"a", "b"}), IsOk());
  Replace({"a", "b"}, writer_.files[0], Claim::kNothing);
  EXPECT_THAT(VerifyPart(100), IsOk());
  EXPECT_THAT(VerifyPart(1), IsOk());
  EXPECT_THAT(RestoreAll(false), IsOk());
}

// Void frames are nothing that is verified, restored or lost, and change nothing of what a set is.
TEST_F(ReplacedMedium, TheSameFramesBehindVoidOnesAreTheBackup) {
  ASSERT_THAT(Backup({"a", "b"}), IsOk());
  Replace({"a", "b"}, writer_.files[0], Claim::kItsOwn, Before::kVoidFrames);
  EXPECT_EQ(media::PrintDigest(SetOn("a").set.digest), Digest());
  for (const double percent : {100.0, 99.9, 40.0, 1.0}) {
    EXPECT_THAT(VerifyPart(percent), IsOk()) << percent;
  }
  ASSERT_THAT(RestoreAll(false), IsOk());
  EXPECT_EQ(writer_.restored["/new"], writer_.files[0]);
}

// One of them that is damaged costs no byte of the database.
TEST_F(ReplacedMedium, VoidFramesAreNotMissed) {
  ASSERT_THAT(Backup({"a", "b"}), IsOk());
  Replace({"a", "b"}, writer_.files[0], Claim::kItsOwn, Before::kVoidFrames);
  MemoryWriter::Bytes medium = *devices_.medium("b");
  for (std::size_t at = 0; at < medium.size(); at += 4096) {
    if (std::memcmp(medium.data() + at, "FILE", 4) == 0) {
      medium[at + 20] ^= std::byte{1};
      break;
    }
  }
  devices_.Put("b", std::move(medium));

  EXPECT_THAT(RestoreAll(false), HasReason(3241));
  ASSERT_THAT(RestoreAll(true), IsOk());
  EXPECT_EQ(writer_.restored["/new"], writer_.files[0]);
  EXPECT_THAT(observer_.Texts(65014), IsEmpty());
}

TEST_F(ReplacedMedium, ImpostorIsRestoredWithContinueAfterErrorOnly) {
  ASSERT_THAT(Backup({"a", "b"}), IsOk());
  Replace({"a", "b"}, OtherContents(), Claim::kItsOwn);

  EXPECT_THAT(RestoreAll(false), HasReason(65023));
  EXPECT_TRUE(writer_.restored.empty());
  EXPECT_EQ(UnfinishedCount(), 0U);

  ASSERT_THAT(RestoreAll(true), IsOk());
  EXPECT_EQ(writer_.restored["/new"], OtherContents());
  EXPECT_THAT(observer_.Texts(65023), SizeIs(1));
  EXPECT_THAT(observer_.Texts(3184), SizeIs(1));
}

TEST_F(ReplacedMedium, FramesThatAreNotThoseOfTheEndOfTheSetAreDamage) {
  ASSERT_THAT(Backup({"a", "b"}), IsOk());
  Replace({"a", "b"}, OtherContents(), Claim::kTheOriginals);
  const Status status = VerifyPart(100);
  EXPECT_THAT(status, HasReason(3189));
  EXPECT_THAT(std::string(status.hint()), HasSubstr("the end of the set tells of frames"));
  EXPECT_THAT(RestoreAll(false), HasReason(3189));
}

// Another server has no reason to doubt what it reads.
TEST_F(ReplacedMedium, WhatTheCatalogDoesNotKnowIsNotCompared) {
  ASSERT_THAT(Backup({"a", "b"}), IsOk());
  Replace({"a", "b"}, OtherContents(), Claim::kNothing);
  catalog_.reset();
  std::remove((directory_.path() + "/catalog.db").c_str());
  std::remove((directory_.path() + "/catalog.db-wal").c_str());
  std::remove((directory_.path() + "/catalog.db-shm").c_str());
  Start();
  EXPECT_THAT(VerifyPart(100), IsOk());
  EXPECT_THAT(RestoreAll(false), IsOk());
}

}  // namespace
}  // namespace capstan::engine
