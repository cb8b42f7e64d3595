// Whole backups and restores through the engine, with media and database in memory.

#include <gmock/gmock.h>

#include "tests/unit/server/engine/engine_fixture.h"

namespace capstan::engine {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;
using test::MemoryWriter;
using test::MessageHas;
using testing::ElementsAre;
using testing::MatchesRegex;

using BackupRestore = EngineFixture;

TEST_F(BackupRestore, GivesTheSameBytesForAnyNumberOfFilesAndFamilies) {
  for (const std::size_t files : {1U, 3U}) {
    for (const std::size_t families : {1U, 2U, 5U}) {
      writer_.files.clear();
      for (unsigned i = 0; i < files; ++i) {
        writer_.files.push_back(MemoryWriter::Pattern(700'000 + i * 4096, i));
      }
      std::vector<std::string> targets;
      for (std::size_t i = 0; i < families; ++i) {
        targets.push_back("family" + std::to_string(i));
      }
      ASSERT_THAT(Backup(targets), IsOk());
      std::reverse(targets.begin(), targets.end());  // any order will do
      std::vector<std::pair<std::string, std::string>> moves = {{"sales", "/new/a"}};
      for (std::size_t i = 1; i < files; ++i) {
        moves.emplace_back("sales" + std::to_string(i + 1), "/new/a" + std::to_string(i + 1));
      }

      ASSERT_THAT(Restore(targets, "copy", moves), IsOk());

      EXPECT_EQ(writer_.restored["/new/a"], writer_.files[0]);
      if (files == 3) {
        EXPECT_EQ(writer_.restored["/new/a3"], writer_.files[2]);
      }
      ASSERT_THAT(catalog_->RemoveDatabase("copy"), IsOk());
    }
  }
}

TEST_F(BackupRestore, WorksWithTheSmallestDatabaseAndManyFamilies) {
  writer_.files = {MemoryWriter::Pattern(512, 1)};

  ASSERT_THAT(Backup({"a", "b", "c", "d"}), IsOk());
  ASSERT_THAT(Restore({"a", "b", "c", "d"}, "copy", {{"sales", "/new"}}), IsOk());

  EXPECT_EQ(writer_.restored["/new"], writer_.files[0]);
}

TEST_F(BackupRestore, RestoresWithOtherTransferSizesThanTheBackupHad) {
  writer_.files = {MemoryWriter::Pattern(3'000'000, 1)};
  BackupRequest backup;
  backup.transfer = Transfer({"a", "b"});
  backup.transfer.max_transfer_size = 256 << 10;
  backup.database = "sales";
  ASSERT_THAT(engine_->Backup(backup, observer_), IsOk());
  for (const std::uint32_t size : {64U << 10, 256U << 10, 1024U << 10}) {
    RestoreRequest restore;
    restore.transfer = Transfer({"a", "b"});
    restore.transfer.max_transfer_size = size;
    restore.database = "copy";
    restore.moves = {{"sales", "/new"}};
    restore.replace = true;

    ASSERT_THAT(engine_->Restore(restore, observer_), IsOk());

    EXPECT_EQ(writer_.restored["/new"], writer_.files[0]);
    writer_.restored.clear();
  }
}

// S0-01, S3-17, S3-18, S3-15
TEST_F(BackupRestore, SaysWhatSqlServerSays) {
  writer_.files = {MemoryWriter::Pattern(8192 * 100, 1)};
  BackupRequest request;
  request.transfer = Transfer({"a"});
  request.transfer.stats_percent = 25;
  request.database = "sales";

  ASSERT_THAT(engine_->Backup(request, observer_), IsOk());

  EXPECT_THAT(observer_.Texts(3211),
              ElementsAre("25 percent processed.", "50 percent processed.", "75 percent processed.",
                          "100 percent processed."));
  EXPECT_THAT(observer_.Texts(4035),
              ElementsAre("Processed 100 pages for database 'sales', file 'sales' on file 1."));
  ASSERT_EQ(observer_.Texts(3014).size(), 1U);
  EXPECT_THAT(observer_.Texts(3014)[0],
              MatchesRegex("BACKUP DATABASE successfully processed 100 pages in "
                           "[0-9]+\\.[0-9]+ seconds \\([0-9]+\\.[0-9]+ MB/sec\\)\\."));
}

// S1-12: at the start, before any device is touched.
TEST_F(BackupRestore, RefusesBuffersBeyondTheLimitBeforeAnyDeviceIsTouched) {
  writer_.files = {MemoryWriter::Pattern(4096, 1)};
  BackupRequest request;
  request.transfer = Transfer({"a"});
  request.transfer.buffer_count = 100'000;
  request.transfer.max_transfer_size = 4 << 20;
  request.database = "sales";

  EXPECT_THAT(engine_->Backup(request, observer_), HasReason(701));

  EXPECT_EQ(devices_.medium("a"), nullptr);
  ExpectNothingHarmed();
}

TEST_F(BackupRestore, NamesTheUnknownDatabase) {
  BackupRequest request;
  request.transfer = Transfer({"a"});
  request.database = "nosuch";

  const Status status = engine_->Backup(request, observer_);

  EXPECT_THAT(status, HasReason(911));
  EXPECT_THAT(status, MessageHas("'nosuch'"));
}

TEST_F(BackupRestore, KeepsWhatIsOnAMediumUnlessToldToOverwriteIt) {
  writer_.files = {MemoryWriter::Pattern(100'000, 1)};
  ASSERT_THAT(Backup({"a"}), IsOk());
  const auto before = *devices_.medium("a");

  EXPECT_THAT(Backup({"a"}, /*overwrite=*/false), IsOk());
  ASSERT_GT(devices_.medium("a")->size(), before.size());
  EXPECT_TRUE(std::equal(before.begin(), before.end(), devices_.medium("a")->begin()));

  EXPECT_THAT(Backup({"a"}, /*overwrite=*/true), IsOk());
  EXPECT_NE(*devices_.medium("a"), before);
}

TEST_F(BackupRestore, RefusesASecondJobOnTheSameDatabase) {
  writer_.files = {MemoryWriter::Pattern(200'000, 1)};
  Status second;
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    if (command.code == vdi::CommandCode::kFlush && second.ok()) {
      RecordingObserver other;
      BackupRequest request;
      request.transfer = Transfer({"b"});
      request.database = "sales";
      second = engine_->Backup(request, other);
    }
    return vdi::CompletionCode::kSuccess;
  };

  EXPECT_THAT(Backup({"a"}), IsOk());

  devices_.fault = nullptr;  // also the moment from which `second` may be read
  EXPECT_THAT(second, HasReason(3023));
  ExpectNothingHarmed();
}

TEST_F(BackupRestore, RefusesAMissingADoubledAndAForeignFamilyByName) {
  writer_.files = {MemoryWriter::Pattern(300'000, 1)};
  ASSERT_THAT(Backup({"a1", "a2"}), IsOk());
  ASSERT_THAT(Backup({"b1", "b2"}), IsOk());

  const Status missing = Restore({"a2"}, "copy", {{"sales", "/new"}});
  const Status doubled = Restore({"a1", "a1"}, "copy", {{"sales", "/new"}});
  const Status mixed = Restore({"a1", "b2"}, "copy", {{"sales", "/new"}});

  EXPECT_THAT(missing, HasReason(3132));
  EXPECT_THAT(std::string(missing.hint()), testing::HasSubstr("family 1"));
  EXPECT_THAT(doubled, HasReason(3227));
  EXPECT_THAT(mixed, HasReason(3258));
  EXPECT_TRUE(writer_.restored.empty());
}

TEST_F(BackupRestore, ProtectsExistingDatabasesAndTheirFiles) {
  writer_.files = {MemoryWriter::Pattern(100'000, 1)};
  ASSERT_THAT(Backup({"a"}), IsOk());
  ASSERT_THAT(catalog_->AddDatabase({.name = "other", .scheme = "memory", .location = "/db/other"}),
              IsOk());

  EXPECT_THAT(Restore({"a"}, "sales", {}), HasReason(3159));
  EXPECT_THAT(Restore({"a"}, "other", {}), HasReason(3154));
  EXPECT_THAT(Restore({"a"}, "copy", {}), HasReason(3156));
  EXPECT_THAT(Restore({"a"}, "copy", {{"sales", "/db/other"}}, true), HasReason(3156));
  EXPECT_THAT(Restore({"a"}, "copy", {{"nosuch", "/new"}}), HasReason(3234));
  EXPECT_TRUE(writer_.restored.empty());

  EXPECT_THAT(Restore({"a"}, "sales", {}, /*replace=*/true), IsOk());
  EXPECT_EQ(writer_.restored["/db/sales"], writer_.files[0]);
}

TEST_F(BackupRestore, FindsAFlippedBitInAFrameAndNamesDeviceAndOffset) {
  writer_.files = {MemoryWriter::Pattern(300'000, 1)};
  ASSERT_THAT(Backup({"a", "b"}), IsOk());
  auto damaged = *devices_.medium("b");
  const std::size_t at = damaged.size() / 3;
  damaged[at] ^= std::byte{4};
  devices_.Put("b", damaged);

  const Status verify = Verify({"a", "b"});
  const Status restore = Restore({"a", "b"}, "copy", {{"sales", "/new"}});

  EXPECT_THAT(verify, HasCode(Code::kDataLoss));
  EXPECT_THAT(verify, MessageHas("'b'"));
  EXPECT_THAT(restore, HasCode(Code::kDataLoss));
  EXPECT_TRUE(writer_.restored.empty());
}

TEST_F(BackupRestore, FindsATruncatedFamily) {
  writer_.files = {MemoryWriter::Pattern(300'000, 1)};
  ASSERT_THAT(Backup({"a"}), IsOk());
  auto cut = *devices_.medium("a");
  for (const std::size_t size : {cut.size() - 1, cut.size() - 4096, cut.size() / 2,
                                 std::size_t{5000}, std::size_t{100}, std::size_t{0}}) {
    cut.resize(size);
    devices_.Put("a", cut);
    EXPECT_FALSE(Verify({"a"}).ok()) << size;
    EXPECT_FALSE(Restore({"a"}, "copy", {{"sales", "/new"}}).ok()) << size;
  }
  EXPECT_TRUE(writer_.restored.empty());
}

TEST_F(BackupRestore, ListsWithoutDatabaseOrCatalog) {
  writer_.files = {MemoryWriter::Pattern(300'000, 1)};
  ASSERT_THAT(Backup({"a", "b"}), IsOk());

  const auto listing = engine_->List(Transfer({"b"}));

  ASSERT_THAT(listing, IsOk());
  EXPECT_EQ(listing->header.family_count, 2);
  EXPECT_EQ(listing->header.family_number, 2);
  ASSERT_EQ(listing->sets.size(), 1U);
  EXPECT_TRUE(listing->sets[0].complete);
  EXPECT_EQ(listing->sets[0].set.database_name, "sales");
  EXPECT_EQ(listing->sets[0].set.backup_size_bytes, 300'000U);
  EXPECT_THAT(engine_->List(Transfer({"nosuch"})), HasReason(3201));
}

// S0-01's published lines: elapsed and rate are truncated, not rounded.
TEST(CompletionMessage, DoesItsArithmeticAsSqlServerDoes) {
  EXPECT_EQ(CompletionMessage("RESTORE DATABASE", 315, std::chrono::microseconds(372'650)),
            "RESTORE DATABASE successfully processed 315 pages in 0.372 seconds (6.603 MB/sec).");
  EXPECT_EQ(CompletionMessage("BACKUP DATABASE", 162, std::chrono::milliseconds(6211)),
            "BACKUP DATABASE successfully processed 162 pages in 6.211 seconds (0.203 MB/sec).");
  EXPECT_EQ(CompletionMessage("BACKUP DATABASE", 20932274, std::chrono::milliseconds(290145)),
            "BACKUP DATABASE successfully processed 20932274 pages in 290.145 seconds "
            "(563.626 MB/sec).");
}

}  // namespace
}  // namespace capstan::engine
