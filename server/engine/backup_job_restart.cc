// What BackupJob does about full backups that were interrupted: another one, or itself.
#include <algorithm>
#include <cerrno>
#include <utility>
#include <variant>

#include "server/engine/backup_job.h"
#include "server/engine/media_inspection.h"
#include "server/engine/restart/interrupted_backup.h"
#include "server/messages/messages.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

// What unlocks the set that this statement would have encrypted.
KeyRing KeysOf(const BackupRequest& request, const transform::CertificateStore* certificates) {
  KeyRing keys{.certificates = certificates};
  if (request.encryption) {
    if (const auto* secret = std::get_if<transform::Secret>(&request.encryption->encryptor)) {
      keys.passphrase = *secret;
    }
  }
  return keys;
}

bool SameDevices(const std::vector<catalog::JobDevice>& left,
                 const std::vector<catalog::JobDevice>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const catalog::JobDevice& a, const catalog::JobDevice& b) {
                      return a.device_class == b.device_class && a.target == b.target;
                    });
}

}  // namespace

Status BackupJob::LookForInterrupted() {
  if (request_.kind != writers::BackupKind::kFull || request_.snapshot) {
    return OkStatus();
  }
  can_be_kept_ =
      request_.mirrors.empty() && media_plan_.action != media::MediumAction::kAppend &&
      !media_plan_.copies_sets &&
      std::all_of(journal_.devices.begin(), journal_.devices.end(),
                  [this](const catalog::JobDevice& device) {
                    return parts_.devices.Resumes(device.device_class,
                                                  {.name = device.target, .token = device.token});
                  });
  CAPSTAN_ASSIGN_OR_RETURN(interrupted_, FindInterruptedBackup(parts_.catalog, database_.name));
  if (!request_.restart) {
    const auto given_up = std::exchange(interrupted_, std::nullopt);
    return given_up ? DiscardBackup(parts_, *given_up) : OkStatus();
  }
  if (!interrupted_) {
    observer_.OnMessage(65059, MessageText(65059, database_.name, "none was interrupted"));
    return OkStatus();
  }
  if (!can_be_kept_) {
    return BeginAnew("only new media on disk, without mirrors, can be gone on with");
  }
  if (!SameDevices(interrupted_->devices, journal_.devices)) {
    return BeginAnew("the interrupted one was to other devices");
  }
  if (interrupted_->restarts >= kRestartsMax) {
    return BeginAnew("it was gone on with too often");
  }
  return OpenInterrupted();
}

Status BackupJob::OpenInterrupted() {
  plan_anew_ = {.devices = journal_.devices, .coding = coding_, .media = media_plan_};
  journal_.devices = interrupted_->devices;
  journal_.restarts = interrupted_->restarts + 1;
  const Status opened = OpenDevices();
  std::optional<std::string> why_not;
  if (opened.ok()) {
    CAPSTAN_ASSIGN_OR_RETURN(why_not, WhyNotThese());
  } else if (opened.os_error() == ENOENT) {
    why_not = "what it wrote is not there any more";
  } else {
    return opened;
  }
  if (why_not) {
    return BeginAnew(*why_not);
  }
  worth_keeping_ = true;
  return OkStatus();
}

Result<std::optional<std::string>> BackupJob::WhyNotThese() {
  job_.SetPhase("Reading media headers");
  std::vector<std::optional<FamilyHead>> heads(set_->device_count());
  const auto read = [&](const FirstError& error) -> Status {
    for (std::size_t i = 0; i < heads.size(); ++i) {
      CAPSTAN_ASSIGN_OR_RETURN(heads[i], ReadFamilyHead(*set_, set_->device(i), error));
    }
    return OkStatus();
  };
  CAPSTAN_RETURN_IF_ERROR(RunWatched(job_, *set_, parts_.settings.timeouts.device, read));
  for (std::size_t i = 0; i < heads.size(); ++i) {
    if (!heads[i]) {
      return std::optional<std::string>(
          fmt::format("'{}' holds nothing whole of it", journal_.devices[i].target));
    }
    if (auto why_not = WhyNotThis(heads[i]->header, heads[i]->set, i)) {
      return why_not;
    }
    heads_.push_back(std::move(*heads[i]));
  }
  const std::string& device = journal_.devices.front().target;
  auto unlocked = UnlockCoding(heads_.front().set, KeysOf(request_, parts_.certificates), device);
  if (!unlocked.ok()) {
    return std::optional<std::string>(
        fmt::format("its key cannot be unlocked by what unlocks "
                    "this one ({})",
                    unlocked.status().message()));
  }
  unlocked->compression = coding_.compression;  // the level may be another one
  coding_ = std::move(unlocked).value();
  for (std::size_t i = 0; i < heads_.size(); ++i) {
    media_plan_.families[i].header = heads_[i].header;
  }
  return std::optional<std::string>();
}

