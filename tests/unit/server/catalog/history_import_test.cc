// A lost catalog, built again from what the media say, and media that are loaded one by one.
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/server/catalog/catalog_test.h"

namespace capstan::catalog {
namespace {

using test::IsOk;
using test::RecordBackup;
using test::SampleHeader;
using test::SampleJob;
using test::SampleSet;

// One media set in a world of media: what is written to it, and on which devices.
struct MediaSet {
  media::MediaHeader header;
  std::vector<JobDevice> devices;  // families in order, for each copy
};

class CatalogImport : public CatalogTest {
 protected:
  static MediaSet NewMedia(const std::string& name, std::uint16_t families,
                           std::uint16_t mirrors = 1) {
    MediaSet media{SampleHeader(families), {}};
    media.header.name = name;
    media.header.mirror_count = mirrors;
    for (std::uint16_t mirror = 0; mirror < mirrors; ++mirror) {
      for (std::uint16_t family = 1; family <= families; ++family) {
        media.devices.push_back(
            {.device_class = "DISK",
             .target = "/b/" + name + "_m" + std::to_string(mirror) + "_" + std::to_string(family),
             .token = "t",
             .media_family_id = 0x1000u + family,
             .family_number = family});
      }
    }
    return media;
  }

  // A set that ends later than all before it.
  media::BackupSet NextSet(const std::string& database) {
    media::BackupSet set = SampleSet();
    set.database_name = database;
    clock_ += 60;
    set.SetStart(clock_ * 1'000'000);
    set.SetFinish((clock_ + 30) * 1'000'000);
    set.checkpoint_lsn = static_cast<std::uint64_t>(clock_);
    return set;
  }

  // Backs up, and puts the set on the media.
  void BackUp(const MediaSet& media, media::BackupSet set) {
    std::vector<media::BackupSet>& sets = sets_[media.header.media_set_id.ToString()];
    set.position = static_cast<std::uint16_t>(sets.size() + 1);
    JobRecord job = SampleJob();
    job.devices = media.devices;
    ASSERT_THAT(catalog_->BeginJob(job), IsOk());
    ASSERT_THAT(catalog_->PrepareBackup(job.job_guid, media.header, set), IsOk());
    ASSERT_THAT(catalog_->CommitBackup(job.job_guid), IsOk());
    sets.push_back(std::move(set));
  }

  // What somebody would read from every device.
  std::vector<MediumRecord> MediaOf(const std::vector<MediaSet>& all) {
    std::vector<MediumRecord> media;
    for (const MediaSet& one : all) {
      for (const JobDevice& device : one.devices) {
        MediumRecord record{.device_class = device.device_class,
                            .target = device.target,
                            .header = one.header,
                            .sets = sets_[one.header.media_set_id.ToString()]};
        record.header.family_number = device.family_number;
        record.header.media_family_id = device.media_family_id;
        media.push_back(std::move(record));
      }
    }
    return media;
  }

  std::map<std::string, std::vector<Cells>> AllTables() {
    std::map<std::string, std::vector<Cells>> tables;
    tables["backupmediaset"] = Rows("SELECT * FROM msdb_dbo_backupmediaset ORDER BY media_set_id");
    tables["backupmediafamily"] = Rows(
        "SELECT * FROM msdb_dbo_backupmediafamily ORDER BY media_set_id, "
        "family_sequence_number, mirror");
    tables["backupset"] = Rows("SELECT * FROM msdb_dbo_backupset ORDER BY backup_set_id");
    tables["backupfile"] =
        Rows("SELECT * FROM msdb_dbo_backupfile ORDER BY backup_set_id, file_number");
    return tables;
  }

  void LoseTheCatalog() {
    catalog_.reset();
    for (const char* suffix : {"", "-wal", "-shm"}) {
      std::remove((path() + suffix).c_str());
    }
    Reopen();
    ASSERT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset"), "0");
  }

