#include "server/writers/sqlite/log/sqlite_chain_restore_session.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/durable_file.h"
#include "server/writers/positioned_io.h"
#include "vdi/base/crash_point.h"

namespace capstan::writers {
namespace {

Status Unwritable(const std::string& path, int os_error) {
  return SqlError(65006, path, OsErrorText(os_error)).WithOsError(os_error);
}

}  // namespace

Result<std::unique_ptr<SqliteChainRestoreSession>> SqliteChainRestoreSession::Begin(
    const RestoreTarget& target, const RestoreOptions& options,
    std::shared_ptr<WriterStateTracker> tracker, RestoringDatabase::Swap swap) {
  RestoreOptions resolved = options;
  CAPSTAN_ASSIGN_OR_RETURN(resolved.stop, ResolveStopPoint(options.stop));
  CAPSTAN_ASSIGN_OR_RETURN(std::optional<RestoringDatabase> database,
                           RestoringDatabase::Find(target.physical_name));
  if (!database) {
    return SqlError(3117).WithHint("restore a full backup WITH NORECOVERY first");
  }
  std::unique_ptr<SqliteChainRestoreSession> session(
      new SqliteChainRestoreSession(target, resolved, *std::move(database), std::move(swap)));
  CAPSTAN_RETURN_IF_ERROR(session->CheckFits());
  CAPSTAN_RETURN_IF_ERROR(session->CreatePart());
  session->activity_ =
      std::make_unique<WriterActivity>(std::move(tracker), WriterActivity::Kind::kRestore);
  return session;
}

SqliteChainRestoreSession::~SqliteChainRestoreSession() {
  if (has_part_) {
    ::unlink(paths_.temporary.c_str());
  }
}

Status SqliteChainRestoreSession::CheckFits() const {
  const RestoringDatabase::State& state = database_.state();
  if (options_.kind == BackupKind::kDifferential) {
    const std::string base = KeyOf(options_.writer_data, "base_lsn");
    if (!base.empty() && base != std::to_string(state.base.value)) {
      return SqlError(3136).WithHint(
          "restore the full backup first that this one was measured against");
    }
    return OkStatus();
  }
  if (options_.lsns.first > state.redo) {
    return SqlError(4305, options_.lsns.first.value, state.redo.value);
  }
  const StopPoint& stop = options_.stop;
  const bool passed =
      (stop.kind == StopPoint::Kind::kLsn && stop.lsn < state.redo) ||
      (stop.kind == StopPoint::Kind::kTime && state.time_us != 0 && stop.unix_us < state.time_us);
  if (passed) {
    return SqlError(4335).WithHint("begin anew with a full backup from before that point");
  }
  return OkStatus();
}

Status SqliteChainRestoreSession::CreatePart() {
  CAPSTAN_RETURN_IF_ERROR(RemoveFile(paths_.temporary));
  part_.Reset(::open(paths_.temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                     S_IRUSR | S_IWUSR));
  if (!part_.valid() || ::flock(part_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Unwritable(paths_.temporary, errno);
  }
  has_part_ = true;
  return OkStatus();
}

Status SqliteChainRestoreSession::WriteExtent(const Extent& extent,
                                              std::span<const std::byte> source) {
  if (!has_part_ || extent.file_index != 0 || extent.length != source.size() ||
      extent.offset > file_.size_bytes || extent.length > file_.size_bytes - extent.offset) {
    return Error(Code::kInvalidArgument, "extent of {} bytes at byte {} does not fit",
                 extent.length, extent.offset);
  }
  Status status;
  if (options_.kind == BackupKind::kLog) {
    status = WriteFully(part_.get(), extent.offset, source);
    part_bytes_ += source.size();
  } else {
    const std::array<std::uint64_t, 2> header = {extent.offset, extent.length};
    const std::uint64_t at = part_bytes_.fetch_add(kDeltaRecordHeaderBytes + source.size());
    status = WriteFully(part_.get(), at, std::as_bytes(std::span(header)));
    if (status.ok()) {
      status = WriteFully(part_.get(), at + kDeltaRecordHeaderBytes, source);
    }
  }
  if (!status.ok()) {
    status = Unwritable(paths_.target, status.os_error());
    activity_->Fail(status);
  }
  return status;
}

Result<RestoreOutcome> SqliteChainRestoreSession::Commit() {
  if (!has_part_) {
    return Error(Code::kFailedPrecondition, "the restore of '{}' was committed already",
                 paths_.target);
  }
  auto outcome = CommitSteps();
  activity_->Finish(outcome.status());
  return outcome;
}

Result<RestoringDatabase::Part> SqliteChainRestoreSession::ExaminePart() const {
  RestoringDatabase::Part part{
      .kind = options_.kind, .bytes = part_bytes_, .size_bytes = file_.size_bytes};
  if (options_.kind == BackupKind::kDifferential) {
    part.range.upto = options_.lsns.last;
    part.range.time_us = static_cast<std::int64_t>(
        std::strtoll(KeyOf(options_.writer_data, "time").c_str(), nullptr, 10));
    return part;
  }
  if (part_bytes_ != file_.size_bytes) {
    return SqlError(
        65006, paths_.target,
        fmt::format("{} of {} bytes of log were written", part_bytes_.load(), file_.size_bytes));
  }
  auto range = ExamineLog(part_.get(), part.bytes, database_.state().redo, options_.stop);
  if (!range.ok()) {
    return range.status().reason() != 0 ? range.status()
                                        : SqlError(65006, paths_.target, range.status().message());
  }
  part.range = *range;
  return part;
}

Result<RestoreOutcome> SqliteChainRestoreSession::CommitSteps() {
  CAPSTAN_ASSIGN_OR_RETURN(const RestoringDatabase::Part part, ExaminePart());
  if (::fsync(part_.get()) != 0) {
    return Unwritable(paths_.temporary, errno);
  }
  const bool missed = part.kind == BackupKind::kLog
                          ? part.range.stop_missed
                          : IsBehind(options_.stop, part.range.upto, part.range.time_us);
  const RestoreEnd end = missed ? RestoreEnd::kNoRecovery : options_.end;
  RestoringDatabase::HeldTarget hold;
  if (end != RestoreEnd::kNoRecovery) {
    CAPSTAN_ASSIGN_OR_RETURN(hold, database_.HoldTarget(swap_, options_.replace));
  }
  CAPSTAN_RETURN_IF_ERROR(database_.Take(paths_.temporary, part));
  has_part_ = false;
  switch (end) {
    case RestoreEnd::kRecovery:
      return database_.Recover(std::move(hold));
    case RestoreEnd::kStandby:
      return database_.MakeStandby(std::move(hold));
    case RestoreEnd::kNoRecovery:
      break;
  }
  return RestoreOutcome{.reached = database_.state().redo, .stop_missed = missed};
}

Result<RestoreOutcome> FinishRestoring(RestoringDatabase database, RestoreEnd end, bool replace,
                                       const RestoringDatabase::Swap& swap) {
  if (end == RestoreEnd::kNoRecovery) {
    return RestoreOutcome{.reached = database.state().redo};
  }
  CAPSTAN_ASSIGN_OR_RETURN(RestoringDatabase::HeldTarget hold, database.HoldTarget(swap, replace));
  return end == RestoreEnd::kStandby ? database.MakeStandby(std::move(hold))
                                     : database.Recover(std::move(hold));
}

}  // namespace capstan::writers
