// Databases with bad pages: BACKUP WITH CHECKSUM, with CONTINUE_AFTER_ERROR and without, and what
// becomes of a set that was made of one (S0-29, S0-30).

#include <gmock/gmock.h>

#include "tests/unit/server/engine/engine_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MemoryWriter;
using testing::IsEmpty;
using testing::SizeIs;

class DamagedDatabase : public EngineFixture {
 protected:
  void SetUp() override {
    EngineFixture::SetUp();
    writer_.files = {MemoryWriter::Pattern(1'000'000, 7)};
    writer_.bad_pages = {17, 100};
  }
  Status BackUp(bool checksum, bool continue_after_error) {
    observer_.messages.clear();
    BackupRequest request;
    request.transfer = Transfer({"a"});
    request.transfer.checksum = checksum;
    request.database = "sales";
    request.media_use = MediaUse::kFormat;
    request.continue_after_error = continue_after_error;
    return engine_->Backup(request, observer_);
  }
  Status RestoreCopy(bool continue_after_error, bool checksum = false) {
    observer_.messages.clear();
    RestoreRequest request;
    request.transfer = Transfer({"a"});
    request.transfer.checksum = checksum;
    request.database = "copy";
    request.moves = {{"sales", "/new"}};
    request.continue_after_error = continue_after_error;
    return engine_->Restore(request, observer_);
  }
  Status VerifyPages(bool continue_after_error) {
    observer_.messages.clear();
    VerifyRequest request{.transfer = Transfer({"a"})};
    request.transfer.checksum = true;
    request.continue_after_error = continue_after_error;
    return engine_->Verify(request, observer_);
  }
  // A backup of a database whose bad pages nothing has found yet.
  void BackUpUnnoticed() {
    const std::set<std::uint64_t> bad_pages = std::exchange(writer_.bad_pages, {});
    ASSERT_THAT(BackUp(true, false), IsOk());
    writer_.bad_pages = bad_pages;
  }
  bool ListedAsDamaged() {
    const auto listing = engine_->List(Transfer({"a"}));
    EXPECT_THAT(listing, IsOk());
    return listing.ok() && listing->sets.at(0).set.is_damaged;
  }
};

TEST_F(DamagedDatabase, FailsABackupWithChecksumAndLeavesNothing) {
  const Status status = BackUp(true, false);

  EXPECT_THAT(status, HasReason(3043));
  EXPECT_THAT(status, test::MessageHas("page (1:17) in file '/db/sales'"));
  EXPECT_EQ(devices_.medium("a"), nullptr);
  EXPECT_EQ(UnfinishedCount(), 0U);
  EXPECT_EQ(HistoryCount(), 0U);
}

TEST_F(DamagedDatabase, IsCopiedAsItIsWithoutChecksum) {
  ASSERT_THAT(BackUp(false, false), IsOk());
  EXPECT_THAT(observer_.Texts(3042), IsEmpty());
  EXPECT_FALSE(ListedAsDamaged());
  ASSERT_THAT(RestoreCopy(false), IsOk());
}

TEST_F(DamagedDatabase, IsBackedUpWithContinueAfterErrorAndMarked) {
  ASSERT_THAT(BackUp(true, true), IsOk());
  EXPECT_THAT(observer_.Texts(3042), SizeIs(1));
  EXPECT_TRUE(ListedAsDamaged());
  const auto history = catalog_->Query("SELECT is_damaged FROM msdb_dbo_backupset", {});
  ASSERT_THAT(history, IsOk());
  EXPECT_EQ(history->rows.at(0).at(0), "1");

  // The medium itself is whole.
  ASSERT_THAT(Verify({"a"}), IsOk());
  EXPECT_THAT(observer_.Texts(3188), SizeIs(1));
}

TEST_F(DamagedDatabase, IsRestoredWithContinueAfterErrorOnly) {
  ASSERT_THAT(BackUp(true, true), IsOk());

  EXPECT_THAT(RestoreCopy(false), HasReason(3182));
  EXPECT_TRUE(writer_.restored.empty());
  EXPECT_FALSE(catalog_->FindDatabase("copy").ok());
  EXPECT_EQ(UnfinishedCount(), 0U);

  ASSERT_THAT(RestoreCopy(true), IsOk());
  EXPECT_EQ(writer_.restored["/new"], writer_.files[0]);
  EXPECT_THAT(observer_.Texts(3188), SizeIs(1));
  EXPECT_THAT(observer_.Texts(3184), SizeIs(1));
  EXPECT_THAT(observer_.Texts(65014), IsEmpty()) << "nothing was lost on the medium";
}

