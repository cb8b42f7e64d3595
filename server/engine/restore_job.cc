#include "server/engine/restore_job.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "server/engine/known_backup.h"
#include "server/engine/placement/restore_targets.h"
#include "server/engine/restart/interrupted_restore.h"
#include "server/engine/roll_forward/backup_chain.h"
#include "server/engine/roll_forward/restore_chain.h"
#include "server/engine/snapshot_command.h"
#include "server/messages/messages.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

constexpr std::uint32_t kZerosSize = 1 << 20;  // bytes written at a time in the place of lost ones

char RestoreType(media::SetKind kind) {
  return kind == media::SetKind::kLog ? 'L' : kind == media::SetKind::kDifferential ? 'I' : 'D';
}

}  // namespace

Result<std::unique_ptr<OpenSet>> OpenForReading(const Engine::Parts& parts,
                                                const TransferRequest& transfer,
                                                std::function<bool()> cancelled) {
  const auto devices = static_cast<std::uint32_t>(transfer.targets.size());
  OpenSetOptions options;
  CAPSTAN_ASSIGN_OR_RETURN(options.plan,
                           PlanBuffers({.buffer_count = transfer.buffer_count,
                                        .max_transfer_size = transfer.max_transfer_size,
                                        .devices = devices,
                                        .volumes = 1,
                                        .memory_limit = parts.settings.buffer_memory_limit}));
  // Each family reads ahead by itself, so each needs a buffer, however few the statement asked for.
  options.plan.buffer_count = std::max(options.plan.buffer_count, devices);
  options.block_size = transfer.block_size.value_or(kBlockSizeDefault);
  options.timeouts = parts.settings.timeouts;
  options.error_log = &parts.error_log;
  DeviceSetRequest request;
  request.device_class = transfer.device_class;
  request.mode = OpenMode::kRead;
  request.bytes_per_second_max = transfer.bytes_per_second_max;
  request.job_id = transfer.session_id;
  request.cancelled = std::move(cancelled);
  for (const std::string& target : transfer.targets) {
    request.targets.push_back({.name = target, .token = ""});
  }
  return OpenSet::Open(parts.devices, request, options);
}

Status RestoreJob::Run() {
  auto existing = parts_.catalog.FindDatabase(request_.database);
  if (existing.ok()) {
    existing_ = std::move(existing).value();
  } else if (existing.status().reason() != 911) {
    return existing.status();
  }
  Status status = Transfer();
  if (status.ok()) status = Commit();
  if (!status.ok()) {
    return Undo(std::move(status));
  }
  if (interrupted_ && begun_anew_) {
    observer_.OnMessage(3018, MessageText(3018, request_.database));
  } else if (interrupted_) {
    observer_.OnMessage(
        65025, MessageText(65025, restored_.right_bytes(), interrupted_->progress->total_bytes));
  }
  SayDamage();
  if (stop_missed_) {
    observer_.OnMessage(4329, MessageText(4329));
  }
  SayPages(final_set_, request_.database, observer_);
  observer_.OnMessage(3014, CompletionMessage(std::string(RestoreCommand(request_)),
                                              PagesOf(final_set_.backup_size_bytes),
                                              std::chrono::steady_clock::now() - job_.started()));
  return OkStatus();
}