std::optional<std::string> BackupJob::WhyNotThis(const media::MediaHeader& header,
                                                 const media::BackupSet& set,
                                                 std::size_t family) const {
  const media::MediaHeader& planned = media_plan_.families[family].header;
  const bool same_medium =
      header.media_family_id == interrupted_->devices[family].media_family_id &&
      set.backup_set_guid == interrupted_->progress->backup_set_guid &&
      header.family_number == planned.family_number && header.family_count == planned.family_count;
  if (!same_medium) {
    return fmt::format("what '{}' holds is not what it wrote", journal_.devices[family].target);
  }
  if (header.name != planned.name || header.description != planned.description) {
    return "its media have another name or description";
  }
  if (set.kind != media::SetKind::kDatabase || set.writer != database_.scheme ||
      set.position != media_plan_.position) {
    return "it was of another kind";
  }
  const auto form = media::PayloadFormOf(set);
  if (!form || form->codec != coding_.form.codec || form->cipher != coding_.form.cipher ||
      set.encryption.encryptor_type != coding_.encryption.encryptor_type) {
    return "it was compressed or encrypted otherwise";
  }
  // Of a passphrase the thumbprint is another one each time; that it is the same, unlocking shows.
  const bool by_certificate =
      request_.encryption &&
      std::holds_alternative<transform::CertificateName>(request_.encryption->encryptor);
  if (by_certificate && set.encryption.thumbprint != coding_.encryption.thumbprint) {
    return "it was encrypted under another certificate";
  }
  if (set.transfer_size != plan_.transfer_size) {
    return fmt::format("it had a MAXTRANSFERSIZE of {}, this one has {}", set.transfer_size,
                       plan_.transfer_size);
  }
  return std::nullopt;
}

bool BackupJob::HasFilesOfInterrupted() const {
  const auto& before = heads_.front().set.files;
  return std::equal(before.begin(), before.end(), final_set_.files.begin(), final_set_.files.end(),
                    [](const media::BackupFile& a, const media::BackupFile& b) {
                      return a.logical_name == b.logical_name && a.type == b.type &&
                             a.whole == b.whole && a.page_size == b.page_size;
                    });
}

Status BackupJob::BeginAnew(std::string_view why) {
  observer_.OnMessage(65059, MessageText(65059, database_.name, why));
  if (set_ != nullptr) {
    (void)set_->Close();  // nothing was written since; Recover tells what is wrong
    set_.reset();
  }
  catalog::JobRecord given_up = *interrupted_;
  if (std::exchange(journal_begun_, false)) {
    given_up.job_guid = journal_.job_guid;  // it has taken the place of the interrupted one
  }
  interrupted_.reset();
  worth_keeping_ = false;
  journal_.restarts = 0;
  if (!plan_anew_.devices.empty()) {
    journal_.devices = plan_anew_.devices;
    coding_ = plan_anew_.coding;
    media_plan_ = plan_anew_.media;
  }
  return DiscardBackup(parts_, given_up);
}

void BackupJob::NoteProgress(std::uint64_t bytes) {
  if (worth_keeping_ || !can_be_kept_ || bytes < parts_.settings.checkpoint_bytes) {
    return;
  }
  worth_keeping_ = true;
  const Status noted = parts_.catalog.AddCheckpoint(job_.guid(),
                                                    {.backup_set_guid = final_set_.backup_set_guid,
                                                     .done_bytes = bytes,
                                                     .total_bytes = job_.Snapshot().bytes_total},
                                                    "");
  if (!noted.ok()) {
    can_be_kept_ = false;
    CAPSTAN_LOG(kWarning, "the backup of '{}' cannot be gone on with if it is interrupted: {}",
                database_.name, noted.message());
  }
}

bool BackupJob::KeepForRestart(Status& failure) {
  // Where there is no room, what was written is in the way.
  const bool in_the_way = pipeline_ != nullptr && pipeline_->ran_out_of_space();
  if (!can_be_kept_ || !worth_keeping_ || in_the_way || prepared_) {
    return false;
  }
  if (!journal_begun_) {
    return true;  // the journal knows the one before, whose media are as they were
  }
  catalog::JobProgress progress{.backup_set_guid = coding_.backup_set_guid,
                                .done_bytes = interrupted_ ? interrupted_->progress->done_bytes : 0,
                                .total_bytes = job_.Snapshot().bytes_total};
  if (pipeline_ != nullptr) {
    progress.done_bytes = std::max(progress.done_bytes, pipeline_->bytes_done());
  }
  Status kept = parts_.catalog.AddCheckpoint(job_.guid(), progress, "");
  if (kept.ok()) {
    kept = parts_.catalog.KeepJob(job_.guid());
  }
  if (!kept.ok()) {
    CAPSTAN_LOG(kError, "job {} stays in the journal as it is: {}", job_.guid().ToString(),
                kept.message());
    return true;  // so it is settled at the next start
  }
  const std::string how = HowToGoOnWithBackup(database_.name, progress.done_bytes);
  const std::string hint(failure.hint());
  failure = std::move(failure).WithHint(hint.empty() ? how : hint + "; " + how);
  parts_.error_log.Write(
      request_.transfer.session_id,
      fmt::format("The backup of '{}' was interrupted; {}.", database_.name, how));
  return true;
}

}  // namespace capstan::engine