TEST_F(DamagedDatabase, ItsPagesAreFoundInTheBackupByVerify) {
  ASSERT_THAT(BackUp(true, true), IsOk());

  const Status status = VerifyPages(false);
  EXPECT_THAT(status, HasReason(3183));
  EXPECT_THAT(status, test::MessageHas("page (1:17) in database \"sales\""));
  EXPECT_THAT(std::string(status.hint()), testing::HasSubstr("in file '/db/sales': planned bad"));
  EXPECT_THAT(observer_.Texts(3188), SizeIs(1));
  EXPECT_THAT(observer_.Texts(3262), IsEmpty());

  EXPECT_THAT(VerifyPages(true), HasReason(3189));
  EXPECT_THAT(observer_.Texts(3183), SizeIs(2));
  EXPECT_THAT(observer_.Texts(3188), SizeIs(1));
  EXPECT_THAT(observer_.Texts(65014), IsEmpty()) << "nothing was lost on the medium";
}

TEST_F(DamagedDatabase, ItsPagesAreFoundInTheBackupByRestore) {
  BackUpUnnoticed();

  EXPECT_THAT(RestoreCopy(false, true), HasReason(3183));
  EXPECT_TRUE(writer_.restored.empty());
  EXPECT_FALSE(catalog_->FindDatabase("copy").ok());
  EXPECT_EQ(UnfinishedCount(), 0U);

  ASSERT_THAT(RestoreCopy(true, true), IsOk());
  EXPECT_EQ(writer_.restored["/new"], writer_.files[0]);
  EXPECT_THAT(observer_.Texts(3183), SizeIs(2));
  EXPECT_THAT(observer_.Texts(3184), SizeIs(1));
}

TEST_F(DamagedDatabase, ItsPagesAreNotLookedAtWithoutChecksum) {
  BackUpUnnoticed();
  EXPECT_THAT(Verify({"a"}), IsOk());
  EXPECT_THAT(RestoreCopy(false), IsOk());
}

TEST_F(DamagedDatabase, PagesThatAreLostOnTheMediumAreNotHeldAgainstIt) {
  writer_.bad_pages.clear();
  ASSERT_THAT(BackUp(true, false), IsOk());
  auto bytes = *devices_.medium("a");
  bytes[bytes.size() / 2] ^= std::byte{1};
  devices_.Put("a", std::move(bytes));
  EXPECT_THAT(VerifyPages(true), HasReason(3189));
  EXPECT_THAT(observer_.Texts(3183), IsEmpty());
  EXPECT_THAT(observer_.Texts(65014), SizeIs(1));
  ASSERT_THAT(writer_.missed, SizeIs(1));
  EXPECT_EQ(writer_.missed[0].length, (64U << 10) - 4096) << "one frame";
}

TEST_F(DamagedDatabase, PagesCannotBeLookedAtWithoutChecksumsOrTheirWriter) {
  writer_.bad_pages.clear();
  ASSERT_THAT(BackUp(false, false), IsOk());
  EXPECT_THAT(VerifyPages(false), HasReason(3187));
  EXPECT_THAT(RestoreCopy(false, true), HasReason(3187));

  ASSERT_THAT(BackUp(true, false), IsOk());
  writer_.fail_page_check = true;
  EXPECT_THAT(VerifyPages(false), HasReason(65024));
  EXPECT_THAT(RestoreCopy(false, true), HasReason(65024));
  EXPECT_EQ(UnfinishedCount(), 0U);
  EXPECT_TRUE(writer_.restored.empty());
}

TEST_F(DamagedDatabase, SoundOneIsNotMarkedWhateverTheOptions) {
  writer_.bad_pages.clear();
  ASSERT_THAT(BackUp(true, true), IsOk());
  EXPECT_THAT(observer_.Texts(3042), IsEmpty());
  EXPECT_FALSE(ListedAsDamaged());
  ASSERT_THAT(VerifyPages(false), IsOk());
  ASSERT_THAT(RestoreCopy(false, true), IsOk());
}

}  // namespace
}  // namespace capstan::engine
