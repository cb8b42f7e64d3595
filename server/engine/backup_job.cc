#include "server/engine/backup_job.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "server/engine/free_space.h"
#include "server/engine/media_inspection.h"
#include "server/messages/messages.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"
#include "vdi/base/wall_clock.h"

namespace capstan::engine {
namespace {

std::int8_t TimeZoneQuarterHours() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  return static_cast<std::int8_t>(local.tm_gmtoff / (15 * 60));
}

std::uint32_t DeviceCount(const BackupRequest& request) {
  return static_cast<std::uint32_t>(request.transfer.targets.size() * (request.mirrors.size() + 1));
}

OpenMode ModeOf(media::MediumAction action) {
  switch (action) {
    case media::MediumAction::kCreate:
      return OpenMode::kCreate;
    case media::MediumAction::kReplace:
      return OpenMode::kReplace;
    case media::MediumAction::kAppend:
      break;
  }
  return OpenMode::kAppend;
}

// Whether Open failed without having begun anything (DeviceProvider::Open).
bool IsRefusal(const Status& open) {
  const bool refused =
      open.reason() == 3201 && open.os_error() != 0 && open.os_error() != ECANCELED;
  return refused || open.reason() == 65001;
}

}  // namespace

Status BackupJob::Run() {
  Status status = Prepare();
  if (status.ok()) status = PlanMedia();
  if (status.ok()) status = PlanForm();
  if (status.ok()) status = LookForInterrupted();
  if (status.ok()) status = BeginJournal();
  if (status.ok() && set_ == nullptr) status = OpenDevices();
  if (status.ok()) status = Transfer();
  if (status.ok()) status = Commit();
  if (!status.ok()) {
    Undo(status);
    return status;
  }
  ReportCompletion();
  return OkStatus();
}

Status BackupJob::Prepare() {
  job_.SetPhase("Preparing");
  std::vector<std::vector<std::string>> rows = {request_.transfer.targets};
  rows.insert(rows.end(), request_.mirrors.begin(), request_.mirrors.end());
  CAPSTAN_RETURN_IF_ERROR(media::CheckMediaRows(rows));
  CAPSTAN_ASSIGN_OR_RETURN(database_, parts_.catalog.FindDatabase(request_.database));
  const auto writer = parts_.writers.find(database_.scheme);
  if (writer == parts_.writers.end()) {
    return SqlError(65005, database_.name, fmt::format("no writer knows '{}'", database_.scheme));
  }
  writer_ = writer->second;
  CAPSTAN_RETURN_IF_ERROR(CheckInUse(database_));
  auto described = writer_->Describe(database_.location, database_.name);
  if (!described.ok() && request_.tail == writers::LogTail::kNoTruncate) {
    // It may be damaged beyond that; of the log, the session knows more.
    described = writers::DatabaseDescription{.recovery_model = writers::RecoveryModel::kFull,
                                             .volumes = {"log"}};
  }
  CAPSTAN_ASSIGN_OR_RETURN(const writers::DatabaseDescription description, std::move(described));
  CAPSTAN_RETURN_IF_ERROR(PlanChain(description));

  const TransferRequest& transfer = request_.transfer;
  auto buffer_count = transfer.buffer_count;
  if (request_.snapshot && !buffer_count) {
    buffer_count = 2;  // a few kilobytes of description are all that is transferred
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      plan_, PlanBuffers({.buffer_count = buffer_count,
                          .max_transfer_size = transfer.max_transfer_size,
                          .devices = DeviceCount(request_),
                          .volumes = static_cast<std::uint32_t>(description.volumes.size()),
                          .memory_limit = parts_.settings.buffer_memory_limit}));
  if (parts_.error_log.TraceFlag(3605) && parts_.error_log.TraceFlag(3213)) {
    for (const std::string& line : plan_.Describe()) {
      parts_.error_log.Write(transfer.session_id, line);
    }
  }

  return OkStatus();
}

