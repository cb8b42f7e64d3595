#include "server/coordinator/job_counters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace capstan::coordinator {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::Pair;

class CountingObserver final : public engine::JobObserver {
 public:
  void OnMessage(int number, const std::string&) override { messages.push_back(number); }
  void OnProgress(const engine::JobSnapshot&) override { ++reports; }
  std::vector<int> messages;
  int reports = 0;
};

TEST(JobCounters, JobsByKindAndOutcome) {
  JobCounters counters;
  counters.NoteJob("BACKUP DATABASE", OkStatus(), 500ms);
  counters.NoteJob("BACKUP DATABASE", OkStatus(), 10s);
  counters.NoteJob("BACKUP DATABASE", Error(Code::kInternal, "x"), 5h);
  counters.NoteJob("RESTORE DATABASE", Error(Code::kCancelled, "x"), 1s);
  counters.NoteJob("VERIFY DATABASE", OkStatus(), 1s);
  counters.NoteJob("DEVICE BENCH", OkStatus(), 1s);
  counters.NoteError(3201);
  counters.NoteError(3201);

  const JobCounters::Totals totals = counters.totals();
  EXPECT_EQ(totals.jobs.at({"backup", "succeeded"}), 2U);
  EXPECT_EQ(totals.jobs.at({"backup", "failed"}), 1U);
  EXPECT_EQ(totals.jobs.at({"restore", "cancelled"}), 1U);
  EXPECT_EQ(totals.jobs.at({"verify", "succeeded"}), 1U);
  EXPECT_EQ(totals.jobs.at({"bench", "succeeded"}), 1U);
  EXPECT_THAT(totals.errors, ElementsAre(Pair(3201, 2U)));
  const JobCounters::Durations& backups = totals.durations.at("backup");
  EXPECT_THAT(backups.counts, ElementsAre(1, 1, 2, 2, 2, 2, 2, 2));
  EXPECT_EQ(backups.count, 3U);
  EXPECT_DOUBLE_EQ(backups.sum_s, 18'010.5);
}

TEST(JobCounters, EveryByteIsCountedOnce) {
  JobCounters counters;
  CountingObserver observer;
  JobCounters::Watch watch(counters, observer);
  engine::JobSnapshot job;
  job.command = "BACKUP DATABASE";
  job.devices = {{.device_name = "a", .agent = "disk", .bytes = 100, .wait = "device"},
                 {.device_name = "b", .agent = "disk", .bytes = 10, .wait = ""}};
  watch.OnProgress(job);
  job.devices[0].bytes = 150;
  watch.OnProgress(job);
  watch.OnProgress(job);
  watch.OnMessage(3014, "done");
  EXPECT_EQ(counters.totals().device_bytes.at({"disk", "write"}), 160U);
  EXPECT_EQ(counters.totals().device_waits_s.size(), 1U);
  EXPECT_GE(counters.totals().device_waits_s.at({"disk", "device"}), 0);
  EXPECT_EQ(observer.reports, 3);
  EXPECT_THAT(observer.messages, ElementsAre(3014));

  job.command = "RESTORE DATABASE";
  job.devices = {{.device_name = "v", .agent = "", .bytes = 7}};
  watch.OnProgress(job);
  EXPECT_EQ(counters.totals().device_bytes.at({"virtual device", "read"}), 7U);
}

}  // namespace
}  // namespace capstan::coordinator