Status RestoreJob::Transfer() {
  CAPSTAN_RETURN_IF_ERROR(LookForInterrupted());
  job_.SetPhase("Opening devices");
  CAPSTAN_ASSIGN_OR_RETURN(
      set_, OpenForReading(parts_, request_.transfer, [this] { return job_.cancelled(); }));
  RestorePipeline pipeline(
      {.job = job_,
       .observer = observer_,
       .set = *set_,
       .sink = *this,
       .device_timeout = parts_.settings.timeouts.device,
       .stats_percent = request_.transfer.stats_percent,
       .keys = {.certificates = parts_.certificates, .passphrase = request_.passphrase},
       .damage = damage_,
       .file_number = request_.file_number,
       .media_name = request_.media_name,
       .continue_after_error = request_.continue_after_error,
       .restored = interrupted_ ? &restored_ : nullptr,
       .restored_set = interrupted_ ? interrupted_->progress->backup_set_guid : Guid()});
  Status read = pipeline.Run();
  if (checkpoints_ != nullptr) {
    checkpoints_->Stop();
  }
  transfer_failed_ = !read.ok();
  CAPSTAN_RETURN_IF_ERROR(std::move(read));
  final_set_ = pipeline.set();
  if (request_.snapshot) {
    CAPSTAN_RETURN_IF_ERROR(Mount());
  }
  if (Status closed = set_->Close(); !closed.ok()) {
    CAPSTAN_LOG(kWarning, "device set did not close in order: {}", closed.message());
  }
  if (request_.snapshot) {
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(WithOtherCopies(CheckContents(pipeline.digest()), parts_.catalog,
                                          final_set_, request_.transfer.targets));
  return request_.continue_after_error ? SettleDamage() : OkStatus();
}

Status RestoreJob::CheckContents(std::string digest) {
  const std::vector<LostRange> lost =
      request_.continue_after_error ? damage_.Lost(final_set_) : std::vector<LostRange>();
  if (!damage_.any()) {
    Status known = CheckDigest(parts_.catalog, {.set = final_set_,
                                                .digest = std::move(digest),
                                                .file_number = request_.file_number,
                                                .targets = request_.transfer.targets});
    if (!known.ok() && !request_.continue_after_error) {
      return known;
    }
    if (!known.ok()) {
      damage_.NoteFailure(known);
    }
  }
  // Its end says what the beginning of the set could not know.
  CAPSTAN_RETURN_IF_ERROR(CheckRestoreChain(request_, existing(), final_set_));
  CAPSTAN_RETURN_IF_ERROR(pages_.Finish(lost));
  return final_set_.is_damaged && !request_.continue_after_error ? SqlError(3182) : OkStatus();
}

Status RestoreJob::SettleDamage() {
  const std::vector<std::byte> zeros(kZerosSize);
  for (const LostRange& range : damage_.Lost(final_set_)) {
    if (has_it_already_ || !final_set_.files[range.file_index].whole) {
      // Nothing can stand in for log, or for pages that a full backup has differently.
      return SqlError(3186).WithHint("lost: " + PlaceOf(final_set_, range));
    }
    for (std::uint64_t done = 0; done < range.length;) {
      const auto length =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(kZerosSize, range.length - done));
      CAPSTAN_RETURN_IF_ERROR(session_->WriteExtent(
          {.file_index = range.file_index, .offset = range.offset + done, .length = length},
          std::span(zeros).first(length)));
      done += length;
    }
  }
  return OkStatus();
}

void RestoreJob::SayDamage() {
  for (const auto& [number, text] : damage_.Messages(final_set_, damage_.Lost(final_set_))) {
    observer_.OnMessage(number, text);
  }
  if (final_set_.is_damaged) {
    observer_.OnMessage(3188, MessageText(3188));
  }
  if (damage_.any() || final_set_.is_damaged) {
    observer_.OnMessage(3184, MessageText(3184));
  }
}

Status RestoreJob::Mount() {
  // From the final description: the one at the beginning tells of the time before the freeze.
  CAPSTAN_ASSIGN_OR_RETURN(auto targets, PlanTargets(request_, existing(), final_set_));
  CAPSTAN_ASSIGN_OR_RETURN(targets_, writer_->PlanMount(std::move(targets)));
  CAPSTAN_RETURN_IF_ERROR(BeginJournal());
  CAPSTAN_ASSIGN_OR_RETURN(mount_, writer_->BeginMount(targets_, OptionsForWriter(final_set_)));
  job_.SetPhase("Waiting for the client to mount the snapshot");
  return RunSnapshotCommand(vdi::CommandCode::kMountSnapshot,
                            {.job = job_,
                             .observer = observer_,
                             .set = *set_,
                             .timeout = parts_.settings.timeouts.mount});
}

