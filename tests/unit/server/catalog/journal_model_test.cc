// Random steps of several jobs against a model that a person can check by eye. CAPSTAN_TEST_SEED
// replays a run. One thread: what threads do to each other is not shown here.
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "tests/unit/server/catalog/catalog_test.h"

namespace capstan::catalog {
namespace {

struct Model {
  std::map<Guid, std::optional<Guid>> jobs;  // job -> its prepared backup set
  std::set<std::string> visible;
};

class CatalogJournalModel : public CatalogTest {
 protected:
  void Step(std::mt19937& random) {
    const auto pick = [&random](std::size_t count) {
      return std::uniform_int_distribution<std::size_t>(0, count - 1)(random);
    };
    if (model_.jobs.empty() || pick(4) == 0) {
      const JobRecord job = test::SampleJob();
      EXPECT_THAT(catalog_->BeginJob(job), test::IsOk());
      model_.jobs[job.job_guid] = std::nullopt;
      return;
    }
    const auto job = std::next(model_.jobs.begin(), static_cast<long>(pick(model_.jobs.size())));
    switch (pick(4)) {
      case 0:
        Prepare(job->first, headers_[pick(headers_.size())]);
        break;
      case 1:
        Commit(job->first);
        break;
      case 2:
        EXPECT_THAT(catalog_->ForgetJob(job->first), test::IsOk());
        model_.jobs.erase(job);
        break;
      default:
        Reopen();
    }
  }

  void Prepare(const Guid& job, const media::MediaHeader& header) {
    const auto set = test::SampleSet();
    const Status status = catalog_->PrepareBackup(job, header, set);
    EXPECT_EQ(status.ok(), !model_.jobs[job].has_value()) << status.ToString();
    if (status.ok()) {
      model_.jobs[job] = set.backup_set_guid;
    }
  }

  void Commit(Guid job) {
    const Status status = catalog_->CommitBackup(job);
    EXPECT_EQ(status.ok(), model_.jobs[job].has_value()) << status.ToString();
    if (status.ok()) {
      model_.visible.insert(model_.jobs[job]->ToString());
      model_.jobs.erase(job);
    }
  }

  void Compare() {
    std::set<std::string> visible;
    for (const auto& row : Rows("SELECT s.backup_set_uuid FROM msdb_dbo_backupset s "
                                "JOIN msdb_dbo_backupmediaset USING (media_set_id) "
                                "JOIN msdb_dbo_backupmediafamily USING (media_set_id) "
                                "JOIN msdb_dbo_backupfile USING (backup_set_id)")) {
      visible.insert(row[0].value_or("NULL"));
    }
    EXPECT_EQ(visible, model_.visible);
    const auto jobs = catalog_->UnfinishedJobs();
    ASSERT_THAT(jobs, test::IsOk());
    ASSERT_EQ(jobs->size(), model_.jobs.size());
    for (const JobRecord& job : *jobs) {
      ASSERT_TRUE(model_.jobs.contains(job.job_guid));
      EXPECT_EQ(job.state == JobState::kPrepared, model_.jobs[job.job_guid].has_value());
    }
  }

  Model model_;
  std::vector<media::MediaHeader> headers_ = {test::SampleHeader(), test::SampleHeader(),
                                              test::SampleHeader()};
};

TEST_F(CatalogJournalModel, AgreesAfterEveryRandomStep) {
  const char* given = std::getenv("CAPSTAN_TEST_SEED");
  const auto seed = given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10))
                                     : std::random_device{}();
  SCOPED_TRACE("CAPSTAN_TEST_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);

  for (int step = 0; step < 200 && !HasFailure(); ++step) {
    Step(random);
    Compare();
  }
}

}  // namespace
}  // namespace capstan::catalog
