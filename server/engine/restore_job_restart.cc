// What RestoreJob does about restores that were interrupted: another one, or itself.
#include <algorithm>
#include <utility>

#include "server/engine/restart/interrupted_restore.h"
#include "server/engine/restore_job.h"
#include "server/messages/messages.h"
#include "vdi/base/log.h"

namespace capstan::engine {

Status RestoreJob::LookForInterrupted() {
  if (!request_.restart || request_.snapshot) {
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(interrupted_, FindInterrupted(parts_.catalog, request_.database));
  if (!interrupted_) {
    observer_.OnMessage(3018, MessageText(3018, request_.database));
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::string encoded,
                           parts_.catalog.CheckpointFrames(interrupted_->job_guid));
  auto frames = DecodeFrames(encoded);
  if (frames.ok()) {
    restored_ = RestoredFrames(std::move(frames).value());
  } else {
    observer_.OnMessage(3028, MessageText(3028, request_.database));
    interrupted_.reset();
  }
  return OkStatus();
}

Status RestoreJob::CheckInterrupted(const media::BackupSet& set) const {
  if (!interrupted_) {
    return OkStatus();
  }
  const Guid& before = interrupted_->progress->backup_set_guid;
  if (set.backup_set_guid != before) {
    return SqlError(3019, request_.database)
        .WithHint(fmt::format("the interrupted restore is of the backup set {}, '{}' holds {}",
                              before.ToString(), request_.transfer.targets.front(),
                              set.backup_set_guid.ToString()));
  }
  const std::vector<std::string>& paths = interrupted_->restore_paths;
  const bool same_files =
      std::equal(targets_.begin(), targets_.end(), paths.begin(), paths.end(),
                 [](const writers::RestoreTarget& target, const std::string& path) {
                   return target.physical_name == path;
                 });
  if (!same_files) {
    return SqlError(3019, request_.database)
        .WithHint(fmt::format("the interrupted restore is into '{}'", fmt::join(paths, "', '")));
  }
  return OkStatus();
}

Status RestoreJob::TakeUpRestored() {
  if (session_ == nullptr || restored_.empty()) {
    return OkStatus();
  }
  job_.SetPhase("Checking what was restored before");
  CAPSTAN_RETURN_IF_ERROR(
      CheckRestored(*session_, restored_,
                    {.take = [this](const media::FrameView& frame) { return pages_.Take(frame); },
                     .cancelled = [this] { return job_.cancelled(); }}));
  for (std::size_t i = 0; i < restored_.size(); ++i) {
    if (restored_.is_right(i)) {
      damage_.NoteGood(restored_[i].extent);
    }
  }
  CAPSTAN_LOG(kInfo, "restore goes on database={} restored_bytes={} total_bytes={}",
              request_.database, restored_.right_bytes(), interrupted_->progress->total_bytes);
  job_.SetPhase("Reading data");
  return OkStatus();
}

Status RestoreJob::BeginCheckpoints(const media::BackupSet& set) {
  if (session_ == nullptr || set.kind != media::SetKind::kDatabase) {
    return OkStatus();
  }
  const auto form = media::PayloadFormOf(set);
  is_plain_ = form && form->plain();
  std::uint64_t total = 0;
  for (const media::BackupFile& file : set.files) {
    total += file.size_bytes;
  }
  checkpoints_ = std::make_unique<RestoreCheckpoints>(
      RestoreCheckpoints::Parts{.catalog = parts_.catalog,
                                .session = *session_,
                                .job_guid = job_.guid(),
                                .progress = {.backup_set_guid = set.backup_set_guid,
                                             .done_bytes = restored_.right_bytes(),
                                             .total_bytes = total},
                                .interval = parts_.settings.checkpoint_interval,
                                .bytes = parts_.settings.checkpoint_bytes});
  return checkpoints_->Start();
}

bool RestoreJob::KeepForRestart(Status& failure) {
  constexpr int kInUse = 3101;
  std::optional<catalog::JobProgress> progress;
  if (checkpoints_ != nullptr) {
    checkpoints_->Stop();
    progress = checkpoints_->saved();
  } else if (journal_begun_ && interrupted_ && !begun_anew_) {
    progress = interrupted_->progress;  // it has not come further
  }
  if (!progress || (!transfer_failed_ && failure.reason() != kInUse)) {
    return false;
  }
  if (checkpoints_ != nullptr) {
    if (Status saved = checkpoints_->SaveRest(); !saved.ok()) {
      CAPSTAN_LOG(kWarning, "no last checkpoint of '{}': {}", request_.database, saved.message());
    }
    progress = checkpoints_->saved();
  }
  if (session_ != nullptr && !session_->Keep()) {
    return false;
  }
  const std::string how = HowToGoOn(request_.database, *progress);
  const std::string hint(failure.hint());
  failure = std::move(failure).WithHint(hint.empty() ? how : hint + "; " + how);
  parts_.error_log.Write(
      request_.transfer.session_id,
      fmt::format("The restore of '{}' was interrupted. {}.", request_.database, how));
  if (Status kept = parts_.catalog.KeepJob(job_.guid()); !kept.ok()) {
    CAPSTAN_LOG(kError, "job {} stays in the journal as it is: {}", job_.guid().ToString(),
                kept.message());
  }
  return true;
}

}  // namespace capstan::engine