Status RestoreJob::CheckSnapshot(const media::BackupSet& set) const {
  if (set.is_snapshot == request_.snapshot) {
    return OkStatus();
  }
  if (request_.snapshot) {
    return SqlError(3276).WithHint("leave SNAPSHOT out: the set holds the data itself");
  }
  return SqlError(65007, request_.transfer.targets.front())
      .WithHint(
          "the program that took the snapshot restores it: it needs WITH SNAPSHOT and a "
          "virtual device");
}

Status RestoreJob::CheckExisting(const media::BackupSet& set) const {
  if (!existing_ || request_.replace || set.kind != media::SetKind::kDatabase) {
    return OkStatus();
  }
  // What is being restored is the same database if it has the same files, whatever its name.
  const auto& files = existing_->roll_forward.files;
  const bool same_files = is_being_restored() && !files.empty() && !set.files.empty() &&
                          files.front().logical_name == set.files.front().logical_name;
  if (set.database_name != request_.database && !same_files) {
    return SqlError(3154, request_.database)
        .WithHint(fmt::format("the set holds '{}'; restore under another name, or add REPLACE to "
                              "overwrite '{}'",
                              set.database_name, request_.database));
  }
  return is_being_restored() ? OkStatus() : SqlError(3159, request_.database);
}

Status RestoreJob::BeginJournal() {
  CAPSTAN_ASSIGN_OR_RETURN(const auto databases, parts_.catalog.ListDatabases());
  CAPSTAN_ASSIGN_OR_RETURN(const auto unfinished,
                           FindInterrupted(parts_.catalog, request_.database));
  if (unfinished) {
    CAPSTAN_RETURN_IF_ERROR(
        CheckTargets(request_, existing(), targets_, databases, unfinished->restore_paths));
  }
  if (!interrupted_) {
    CAPSTAN_RETURN_IF_ERROR(DiscardInterrupted(parts_, request_.database).status());
    CAPSTAN_RETURN_IF_ERROR(CheckTargets(request_, existing(), targets_, databases));
  }
  catalog::JobRecord journal;
  journal.job_guid = job_.guid();
  journal.statement = request_.transfer.statement;
  journal.database_name = request_.database;
  journal.restore_scheme = writer_->scheme();
  for (const auto& target : targets_) {
    journal.restore_paths.push_back(target.physical_name);
  }
  if (interrupted_) {
    journal.restore_name = interrupted_->name();
  }
  CAPSTAN_RETURN_IF_ERROR(interrupted_ ? parts_.catalog.ResumeJob(interrupted_->job_guid, journal)
                                       : parts_.catalog.BeginJob(journal));
  journal_begun_ = true;
  return OkStatus();
}

Status RestoreJob::GiveUpOldChain() {
  if (!is_being_restored()) {
    return OkStatus();
  }
  catalog::Database interrupted = *existing_;
  interrupted.roll_forward = {.state = catalog::RollForward::State::kRestoring,
                              .files = existing_->roll_forward.files};
  CAPSTAN_RETURN_IF_ERROR(parts_.catalog.UpdateDatabase(interrupted));
  old_chain_given_up_ = true;
  return OkStatus();
}

writers::RestoreOptions RestoreJob::OptionsForWriter(const media::BackupSet& set) const {
  writers::RestoreOptions options;
  options.replace = request_.replace || is_being_restored();
  options.job_name = interrupted_ ? interrupted_->name() : job_.guid().ToString();
  options.resume = interrupted_.has_value();
  options.lock_deadline = Deadline::After(parts_.settings.timeouts.database);
  options.kind = KindOf(set.kind);
  if (set.kind != media::SetKind::kDatabase) {
    options.location = existing_->location;
  }
  options.lsns = {
      .first = {set.first_lsn}, .last = {set.last_lsn}, .checkpoint = {set.checkpoint_lsn}};
  options.writer_data = set.writer_data;
  options.version = set.database_version;
  options.end = request_.end;
  options.stop = request_.stop;
  return options;
}

