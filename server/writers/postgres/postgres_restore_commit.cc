// PostgresRestoreSession::Commit: from written files to a directory that can be recovered.
#include <algorithm>
#include <cerrno>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/writers/postgres/cluster_recovery.h"
#include "server/writers/postgres/log_files.h"
#include "server/writers/postgres/pg_control.h"
#include "server/writers/postgres/postgres_restore_session.h"
#include "server/writers/postgres/stop_search.h"
#include "server/writers/postgres/wal_format.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

Status Incomplete(std::string_view what) {
  return Error(Code::kDataLoss, "what was restored is no whole cluster: {}", what)
      .WithHint("verify the backup set, or restore another one");
}

// What the tidying of a data directory does not touch.
bool IsKeptApart(const std::string& path) {
  return path == "pg_wal" || path == "pg_tblspc" || path == "backup_label" ||
         path == "lost+found" || path == "global/pg_control" || path.starts_with("capstan.") ||
         path.starts_with("global/capstan.");
}

// What the manifest names, but what is not put there as it is.
bool IsReplaced(const std::string& path) {
  return path == "tablespace_map" || path == "backup_label" || path == "global/pg_control";
}

bool IsOfLog(std::string_view path) {
  return path == "pg_wal" || path.starts_with("pg_wal/");
}

}  // namespace

Result<RestoreOutcome> PostgresRestoreSession::Commit() {
  if (committed_) {
    return Error(Code::kFailedPrecondition, "the restore of '{}' was committed already",
                 data_directory_);
  }
  auto outcome = CommitSteps();
  activity_->Finish(outcome.status());
  return outcome;
}

Result<RestoreOutcome> PostgresRestoreSession::CommitSteps() {
  CAPSTAN_RETURN_IF_ERROR(queue_.Drain());
  CAPSTAN_ASSIGN_OR_RETURN(const ClusterManifest manifest, TakeManifest());
  CAPSTAN_RETURN_IF_ERROR(CheckComplete(manifest));
  CAPSTAN_RETURN_IF_ERROR(MatchManifest(manifest));
  CAPSTAN_RETURN_IF_ERROR(LinkTablespaces());
  CAPSTAN_RETURN_IF_ERROR(TrimLog(log_directory_, {manifest.stop_lsn}, set_.wal_segment_bytes));
  CAPSTAN_RETURN_IF_ERROR(CheckRestoredLog(manifest));
  CAPSTAN_CRASH_POINT("postgres.restore.written");
  CAPSTAN_RETURN_IF_ERROR(MakeDurable(manifest));
  committed_ = true;
  std::uint64_t taken = 0;
  std::uint64_t written = 0;
  for (const RestoredPlace& place : places_) {
    taken += place.taken_bytes();
    written += place.written_bytes();
  }
  CAPSTAN_LOG(kInfo, "restored directory={} bytes={} written={}", data_directory_, taken, written);
  CAPSTAN_ASSIGN_OR_RETURN(ClusterRecovery recovery,
                           ClusterRecovery::Open({.data_directory = data_directory_}));
  auto outcome = recovery.End(options_.end, options_.stop);
  // Not before: one that dies in its recovery can be gone on with as well.
  if (Status removed = PlacedExtents::Remove(data_directory_); !removed.ok()) {
    CAPSTAN_LOG(kWarning, "left behind {}", removed.message());
  }
  return outcome;
}

Result<ClusterManifest> PostgresRestoreSession::TakeManifest() {
  const MutexLock lock(mutex_);
  if (manifest_.empty() || manifest_bytes_ != manifest_.size()) {
    return Incomplete(
        fmt::format("{} of {} bytes of its list of files are missing",
                    manifest_.size() - std::min<std::uint64_t>(manifest_bytes_, manifest_.size()),
                    manifest_.size()));
  }
  CAPSTAN_ASSIGN_OR_RETURN(ClusterManifest manifest, DecodeManifest(manifest_));
  for (const ClusterManifest::File& file : manifest.files) {
    if (file.place >= places_.size()) {
      return Incomplete(fmt::format("'{}' is in tablespace {}", file.path, file.place));
    }
  }
  for (const ClusterManifest::Directory& directory : manifest.directories) {
    if (directory.place >= places_.size()) {
      return Incomplete(fmt::format("'{}' is in tablespace {}", directory.path, directory.place));
    }
  }
  return manifest;
}

