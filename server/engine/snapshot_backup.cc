#include "server/engine/snapshot_backup.h"

#include <array>
#include <chrono>
#include <utility>

#include "server/engine/snapshot_command.h"
#include "server/engine/worker_group.h"
#include "server/messages/messages.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"
#include "vdi/base/wall_clock.h"

namespace capstan::engine {
namespace {

constexpr std::chrono::milliseconds kWriteWait{50};

}  // namespace

SnapshotBackup::SnapshotBackup(Parts parts, std::unique_ptr<media::FamilyWriter> writer)
    : parts_(parts),
      stream_(FamilyStream::Create({parts.set, {0}, error_, bytes_done_}, std::move(writer))),
      monitor_({parts.job, quiet_, parts.set, error_, bytes_done_, parts.timeouts.device, {}}) {
  CAPSTAN_CHECK(parts.set.device_count() == 1);
}

Status SnapshotBackup::RunStep(std::function<Status()> step) {
  WorkerGroup worker(error_);
  worker.Start(std::move(step));
  monitor_.RunUntil([&](std::chrono::milliseconds patience) { return worker.WaitAll(patience); });
  return error_.failed() ? BestError() : OkStatus();
}

Status SnapshotBackup::Run(media::BackupSet& set) {
  parts_.job.SetPhase("Writing media headers");
  CAPSTAN_RETURN_IF_ERROR(RunStep([this] {
    Status status = stream_->WritePreamble();
    return status.ok() ? WaitForWrites() : status;
  }));
  if (parts_.set.snapshot_prepare()) {
    parts_.job.SetPhase("Waiting for the client to permit the freeze");
    CAPSTAN_RETURN_IF_ERROR(RunStep(
        [this] { return ExecuteSnapshotCommand(parts_.set, vdi::CommandCode::kPrepareToFreeze); }));
  }
  parts_.job.SetPhase("Freezing");
  return RunStep([this, &set] { return TakeSnapshot(set); });
}

Status SnapshotBackup::TakeSnapshot(media::BackupSet& set) {
  CAPSTAN_RETURN_IF_ERROR(Freeze());
  Status status = Describe(set);
  if (status.ok()) {
    parts_.job.SetPhase("Waiting for the client's snapshot");
    status = ExecuteSnapshotCommand(parts_.set, vdi::CommandCode::kSnapshot);
  }
  Status thawed = Thaw();
  return status.ok() ? thawed : status;
}

Status SnapshotBackup::Freeze() {
  writers::FreezeOptions options;
  options.lock_deadline = Deadline::After(parts_.timeouts.database);
  options.cancelled = [this] { return parts_.job.cancelled() || !parts_.set.abort_reason().ok(); };
  Status status = parts_.database.Freeze(options);
  if (status.code() == Code::kCancelled) {
    return parts_.job.cancelled() ? SqlError(3204)
                                  : parts_.set.ErrorOf(Direction::kWrite, stream_->channel(),
                                                       vdi::CompletionCode::kOperationAborted);
  }
  if (status.ok()) {
    const JobIdentity& identity = parts_.job.identity();
    parts_.error_log.Write(identity.session_id, MessageText(3197, identity.database));
  }
  return status;
}

Status SnapshotBackup::Describe(media::BackupSet& set) {
  const writers::DatabaseDescription& database = parts_.database.description();
  set.first_lsn = set.last_lsn = parts_.database.last_lsn().value;
  set.checkpoint_lsn = parts_.database.checkpoint_lsn().value;
  set.SetFinish(UnixMicros());  // what the snapshot shows
  set.backup_size_bytes = 0;
  CAPSTAN_CHECK(set.files.size() == database.files.size());
  for (std::size_t i = 0; i < set.files.size(); ++i) {
    set.files[i].size_bytes = database.files[i].size_bytes;
    set.files[i].backup_size_bytes = database.files[i].size_bytes;
    set.files[i].frozen_state = database.files[i].frozen_state;
    set.backup_size_bytes += database.files[i].size_bytes;
  }
  const std::array summaries{stream_->summary()};
  CAPSTAN_RETURN_IF_ERROR(stream_->WriteTrailer(set, summaries));
  return WaitForWrites();
}

Status SnapshotBackup::Thaw() {
  Status status = parts_.database.Thaw();
  const JobIdentity& identity = parts_.job.identity();
  parts_.error_log.Write(identity.session_id, MessageText(3198, identity.database));
  return status;
}

Status SnapshotBackup::WaitForWrites() {
  while (!parts_.set.pool().WaitIdle(kWriteWait)) {
    // Ends: the monitor aborts the set if the device stalls, and an abort completes every write.
  }
  return error_.failed() ? error_.status() : OkStatus();
}

Status SnapshotBackup::Complete() {
  monitor_.IgnoreCancel();
  if (!parts_.set.complete_enabled()) {
    return OkStatus();
  }
  parts_.job.SetPhase("Committing");
  return RunStep([this]() -> Status {
    DeviceChannel& channel = stream_->channel();
    CAPSTAN_RETURN_IF_ERROR(
        parts_.set.Execute(Direction::kWrite, channel, vdi::CommandCode::kFlush));
    return parts_.set.Execute(Direction::kWrite, channel, vdi::CommandCode::kComplete);
  });
}

Status SnapshotBackup::BestError() {
  const Status status = error_.status();
  if (status.reason() == 3202 && stream_->failure() != vdi::CompletionCode::kSuccess) {
    return parts_.set.ErrorOf(Direction::kWrite, stream_->channel(), stream_->failure());
  }
  return status;
}

}  // namespace capstan::engine
