// BACKUP and RESTORE WITH SNAPSHOT of real SQLite databases, with a scripted client at the device.

#include <atomic>
#include <fstream>
#include <future>
#include <map>
#include <sstream>
#include <thread>

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
namespace {

using test::Application;
using test::HasReason;
using test::IsOk;
using test::MessageHas;
using test::ReadElsewhere;
using test::SnapshotClient;
using testing::ElementsAre;
using testing::HasSubstr;
using vdi::CompletionCode;

constexpr char kInsert[] = "INSERT INTO t SELECT max(id)+1, 'x', (max(id)+1)*(max(id)+2)/2 FROM t";

class Snapshot : public testing::Test {
 protected:
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
    EXPECT_THAT(result, IsOk());
    return std::move(result).value();
  }

  std::string PathOf(const std::string& name) const { return directory_.Under(name + ".db"); }
  void AddDatabase(const std::string& name, const char* journal_mode, int rows = 100) {
    test::MakeDatabase(PathOf(name), journal_mode, rows);
    ASSERT_THAT(catalog_->AddDatabase({.name = name, .scheme = "sqlite", .location = PathOf(name)}),
                IsOk());
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
        images[suffix] = ReadElsewhere(path + suffix);
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
    SnapshotClient client(devices_.path(), "backup", {.on_snapshot = [&] {
                            CopyFiles(PathOf("sales"), taken.images);
                            return CompletionCode::kSuccess;
                          }});
    EXPECT_THAT(Backup("sales", "backup"), IsOk());
    EXPECT_THAT(client.device().Finish(), IsOk());
    taken.stream = client.stream();
    return taken;
  }
  // Runs one RESTORE whose client places `images` at `path`.
  Status RestoreTo(const std::string& path, const Taken& taken, const Restoring& restoring) {
    SnapshotClient client(devices_.path(), "restore", {.stream = taken.stream, .on_mount = [&] {
                                                         PlaceFiles(path, taken.images);
                                                         return CompletionCode::kSuccess;
                                                       }});
    Status status = Restore(restoring, "restore");
    [[maybe_unused]] const Status ended = client.device().Finish();
    restore_commands_ = client.commands();
    return status;
  }