Status PostgresRestoreSession::CheckComplete(const ClusterManifest& manifest) {
  const MutexLock lock(mutex_);
  CAPSTAN_RETURN_IF_ERROR(
      Annotate(ParsePgControl(control_file_).status(), "its control file is not right"));
  if (label_.empty()) {
    return Incomplete("its backup_label is missing");
  }
  if (options_.kind != BackupKind::kFull) {
    return OkStatus();
  }
  for (const ClusterManifest::File& file : manifest.files) {
    const bool apart = file.place == 0 && (IsReplaced(file.path) || IsOfLog(file.path));
    const auto taken = taken_.find({file.place, file.path});
    const std::uint64_t bytes = taken == taken_.end() ? 0 : taken->second;
    if (!apart && bytes < file.size_bytes) {
      return Incomplete(
          fmt::format("{} of {} bytes of '{}' came", bytes, file.size_bytes, file.path));
    }
  }
  return OkStatus();
}

Status PostgresRestoreSession::MatchManifest(const ClusterManifest& manifest) {
  std::vector<std::set<std::string>> wanted(places_.size());
  for (const ClusterManifest::Directory& directory : manifest.directories) {
    if (directory.place == 0 && IsOfLog(directory.path)) {
      continue;
    }
    CAPSTAN_RETURN_IF_ERROR(places_[directory.place].MakeFolder(directory.path, directory.mode));
    wanted[directory.place].insert(directory.path);
  }
  for (const ClusterManifest::File& file : manifest.files) {
    if (file.place == 0 && (IsOfLog(file.path) || IsReplaced(file.path))) {
      continue;
    }
    CAPSTAN_RETURN_IF_ERROR(places_[file.place].Finish(file.path, file.size_bytes, file.mode));
    wanted[file.place].insert(file.path);
  }
  for (std::size_t i = 0; i < places_.size(); ++i) {
    // Of a tablespace only the folder of this version is the cluster's.
    const std::string below =
        i == 0 ? "" : fmt::format("PG_{}_{}", set_.server_version / 10'000, set_.catalog_version);
    if (i != 0 && !wanted[i].contains(below)) {
      CAPSTAN_RETURN_IF_ERROR(places_[i].MakeFolder(below, S_IRWXU));
    }
    CAPSTAN_RETURN_IF_ERROR(places_[i].RemoveOthers(
        below,
        {.is_wanted = [&](const std::string& path) { return wanted[i].contains(path); },
         .is_left_alone = [&](const std::string& path) { return i == 0 && IsKeptApart(path); }}));
  }
  return OkStatus();
}

Status PostgresRestoreSession::LinkTablespaces() {
  CAPSTAN_RETURN_IF_ERROR(places_.front().MakeFolder("pg_tblspc", S_IRWXU));
  const std::string folder = data_directory_ + "/pg_tblspc";
  CAPSTAN_RETURN_IF_ERROR(RemoveContents(folder));
  for (std::size_t i = 0; i < set_.tablespaces.size(); ++i) {
    const std::string link = fmt::format("{}/{}", folder, set_.tablespaces[i].oid);
    if (::symlink(places_[i + 1].root().c_str(), link.c_str()) != 0 ||
        (::geteuid() == 0 && ::lchown(link.c_str(), owner_.user, owner_.group) != 0)) {
      return OsError(errno, fmt::format("unable to create the link '{}'", link));
    }
  }
  return OkStatus();
}

Status PostgresRestoreSession::CheckRestoredLog(const ClusterManifest& manifest) const {
  auto history = TimelineHistory::Read(log_directory_, manifest.timeline);
  return CheckLog(
      {.directories = {log_directory_},
       .history = history.ok() ? *std::move(history) : TimelineHistory(manifest.timeline),
       .segment_size = set_.wal_segment_bytes,
       .system_identifier = set_.system_identifier,
       .begin = {set_.start_lsn},
       .end = {manifest.stop_lsn}});
}

Status PostgresRestoreSession::MakeDurable(const ClusterManifest& manifest) {
  for (const RestoredPlace& place : places_) {
    CAPSTAN_RETURN_IF_ERROR(SyncFileSystem(place.root()));
  }
  CAPSTAN_RETURN_IF_ERROR(SyncFileSystem(log_directory_));
  {
    const MutexLock lock(mutex_);
    CAPSTAN_RETURN_IF_ERROR(WriteFileDurably(data_directory_ + "/backup_label", label_, owner_));
    CAPSTAN_RETURN_IF_ERROR(
        WriteFileDurably(HiddenControlFilePath(data_directory_), control_file_, owner_));
  }
  RestoringState state = StateOf(RestoringState::Phase::kRestoring);
  state.timeline = manifest.timeline;
  state.consistent = {manifest.stop_lsn};
  state.log_end = {manifest.stop_lsn};
  return RestoringFile(data_directory_).Write(state, owner_);
}

}  // namespace capstan::writers