Status BackupJob::PlanChain(const writers::DatabaseDescription& description) {
  if (request_.snapshot && request_.kind != writers::BackupKind::kFull) {
    return SqlError(3031, "SNAPSHOT", BackupCommand(request_.kind));
  }
  const writers::RecoveryModel model = RecoveryModelOf(database_, description.recovery_model);
  writers::LogStatus log;
  if (model != writers::RecoveryModel::kSimple) {
    // What a writer cannot tell now it says when the log is to be backed up.
    if (auto kept = writer_->DescribeLog(database_.location); kept.ok()) {
      log = std::move(kept).value();
    }
  }
  CAPSTAN_ASSIGN_OR_RETURN(const catalog::ChainEnd chain,
                           parts_.catalog.FindChainEnd(database_.name));
  CAPSTAN_ASSIGN_OR_RETURN(chain_, PlanBackupChain(request_, {.database = database_,
                                                              .recovery_model = model,
                                                              .chain = chain,
                                                              .log = log,
                                                              .read_only = description.read_only}));
  if (request_.kind == writers::BackupKind::kLog) {
    size_estimate_ = log.bytes;
  } else if (request_.kind == writers::BackupKind::kFull) {
    for (const auto& file : description.files) {
      size_estimate_ += file.size_bytes;
    }
  }
  return OkStatus();
}

Status BackupJob::PlanMedia() {
  job_.SetPhase("Reading media headers");
  // What a vendor's device is given is always new: nothing can be read back from it first.
  const bool of_vendor = request_.transfer.device_class == "VIRTUAL_DEVICE";
  const bool new_media = of_vendor || request_.media_use == MediaUse::kFormat;
  media::MediaRows rows = NewMedia(request_);
  if (!new_media) {
    CAPSTAN_ASSIGN_OR_RETURN(rows, InspectMedia(parts_, request_, job_));
  }
  const media::MediaWishes wishes{.use = new_media ? MediaUse::kFormat : request_.media_use,
                                  .skip = request_.skip,
                                  .compression = request_.snapshot ? false : request_.compression,
                                  .compression_default = request_.compression_default,
                                  .encryption = request_.encryption.has_value(),
                                  .media_name = request_.media_name,
                                  .media_description = request_.media_description,
                                  .now_unix_s = std::time(nullptr)};
  CAPSTAN_ASSIGN_OR_RETURN(media_plan_, media::PlanMedia(wishes, rows));
  if (of_vendor && request_.media_use == MediaUse::kAppend) {
    media_plan_.action = media::MediumAction::kCreate;
  }

  // The families in their order, then their mirrors likewise: so the pipeline wants the devices.
  for (std::size_t mirror = 0; mirror < rows.size(); ++mirror) {
    for (const media::MediaPlan::Family& family : media_plan_.families) {
      const media::MediaPlan::Medium& medium = family.mirrors[mirror];
      journal_.devices.push_back(
          {.device_class = request_.transfer.device_class,
           .target = rows[medium.row][medium.column].target,
           .token = fmt::format("{}-{}", job_.guid().ToString(), journal_.devices.size() + 1),
           .media_family_id = family.header.media_family_id,
           .family_number = family.header.family_number});
    }
  }
  return OkStatus();
}

Status BackupJob::BeginJournal() {
  journal_.job_guid = job_.guid();
  journal_.statement = request_.transfer.statement;
  journal_.database_name = database_.name;
  CAPSTAN_RETURN_IF_ERROR(interrupted_ ? parts_.catalog.ResumeJob(interrupted_->job_guid, journal_)
                                       : parts_.catalog.BeginJob(journal_));
  journal_begun_ = true;
  return OkStatus();
}

// Before any device is opened: what is wrong with a certificate or passphrase is known by now.
Status BackupJob::PlanForm() {
  if (request_.snapshot && request_.encryption) {
    return SqlError(3031, "ENCRYPTION", "SNAPSHOT");  // the files stay with the client
  }
  CodingRequest coding{.encryption = request_.encryption};
  if (media_plan_.compressed) {
    coding.compression = request_.compression_settings;
  }
  CAPSTAN_ASSIGN_OR_RETURN(coding_, PlanCoding(coding, parts_.certificates));
  return OkStatus();
}

