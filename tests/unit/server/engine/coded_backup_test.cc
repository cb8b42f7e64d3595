// Compressed and encrypted backups over devices in memory (S0-48, S1-50).

#include <algorithm>

#include <gmock/gmock.h>

#include "tests/unit/server/engine/coded_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MemoryWriter;
using test::MessageHas;
using test::TestCertificates;

class CodedBackup : public CodedFixture {
 protected:
  void SetUp() override {
    CodedFixture::SetUp();
    passphrase_ = WritePassphrase(directory_.Under("passphrase"), "correct horse");
  }

  Status BackUpWithPassphrase(const std::string& target) {
    BackupRequest request = Request({target}, {});
    request.encryption = {.encryptor = passphrase_};
    return engine_->Backup(request, observer_);
  }
  media::SetListing Listed(const std::string& target) {
    const auto listing = engine_->List(Transfer({target}));
    EXPECT_THAT(listing, IsOk());
    return listing.ok() && !listing->sets.empty() ? listing->sets.front() : media::SetListing{};
  }
  std::size_t SizeOf(const std::vector<std::string>& targets) {
    std::size_t size = 0;
    for (const std::string& target : targets) {
      size += devices_.medium(target)->size();
    }
    return size;
  }

  transform::Secret passphrase_;
};

TEST_F(CodedBackup, RestoresWhatWasBackedUpHoweverItIsCoded) {
  writer_.files = {Rows(1'500'000, 1), Rows(70'001, 2), {std::byte{7}}};
  const std::vector<std::vector<std::string>> media = {{"a"}, {"a", "b"}, {"a", "b", "c"}};
  for (const CodingSample& coding : AllCodings()) {
    for (const auto& targets : media) {
      SCOPED_TRACE(coding.name + " on " + std::to_string(targets.size()));
      ASSERT_THAT(BackUp(targets, coding), IsOk());

      ASSERT_THAT(RestoreCopy(targets), IsOk());

      ExpectRestored();
      EXPECT_THAT(Verify(targets), IsOk());
      const media::SetListing listed = Listed("a");
      EXPECT_TRUE(listed.complete);
      EXPECT_EQ(listed.set.compressed(), coding.compression.has_value());
      EXPECT_EQ(listed.set.encrypted(), coding.encrypted);
      EXPECT_EQ(listed.set.backup_size_bytes, 1'570'002U);
      if (coding.compression) {
        EXPECT_LT(listed.set.compressed_size_bytes, 900'000U);
        EXPECT_LT(SizeOf(targets), 1'200'000U);
      }
    }
  }
}

// S1-50: the header names the cipher, and who can open it; names stay readable without the key.
TEST_F(CodedBackup, HeaderNamesCipherAndCertificateWithoutTheKey) {
  writer_.files = {Rows(300'000, 1)};
  ASSERT_THAT(BackUp({"a"}, {.name = "", .compression = std::nullopt, .encrypted = true}), IsOk());
  const std::string thumbprint = certificates_->FindByName("nightly")->info().thumbprint;
  ASSERT_THAT(certificates_->Remove("nightly"), IsOk());

  const media::BackupSet set = Listed("a").set;

  EXPECT_EQ(set.encryption.key_algorithm, "aes_256");
  EXPECT_EQ(set.encryption.encryptor_type, "CERTIFICATE");
  EXPECT_EQ(set.encryption.thumbprint, thumbprint);
  EXPECT_EQ(set.files.front().logical_name, "sales");
  EXPECT_EQ(set.database_name, "sales");
}

TEST_F(CodedBackup, NothingOfAnEncryptedDatabaseIsReadableOnItsMedium) {
  writer_.files = {Rows(300'000, 1)};
  for (const CodingSample& coding : AllCodings()) {
    if (!coding.encrypted) {
      continue;
    }
    ASSERT_THAT(BackUp({"a"}, coding), IsOk());
    const auto medium = devices_.medium("a");
    const std::string_view text(reinterpret_cast<const char*>(medium->data()), medium->size());
    EXPECT_EQ(text.find("customer"), std::string_view::npos) << coding.name;
  }
}

// S0-48
TEST_F(CodedBackup, RestoreWithoutTheCertificateWritesNothing) {
  writer_.files = {Rows(300'000, 1)};
  ASSERT_THAT(BackUp({"a", "b"}, AllCodings().back()), IsOk());
  ASSERT_THAT(certificates_->Remove("nightly"), IsOk());
  writer_.began_restores = 0;

  EXPECT_THAT(RestoreCopy({"a", "b"}), HasReason(33111));
  EXPECT_THAT(Verify({"a", "b"}), HasReason(33111));

  EXPECT_EQ(writer_.began_restores, 0);
  EXPECT_TRUE(writer_.restored.empty());
  EXPECT_EQ(UnfinishedCount(), 0U);
  EXPECT_FALSE(catalog_->FindDatabase("copy").ok());
  // With the certificate back, everything is.
  ASSERT_THAT(certificates_->Import("under another name", TestCertificates::First()), IsOk());
  ASSERT_THAT(RestoreCopy({"a", "b"}), IsOk());
  ExpectRestored();
}

TEST_F(CodedBackup, OpensUnderItsPassphraseOnly) {
  writer_.files = {Rows(300'000, 1)};
  ASSERT_THAT(BackUpWithPassphrase("a"), IsOk());
  const transform::Secret wrong = WritePassphrase(directory_.Under("wrong"), "wrong horse");
  writer_.began_restores = 0;

  EXPECT_THAT(RestoreCopy({"a"}), HasReason(65010));
  EXPECT_THAT(RestoreCopy({"a"}), MessageHas("needs the passphrase"));
  EXPECT_THAT(RestoreCopy({"a"}, wrong), HasReason(65010));
  EXPECT_THAT(RestoreCopy({"a"}, wrong), MessageHas("the passphrase is wrong"));
  EXPECT_THAT(RestoreCopy({"a"}, transform::Secret{.name = directory_.Under("none")}),
              HasReason(65010));
  EXPECT_EQ(writer_.began_restores, 0);

  ASSERT_THAT(RestoreCopy({"a"}, passphrase_), IsOk());
  ExpectRestored();
  EXPECT_EQ(Listed("a").set.encryption.encryptor_type, "PASSPHRASE");
}

TEST_F(CodedBackup, FailsBeforeAnyDeviceIsOpenedIfItsKeyCannotBeWrapped) {
  writer_.files = {Rows(300'000, 1)};
  devices_.Put("a", {std::byte{1}});
  BackupRequest request = Request({"a"}, {});
  request.encryption = {.encryptor = transform::CertificateName{"none"}};
  EXPECT_THAT(engine_->Backup(request, observer_), HasReason(15151));
  request.encryption = {.encryptor = transform::Secret{.name = directory_.Under("none")}};
  EXPECT_THAT(engine_->Backup(request, observer_), HasReason(15208));
  std::filesystem::permissions(passphrase_.name, static_cast<std::filesystem::perms>(0644));
  request.encryption = {.encryptor = passphrase_};
  EXPECT_THAT(engine_->Backup(request, observer_), HasReason(15208));
  request.snapshot = true;
  EXPECT_THAT(engine_->Backup(request, observer_), HasReason(3031));

  EXPECT_EQ(devices_.medium("a")->size(), 1U);
  EXPECT_EQ(UnfinishedCount(), 0U);
}

TEST_F(CodedBackup, NoiseTakesNoMoreThanAPercentMoreThanItself) {
  writer_.files = {MemoryWriter::Pattern(6'000'000, 1)};
  ASSERT_THAT(Backup({"plain"}), IsOk());
  BackupRequest request = Request({"coded"}, {});
  for (const CodingSample& coding : AllCodings()) {
    BackupRequest coded = Request({"coded"}, coding);
    coded.transfer.max_transfer_size = 1 << 20;
    ASSERT_THAT(engine_->Backup(coded, observer_), IsOk());
    EXPECT_LT(devices_.medium("coded")->size(), 6'060'000U + (coding.compression ? 0U : 1'048'576U))
        << coding.name;
    ASSERT_THAT(RestoreCopy({"coded"}), IsOk());
    ExpectRestored();
  }
}

TEST_F(CodedBackup, MirrorsAreTheSameToTheByte) {
  writer_.files = {Rows(700'000, 1)};
  for (const CodingSample& coding : AllCodings()) {
    BackupRequest request = Request({"a", "b"}, coding);
    request.mirrors = {{"c", "d"}};
    ASSERT_THAT(engine_->Backup(request, observer_), IsOk()) << coding.name;
    EXPECT_TRUE(*devices_.medium("a") == *devices_.medium("c"));
    EXPECT_TRUE(*devices_.medium("b") == *devices_.medium("d"));
    ASSERT_THAT(RestoreCopy({"a", "d"}), IsOk()) << coding.name;
    ExpectRestored();
  }
}

// S3-03: without a clause the media set decides.
TEST_F(CodedBackup, AppendedSetIsCompressedAsItsMediaAre) {
  writer_.files = {Rows(700'000, 1)};
  const CodingSample coding = AllCodings()[1];
  ASSERT_THAT(BackUp({"a"}, coding), IsOk());
  const std::size_t one = devices_.medium("a")->size();
  BackupRequest request = Request({"a"}, coding);
  request.media_use = MediaUse::kAppend;
  request.compression.reset();

  ASSERT_THAT(engine_->Backup(request, observer_), IsOk());

  EXPECT_LT(devices_.medium("a")->size(), 2 * one);
  const auto listing = engine_->List(Transfer({"a"}));
  ASSERT_THAT(listing, IsOk());
  ASSERT_EQ(listing->sets.size(), 2U);
  EXPECT_TRUE(listing->header.compressed);
  EXPECT_EQ(listing->sets[1].set.compression_algorithm, "LZ4");
  EXPECT_THAT(engine_->Verify({.transfer = Transfer({"a"}), .file_number = 2}, observer_), IsOk());
  EXPECT_THAT(Verify({"a"}), IsOk());
}

TEST_F(CodedBackup, KeyIsOfTheSetAlone) {
  writer_.files = {Rows(100'000, 1)};
  const CodingSample coding = AllCodings().back();
  ASSERT_THAT(BackUp({"a"}, coding), IsOk());
  const std::string first = Listed("a").set.encryption.wrapped_key;
  ASSERT_THAT(BackUp({"a"}, coding), IsOk());
  EXPECT_NE(Listed("a").set.encryption.wrapped_key, first);
}

TEST_F(CodedBackup, DamageIsFoundAndNothingOfItRestored) {
  writer_.files = {Rows(700'000, 1)};
  for (const CodingSample& coding : AllCodings()) {
    ASSERT_THAT(BackUp({"a"}, coding), IsOk());
    const auto good = *devices_.medium("a");
    auto bad = good;
    bad[bad.size() / 2] ^= std::byte{1};
    devices_.Put("a", bad);

    const Status status = RestoreCopy({"a"});

    EXPECT_FALSE(status.ok()) << coding.name;
    EXPECT_EQ(status.code(), Code::kDataLoss) << coding.name;
    EXPECT_TRUE(writer_.restored.empty());
    EXPECT_FALSE(Verify({"a"}).ok());
    devices_.Put("a", good);
    EXPECT_THAT(Verify({"a"}), IsOk());
  }
}

}  // namespace
}  // namespace capstan::engine
