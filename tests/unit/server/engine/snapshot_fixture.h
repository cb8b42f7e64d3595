// SnapshotFixture: an engine over SQLite databases in a temporary directory, for BACKUP and RESTORE
// WITH SNAPSHOT with a scripted client at the device.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "server/catalog/catalog.h"
#include "server/engine/engine.h"
#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/snapshot_devices.h"
#include "tests/support/snapshot_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/server/engine/recording_observer.h"

namespace capstan::engine {

class SnapshotFixture : public testing::Test {
 protected:
  // Adds a row, and fails if the database is frozen.
  static constexpr char kInsert[] =
      "INSERT INTO t SELECT max(id)+1, 'x', (max(id)+1)*(max(id)+2)/2 FROM t";
  using Images = std::map<std::string, std::string>;  // suffix of the file -> bytes

  void SetUp() override {
    catalog_ = Must(catalog::Catalog::Open(directory_.Under("catalog.db")));
    error_log_ = Must(ErrorLog::Open(directory_.Under("ERRORLOG")));
    Settings settings;
    settings.buffer_memory_limit = 64 << 20;
    settings.timeouts.device = std::chrono::milliseconds(1500);
    settings.timeouts.open = std::chrono::milliseconds(5000);
    settings.timeouts.database = std::chrono::milliseconds(8000);
    settings.timeouts.mount = std::chrono::milliseconds(1500);
    engine_ = std::make_unique<Engine>(Engine::Parts{.catalog = *catalog_,
                                                     .jobs = jobs_,
                                                     .devices = devices_,
                                                     .error_log = *error_log_,
                                                     .writers = {{"sqlite", &writer_}},
                                                     .settings = settings});
  }
  template <typename T>
  static T Must(Result<T> result) {
    EXPECT_THAT(result, test::IsOk());
    return std::move(result).value();
  }

  std::string PathOf(const std::string& name) const { return directory_.Under(name + ".db"); }
  void AddDatabase(const std::string& name, const char* journal_mode, int rows = 100) {
    test::MakeDatabase(PathOf(name), journal_mode, rows);
    ASSERT_THAT(catalog_->AddDatabase({.name = name, .scheme = "sqlite", .location = PathOf(name)}),
                test::IsOk());
  }
  TransferRequest Transfer(const std::string& device) const {
    TransferRequest transfer;
    transfer.device_class = "VIRTUAL_DEVICE";
    transfer.targets = {device};
    transfer.session_id = 51;
    return transfer;
  }
  Status Backup(const std::string& name, const std::string& device, bool snapshot = true) {
    BackupRequest request;
    request.transfer = Transfer(device);
    request.database = name;
    request.snapshot = snapshot;
    return engine_->Backup(request, observer_);
  }
  struct Restoring {
    std::string as;
    bool replace = false;
    bool snapshot = true;
    std::vector<std::pair<std::string, std::string>> moves = {};
  };
  Status Restore(const Restoring& restoring, const std::string& device) {
    RestoreRequest request;
    request.transfer = Transfer(device);
    request.database = restoring.as;
    request.replace = restoring.replace;
    request.snapshot = restoring.snapshot;
    request.moves = restoring.moves;
    return engine_->Restore(request, observer_);
  }

  // What a client does that has no snapshots of volumes: copies the files while they are frozen.
  static void CopyFiles(const std::string& path, Images& images) {
    for (const char* suffix : {"", "-wal"}) {
      if (std::filesystem::exists(path + suffix)) {
        images[suffix] = test::ReadElsewhere(path + suffix);
      }
    }
  }
  static void PlaceFiles(const std::string& path, const Images& images) {
    for (const auto& [suffix, bytes] : images) {
      test::WriteWhole(path + suffix, bytes);
    }
  }
  // A snapshot of a database "sales", as the client then has it.
  struct Taken {
    std::vector<std::byte> stream;
    Images images;
  };
  Taken TakeSnapshot(const char* journal_mode = "WAL") {
    AddDatabase("sales", journal_mode);
    Taken taken;
    test::SnapshotClient client(devices_.path(), "backup", {.on_snapshot = [&] {
                                  CopyFiles(PathOf("sales"), taken.images);
                                  return vdi::CompletionCode::kSuccess;
                                }});
    EXPECT_THAT(Backup("sales", "backup"), test::IsOk());
    EXPECT_THAT(client.device().Finish(), test::IsOk());
    taken.stream = client.stream();
    return taken;
  }
  // Runs one RESTORE whose client places `images` at `path`.
  Status RestoreTo(const std::string& path, const Taken& taken, const Restoring& restoring) {
    test::SnapshotClient client(devices_.path(), "restore",
                                {.stream = taken.stream, .on_mount = [&] {
                                   PlaceFiles(path, taken.images);
                                   return vdi::CompletionCode::kSuccess;
                                 }});
    Status status = Restore(restoring, "restore");
    [[maybe_unused]] const Status ended = client.device().Finish();
    restore_commands_ = client.commands();
    return status;
  }

  std::string Log() const { return test::ReadWhole(directory_.Under("ERRORLOG")); }
  catalog::Table Query(const std::string& sql) { return Must(catalog_->Query(sql, {})); }
  std::string RowsIn(const std::string& path) {
    return test::Application(path).Ask("SELECT count(*) FROM t");
  }
  // After a failure: no lock, no history, no open job.
  void ExpectNothingHeld(const std::string& name) {
    EXPECT_EQ(test::Application(PathOf(name), 0).TryRun(kInsert), SQLITE_OK) << "still frozen";
    EXPECT_TRUE(Query("SELECT * FROM msdb_dbo_backupset").rows.empty());
    EXPECT_TRUE(Must(catalog_->UnfinishedJobs()).empty());
    EXPECT_EQ(writer_.info().state, writers::WriterState::kStable);
  }

  test::TemporaryDirectory directory_;
  test::SnapshotDevices devices_{directory_.Under("vdi.sock")};
  writers::SqliteWriter writer_;
  JobRegistry jobs_;
  RecordingObserver observer_;
  std::unique_ptr<catalog::Catalog> catalog_;
  std::unique_ptr<ErrorLog> error_log_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::string> restore_commands_;
};

}  // namespace capstan::engine