Status RestoreJob::OnSet(const media::BackupSet& set) {
  CAPSTAN_RETURN_IF_ERROR(CheckRestoreChain(request_, existing(), set));
  CAPSTAN_RETURN_IF_ERROR(CheckSnapshot(set));
  CAPSTAN_RETURN_IF_ERROR(CheckExisting(set));
  if (request_.transfer.checksum.value_or(false) && !set.has_checksums) {
    return SqlError(3187);
  }
  const auto writer = parts_.writers.find(set.writer);
  if (writer == parts_.writers.end()) {
    return SqlError(65006, request_.database, fmt::format("no writer knows '{}'", set.writer));
  }
  writer_ = writer->second;
  if (request_.snapshot) {
    return OkStatus();  // Mount goes on when all has been read
  }
  CAPSTAN_ASSIGN_OR_RETURN(targets_, PlanTargets(request_, existing(), set));
  CAPSTAN_RETURN_IF_ERROR(CheckInterrupted(set));
  CAPSTAN_RETURN_IF_ERROR(BeginJournal());
  if (set.kind == media::SetKind::kDatabase) {
    CAPSTAN_RETURN_IF_ERROR(GiveUpOldChain());
  }
  CAPSTAN_RETURN_IF_ERROR(BeginSession(set));
  if (request_.transfer.checksum.value_or(false)) {
    CAPSTAN_RETURN_IF_ERROR(pages_.Begin(parts_.writers, set));
  }
  CAPSTAN_RETURN_IF_ERROR(TakeUpRestored());
  CAPSTAN_RETURN_IF_ERROR(BeginCheckpoints(set));
  CAPSTAN_CRASH_POINT("engine.restore_begun");
  return OkStatus();
}