Status BackupJob::OpenDevices() {
  job_.SetPhase("Opening devices");
  DeviceSetRequest request;
  request.device_class = request_.transfer.device_class;
  request.mode = ModeOf(media_plan_.action);
  request.size_estimate = size_estimate_ / media_plan_.families.size();
  request.job_id = request_.transfer.session_id;
  request.retain_until_unix_s = request_.expiration_unix_s;
  request.bytes_per_second_max = request_.transfer.bytes_per_second_max;
  request.cancelled = [this] { return job_.cancelled(); };
  request.keep = can_be_kept_;
  request.resume = interrupted_.has_value();
  for (const auto& device : journal_.devices) {
    request.targets.push_back({.name = device.target, .token = device.token});
  }
  OpenSetOptions options;
  const std::uint32_t block_size_max = BlockSizeMax(media_plan_);
  options.block_size =
      request_.transfer.block_size.value_or(std::min(block_size_max, kBlockSizeDefault));
  if (options.block_size > block_size_max) {
    return SqlError(3272, request.targets.front().name, block_size_max, options.block_size);
  }
  options.plan = plan_;
  options.timeouts = parts_.settings.timeouts;
  options.error_log = &parts_.error_log;
  WarnOfLowSpace(parts_.devices, request, observer_);
  media_touched_ = true;
  auto opened = OpenSet::Open(parts_.devices, request, options);
  if (!opened.ok()) {
    media_touched_ = !IsRefusal(opened.status());
    return opened.status();
  }
  set_ = std::move(opened).value();
  if (set_->removable() && !request_.mirrors.empty()) {
    return SqlError(3031, "MIRROR TO", request.device_class)
        .WithHint("where media are changed while they are written, each copy needs its own backup");
  }
  CAPSTAN_CRASH_POINT("engine.after_open");
  return CheckMedia();
}

// From here on nobody else can write to media that are appended to.
Status BackupJob::CheckMedia() {
  if (!media_plan_.families.front().mirrors.front().append) {
    return OkStatus();
  }
  std::vector<ExpectedMedium> expected;
  TransferRequest old = request_.transfer;
  old.targets.clear();
  for (std::size_t i = 0; i < journal_.devices.size(); ++i) {
    const media::MediaPlan::Family& family = media_plan_.families[i % media_plan_.families.size()];
    expected.push_back({.header = family.header, .append = *family.mirrors.front().append});
    old.targets.push_back(journal_.devices[i].target);
  }
  return media_plan_.copies_sets ? CopySets(*set_, old, expected, parts_, job_)
                                 : CheckUnchanged(*set_, expected, parts_, job_);
}

media::BackupSet BackupJob::DescribeSet(const writers::DatabaseDescription& description,
                                        const writers::LsnRange& lsns) const {
  media::BackupSet set = chain_.set;
  DescribeCoding(coding_, &set);
  set.position = media_plan_.position;
  set.name = request_.name;
  set.description = request_.description;
  set.is_snapshot = request_.snapshot;
  set.has_checksums = request_.transfer.checksum.value_or(false);
  set.user_name = request_.transfer.user_name;
  set.server_name = parts_.settings.server_name;
  set.machine_name = parts_.settings.machine_name;
  set.database_name = database_.name;
  set.writer = description.writer;
  set.database_version = description.version;
  set.is_read_only = description.read_only;
  set.first_lsn = lsns.first.value;
  set.last_lsn = lsns.last.value;
  set.checkpoint_lsn = lsns.checkpoint.value;
  set.database_created_unix_s = description.created_unix_s;
  set.SetStart(start_unix_us_);
  set.expiration_unix_s = request_.expiration_unix_s;
  set.time_zone_quarter_hours = TimeZoneQuarterHours();
  set.transfer_size = plan_.transfer_size;
  for (const auto& file : description.files) {
    set.files.push_back({.file_id = file.file_id,
                         .logical_name = file.logical_name,
                         .physical_name = file.physical_name,
                         .type = file.type,
                         .whole = file.whole,
                         .size_bytes = file.size_bytes,
                         .page_size = file.page_size,
                         .unique_id = Guid::Random()});
  }
  return set;
}