  std::string Log() const { return test::ReadWhole(directory_.Under("ERRORLOG")); }
  catalog::Table Query(const std::string& sql) { return Must(catalog_->Query(sql, {})); }
  std::string RowsIn(const std::string& path) {
    return Application(path).Ask("SELECT count(*) FROM t");
  }
  // After a failure: no lock, no history, no open job.
  void ExpectNothingHeld(const std::string& name) {
    EXPECT_EQ(Application(PathOf(name), 0).TryRun(kInsert), SQLITE_OK) << "still frozen";
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

// S4-02, S4-44, S4-55
TEST_F(Snapshot, BringsBackWhatWasFrozenWhileOthersCommit) {
  for (const char* mode : {"WAL", "DELETE"}) {
    SCOPED_TRACE(mode);
    const std::string name = mode;
    AddDatabase(name, mode);
    std::atomic<bool> stop{false};
    std::jthread writer([&] {
      Application application(PathOf(name));
      for (int id = 101; !stop; ++id) {
        test::InsertRows(application, id, 1);
      }
    });
    std::string rows;
    Taken taken;
    SnapshotClient client(devices_.path(), name, {.on_snapshot = [&] {
                            rows = RowsIn(PathOf(name));
                            CopyFiles(PathOf(name), taken.images);
                            EXPECT_EQ(RowsIn(PathOf(name)), rows) << "readers read, nobody commits";
                            return CompletionCode::kSuccess;
                          }});
    const Status status = Backup(name, name);
    stop = true;  // before anything can return: the thread is joined
    ASSERT_THAT(status, IsOk());
    ASSERT_THAT(client.device().Finish(), IsOk());
    writer.join();
    EXPECT_THAT(client.commands(), ElementsAre("Write", "PrepareToFreeze", "Write", "Snapshot"));
    EXPECT_LT(client.stream().size(), 64U << 10) << "no data goes through the device";
    taken.stream = client.stream();

    const std::string copy = PathOf(name + "-copy");
    ASSERT_THAT(RestoreTo(copy, taken, {.as = name + "-copy", .moves = {{name, copy}}}), IsOk());

    EXPECT_EQ(test::FaultOf(copy), "");
    EXPECT_EQ(RowsIn(copy), rows);
    EXPECT_THAT(catalog_->FindDatabase(name + "-copy"), IsOk());
    EXPECT_EQ(restore_commands_.back(), "MountSnapshot");
    EXPECT_THAT(Log(), HasSubstr("I/O is frozen on database " + name + ". No user action"));
    EXPECT_THAT(Log(), HasSubstr("I/O was resumed on database " + name + ". No user action"));
  }
  EXPECT_EQ(observer_.Texts(3014).size(), 4U);
  const auto history = Query("SELECT is_snapshot, type FROM msdb_dbo_backupset");
  ASSERT_EQ(history.rows.size(), 2U);
  EXPECT_EQ(history.rows[0][0], "1");
  EXPECT_EQ(history.rows[0][1], "D");
  EXPECT_EQ(Query("SELECT * FROM msdb_dbo_restorehistory").rows.size(), 2U);
}

TEST_F(Snapshot, SendsWhatTheClientAskedForAndNothingElse) {
  AddDatabase("sales", "WAL");
  const std::pair<std::uint32_t, std::vector<std::string>> cases[] = {
      {0, {"Write", "Snapshot"}},
      {vdi::feature::kRequestComplete, {"Write", "Snapshot", "Flush", "Complete"}},
      {vdi::feature::kLikeDisk | vdi::feature::kSnapshotPrepare,
       {"Write", "PrepareToFreeze", "Write", "Snapshot"}}};
  for (const auto& [features, expected] : cases) {
    SnapshotClient client(devices_.path(), "sales", {.features = features});
    EXPECT_THAT(Backup("sales", "sales"), IsOk());
    EXPECT_THAT(client.device().Finish(), IsOk());
    EXPECT_EQ(client.commands(), expected);
  }
}

TEST_F(Snapshot, FreezesOnlyWhenTheClientPermits) {
  AddDatabase("sales", "WAL");
  const auto try_commit = [&] { return Application(PathOf("sales"), 0).TryRun(kInsert); };
  int before = -1, during = -1;
  SnapshotClient client(devices_.path(), "sales",
                        {.on_prepare =
                             [&] {
                               before = try_commit();
                               return CompletionCode::kSuccess;
                             },
                         .on_snapshot =
                             [&] {
                               during = try_commit();
                               return CompletionCode::kSuccess;
                             }});
  ASSERT_THAT(Backup("sales", "sales"), IsOk());
  ASSERT_THAT(client.device().Finish(), IsOk());

  EXPECT_EQ(before, SQLITE_OK);
  EXPECT_EQ(during, SQLITE_BUSY);
  EXPECT_EQ(try_commit(), SQLITE_OK);
}

// Several databases on one volume: each is frozen until all are.
TEST_F(Snapshot, TwoDatabasesAreFrozenAtTheSameTime) {
  AddDatabase("one", "WAL");
  AddDatabase("two", "DELETE");
  std::promise<void> prepared[2], frozen[2];
  std::shared_future<void> all_prepared[2] = {prepared[0].get_future(), prepared[1].get_future()};
  std::shared_future<void> all_frozen[2] = {frozen[0].get_future(), frozen[1].get_future()};
  const auto meet = [](std::promise<void>& mine, std::shared_future<void>& other) {
    mine.set_value();
    return other.wait_for(std::chrono::seconds(20)) == std::future_status::ready
               ? CompletionCode::kSuccess
               : CompletionCode::kOperationAborted;
  };
  const auto client = [&](const char* name, int i) {
    return std::make_unique<SnapshotClient>(
        devices_.path(), name,
        SnapshotClient::Options{
            .on_prepare = [&, i] { return meet(prepared[i], all_prepared[1 - i]); },
            .on_snapshot =
                [&, i] {
                  const auto met = meet(frozen[i], all_frozen[1 - i]);
                  EXPECT_EQ(Application(PathOf("one"), 0).TryRun(kInsert), SQLITE_BUSY);
                  EXPECT_EQ(Application(PathOf("two"), 0).TryRun(kInsert), SQLITE_BUSY);
                  static std::atomic<int> seen{0};  // neither may thaw before both have looked
                  seen.fetch_add(1);
                  while (seen < 2) {
                    std::this_thread::yield();
                  }
                  return met;
                }});
  };
  const auto first = client("one", 0);
  const auto second = client("two", 1);
  RecordingObserver other_observer;
  Status other;
  std::jthread thread([&] {
    BackupRequest request;
    request.transfer = Transfer("two");
    request.database = "two";
    request.snapshot = true;
    other = engine_->Backup(request, other_observer);
  });
  EXPECT_THAT(Backup("one", "one"), IsOk());
  thread.join();
  EXPECT_THAT(other, IsOk());
}

class SnapshotFailure : public Snapshot, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(JournalModes, SnapshotFailure, testing::Values("WAL", "DELETE"));

TEST_P(SnapshotFailure, AClientThatRefusesEndsTheFreeze) {
  AddDatabase("sales", GetParam());
  SnapshotClient client(devices_.path(), "sales",
                        {.on_snapshot = [] { return CompletionCode::kOperationAborted; }});

  const Status status = Backup("sales", "sales");

  EXPECT_THAT(status, HasReason(3271));
  EXPECT_THAT(status, MessageHas("995("));
  EXPECT_THAT(Log(), HasSubstr("I/O was resumed"));
  ExpectNothingHeld("sales");
}

TEST_P(SnapshotFailure, AClientThatGivesUpBeforeTheFreezeFreezesNothing) {
  AddDatabase("sales", GetParam());
  SnapshotClient client(devices_.path(), "sales",
                        {.on_prepare = [] { return CompletionCode::kOperationAborted; }});

  EXPECT_THAT(Backup("sales", "sales"), HasReason(3271));

  EXPECT_THAT(Log(), testing::Not(HasSubstr("I/O is frozen")));
  ExpectNothingHeld("sales");
}

TEST_P(SnapshotFailure, AnAbortEndsTheFreezeAtOnce) {
  AddDatabase("sales", GetParam());
  std::atomic<bool> done{false};
  SnapshotClient client(devices_.path(), "sales", {.on_snapshot = [&] {
                          client.device().set().SignalAbort();
                          done.wait(false);
                          return CompletionCode::kSuccess;
                        }});

  EXPECT_THAT(Backup("sales", "sales"), HasReason(3271));

  ExpectNothingHeld("sales");
  done = true;
  done.notify_all();
}

TEST_P(SnapshotFailure, AClientThatTakesTooLongLosesTheFreeze) {
  AddDatabase("sales", GetParam());
  std::atomic<bool> done{false};
  SnapshotClient client(devices_.path(), "sales", {.on_snapshot = [&] {
                          done.wait(false);
                          return CompletionCode::kSuccess;
                        }});

  const Status status = Backup("sales", "sales");

  EXPECT_THAT(status, HasReason(3271));
  EXPECT_THAT(status, MessageHas("1500 ms"));
  ExpectNothingHeld("sales");
  done = true;
  done.notify_all();
}

TEST_P(SnapshotFailure, ACancelEndsTheFreeze) {
  AddDatabase("sales", GetParam());
  std::atomic<bool> done{false};
  SnapshotClient client(devices_.path(), "sales", {.on_snapshot = [&] {
                          EXPECT_TRUE(jobs_.Cancel(51));
                          done.wait(false);
                          return CompletionCode::kSuccess;
                        }});

  EXPECT_THAT(Backup("sales", "sales"), HasReason(3204));

  ExpectNothingHeld("sales");
  done = true;
  done.notify_all();
}

TEST_P(SnapshotFailure, ACancelEndsTheWaitForALongTransaction) {
  AddDatabase("sales", GetParam());
  Application application(PathOf("sales"));
  SnapshotClient client(devices_.path(), "sales", {.on_prepare = [&] {
                          application.Run("BEGIN IMMEDIATE");
                          EXPECT_TRUE(jobs_.Cancel(51));
                          return CompletionCode::kSuccess;
                        }});

  EXPECT_THAT(Backup("sales", "sales"), HasReason(3204));

  application.Run("ROLLBACK");
  ExpectNothingHeld("sales");
}

TEST_P(SnapshotFailure, AFullDeviceEndsTheFreeze) {
  AddDatabase("sales", GetParam());
  test::MemoryMedia media(1);
  test::DeviceHandlers handlers = media.handlers();
  handlers.other = [&](std::size_t, const vdi::ClientCommand& command) {
    media.set_capacity(0);  // from the freeze on
    return test::Outcome{.code = command.code == vdi::CommandCode::kPrepareToFreeze
                                     ? CompletionCode::kSuccess
                                     : CompletionCode::kNotSupported};
  };
  test::DeviceClient client(devices_.path(), "sales",
                            {.device_count = 1, .features = vdi::feature::kSnapshotPrepare},
                            handlers);

  const Status status = Backup("sales", "sales");

  EXPECT_THAT(status, HasReason(3202));
  EXPECT_THAT(status, MessageHas("112("));
  ExpectNothingHeld("sales");
}

TEST_F(Snapshot, ReplacesADatabaseOnlyWhenAsked) {
  const Taken taken = TakeSnapshot();
  Application(PathOf("sales")).Run(kInsert);

  EXPECT_THAT(RestoreTo(PathOf("sales"), taken, {.as = "sales"}), HasReason(3159));
  EXPECT_EQ(RowsIn(PathOf("sales")), "101");

  EXPECT_THAT(RestoreTo(PathOf("sales"), taken, {.as = "sales", .replace = true}), IsOk());
  EXPECT_EQ(RowsIn(PathOf("sales")), "100");
}

TEST_F(Snapshot, RefusesADatabaseThatIsInUse) {
  const Taken taken = TakeSnapshot();
  Application user(PathOf("sales"));
  user.Run(kInsert);

  EXPECT_THAT(RestoreTo(PathOf("sales"), taken, {.as = "sales", .replace = true}), HasReason(3101));

  EXPECT_EQ(user.Ask("SELECT count(*) FROM t"), "101");
}

TEST_F(Snapshot, AFailedMountLeavesTheOldDatabaseAsItWas) {
  const Taken taken = TakeSnapshot();
  Application(PathOf("sales")).Run(kInsert);
  const std::pair<const char*, std::function<CompletionCode()>> faults[] = {
      {"995(", [] { return CompletionCode::kOperationAborted; }},
      {"nothing was placed there", [] { return CompletionCode::kSuccess; }},
      {"bytes instead of",
       [&] {
         Images images = taken.images;
         images[""].resize(4096);
         PlaceFiles(PathOf("sales"), images);
         return CompletionCode::kSuccess;
       }},
      {"",  // cancelled when the files are there already
       [&] {
         PlaceFiles(PathOf("sales"), taken.images);
         jobs_.Cancel(51);
         return CompletionCode::kSuccess;
       }}};
  for (const auto& [said, on_mount] : faults) {
    SCOPED_TRACE(said);
    SnapshotClient client(devices_.path(), "restore",
                          {.stream = taken.stream, .on_mount = on_mount});

    const Status status = Restore({.as = "sales", .replace = true}, "restore");

    if (*said != '\0') {  // a cancel may come too late to count
      EXPECT_THAT(status, MessageHas(said));
    }
    if (!status.ok()) {
      EXPECT_THAT(std::string(status.hint()), HasSubstr("is there again, as it was"));
      EXPECT_EQ(RowsIn(PathOf("sales")), "101");
    }
    EXPECT_TRUE(Must(catalog_->UnfinishedJobs()).empty());
    EXPECT_THAT(directory_.Leaves(), testing::Each(testing::Not(HasSubstr("capstan-"))));
  }
}

TEST_F(Snapshot, AMountThatTakesTooLongLeavesTheOldDatabase) {
  const Taken taken = TakeSnapshot();
  std::atomic<bool> done{false};
  SnapshotClient client(devices_.path(), "restore", {.stream = taken.stream, .on_mount = [&] {
                                                       done.wait(false);
                                                       return CompletionCode::kSuccess;
                                                     }});

  EXPECT_THAT(Restore({.as = "sales", .replace = true}, "restore"), HasReason(3271));

  EXPECT_EQ(RowsIn(PathOf("sales")), "100");
  done = true;
  done.notify_all();
}

TEST_F(Snapshot, KindOfSetAndKindOfRestoreMustAgree) {
  const Taken taken = TakeSnapshot();
  EXPECT_THAT(RestoreTo("", taken, {.as = "copy", .snapshot = false}), HasReason(65007));

  test::MemoryMedia media(1);
  test::DeviceClient client(devices_.path(), "plain", {.device_count = 1}, media.handlers());
  ASSERT_THAT(Backup("sales", "plain", /*snapshot=*/false), IsOk());
  ASSERT_THAT(client.Finish(), IsOk());
  EXPECT_THAT(RestoreTo("", {.stream = media.bytes(0), .images = {}}, {.as = "copy"}),
              HasReason(3276));
}

TEST_F(Snapshot, IsListedAndVerifiedAsWhatItIs) {
  const Taken taken = TakeSnapshot();
  {
    SnapshotClient client(devices_.path(), "list", {.stream = taken.stream});
    const auto listing = engine_->List(Transfer("list"));
    ASSERT_THAT(listing, IsOk());
    ASSERT_EQ(listing->sets.size(), 1U);
    const media::BackupSet& set = listing->sets[0].set;
    EXPECT_TRUE(listing->sets[0].complete);
    EXPECT_TRUE(set.is_snapshot);
    EXPECT_EQ(set.database_name, "sales");
    ASSERT_EQ(set.files.size(), 2U);
    EXPECT_EQ(set.files[0].size_bytes, taken.images.at("").size());
    EXPECT_EQ(set.files[1].type, 'L');
  }
  SnapshotClient client(devices_.path(), "verify", {.stream = taken.stream});
  EXPECT_THAT(engine_->Verify({.transfer = Transfer("verify")}, observer_), IsOk());
  EXPECT_EQ(observer_.Texts(3262).size(), 1U);
  EXPECT_EQ(observer_.Texts(65008).size(), 1U);
}

}  // namespace
}  // namespace capstan::engine
