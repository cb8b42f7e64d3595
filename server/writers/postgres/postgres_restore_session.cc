#include "server/writers/postgres/postgres_restore_session.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/postgres/pg_control.h"
#include "server/writers/postgres/standby_settings.h"
#include "server/writers/postgres/wal_format.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

using Phase = RestoringState::Phase;

constexpr std::string_view kLogPrefix = "pg_wal/";
constexpr std::string_view kControlFile = "global/pg_control";
constexpr std::uint64_t kManifestBytesMax = 1U << 30;

Status NoPlace(const RestoreTarget& target, std::string hint) {
  return SqlError(3156, target.file.logical_name, target.physical_name).WithHint(std::move(hint));
}

bool IsDirectory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// The tablespaces that a data directory links to.
std::set<std::string> LinkedTablespaces(const std::string& data_directory) {
  std::set<std::string> folders;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(data_directory + "/pg_tblspc", error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    folders.insert(RealPath(entry->path().string()));
  }
  return folders;
}

}  // namespace

Result<std::unique_ptr<PostgresRestoreSession>> PostgresRestoreSession::Begin(
    std::span<const RestoreTarget> targets, const RestoreOptions& options,
    std::shared_ptr<WriterStateTracker> tracker) {
  CAPSTAN_ASSIGN_OR_RETURN(PostgresSet set, DecodePostgresSet(options.writer_data));
  if (targets.size() != set.tablespaces.size() + 2) {
    return Error(Code::kInvalidArgument, "the set has {} files, not {}", set.tablespaces.size() + 2,
                 targets.size());
  }
  for (const RestoreTarget& target : targets) {
    if (!target.physical_name.starts_with('/') || target.physical_name.ends_with('/')) {
      return Error(Code::kInvalidArgument, "'{}' is not the absolute path of a folder",
                   target.physical_name);
    }
  }
  std::unique_ptr<PostgresRestoreSession> session(
      new PostgresRestoreSession(options, std::move(set)));
  CAPSTAN_RETURN_IF_ERROR(session->Open(targets));
  session->activity_ =
      std::make_unique<WriterActivity>(std::move(tracker), WriterActivity::Kind::kRestore);
  return session;
}

Status PostgresRestoreSession::Open(std::span<const RestoreTarget> targets) {
  data_directory_ = targets.front().physical_name;
  CAPSTAN_ASSIGN_OR_RETURN(owner_, OwnerOfCluster(data_directory_));
  CAPSTAN_RETURN_IF_ERROR(CheckNotRunning(data_directory_));
  if (options_.kind == BackupKind::kFull) {
    CAPSTAN_RETURN_IF_ERROR(CheckFull(targets));
    CAPSTAN_RETURN_IF_ERROR(MakeDirectories(data_directory_, owner_));
  }
  CAPSTAN_ASSIGN_OR_RETURN(lock_, LockDirectory(data_directory_));
  if (options_.kind == BackupKind::kDifferential) {
    CAPSTAN_RETURN_IF_ERROR(CheckDifferential());
  } else if (options_.resume) {
    CAPSTAN_RETURN_IF_ERROR(CheckResumed(targets));
  }
  CAPSTAN_RETURN_IF_ERROR(BeginWriting(targets));
  began_ = true;
  return OkStatus();
}

Status PostgresRestoreSession::CheckFull(std::span<const RestoreTarget> targets) {
  const RestoringFile marker(data_directory_);
  const auto state = marker.Read();
  const bool ours = marker.exists();
  if (!ours && options_.replace && PathExists(data_directory_ + "/PG_VERSION")) {
    CAPSTAN_RETURN_IF_ERROR(CheckPlace(targets.front(), true));
  } else {
    CAPSTAN_RETURN_IF_ERROR(CheckPlace(targets.front(), ours));
  }
  was_empty_ = !IsDirectory(data_directory_) || DirectoryIsEmpty(data_directory_).value();
  std::set<std::string> folders = LinkedTablespaces(data_directory_);
  if (state.ok()) {
    for (const std::string& folder : state->tablespaces) {
      folders.insert(RealPath(folder));
    }
  }
  std::set<std::string> used = {RealPath(data_directory_)};
  for (const RestoreTarget& target : targets.subspan(1, set_.tablespaces.size())) {
    const std::string real = RealPath(target.physical_name);
    CAPSTAN_RETURN_IF_ERROR(CheckPlace(target, folders.contains(real)));
    if (!used.insert(real).second) {
      return NoPlace(target, "another file of the set goes there: give each a folder of its own");
    }
  }
  return ChooseLogDirectory(targets.back());
}

