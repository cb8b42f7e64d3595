// Random histories of one SQLite database: commits of several programs, checkpoints in every mode,
// VACUUM, readers that stay, restarts of the server, and WALs that are started anew while it is
// down; full, differential and log backups in between. After each history, restores of a full
// backup, what fits of the rest, and a stop at random commits must give what the database was at
// that commit. CAPSTAN_TEST_SEED replays one history, CAPSTAN_TEST_HISTORIES asks for more of them.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "tests/support/sqlite_chain.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

constexpr int kSteps = 60;

// What a database says of its contents.
std::string Contents(Application& application) {
  return application.Ask("SELECT count(*) || ':' || coalesce(sum(id * length(payload)), 0) FROM t");
}

class History {
 public:
  explicit History(unsigned seed) : random_(seed) {
    StartServer();
    const std::array page_sizes = {512, 1024, 4096, 8192};
    MakeDatabase(path_, "WAL", 20, page_sizes[Choose(4)]);
    application_ = std::make_unique<Application>(path_, 2000);
    application_->TryRun("PRAGMA synchronous=OFF");
  }

  void Run() {
    TakeFullBackup();
    for (int i = 0; i < kSteps && !testing::Test::HasFatalFailure(); ++i) {
      Step();
    }
    reader_.reset();
    TakeLogBackup();
    CheckRestores();
  }
  int gaps() const { return gaps_; }
  int logs() const { return logs_; }

 private:
  // A chain of log backups without a gap, and the full and differential ones beside it.
  struct Link {
    ChainSet set;
    std::string contents;  // when it was taken
  };

  unsigned Choose(unsigned count) { return static_cast<unsigned>(random_() % count); }

  void StartServer() {
    writer_.reset();
    writer_ =
        std::make_unique<SqliteWriter>(SqliteLogKeeper::Options{.folder = scratch_.Under("data")});
    if (log_from_.value != 0) {
      writer_->Keep({KeptDatabase{.location = path_, .name = "db", .log_from = log_from_}});
    }
  }

  void Commit() {
    Application other(path_, 2000);
    Application& by = Choose(3) == 0 ? other : *application_;
    by.TryRun("BEGIN IMMEDIATE");
    switch (Choose(5)) {
      case 0:
        by.TryRun("DELETE FROM t WHERE id % 7 = " + std::to_string(Choose(7)));
        break;
      case 1:
        by.TryRun("UPDATE t SET payload = hex(randomblob(60)) WHERE id % 11 = " +
                  std::to_string(Choose(11)));
        break;
      default:
        by.TryRun("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < " +
                  std::to_string(1 + Choose(150)) +
                  ") INSERT INTO t SELECT NULL, hex(randomblob(abs(random()) % 400)), 0 FROM n");
    }
    by.TryRun(Choose(8) == 0 ? "ROLLBACK" : "COMMIT");
    NoteCommit();
  }

  // Which LSN has these contents; only of commits that were seen one by one.
  void NoteCommit() {
    if (writer_ == nullptr || Choose(2) == 0) {
      return;
    }
    auto session = writer_->BeginBackup(path_, "db", {.copy_only = true});
    ASSERT_THAT(session, IsOk());
    contents_at_[(*session)->lsns().last.value] = Contents(*application_);
  }

  void Step() {
    switch (Choose(14)) {
      case 0:
        return TakeLogBackup();
      case 1:
        return Choose(3) == 0 ? TakeFullBackup() : TakeDifferentialBackup();
      case 2: {
        constexpr std::array modes = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
        application_->TryRun(std::string("PRAGMA wal_checkpoint(") + modes[Choose(4)] + ")");
        return;
      }
      case 3:
        application_->TryRun("VACUUM");
        return;
      case 4:
        StartServer();
        return;
      case 5:
        return CommitWhileTheServerIsDown();
      case 6:
        reader_ = Choose(2) == 0 ? std::make_unique<Application>(path_) : nullptr;
        if (reader_ != nullptr) {
          reader_->TryRun("BEGIN");
          reader_->Ask("SELECT count(*) FROM t");
        }
        return;
      default:
        Commit();
    }
  }

  void CommitWhileTheServerIsDown() {
    reader_.reset();
    writer_.reset();
    const bool close = Choose(2) == 0;
    if (close) {
      application_.reset();  // the last one takes the WAL with it
      application_ = std::make_unique<Application>(path_, 2000);
    }
    for (unsigned i = Choose(3); i > 0; --i) {
      Commit();
      if (Choose(3) == 0) {
        application_->TryRun("PRAGMA wal_checkpoint(TRUNCATE)");
      }
    }
    StartServer();
  }

  void TakeFullBackup() {
    auto set = TakeFull(*writer_, path_);
    ASSERT_THAT(set, IsOk());
    full_ = Link{*std::move(set), Contents(*application_)};
    differential_.reset();
    chain_.clear();
    contents_at_.clear();
    if (log_from_.value == 0 || !writer_->DescribeLog(path_)->broken.empty() || Choose(2) == 0) {
      log_from_ = full_->set.lsns.last;
      writer_->Keep({KeptDatabase{.location = path_, .name = "db", .log_from = log_from_}});
    }
    contents_at_[full_->set.lsns.last.value] = full_->contents;
  }

