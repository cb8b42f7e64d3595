// A server dies at every crash point of the catalog, and the next one cleans up as a server does:
// prepared jobs are committed, running ones forgotten. What must hold afterwards is the same
// everywhere. SIGKILL leaves the page cache alone, so this does not show what a power cut does.
#include <array>
#include <cstdlib>
#include <functional>
#include <string>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/catalog_samples.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::catalog {
namespace {

using test::IsOk;

struct CrashCase {
  const char* point;
  int backups;   // of the two that were tried, visible after recovery
  int restores;  // of the one that was tried
};

void PrintTo(const CrashCase& crash, std::ostream* out) {
  *out << crash.point;
}

// The steps below: a backup that commits, a prepared one that is revoked and forgotten, a backup
// that commits, a restore. Passes of a point are counted from 1.
constexpr std::array kCases = {
    CrashCase{"catalog.before_begin", 0, 0},
    CrashCase{"catalog.after_begin", 0, 0},
    CrashCase{"catalog.before_prepare", 0, 0},
    CrashCase{"catalog.after_prepare", 1, 0},
    CrashCase{"catalog.before_commit", 1, 0},
    CrashCase{"catalog.after_commit", 1, 0},
    CrashCase{"catalog.before_begin:2", 1, 0},
    CrashCase{"catalog.before_prepare:2", 1, 0},
    CrashCase{"catalog.after_revoke", 1, 0},
    CrashCase{"catalog.before_forget", 1, 0},
    CrashCase{"catalog.after_forget", 1, 0},
    CrashCase{"catalog.before_prepare:3", 1, 0},
    CrashCase{"catalog.after_prepare:3", 2, 0},
    CrashCase{"catalog.before_commit:2", 2, 0},
    CrashCase{"catalog.after_commit:2", 2, 0},
    CrashCase{"catalog.before_restore_commit", 2, 0},
    CrashCase{"catalog.after_restore_commit", 2, 1},
};

class CatalogCrash : public testing::TestWithParam<CrashCase> {
 protected:
  // Runs `body` in a child of its own, where the crash points start to count afresh, and returns
  // how the child ended.
  int InChild(const char* crash_at, const std::function<void()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("CAPSTAN_CRASH_AT", crash_at, 1);
      body();
      ::_exit(HasFailure() ? 1 : 0);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  }

  std::unique_ptr<Catalog> Open() {
    auto catalog = Catalog::Open(directory_.Under("catalog.db"));
    EXPECT_THAT(catalog, IsOk());
    return catalog.ok() ? std::move(catalog).value() : nullptr;
  }

  void Serve() {
    const auto catalog = Open();
    const auto header = test::SampleHeader(2);
    const auto set = test::SampleSet();
    EXPECT_THAT(test::RecordBackup(*catalog, header, set), IsOk());

    const JobRecord failing = test::SampleJob(2);
    EXPECT_THAT(catalog->BeginJob(failing), IsOk());
    EXPECT_THAT(catalog->PrepareBackup(failing.job_guid, header, test::SampleSet()), IsOk());
    EXPECT_THAT(catalog->RevokeBackup(failing.job_guid), IsOk());
    EXPECT_THAT(catalog->ForgetJob(failing.job_guid), IsOk());

    EXPECT_THAT(test::RecordBackup(*catalog, header, test::SampleSet()), IsOk());

    const JobRecord restore = test::SampleJob(2);
    EXPECT_THAT(catalog->BeginJob(restore), IsOk());
    EXPECT_THAT(catalog->CommitRestore(restore.job_guid, test::SampleRestore(set.backup_set_guid)),
                IsOk());
  }

  void Recover(Catalog& catalog) {
    const auto jobs = catalog.UnfinishedJobs();
    ASSERT_THAT(jobs, IsOk());
    EXPECT_LE(jobs->size(), 1u);
    for (const JobRecord& job : *jobs) {
      EXPECT_EQ(job.devices.size(), 2u);
      EXPECT_THAT(job.state == JobState::kPrepared ? catalog.CommitBackup(job.job_guid)
                                                   : catalog.ForgetJob(job.job_guid),
                  IsOk());
    }
    EXPECT_TRUE(catalog.UnfinishedJobs().value().empty());
  }

  void ExpectCount(Catalog& catalog, const std::string& from, int count) {
    const auto table = catalog.Query("SELECT count(*) FROM " + from, {});
    ASSERT_THAT(table, IsOk());
    EXPECT_EQ(table->rows[0][0], std::to_string(count)) << from;
  }

  void RecoverAndCheck() {
    const auto catalog = Open();
    Recover(*catalog);

    const CrashCase& crash = GetParam();
    ExpectCount(*catalog, "msdb_dbo_backupset", crash.backups);
    ExpectCount(*catalog, "msdb_dbo_backupfile", crash.backups);
    ExpectCount(*catalog, "msdb_dbo_backupmediaset", crash.backups > 0 ? 1 : 0);
    ExpectCount(*catalog, "msdb_dbo_backupmediafamily", crash.backups > 0 ? 2 : 0);
    ExpectCount(*catalog, "msdb_dbo_restorehistory", crash.restores);
    ExpectCount(*catalog, "msdb_dbo_restorefile", 2 * crash.restores);
    // The catalog takes new work.
    EXPECT_THAT(test::RecordBackup(*catalog, test::SampleHeader(), test::SampleSet()), IsOk());
    ExpectCount(*catalog, "msdb_dbo_backupset", crash.backups + 1);
  }

  test::TemporaryDirectory directory_;
};

TEST_P(CatalogCrash, LeavesWholeBackupsOnly) {
  const int served = InChild(GetParam().point, [this] { Serve(); });
  ASSERT_TRUE(WIFSIGNALED(served)) << "the crash point was never reached";
  ASSERT_EQ(WTERMSIG(served), SIGKILL);

  const int recovered = InChild("", [this] { RecoverAndCheck(); });

  EXPECT_TRUE(WIFEXITED(recovered));
  EXPECT_EQ(WEXITSTATUS(recovered), 0);
}

INSTANTIATE_TEST_SUITE_P(EveryPoint, CatalogCrash, testing::ValuesIn(kCases));

}  // namespace
}  // namespace capstan::catalog
