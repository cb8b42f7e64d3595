// Backups of databases that other processes write to, checkpoint, open and close all the while.
// Each copy must be one state that the database really had. What these tests cannot show: that no
// rarer interleaving exists; server/writers/sqlite.md argues that.
#include <array>
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

constexpr int kAccounts = 2000;
constexpr int kBackups = 40;

void MakeBusyDatabase(const std::string& path, const std::string& journal_mode, int page_size) {
  {
    Application application(path);
    application.Run("PRAGMA page_size=" + std::to_string(page_size));
    application.Run("PRAGMA auto_vacuum=INCREMENTAL");
  }
  MakeDatabase(path, journal_mode, 100, page_size);
  Application application(path);
  application.Run("CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER, note TEXT)");
  application.Run("CREATE TABLE scratch(x)");
  application.Run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < " +
                  std::to_string(kAccounts) +
                  ") INSERT INTO account SELECT i, 100, hex(randomblob(200)) FROM n");
}

// Appends rows, moves money, lets the file grow and shrink; now and then comes and goes.
int Write(const std::string& path, unsigned seed) {
  std::minstd_rand random(seed);
  int rows = 100;
  while (true) {
    Application application(path);
    application.TryRun("PRAGMA synchronous=OFF");
    application.TryRun("PRAGMA wal_autocheckpoint=" + std::to_string(random() % 200));
    for (int i = 0; i < 300; ++i) {
      const int count = 1 + static_cast<int>(random() % 20);
      InsertRows(application, rows + 1, count);
      rows += count;
      application.TryRun("BEGIN IMMEDIATE");
      const std::string amount = std::to_string(random() % 50);
      for (int k = 0; k < 4; ++k) {
        application.TryRun("UPDATE account SET balance = balance + " + amount +
                           " WHERE id = " + std::to_string(1 + random() % kAccounts));
        application.TryRun("UPDATE account SET balance = balance - " + amount +
                           " WHERE id = " + std::to_string(1 + random() % kAccounts));
      }
      application.TryRun("COMMIT");
      if (random() % 8 == 0) {
        application.TryRun("INSERT INTO scratch VALUES(zeroblob(300000))");
      }
      if (random() % 16 == 0) {
        application.TryRun("DELETE FROM scratch");
        application.TryRun("PRAGMA incremental_vacuum");
      }
    }
  }
}

int Checkpoint(const std::string& path, unsigned seed) {
  constexpr std::array modes = {SQLITE_CHECKPOINT_PASSIVE, SQLITE_CHECKPOINT_FULL,
                                SQLITE_CHECKPOINT_RESTART, SQLITE_CHECKPOINT_TRUNCATE};
  std::minstd_rand random(seed);
  while (true) {
    Application application(path, 5);
    for (int i = 0; i < 100; ++i) {
      sqlite3_wal_checkpoint_v2(application.handle(), nullptr, modes[random() % modes.size()],
                                nullptr, nullptr);
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    }
  }
}

void BackUpRepeatedly(const std::string& path, const std::string& copy, std::uint32_t length_max) {
  SqliteWriter writer;
  int rows_before = 0;
  Lsn lsn_before;
  for (int i = 0; i < kBackups; ++i) {
    auto session = writer.BeginBackup(path, "db", {});
    ASSERT_THAT(session, IsOk());
    const auto image = ReadAll(**session, length_max);
    ASSERT_THAT(image, IsOk());
    const Lsn lsn = (*session)->lsns().last;
    ASSERT_THAT((*session)->End(), IsOk());
    WriteWhole(copy, *image);

    ASSERT_EQ(FaultOf(copy), "") << "backup " << i << " source: " << FaultOf(path).substr(0, 200);
    Application restored(copy);
    EXPECT_EQ(restored.Ask("SELECT sum(balance) FROM account"), std::to_string(100 * kAccounts));
    const int rows = std::stoi(restored.Ask("SELECT count(*) FROM t"));
    EXPECT_GE(rows, rows_before);
    EXPECT_GE(lsn, lsn_before);
    rows_before = rows;
    lsn_before = lsn;
  }
  EXPECT_GT(rows_before, 100) << "nothing was written meanwhile, so nothing was tested";
}

class SqliteInUse : public testing::TestWithParam<int> {};

TEST_P(SqliteInUse, EveryCopyIsOneStateWhileOthersCommitAndCheckpoint) {
  TemporaryDirectory scratch;
  const std::string path = scratch.Under("busy.db");
  MakeBusyDatabase(path, "WAL", GetParam());
  ForkedProcess writing([&] { return Write(path, 1); });
  ForkedProcess checkpointing([&] { return Checkpoint(path, 2); });

  BackUpRepeatedly(path, scratch.Under("copy.db"), 70000);

  EXPECT_EQ(writing.Kill(), 1000 + SIGKILL) << "it must have run all the time";
  EXPECT_EQ(checkpointing.Kill(), 1000 + SIGKILL);
  EXPECT_EQ(FaultOf(path), "") << "the database itself must not suffer";
}

INSTANTIATE_TEST_SUITE_P(PageSizes, SqliteInUse, testing::Values(512, 4096, 65536));

TEST(SqliteInUseRollback, EveryCopyIsOneStateWhileOthersCommit) {
  TemporaryDirectory scratch;
  const std::string path = scratch.Under("busy.db");
  MakeBusyDatabase(path, "DELETE", 4096);
  ForkedProcess writing([&] { return Write(path, 3); });

  BackUpRepeatedly(path, scratch.Under("copy.db"), 1 << 20);

  EXPECT_EQ(writing.Kill(), 1000 + SIGKILL);
  EXPECT_EQ(FaultOf(path), "");
}

}  // namespace
}  // namespace capstan::writers