Status PostgresRestoreSession::CheckPlace(const RestoreTarget& target, bool ours) const {
  const std::string& folder = target.physical_name;
  if (!PathExists(folder)) {
    return OkStatus();
  }
  if (!IsDirectory(folder)) {
    return NoPlace(target, fmt::format("'{}' is no folder", folder));
  }
  CAPSTAN_ASSIGN_OR_RETURN(const bool empty, DirectoryIsEmpty(folder));
  if (empty || ours) {
    return OkStatus();
  }
  return NoPlace(target,
                 options_.replace
                     ? fmt::format("'{}' holds something else than the cluster that is to "
                                   "be replaced: empty it, or restore WITH MOVE",
                                   folder)
                     : fmt::format("'{}' is not empty: restore WITH REPLACE or MOVE", folder));
}

Status PostgresRestoreSession::ChooseLogDirectory(const RestoreTarget& target) {
  const std::string usual = data_directory_ + "/pg_wal";
  const std::string& wanted = target.physical_name;
  const std::string present = RealPath(usual);
  // As the server had it that was backed up means: where a data directory has it.
  if (wanted == usual || wanted == set_.data_directory + "/pg_wal") {
    log_directory_ = IsDirectory(usual) ? present : usual;
    return OkStatus();
  }
  // Another cluster's log must not be taken for a place, whatever may be replaced.
  CAPSTAN_RETURN_IF_ERROR(CheckPlace(target, RealPath(wanted) == present));
  log_directory_ = wanted;
  return OkStatus();
}

Status PostgresRestoreSession::CheckDifferential() {
  const auto state = RestoringFile(data_directory_).Read();
  const bool ready =
      state.ok() && (state->phase == Phase::kRestoring || state->phase == Phase::kDifferential);
  if (!ready) {
    return SqlError(3117).WithHint(fmt::format(
        "nothing is being restored in '{}': restore the full backup that this one is based on WITH "
        "NORECOVERY first",
        data_directory_));
  }
  if (state->system_identifier != set_.system_identifier) {
    return SqlError(3136).WithHint(fmt::format("the backup is of cluster {}, and '{}' of {}",
                                               set_.system_identifier, data_directory_,
                                               state->system_identifier));
  }
  if (!PathExists(data_directory_ + "/backup_label")) {
    return SqlError(3136).WithHint(fmt::format(
        "log has been replayed in '{}' since its full backup was restored: restore that again, "
        "then the differential one, then the log",
        data_directory_));
  }
  log_directory_ = state->log_directory;
  return OkStatus();
}

RestoringState PostgresRestoreSession::StateOf(Phase phase) const {
  RestoringState state{.phase = phase,
                       .job_name = options_.job_name,
                       .was_empty = was_empty_,
                       .kept = options_.resume && phase == Phase::kWriting,
                       .system_identifier = set_.system_identifier,
                       .server_version = set_.server_version,
                       .segment_size = set_.wal_segment_bytes,
                       .timeline = set_.timeline,
                       .start = {set_.start_lsn},
                       .consistent = options_.lsns.last,
                       .log_end = options_.lsns.last,
                       .log_directory = log_directory_};
  for (std::size_t i = 1; i < places_.size(); ++i) {
    state.tablespaces.push_back(places_[i].root());
  }
  return state;
}