Status RestoreJob::BeginSession(const media::BackupSet& set) {
  const bool log = set.kind == media::SetKind::kLog;
  has_it_already_ = log && set.last_lsn != 0 && set.first_lsn == set.last_lsn;
  if (has_it_already_) {
    return OkStatus();
  }
  auto session = writer_->BeginRestore(targets_, OptionsForWriter(set));
  if (interrupted_ && session.status().code() == Code::kNotFound) {
    CAPSTAN_LOG(kWarning, "the restore of '{}' begins anew: {}", request_.database,
                session.status().message());
    writers::RestoreOptions anew = OptionsForWriter(set);
    anew.resume = false;
    begun_anew_ = true;
    restored_ = RestoredFrames();
    session = writer_->BeginRestore(targets_, anew);
  }
  if (log && session.status().reason() == 4326) {
    has_it_already_ = true;
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(session_, std::move(session));
  return OkStatus();
}

Status RestoreJob::OnFrame(const media::FrameView& frame) {
  if (has_it_already_) {
    return OkStatus();
  }
  if (session_ == nullptr) {
    return SqlError(65004, request_.transfer.targets.front(), frame.medium_offset,
                    "a snapshot set holds data");
  }
  CAPSTAN_RETURN_IF_ERROR(pages_.Take(frame));
  CAPSTAN_RETURN_IF_ERROR(session_->WriteExtent({.file_index = frame.extent.file_index,
                                                 .offset = frame.extent.file_offset,
                                                 .length = frame.extent.length},
                                                frame.payload));
  if (checkpoints_ == nullptr) {
    return OkStatus();
  }
  return checkpoints_->Note(
      {.extent = frame.extent,
       .contents_crc32c = is_plain_ ? frame.extent.crc32c : media::Crc32c(0, frame.payload)});
}

Status RestoreJob::Commit() {
  job_.SetPhase("Recovering");
  CAPSTAN_ASSIGN_OR_RETURN(const writers::RestoreOutcome outcome, CommitSession());
  CAPSTAN_CRASH_POINT("engine.restore_swapped");
  old_chain_given_up_ = false;  // by now there is no way back
  stop_missed_ = outcome.stop_missed;
  return parts_.catalog.CommitRestore(job_.guid(), RecordOf(outcome));
}

Result<writers::RestoreOutcome> RestoreJob::CommitSession() {
  if (mount_ != nullptr) {
    CAPSTAN_RETURN_IF_ERROR(mount_->Commit());
    return writers::RestoreOutcome{};
  }
  if (session_ != nullptr) {
    return session_->Commit();
  }
  return request_.end == writers::RestoreEnd::kNoRecovery
             ? writers::RestoreOutcome{}
             : writer_->Recover(existing_->location, OptionsForWriter(final_set_));
}

catalog::RestoreRecord RestoreJob::RecordOf(const writers::RestoreOutcome& outcome) const {
  constexpr std::int64_t kMicrosecondsPerSecond = 1'000'000;
  catalog::RestoreRecord record;
  catalog::Database& database = record.database;
  database.name = record.destination_database = request_.database;
  database.scheme = final_set_.writer;
  database.created_unix_s = record.date_unix_s = std::time(nullptr);
  const bool begins = final_set_.kind == media::SetKind::kDatabase;
  database.location = begins ? targets_.front().physical_name : existing_->location;
  catalog::RollForward before = begins ? catalog::RollForward() : existing_->roll_forward;
  for (const auto& target : targets_) {
    record.destination_files.push_back(target.physical_name);
    if (begins) {
      before.files.push_back({target.file.logical_name, target.physical_name});
    }
  }
  database.roll_forward = RollForwardAfter(before, &final_set_, request_.end, outcome);
  record.user_name = request_.transfer.user_name;
  record.backup_set_guid = final_set_.backup_set_guid;
  record.restore_type = RestoreType(final_set_.kind);
  record.replace = request_.replace;
  record.restart = request_.restart;
  record.recovery = database.roll_forward.state == catalog::RollForward::State::kOnline;
  if (request_.stop.kind == writers::StopPoint::Kind::kTime) {
    record.stop_at_unix_s = request_.stop.unix_us / kMicrosecondsPerSecond;
  } else if (request_.stop.kind == writers::StopPoint::Kind::kLsn) {
    record.stop_mark = fmt::format("lsn:{}", request_.stop.lsn.value);
  } else {
    record.stop_mark = request_.stop.mark;
  }
  record.stop_before = request_.stop.before;
  return record;
}

Status RestoreJob::Undo(Status failure) {
  const bool stays = KeepForRestart(failure);
  checkpoints_.reset();
  session_.reset();  // removes what was being built, unless it was kept
  if (set_ != nullptr && set_->abort_reason().ok()) {
    (void)set_->Close();  // reading leaves nothing behind; a failure here adds nothing
  }
  set_.reset();
  if (mount_ != nullptr) {
    // After the end of the set: the client has been told to leave the place alone.
    auto put_back = mount_->PutBack();
    if (!put_back.ok()) {
      return std::move(failure).WithHint(std::string(put_back.status().hint()));  // journal: later
    }
    if (!put_back->empty()) {
      failure = std::move(failure).WithHint(std::move(put_back).value());
    }
    mount_.reset();
  }
  if (old_chain_given_up_) {
    // The writer has left the old one as the set before left it.
    if (Status kept = parts_.catalog.UpdateDatabase(*existing_); !kept.ok()) {
      CAPSTAN_LOG(kError, "'{}' stays interrupted in the catalog: {}", request_.database,
                  kept.message());
    }
  }
  if (journal_begun_ && !stays) {
    if (Status forgotten = parts_.catalog.ForgetJob(job_.guid()); !forgotten.ok()) {
      CAPSTAN_LOG(kError, "job {} stays in the journal: {}", job_.guid().ToString(),
                  forgotten.message());
    }
  }
  return failure;
}

}  // namespace capstan::engine