  void TakeDifferentialBackup() {
    auto set = TakeDifferential(*writer_, path_, full_->set);
    ASSERT_THAT(set, IsOk());
    differential_ = Link{*std::move(set), Contents(*application_)};
  }

  void TakeLogBackup() {
    auto set = TakeLog(*writer_, path_, log_from_);
    if (!set.ok()) {
      ASSERT_THAT(set, HasReason(4214));
      ASSERT_NE(writer_->DescribeLog(path_)->broken, "") << set.status().ToString();
      ++gaps_;
      return TakeFullBackup();
    }
    ++logs_;
    if (set->lsns.first != log_from_) {
      chain_.clear();  // a differential backup bridges the gap in front of it
    }
    log_from_ = set->lsns.last;
    writer_->Keep({KeptDatabase{.location = path_, .name = "db", .log_from = log_from_}});
    chain_.push_back({*std::move(set), Contents(*application_)});
  }

  void Restore(std::vector<ChainSet> sets, StopPoint stop, const std::string& expected) {
    for (std::size_t i = 0; i < sets.size(); ++i) {
      const bool last = i + 1 == sets.size();
      const auto outcome =
          PutSet(*writer_, copy_, sets[i],
                 {.end = last ? RestoreEnd::kRecovery : RestoreEnd::kNoRecovery, .stop = stop});
      ASSERT_THAT(outcome, IsOk()) << "set " << i;
      ASSERT_EQ(outcome->stop_missed,
                stop.kind == StopPoint::Kind::kLsn && sets[i].lsns.last < stop.lsn);
    }
    Application restored(copy_);
    ASSERT_EQ(restored.Ask("PRAGMA integrity_check"), "ok");
    ASSERT_EQ(Contents(restored), expected);
  }

  void CheckRestores() {
    Restore({full_->set}, {}, full_->contents);
    std::vector<ChainSet> logs;
    for (const Link& link : chain_) {
      logs.push_back(link.set);
    }
    if (differential_) {
      Restore({full_->set, differential_->set}, {}, differential_->contents);
      std::vector<ChainSet> sets = {full_->set, differential_->set};
      sets.insert(sets.end(), logs.begin(), logs.end());
      if (!logs.empty() && logs.back().lsns.last >= differential_->set.lsns.last &&
          logs.front().lsns.first <= differential_->set.lsns.last) {
        Restore(sets, {}, chain_.back().contents);
      }
    }
    if (logs.empty()) {
      return;
    }
    if (logs.front().lsns.first > full_->set.lsns.last) {
      return;
    }
    std::vector<ChainSet> sets = {full_->set};
    sets.insert(sets.end(), logs.begin(), logs.end());
    Restore(sets, {}, chain_.back().contents);
    for (const auto& [lsn, contents] : contents_at_) {
      if (lsn < full_->set.lsns.last.value || lsn > logs.back().lsns.last.value || Choose(4) != 0) {
        continue;
      }
      std::size_t needed = 0;
      while (needed < logs.size() && logs[needed].lsns.last.value < lsn) {
        ++needed;
      }
      if (needed < logs.size()) {
        std::vector<ChainSet> to_point(sets.begin(),
                                       sets.begin() + static_cast<std::ptrdiff_t>(needed) + 2);
        Restore(to_point, {.kind = StopPoint::Kind::kLsn, .lsn = {lsn}}, contents);
      }
    }
  }

  std::minstd_rand random_;
  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  const std::string copy_ = scratch_.Under("copy.db");
  std::unique_ptr<SqliteWriter> writer_;
  std::unique_ptr<Application> application_;
  std::unique_ptr<Application> reader_;
  std::optional<Link> full_;
  std::optional<Link> differential_;
  std::vector<Link> chain_;
  Lsn log_from_;
  std::map<std::uint64_t, std::string> contents_at_;
  int gaps_ = 0;
  int logs_ = 0;
};

unsigned NumberFrom(const char* variable, unsigned otherwise) {
  const char* const text = std::getenv(variable);
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

// S1-23: what the FULL model promises, whatever happens in between.
TEST(SqliteChainProperty, EveryKeptCommitCanBeRestored) {
  const unsigned first = NumberFrom("CAPSTAN_TEST_SEED", 1);
  const unsigned count =
      std::getenv("CAPSTAN_TEST_SEED") != nullptr ? 1 : NumberFrom("CAPSTAN_TEST_HISTORIES", 12);
  int gaps = 0;
  int logs = 0;
  for (unsigned seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("CAPSTAN_TEST_SEED=" + std::to_string(seed));
    History history(seed);
    history.Run();
    if (HasFatalFailure()) {
      return;
    }
    gaps += history.gaps();
    logs += history.logs();
  }
  if (count > 1) {
    EXPECT_GT(logs, 0);
    EXPECT_GT(gaps, 0) << "no history had a gap, so none was seen to be noticed";
  }
}

}  // namespace
}  // namespace capstan::writers