DirectWriteQueue* PostgresRestoreSession::QueueFor(const std::string& folder) {
  // What is missing of an interrupted restore was not there, or has been found to be different.
  const bool nothing_to_compare =
      options_.resume || !IsDirectory(folder) || DirectoryIsEmpty(folder).value();
  return nothing_to_compare ? &queue_ : nullptr;
}

Status PostgresRestoreSession::BeginWriting(std::span<const RestoreTarget> targets) {
  for (const RestoreTarget& target : targets.first(targets.size() - 1)) {
    CAPSTAN_ASSIGN_OR_RETURN(
        RestoredPlace place,
        RestoredPlace::Open(target.physical_name, owner_, QueueFor(target.physical_name)));
    places_.push_back(std::move(place));
  }
  const bool full = options_.kind == BackupKind::kFull;
  CAPSTAN_RETURN_IF_ERROR(
      RestoringFile(data_directory_)
          .Write(StateOf(full ? Phase::kWriting : Phase::kDifferential), owner_));
  began_ = !options_.resume;  // what was kept stays, whatever keeps this one from going on
  CAPSTAN_CRASH_POINT("postgres.restore.marked");
  CAPSTAN_RETURN_IF_ERROR(RemoveFile(ControlFilePath(data_directory_)));
  if (full) {
    CAPSTAN_RETURN_IF_ERROR(RemoveFile(HiddenControlFilePath(data_directory_)));
    CAPSTAN_RETURN_IF_ERROR(RemoveContents(StandbyLogFolder(data_directory_)));
    ::rmdir(StandbyLogFolder(data_directory_).c_str());
  }
  if (IsDirectory(data_directory_ + "/global")) {
    CAPSTAN_RETURN_IF_ERROR(SyncDirectory(data_directory_ + "/global"));
  }
  CAPSTAN_RETURN_IF_ERROR(OpenLogDirectory());
  return full ? OpenPlacedExtents() : OkStatus();
}

Status PostgresRestoreSession::OpenLogDirectory() {
  const std::string usual = data_directory_ + "/pg_wal";
  CAPSTAN_ASSIGN_OR_RETURN(RestoredPlace place, RestoredPlace::Open(log_directory_, owner_));
  if (RealPath(usual) != RealPath(log_directory_)) {
    std::error_code error;
    std::filesystem::remove_all(usual, error);
    if (error || ::symlink(log_directory_.c_str(), usual.c_str()) != 0) {
      return OsError(error ? error.value() : errno,
                     fmt::format("unable to make '{}' a link to '{}'", usual, log_directory_));
    }
  }
  if (options_.kind == BackupKind::kFull && !options_.resume) {
    CAPSTAN_RETURN_IF_ERROR(RemoveContents(log_directory_));
  }
  CAPSTAN_RETURN_IF_ERROR(place.MakeFolder("archive_status", S_IRWXU));
  log_place_.push_back(std::move(place));
  return OkStatus();
}

Status PostgresRestoreSession::OpenPlacedExtents() {
  CAPSTAN_ASSIGN_OR_RETURN(
      placed_, options_.resume ? PlacedExtents::Open(data_directory_, options_.job_name)
                               : PlacedExtents::Create(data_directory_, options_.job_name, owner_));
  return OkStatus();
}

PostgresRestoreSession::~PostgresRestoreSession() {
  if (!began_ || committed_ || kept_) {
    return;
  }
  placed_.reset();
  static_cast<void>(PlacedExtents::Remove(data_directory_).ok());
  if (!was_empty_) {
    return;  // what is there can be used by the next restore; no server starts on it
  }
  CAPSTAN_LOG(kInfo, "restore given up directory={}", data_directory_);
  static_cast<void>(queue_.Drain().ok());
  static_cast<void>(RemoveContents(log_directory_).ok());
  for (auto place = places_.rbegin(); place != places_.rend(); ++place) {
    static_cast<void>(RemoveContents(place->root()).ok());
  }
}