Result<std::vector<std::unique_ptr<media::FamilyWriter>>> BackupJob::MakeFamilies(
    const media::BackupSet& set) {
  std::vector<std::unique_ptr<media::FamilyWriter>> families;
  authenticators_.clear();
  for (std::size_t i = 0; i < media_plan_.families.size(); ++i) {
    const media::MediaPlan::Family& family = media_plan_.families[i];
    media::FamilyOptions options{.header = family.header,
                                 .set = set,
                                 .form = set_->medium_form(),
                                 .append = family.mirrors[0].append,
                                 .preamble_size = interrupted_ ? heads_[i].size_bytes : 0,
                                 .restarts = journal_.restarts};
    if (options.append && set_->hard_filemarks()) {
      options.append->form.block_size = set_->block_size();
    }
    if (coding_.form.encrypted()) {
      authenticators_.push_back(std::make_unique<KeyAuthenticator>(coding_.key));
      options.authenticator = authenticators_.back().get();
    }
    CAPSTAN_ASSIGN_OR_RETURN(auto writer, media::FamilyWriter::Create(std::move(options)));
    families.push_back(std::move(writer));
  }
  return families;
}

Status BackupJob::Transfer() {
  CAPSTAN_RETURN_IF_ERROR(request_.snapshot ? TransferSnapshot() : TransferData());
  CAPSTAN_RETURN_IF_ERROR(
      parts_.catalog.PrepareBackup(job_.guid(), media_plan_.families.front().header, final_set_));
  prepared_ = true;
  CAPSTAN_CRASH_POINT("engine.after_prepare");
  return OkStatus();
}

Status BackupJob::TransferSnapshot() {
  start_unix_us_ = UnixMicros();
  CAPSTAN_ASSIGN_OR_RETURN(freeze_, writer_->BeginSnapshot(database_.location, database_.name));
  final_set_ = DescribeSet(freeze_->description(), {.first = freeze_->last_lsn(),
                                                    .last = freeze_->last_lsn(),
                                                    .checkpoint = freeze_->checkpoint_lsn()});
  CAPSTAN_ASSIGN_OR_RETURN(auto families, MakeFamilies(final_set_));
  snapshot_ =
      std::make_unique<SnapshotBackup>(SnapshotBackup::Parts{.job = job_,
                                                             .error_log = parts_.error_log,
                                                             .set = *set_,
                                                             .database = *freeze_,
                                                             .timeouts = parts_.settings.timeouts},
                                       std::move(families.front()));
  return snapshot_->Run(final_set_);
}

Status BackupJob::TransferData() {
  job_.SetPhase("Waiting for the database");
  writers::BackupOptions options = chain_.options;
  if (request_.transfer.checksum.value_or(false)) {
    options.on_page_error = [this](const writers::PageError& error) { return OnPageError(error); };
  }
  options.lock_deadline = Deadline::After(parts_.settings.timeouts.database);
  start_unix_us_ = UnixMicros();
  CAPSTAN_ASSIGN_OR_RETURN(session_,
                           writer_->BeginBackup(database_.location, database_.name, options));
  CAPSTAN_RETURN_IF_ERROR(MakePipeline());
  if (interrupted_) {
    CAPSTAN_RETURN_IF_ERROR(pipeline_->TakeUp(journal_.restarts));
    observer_.OnMessage(65058, MessageText(65058, database_.name, pipeline_->bytes_done(),
                                           job_.Snapshot().bytes_total));
    CAPSTAN_CRASH_POINT("engine.after_take_up");
  }
  CAPSTAN_RETURN_IF_ERROR(pipeline_->WriteData());
  TakeOutcome();
  return pipeline_->WriteTrailers(final_set_);
}

Status BackupJob::MakePipeline() {
  final_set_ = DescribeSet(session_->description(), session_->lsns());
  final_set_.writer_data = session_->writer_data();
  final_set_.recovery_fork = session_->recovery_fork();
  std::uint64_t total = 0;
  for (const auto& file : final_set_.files) {
    total += file.size_bytes;
  }
  job_.SetTotal(total);
  auto families = MakeFamilies(final_set_);
  const bool no_room = families.status().code() == Code::kOutOfRange;
  if (interrupted_ && (no_room || !HasFilesOfInterrupted())) {
    CAPSTAN_RETURN_IF_ERROR(
        BeginAnew(no_room ? "the description of the database needs more room than it had"
                          : "the database consists of other files now"));
    CAPSTAN_RETURN_IF_ERROR(BeginJournal());
    CAPSTAN_RETURN_IF_ERROR(OpenDevices());
    return MakePipeline();
  }
  CAPSTAN_RETURN_IF_ERROR(families.status());
  pipeline_ = std::make_unique<BackupPipeline>(
      BackupPipeline::Parts{job_, observer_, *set_, *session_, parts_.settings.timeouts,
                            request_.transfer.stats_percent, coding_,
                            [this](std::uint64_t bytes) { NoteProgress(bytes); }},
      std::move(families).value());
  return OkStatus();
}

