#include "server/coordinator/job_recorder.h"

#include <gtest/gtest.h>

#include "server/messages/messages.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::coordinator {
namespace {

using Cells = std::vector<std::optional<std::string>>;

class Listener final : public engine::JobObserver {
 public:
  void OnMessage(int number, const std::string& /*text*/) override { messages.push_back(number); }
  void OnProgress(const engine::JobSnapshot& /*snapshot*/) override { ++progress; }

  std::vector<int> messages;
  int progress = 0;
};

class JobRecorderTest : public testing::Test {
 protected:
  void SetUp() override {
    auto catalog = catalog::Catalog::Open(directory_.Under("catalog.db"));
    ASSERT_THAT(catalog, test::IsOk());
    catalog_ = std::move(catalog).value();
  }

  Cells Row() {
    const auto table = catalog_->Query(
        "SELECT status, percent_complete, code, severity, source, description, possible_reasons, "
        "source_guid FROM msdb_dbo_backupjobhistory",
        {});
    EXPECT_THAT(table, test::IsOk());
    return table.ok() && table->rows.size() == 1 ? table->rows[0] : Cells();
  }

  JobRecorder Begin() {
    return {*catalog_, listener_, {.command = "BACKUP DATABASE", .statement = "BACKUP ..."}};
  }

  test::TemporaryDirectory directory_;
  std::unique_ptr<catalog::Catalog> catalog_;
  Listener listener_;
};

TEST_F(JobRecorderTest, HandsEverythingOnAndKeepsTheLastMessage) {
  JobRecorder recorder = Begin();
  const engine::JobSnapshot snapshot{
      .job_guid = Guid::Random(), .bytes_done = 30, .bytes_total = 100};
  recorder.OnProgress(snapshot);
  recorder.OnMessage(4035, "Processed");
  recorder.OnMessage(3014, "Done");

  recorder.Finish(OkStatus());

  EXPECT_EQ(listener_.messages, (std::vector<int>{4035, 3014}));
  EXPECT_EQ(listener_.progress, 1);
  EXPECT_EQ(Row(), (Cells{"Succeeded", "100", "3014", "0", std::nullopt, "Done", std::nullopt,
                          snapshot.job_guid.ToString()}));
}

// S0-34
TEST_F(JobRecorderTest, SaysHowFarAFailedJobCameAndWhy) {
  JobRecorder recorder = Begin();
  recorder.OnProgress({.bytes_done = 30, .bytes_total = 100});

  recorder.Finish(SqlError(3202, "/b", "28(No space left on device)").WithHint("free some"));

  const Cells row = Row();
  ASSERT_EQ(row.size(), 8u);
  EXPECT_EQ(row[0], "Failed");
  EXPECT_EQ(row[1], "30");
  EXPECT_EQ(row[2], "3202");
  EXPECT_EQ(row[3], "16");
  EXPECT_EQ(row[4], "backup device");
  EXPECT_EQ(row[6], "free some");
}

TEST_F(JobRecorderTest, TellsCancelledFromFailed) {
  Begin().Finish(SqlError(3204));
  EXPECT_EQ(Row().at(0), "Canceled");
}

TEST(SourceOfError, NamesThePartOfTheServer) {
  EXPECT_EQ(SourceOfError(3201), "backup device");
  EXPECT_EQ(SourceOfError(3098), "media set");
  EXPECT_EQ(SourceOfError(65004), "backup set");
  EXPECT_EQ(SourceOfError(911), "database");
  EXPECT_EQ(SourceOfError(33111), "key");
  EXPECT_EQ(SourceOfError(102), "server");
}

}  // namespace
}  // namespace capstan::coordinator