Status PostgresRestoreSession::WriteExtent(const Extent& extent,
                                           std::span<const std::byte> source) {
  if (extent.length != source.size() || extent.file_index > places_.size() || committed_) {
    return Error(Code::kInvalidArgument, "extent of {} bytes of file {} does not fit",
                 extent.length, extent.file_index);
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<BundlePart> parts, DecodeBundle(source));
  Status status = WriteParts(PlaceOf(extent), parts);
  if (status.ok() && placed_ != nullptr) {
    status = placed_->Add(Placed(extent, source, parts));
  }
  if (!status.ok()) {
    activity_->Fail(status);
    return status;
  }
  if (options_.resume) {
    const MutexLock lock(mutex_);
    read_back_.erase(ExtentKey(extent.file_index, extent.offset));  // it was not right
  }
  return OkStatus();
}

Status PostgresRestoreSession::WriteParts(std::uint32_t place, std::span<const BundlePart> parts) {
  for (const BundlePart& part : parts) {
    CAPSTAN_RETURN_IF_ERROR(WritePart(place, part));
  }
  return OkStatus();
}

std::string PostgresRestoreSession::PathInLog(const std::string& path) {
  return path.substr(kLogPrefix.size());
}

PostgresRestoreSession::Home PostgresRestoreSession::HomeOf(std::uint32_t place,
                                                            const BundleEntry& entry) const {
  const std::string& path = entry.path;
  if (entry.kind == BundleEntry::Kind::kManifest) {
    return Home::kManifest;
  }
  if (place != 0) {
    return Home::kPlace;
  }
  if (path == kControlFile) {
    return Home::kControlFile;
  }
  if (path == "backup_label") {
    return Home::kLabel;
  }
  if (path == "tablespace_map") {
    return Home::kNowhere;  // the links are made here, to where the tablespaces are now
  }
  if (path.starts_with(kLogPrefix)) {
    const std::string name = PathInLog(path);
    const bool known =
        ParseWalSegmentName(name, set_.wal_segment_bytes).has_value() || name.ends_with(".history");
    // Of the rest (what is archived already, which backups there were) nothing holds any more.
    return known ? Home::kLog : Home::kNowhere;
  }
  return Home::kPlace;
}

Status PostgresRestoreSession::WritePart(std::uint32_t place, const BundlePart& part) {
  const std::string& path = part.entry.path;
  switch (HomeOf(place, part.entry)) {
    case Home::kManifest:
      return KeepPart(&manifest_, part);
    case Home::kControlFile:
      return KeepPart(&control_file_, part);
    case Home::kLabel:
      return KeepPart(&label_, part);
    case Home::kLog: {
      BundlePart inner = part;
      inner.entry.path = PathInLog(path);
      return log_place_.front().Write(inner);
    }
    case Home::kNowhere:
      return OkStatus();
    case Home::kPlace:
      break;
  }
  if (place == 0 && (path.starts_with("capstan.") || path.starts_with("pg_tblspc/"))) {
    return Error(Code::kDataLoss, "the backup set has a file '{}', which no cluster has", path);
  }
  CountTaken(place, part.entry);
  return places_[place].Write(part);
}

void PostgresRestoreSession::CountTaken(std::uint32_t place, const BundleEntry& entry) {
  const MutexLock lock(mutex_);
  taken_[{place, entry.path}] += entry.length;
}

Status PostgresRestoreSession::KeepPart(std::vector<std::byte>* kept, const BundlePart& part) {
  const std::uint64_t end = part.entry.offset + part.entry.length;
  const std::uint64_t limit = kept == &manifest_ ? kManifestBytesMax : kPgControlFileBytes;
  if (end > limit) {
    return Error(Code::kDataLoss, "the backup set's '{}' has {} bytes, which is too much",
                 part.entry.path, end);
  }
  const MutexLock lock(mutex_);
  kept->resize(std::max<std::size_t>(kept->size(), end));
  std::ranges::copy(part.bytes, kept->begin() + static_cast<std::ptrdiff_t>(part.entry.offset));
  if (kept == &manifest_) {
    manifest_bytes_ += part.entry.length;
  }
  return OkStatus();
}

}  // namespace capstan::writers