void BackupJob::TakeOutcome() {
  const writers::LsnRange lsns = session_->lsns();
  final_set_.first_lsn = lsns.first.value;
  final_set_.last_lsn = lsns.last.value;
  final_set_.checkpoint_lsn = lsns.checkpoint.value;
  final_set_.recovery_fork = session_->recovery_fork();
  const auto& files = session_->description().files;
  CAPSTAN_CHECK(files.size() == final_set_.files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    final_set_.files[i].size_bytes = files[i].size_bytes;
  }
  final_set_.is_damaged = page_errors_ > 0;
  final_set_.SetFinish(UnixMicros());
}

Status BackupJob::Commit() {
  can_be_kept_ = false;
  Status completed = request_.snapshot ? snapshot_->Complete() : pipeline_->Complete();
  if (!completed.ok()) {
    if (set_->abort_reason().ok() || request_.transfer.device_class == "VIRTUAL_DEVICE") {
      // A device refused to commit: the set is not whole. The journal must say so before any
      // family of it is discarded, or a crash in between would have the rest committed.
      if (Status revoked = parts_.catalog.RevokeBackup(job_.guid()); !revoked.ok()) {
        CAPSTAN_LOG(kError, "job {} stays prepared in the journal: {}", job_.guid().ToString(),
                    revoked.message());
      }
      prepared_ = false;
      return completed;
    }
    // The agent is gone, the media are whole: finish them when it is back.
    const Deadline deadline = Deadline::After(parts_.settings.timeouts.recover);
    for (const auto& device : journal_.devices) {
      Status recovered = parts_.devices.Recover(device.device_class,
                                                {.name = device.target, .token = device.token},
                                                RecoverAction::kCommit, deadline);
      if (!recovered.ok()) {
        return std::move(completed).WithHint(
            "the backup is complete on its media and will be committed as soon as the agent is "
            "back");
      }
    }
  } else if (Status closed = set_->Close(); !closed.ok()) {
    CAPSTAN_LOG(kWarning, "device set of job {} did not close in order: {}", job_.guid().ToString(),
                closed.message());
  }
  CAPSTAN_CRASH_POINT("engine.after_complete");
  if (freeze_ != nullptr) {
    freeze_->End();
  }
  CAPSTAN_RETURN_IF_ERROR(parts_.catalog.CommitBackup(job_.guid()));
  if (session_ != nullptr) {
    session_->Committed();
  }
  return OkStatus();
}

void BackupJob::Undo(Status& failure) {
  const bool kept = KeepForRestart(failure);
  snapshot_.reset();
  freeze_.reset();
  pipeline_.reset();
  session_.reset();
  if (set_ != nullptr && set_->abort_reason().ok()) {
    (void)set_->Close();  // drained: the agent sees an end without Complete, and discards
  }
  set_.reset();
  if (!journal_begun_ || prepared_ || kept) {
    return;
  }
  const Deadline deadline = Deadline::After(parts_.settings.timeouts.recover);
  for (const auto& device : journal_.devices) {
    if (device.device_class == "VIRTUAL_DEVICE" || !media_touched_) {
      continue;  // a vendor was told by the abort or by the missing Complete
    }
    Status discarded =
        parts_.devices.Recover(device.device_class, {.name = device.target, .token = device.token},
                               RecoverAction::kDiscard, deadline);
    if (!discarded.ok()) {
      CAPSTAN_LOG(kWarning, "what job {} began on '{}' could not be removed yet: {}",
                  job_.guid().ToString(), device.target, discarded.message());
      return;  // the journal keeps the job until its agent is back
    }
  }
  if (Status forgotten = parts_.catalog.ForgetJob(job_.guid()); !forgotten.ok()) {
    CAPSTAN_LOG(kError, "job {} stays in the journal: {}", job_.guid().ToString(),
                forgotten.message());
  }
}

}  // namespace capstan::engine
