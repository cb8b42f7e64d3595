// One database with a writer that keeps its log, and restores of chains of its backups.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/sqlite_chain.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {

using test::Application;
using test::ChainSet;
using test::FaultOf;
using test::PutSet;
using test::TemporaryDirectory;

class SqliteChainTest : public testing::Test {
 protected:
  void SetUp() override { StartServer(); }

  void StartServer(std::uint64_t limit_bytes = std::uint64_t{1} << 30) {
    writer_.reset();
    writer_ = std::make_unique<SqliteWriter>(
        SqliteLogKeeper::Options{.folder = scratch_.Under("data"), .limit_bytes = limit_bytes});
  }
  void KeepFrom(std::optional<Lsn> from, RecoveryModel model = RecoveryModel::kFull) {
    writer_->Keep(
        {KeptDatabase{.location = path_, .name = "db", .recovery_model = model, .log_from = from}});
  }
  // As the server says it after a restore or a tail backup WITH NORECOVERY.
  void KeepRestoring(Lsn from) {
    KeptDatabase database{.location = path_, .name = "db", .log_from = from};
    database.being_restored = true;
    writer_->Keep({database});
  }
  // The tracker's thread sees a commit by itself.
  Lsn SeenBehind(Lsn lsn) {
    const Deadline deadline = Deadline::After(std::chrono::seconds(10));
    while (writer_->DescribeLog(path_)->kept->last <= lsn && !deadline.passed()) {
      // Only between two looks: what ends the wait is the commit, or the deadline.
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return writer_->DescribeLog(path_)->kept->last;
  }
  // The tracker's thread finds out by itself that its log has ended.
  void AwaitBroken() {
    const Deadline deadline = Deadline::After(std::chrono::seconds(10));
    while (writer_->DescribeLog(path_)->broken.empty() && !deadline.passed()) {
      // Only between two looks, as above.
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  std::string Rows(const std::string& path) {
    return Application(path).Ask("SELECT count(*) FROM t");
  }
  // Restores the sets, the last one WITH RECOVERY, and tells the rows.
  std::string RowsAfter(const std::vector<ChainSet>& sets, StopPoint stop = {}) {
    for (std::size_t i = 0; i < sets.size(); ++i) {
      const bool last = i + 1 == sets.size();
      const auto outcome =
          PutSet(*writer_, copy_, sets[i],
                 {.end = last ? RestoreEnd::kRecovery : RestoreEnd::kNoRecovery, .stop = stop});
      if (!outcome.ok()) {
        return outcome.status().ToString();
      }
      outcome_ = *outcome;
    }
    if (const std::string fault = FaultOf(copy_); !fault.empty()) {
      return fault;
    }
    return Rows(copy_);
  }
  std::vector<std::string> Leftovers() {
    std::vector<std::string> names;
    for (const std::string& leaf : scratch_.Leaves()) {
      if (leaf.find("capstan-") != std::string::npos) {
        names.push_back(leaf);
      }
    }
    return names;
  }

  static std::vector<std::string> NamesIn(const std::string& folder) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  const std::string copy_ = scratch_.Under("copy.db");
  std::unique_ptr<SqliteWriter> writer_;
  RestoreOutcome outcome_;
};

// S1-23, S1-24: full recovery model; full, differential and log are each restorable.

}  // namespace capstan::writers