  std::int64_t clock_ = 1'763'713'709;
  std::map<std::string, std::vector<media::BackupSet>> sets_;  // by media set
};

TEST_F(CatalogImport, RebuildsALostCatalogFromItsMedia) {
  const MediaSet nightly = NewMedia("nightly", 1);
  MediaSet striped = NewMedia("striped", 2);
  striped.header.compressed = true;
  MediaSet mirrored = NewMedia("mirrored", 2, 2);
  mirrored.header.encrypted = true;
  BackUp(nightly, NextSet("sales"));
  auto compressed = NextSet("stock");
  compressed.compression_algorithm = "ZSTD";
  compressed.compressed_size_bytes = 4711;
  BackUp(striped, compressed);
  auto copy_only = NextSet("sales");
  copy_only.copy_only = true;
  copy_only.expiration_unix_s = 1'700'000'000;  // long ago
  copy_only.description = "befüllt";
  BackUp(nightly, copy_only);
  auto encrypted = NextSet("stock");
  encrypted.encryption = {.key_algorithm = "aes_256",
                          .encryptor_type = "CERTIFICATE",
                          .thumbprint = std::string(19, 'x') + '\xFF',
                          .wrapped_key = "w"};
  encrypted.name.clear();
  BackUp(mirrored, encrypted);
  auto damaged = NextSet("sales");
  damaged.is_damaged = true;
  damaged.is_read_only = true;
  damaged.digest = std::string(31, 'f') + '\x0F';
  BackUp(striped, damaged);
  auto differential = NextSet("sales");
  differential.kind = media::SetKind::kDifferential;
  differential.database_backup_lsn =
      sets_[nightly.header.media_set_id.ToString()][0].checkpoint_lsn;
  BackUp(nightly, differential);
  const auto before = AllTables();
  ASSERT_EQ(before.at("backupset").size(), 6u);
  ASSERT_EQ(before.at("backupmediafamily").size(), 7u);

  LoseTheCatalog();
  auto media = MediaOf({mirrored, striped, nightly});  // in another order than they were made
  const auto counts = catalog_->ImportHistory(media);

  ASSERT_THAT(counts, IsOk());
  for (const auto& [table, rows] : before) {
    EXPECT_EQ(AllTables().at(table), rows) << table;
  }
  int added = 0;
  for (const ImportCount& count : *counts) {
    added += count.added;
  }
  EXPECT_EQ(added, 6);
  EXPECT_EQ(Value("SELECT encryptor_thumbprint FROM msdb_dbo_backupset WHERE key_algorithm IS NOT "
                  "NULL"),
            "0x787878787878787878787878787878787878"
            "78FF");
  EXPECT_EQ(Value("SELECT backup_set_digest FROM msdb_dbo_backupset WHERE is_damaged = 1"),
            "0x" + std::string(62, '6') + "0F");
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset WHERE backup_set_digest IS NULL"), "5");
  EXPECT_EQ(Value("SELECT flags & 32 FROM msdb_dbo_backupset WHERE is_damaged = 1"), "32");
}

TEST_F(CatalogImport, ChangesNothingTheSecondTime) {
  const MediaSet media = NewMedia("a", 2, 2);
  BackUp(media, NextSet("sales"));
  const auto before = AllTables();

  const auto counts = catalog_->ImportHistory(MediaOf({media}));

  ASSERT_THAT(counts, IsOk());
  for (const ImportCount& count : *counts) {
    EXPECT_EQ(count.added, 0);
    EXPECT_EQ(count.known, 1);
  }
  EXPECT_EQ(AllTables(), before);
}

TEST_F(CatalogImport, FollowsAMediumThatWasMoved) {
  MediaSet media = NewMedia("a", 1);
  BackUp(media, NextSet("sales"));
  media.devices[0].target = "/elsewhere/a";

  ASSERT_THAT(catalog_->ImportHistory(MediaOf({media})), IsOk());

  EXPECT_EQ(Value("SELECT physical_device_name FROM msdb_dbo_backupmediafamily"), "/elsewhere/a");
}

// S1-46: a copy beside the medium is no second medium.
TEST_F(CatalogImport, LeavesTheMediumInItsPlaceWhenThereIsACopyToo) {
  MediaSet media = NewMedia("a", 1);
  BackUp(media, NextSet("sales"));
  MediaSet copy = media;
  copy.devices[0].target = "/aa/copy";

  ASSERT_THAT(catalog_->ImportHistory(MediaOf({copy, media})), IsOk());

  EXPECT_EQ(Value("SELECT physical_device_name FROM msdb_dbo_backupmediafamily"), "/b/a_m0_1");
}

TEST_F(CatalogImport, AddsOnlyWhatIsMissing) {
  const MediaSet media = NewMedia("a", 1);
  BackUp(media, NextSet("sales"));
  auto records = MediaOf({media});
  records[0].sets.push_back(NextSet("sales"));
  records[0].sets.back().position = 2;

  const auto counts = catalog_->ImportHistory(records);

  ASSERT_THAT(counts, IsOk());
  EXPECT_EQ(counts->front().added, 1);
  EXPECT_EQ(counts->front().known, 1);
  EXPECT_EQ(Value("SELECT max(position) FROM msdb_dbo_backupset"), "2");
}

TEST_F(CatalogImport, LeavesNoTraceOfAMediumWithoutASet) {
  MediumRecord empty{.device_class = "DISK", .target = "/e", .header = SampleHeader(), .sets = {}};

  const auto counts = catalog_->ImportHistory({empty});

  ASSERT_THAT(counts, IsOk());
  EXPECT_EQ(counts->front().added + counts->front().known, 0);
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupmediaset"), "0");
}

TEST_F(CatalogImport, AddsNothingAtAllIfOneMediumIsOfNoClass) {
  MediumRecord good{.device_class = "DISK", .target = "/g", .header = SampleHeader(), .sets = {}};
  good.sets.push_back(NextSet("sales"));
  MediumRecord bad{.device_class = "PAPER", .target = "/p", .header = SampleHeader(), .sets = {}};
  bad.sets.push_back(NextSet("sales"));

  EXPECT_THAT(catalog_->ImportHistory({good, bad}), test::HasCode(Code::kInvalidArgument));

  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset"), "0");
}

}  // namespace
}  // namespace capstan::catalog
