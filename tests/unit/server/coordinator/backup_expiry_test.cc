// sp_expire_backups with the real catalog and media that are made up.
#include "server/coordinator/backup_expiry.h"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/catalog_samples.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::coordinator {
namespace {

using test::IsOk;
using testing::ElementsAre;
using testing::IsEmpty;

class BackupExpiryTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = catalog::Catalog::Open(directory_.Under("catalog.db"));
    ASSERT_THAT(opened, IsOk());
    catalog_ = std::move(opened).value();
    for (int day = 1; day <= 3; ++day) {
      AddFull("sales", day, "/b/sales" + std::to_string(day) + ".bak");
    }
  }

  void AddFull(const std::string& database, int day, const std::string& target) {
    catalog::JobRecord job = test::SampleJob();
    job.database_name = database;
    job.devices[0].target = target;
    media::BackupSet set = test::SampleSet();
    set.database_name = database;
    set.first_lsn = set.last_lsn = set.checkpoint_lsn = static_cast<std::uint64_t>(day) * 100;
    set.SetStart(day * 86'400'000'000);
    set.SetFinish(day * 86'400'000'000);
    auto& medium = media_[target];
    if (medium.sets.empty()) {
      medium.header = test::SampleHeader();
    }
    set.position = static_cast<std::uint16_t>(medium.sets.size() + 1);
    ASSERT_THAT(catalog_->BeginJob(job), IsOk());
    ASSERT_THAT(catalog_->PrepareBackup(job.job_guid, medium.header, set), IsOk());
    ASSERT_THAT(catalog_->CommitBackup(job.job_guid), IsOk());
    medium.sets.push_back({.set = set});
  }

  Result<BackupExpiry::Outcome> Run(int keep_full, bool dry_run = false,
                                    std::vector<std::string> databases = {}) {
    BackupExpiry expiry(
        {.catalog = *catalog_,
         .list = [this](const engine::TransferRequest& medium) -> Result<media::MediumListing> {
           const auto found = media_.find(medium.targets.front());
           if (found == media_.end()) {
             return OsError(ENOENT, "unable to open it");
           }
           return found->second;
         },
         .remove =
             [this](const std::string& /*device_class*/, const std::string& target) {
               if (stuck_.contains(target)) {
                 return OsError(EROFS, "unable to remove it");
               }
               removed_.push_back(target);
               media_.erase(target);
               return OkStatus();
             },
         .has_key = [](const std::string& /*thumbprint*/) { return true; }},
        {});
    return expiry.Run({.keep_full = keep_full, .now_unix_s = 10 * 86'400}, std::move(databases),
                      dry_run);
  }

  test::TemporaryDirectory directory_;
  std::unique_ptr<catalog::Catalog> catalog_;
  std::map<std::string, media::MediumListing> media_;
  std::set<std::string> stuck_;
  std::vector<std::string> removed_;
};

TEST_F(BackupExpiryTest, RemovesWhatThePolicyGivesUp) {
  const auto dry = Run(1, true);
  ASSERT_THAT(dry, IsOk());
  ASSERT_EQ(dry->table.rows.size(), 3U);
  EXPECT_EQ(dry->table.rows[0][6], "REMOVE");
  EXPECT_EQ(dry->table.rows[2][6], "KEEP");
  EXPECT_THAT(removed_, IsEmpty());
  const auto real = Run(1);
  ASSERT_THAT(real, IsOk());
  EXPECT_THAT(real->status, IsOk());
  EXPECT_THAT(removed_, ElementsAre("/b/sales1.bak", "/b/sales2.bak"));
  const auto sets = catalog_->SetsOf("sales");
  ASSERT_THAT(sets, IsOk());
  for (const catalog::KnownSet& known : *sets) {
    EXPECT_EQ(known.expired, known.set.last_lsn < 300);
  }
}

TEST_F(BackupExpiryTest, TriesAgainWhatCouldNotBeRemoved) {
  stuck_ = {"/b/sales1.bak"};
  const auto first = Run(1);
  ASSERT_THAT(first, IsOk());
  EXPECT_EQ(first->status.reason(), 65055);
  EXPECT_THAT(removed_, ElementsAre("/b/sales2.bak")) << "one does not hold the others up";
  stuck_.clear();
  const auto second = Run(1);
  ASSERT_THAT(second, IsOk());
  EXPECT_THAT(removed_, ElementsAre("/b/sales2.bak", "/b/sales1.bak"));
}

TEST_F(BackupExpiryTest, LeavesMediaThatHoldAnythingElse) {
  media_["/b/sales1.bak"].sets.push_back({.set = test::SampleSet()});  // of another server
  const auto outcome = Run(1);
  ASSERT_THAT(outcome, IsOk());
  EXPECT_THAT(removed_, ElementsAre("/b/sales2.bak"));
  EXPECT_THAT(*outcome->table.rows[0][7], testing::HasSubstr("does not know"));
}

TEST_F(BackupExpiryTest, DoesNotCountWhatIsMissing) {
  media_.erase("/b/sales3.bak");
  ASSERT_THAT(Run(1), IsOk());
  EXPECT_THAT(removed_, ElementsAre("/b/sales1.bak"));
}

TEST_F(BackupExpiryTest, AsksOnlyForDatabasesOfTheHistory) {
  AddFull("shop", 1, "/b/shop1.bak");
  AddFull("shop", 2, "/b/shop2.bak");
  EXPECT_EQ(Run(1, false, {"nowhere"}).status().reason(), 911);
  const auto outcome = Run(1, false, {"shop"});
  ASSERT_THAT(outcome, IsOk());
  EXPECT_EQ(outcome->table.rows.size(), 2U);
  EXPECT_THAT(removed_, ElementsAre("/b/shop1.bak"));
}

}  // namespace
}  // namespace capstan::coordinator
