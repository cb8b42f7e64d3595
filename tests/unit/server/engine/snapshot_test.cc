// BACKUP and RESTORE WITH SNAPSHOT of real SQLite databases, with a scripted client at the device.

#include <atomic>
#include <future>
#include <thread>

#include <gmock/gmock.h>

#include "tests/unit/server/engine/snapshot_fixture.h"

namespace capstan::engine {
namespace {

using test::Application;
using test::HasReason;
using test::IsOk;
using test::SnapshotClient;
using testing::ElementsAre;
using testing::HasSubstr;
using vdi::CompletionCode;

using Snapshot = SnapshotFixture;

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

TEST_F(Snapshot, ReplacesADatabaseOnlyWhenAsked) {
  const Taken taken = TakeSnapshot();
  Application(PathOf("sales")).Run(kInsert);

  EXPECT_THAT(RestoreTo(PathOf("sales"), taken, {.as = "sales"}), HasReason(3159));
  EXPECT_EQ(RowsIn(PathOf("sales")), "101");

  EXPECT_THAT(RestoreTo(PathOf("sales"), taken, {.as = "sales", .replace = true}), IsOk());
  EXPECT_EQ(RowsIn(PathOf("sales")), "100");
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
