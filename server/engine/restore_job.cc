#include "server/engine/restore_job.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include <sys/stat.h>

#include "server/engine/known_backup.h"
#include "server/engine/snapshot_command.h"
#include "server/messages/messages.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

constexpr std::uint32_t kZerosSize = 1 << 20;  // bytes written at a time in the place of lost ones

bool FileExists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
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
  SayDamage();
  for (const auto& file : final_set_.files) {
    observer_.OnMessage(4035, MessageText(4035, PagesOf(file.backup_size_bytes), request_.database,
                                          file.logical_name, final_set_.position));
  }
  observer_.OnMessage(3014,
                      CompletionMessage("RESTORE DATABASE", PagesOf(final_set_.backup_size_bytes),
                                        std::chrono::steady_clock::now() - job_.started()));
  return OkStatus();
}

Status RestoreJob::Transfer() {
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
       .continue_after_error = request_.continue_after_error});
  CAPSTAN_RETURN_IF_ERROR(pipeline.Run());
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
  CAPSTAN_RETURN_IF_ERROR(pages_.Finish(lost));
  return final_set_.is_damaged && !request_.continue_after_error ? SqlError(3182) : OkStatus();
}

Status RestoreJob::SettleDamage() {
  const std::vector<std::byte> zeros(kZerosSize);
  for (const LostRange& range : damage_.Lost(final_set_)) {
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
  CAPSTAN_ASSIGN_OR_RETURN(auto targets, PlanTargets(final_set_));
  CAPSTAN_ASSIGN_OR_RETURN(targets_, writer_->PlanMount(std::move(targets)));
  CAPSTAN_RETURN_IF_ERROR(BeginJournal());
  CAPSTAN_ASSIGN_OR_RETURN(mount_, writer_->BeginMount(targets_, OptionsForWriter()));
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
  if (!existing_ || request_.replace) {
    return OkStatus();
  }
  if (set.database_name != request_.database) {
    return SqlError(3154, request_.database)
        .WithHint(fmt::format("the set holds '{}'; restore under another name, or add REPLACE to "
                              "overwrite '{}'",
                              set.database_name, request_.database));
  }
  return SqlError(3159, request_.database);
}

Result<std::vector<writers::RestoreTarget>> RestoreJob::PlanTargets(
    const media::BackupSet& set) const {
  for (const auto& move : request_.moves) {
    const std::string& logical = move.first;
    const bool known = std::any_of(set.files.begin(), set.files.end(),
                                   [&](const auto& file) { return file.logical_name == logical; });
    if (!known) {
      return SqlError(3234, logical, set.database_name);
    }
  }
  std::vector<writers::RestoreTarget> targets;
  for (const media::BackupFile& file : set.files) {
    writers::RestoreTarget target;
    target.file.file_id = file.file_id;
    target.file.logical_name = file.logical_name;
    target.file.physical_name = file.physical_name;
    target.file.type = file.type;
    target.file.size_bytes = file.size_bytes;
    target.file.page_size = file.page_size;
    target.file.frozen_state = file.frozen_state;
    const auto move = std::find_if(request_.moves.begin(), request_.moves.end(),
                                   [&](const auto& m) { return m.first == file.logical_name; });
    if (move != request_.moves.end()) {
      target.physical_name = move->second;
    } else if (existing_ && (set.files.size() == 1 || (set.is_snapshot && targets.empty()))) {
      target.physical_name = existing_->location;
    } else if (set.is_snapshot && !targets.empty()) {
      // The writer knows where it belongs beside the first one.
    } else {
      target.physical_name = file.physical_name;
    }
    targets.push_back(std::move(target));
  }
  return targets;
}

Status RestoreJob::CheckTarget(const writers::RestoreTarget& target) const {
  CAPSTAN_ASSIGN_OR_RETURN(const auto databases, parts_.catalog.ListDatabases());
  for (const catalog::Database& database : databases) {
    if (database.location == target.physical_name && database.name != request_.database) {
      return SqlError(3156, target.file.logical_name, target.physical_name)
          .WithHint(fmt::format("the file belongs to the database '{}'", database.name));
    }
  }
  if (FileExists(target.physical_name) && !request_.replace) {
    return SqlError(3156, target.file.logical_name, target.physical_name)
        .WithHint("a file of that name exists; MOVE elsewhere, or add REPLACE to overwrite it");
  }
  return OkStatus();
}

Status RestoreJob::BeginJournal() {
  catalog::JobRecord journal;
  journal.job_guid = job_.guid();
  journal.statement = request_.transfer.statement;
  journal.database_name = request_.database;
  journal.restore_scheme = writer_->scheme();
  for (const auto& target : targets_) {
    CAPSTAN_RETURN_IF_ERROR(CheckTarget(target));
    journal.restore_paths.push_back(target.physical_name);
  }
  CAPSTAN_RETURN_IF_ERROR(parts_.catalog.BeginJob(journal));
  journal_begun_ = true;
  return OkStatus();
}

writers::RestoreOptions RestoreJob::OptionsForWriter() const {
  writers::RestoreOptions options;
  options.replace = request_.replace;
  options.job_name = job_.guid().ToString();
  options.lock_deadline = Deadline::After(parts_.settings.timeouts.database);
  return options;
}

Status RestoreJob::OnSet(const media::BackupSet& set) {
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
  CAPSTAN_ASSIGN_OR_RETURN(targets_, PlanTargets(set));
  CAPSTAN_RETURN_IF_ERROR(BeginJournal());
  CAPSTAN_ASSIGN_OR_RETURN(session_, writer_->BeginRestore(targets_, OptionsForWriter()));
  if (request_.transfer.checksum.value_or(false)) {
    CAPSTAN_RETURN_IF_ERROR(pages_.Begin(parts_.writers, set));
  }
  CAPSTAN_CRASH_POINT("engine.restore_begun");
  return OkStatus();
}

Status RestoreJob::OnFrame(const media::FrameView& frame) {
  if (session_ == nullptr) {
    return SqlError(65004, request_.transfer.targets.front(), frame.medium_offset,
                    "a snapshot set holds data");
  }
  CAPSTAN_RETURN_IF_ERROR(pages_.Take(frame));
  return session_->WriteExtent({.file_index = frame.extent.file_index,
                                .offset = frame.extent.file_offset,
                                .length = frame.extent.length},
                               frame.payload);
}

Status RestoreJob::Commit() {
  job_.SetPhase("Recovering");
  CAPSTAN_RETURN_IF_ERROR(mount_ != nullptr ? mount_->Commit() : session_->Commit());
  CAPSTAN_CRASH_POINT("engine.restore_swapped");
  const std::string& location = targets_.front().physical_name;
  if (existing_ && existing_->location != location) {
    CAPSTAN_RETURN_IF_ERROR(parts_.catalog.RemoveDatabase(existing_->name));
    existing_.reset();
  }
  if (!existing_) {
    CAPSTAN_RETURN_IF_ERROR(parts_.catalog.AddDatabase({.name = request_.database,
                                                        .scheme = final_set_.writer,
                                                        .location = location,
                                                        .created_unix_s = std::time(nullptr)}));
  }
  catalog::RestoreRecord record;
  record.destination_database = request_.database;
  record.user_name = request_.transfer.user_name;
  record.backup_set_guid = final_set_.backup_set_guid;
  record.replace = request_.replace;
  record.date_unix_s = std::time(nullptr);
  for (const auto& target : targets_) {
    record.destination_files.push_back(target.physical_name);
  }
  return parts_.catalog.CommitRestore(job_.guid(), record);
}

Status RestoreJob::Undo(Status failure) {
  session_.reset();  // removes what was being built
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
  if (journal_begun_) {
    if (Status forgotten = parts_.catalog.ForgetJob(job_.guid()); !forgotten.ok()) {
      CAPSTAN_LOG(kError, "job {} stays in the journal: {}", job_.guid().ToString(),
                  forgotten.message());
    }
  }
  return failure;
}

}  // namespace capstan::engine
