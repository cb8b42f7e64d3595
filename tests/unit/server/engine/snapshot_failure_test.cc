// What ends a BACKUP or a RESTORE WITH SNAPSHOT: nothing stays frozen, and no database is lost.

#include <atomic>
#include <functional>
#include <utility>

#include <gmock/gmock.h>

#include "tests/unit/server/engine/snapshot_fixture.h"

namespace capstan::engine {
namespace {

using test::Application;
using test::HasReason;
using test::MessageHas;
using test::SnapshotClient;
using testing::HasSubstr;
using vdi::CompletionCode;

class SnapshotFailure : public SnapshotFixture, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(JournalModes, SnapshotFailure, testing::Values("WAL", "DELETE"));

using SnapshotRestoreFailure = SnapshotFixture;

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

TEST_F(SnapshotRestoreFailure, RefusesADatabaseThatIsInUse) {
  const Taken taken = TakeSnapshot();
  Application user(PathOf("sales"));
  user.Run(kInsert);

  EXPECT_THAT(RestoreTo(PathOf("sales"), taken, {.as = "sales", .replace = true}), HasReason(3101));

  EXPECT_EQ(user.Ask("SELECT count(*) FROM t"), "101");
}

TEST_F(SnapshotRestoreFailure, AFailedMountLeavesTheOldDatabaseAsItWas) {
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

TEST_F(SnapshotRestoreFailure, AMountThatTakesTooLongLeavesTheOldDatabase) {
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

}  // namespace
}  // namespace capstan::engine
