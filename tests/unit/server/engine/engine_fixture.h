// EngineFixture: an engine over memory devices, a memory writer and a real catalog in a temporary
// directory, with one database "sales" registered.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "server/catalog/catalog.h"
#include "server/engine/engine.h"
#include "tests/support/memory_devices.h"
#include "tests/support/memory_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/server/engine/recording_observer.h"

namespace capstan::engine {

class EngineFixture : public testing::Test {
 protected:
  void SetUp() override { Start(); }

  // Also what a restart of the server does: everything but the media and the catalog file is new.
  void Start() {
    engine_.reset();
    error_log_.reset();
    catalog_.reset();
    auto catalog = catalog::Catalog::Open(directory_.path() + "/catalog.db");
    ASSERT_THAT(catalog, test::IsOk());
    catalog_ = std::move(catalog).value();
    auto log = ErrorLog::Open(directory_.path() + "/ERRORLOG");
    ASSERT_THAT(log, test::IsOk());
    error_log_ = std::move(log).value();
    Settings settings;
    settings.server_name = "testserver";
    settings.machine_name = "testmachine";
    settings.buffer_memory_limit = 64 << 20;
    settings.timeouts.device = device_timeout_;
    settings.timeouts.open = std::chrono::seconds(20);
    settings.checkpoint_interval = checkpoint_interval_;
    settings.checkpoint_bytes = checkpoint_bytes_;
    engine_ = std::make_unique<Engine>(Engine::Parts{.catalog = *catalog_,
                                                     .jobs = jobs_,
                                                     .devices = devices_,
                                                     .error_log = *error_log_,
                                                     .writers = {{"memory", &writer_}},
                                                     .settings = settings,
                                                     .certificates = certificates_.get()});
    if (!catalog_->FindDatabase("sales").ok()) {
      ASSERT_THAT(
          catalog_->AddDatabase({.name = "sales", .scheme = "memory", .location = "/db/sales"}),
          test::IsOk());
    }
  }

  static TransferRequest Transfer(std::vector<std::string> targets) {
    TransferRequest transfer;
    transfer.device_class = "DISK";
    transfer.targets = std::move(targets);
    transfer.max_transfer_size = 64 << 10;
    transfer.session_id = 51;
    transfer.statement = "test";
    return transfer;
  }
  Status Backup(std::vector<std::string> targets, bool overwrite = true) {
    BackupRequest request;
    request.transfer = Transfer(std::move(targets));
    request.database = "sales";
    request.media_use = overwrite ? MediaUse::kFormat : MediaUse::kAppend;
    return engine_->Backup(request, observer_);
  }
  Status Restore(std::vector<std::string> targets, const std::string& database,
                 std::vector<std::pair<std::string, std::string>> moves, bool replace = false) {
    RestoreRequest request;
    request.transfer = Transfer(std::move(targets));
    request.database = database;
    request.moves = std::move(moves);
    request.replace = replace;
    return engine_->Restore(request, observer_);
  }
  Status Verify(std::vector<std::string> targets) {
    return engine_->Verify({.transfer = Transfer(std::move(targets))}, observer_);
  }
  // Rows of msdb.dbo.backupset.
  std::size_t HistoryCount() {
    const auto rows = catalog_->Query("SELECT * FROM msdb_dbo_backupset", {});
    EXPECT_THAT(rows, test::IsOk());
    return rows.ok() ? rows->rows.size() : 0;
  }
  std::size_t UnfinishedCount() {
    const auto jobs = catalog_->UnfinishedJobs();
    EXPECT_THAT(jobs, test::IsOk());
    return jobs.ok() ? jobs->size() : 0;
  }
  // After every failure: the next ordinary backup works, and nothing is left behind.
  void ExpectNothingHarmed() {
    EXPECT_EQ(UnfinishedCount(), 0U);
    EXPECT_EQ(devices_.partial_count(), 0U);
    devices_.fault = nullptr;
    writer_.fail_read = 0;
    const std::size_t before = HistoryCount();
    EXPECT_THAT(Backup({"after1", "after2"}), test::IsOk());
    EXPECT_EQ(HistoryCount(), before + 1);
    EXPECT_THAT(Verify({"after1", "after2"}), test::IsOk());
  }

  // Read by Start. Long: only a test of a stalled device waits for it.
  std::chrono::milliseconds device_timeout_{20'000};
  std::chrono::milliseconds checkpoint_interval_ = Settings().checkpoint_interval;
  std::uint64_t checkpoint_bytes_ = Settings().checkpoint_bytes;
  test::TemporaryDirectory directory_;
  test::MemoryDevices devices_{directory_.path() + "/vdi.sock"};
  test::MemoryWriter writer_;
  JobRegistry jobs_;
  RecordingObserver observer_;
  std::unique_ptr<catalog::Catalog> catalog_;
  std::unique_ptr<ErrorLog> error_log_;
  std::unique_ptr<transform::CertificateStore> certificates_;  // null unless a test opens one
  std::unique_ptr<Engine> engine_;
};

}  // namespace capstan::engine
