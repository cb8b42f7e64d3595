#include "server/writers/postgres/postgres_backup_session.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "server/writers/postgres/backup_tail.h"
#include "server/writers/postgres/pg_control.h"
#include "server/writers/postgres/postgres_fork.h"
#include "server/writers/postgres/relation_names.h"
#include "server/writers/postgres/timeline_history.h"
#include "server/writers/postgres/wal_format.h"

namespace capstan::writers {
namespace {

std::uint64_t UnixMicroseconds() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}

Result<TimelineHistory> HistoryOf(const PostgresServer& server, std::uint32_t timeline) {
  if (timeline == 1) {
    return TimelineHistory(1);
  }
  return TimelineHistory::Read(server.set.data_directory + "/pg_wal", timeline);
}

Guid ForkOf(const PostgresServer& server, const TimelineHistory& history) {
  return PostgresFork(server.set.system_identifier, history.timeline(),
                      history.entries().back().begin);
}

// What a differential backup against this base takes of relations.
Result<PageChanges> ChangesSince(const DifferentialBase& base, const PostgresServer& server,
                                 const TimelineHistory& history) {
  constexpr std::string_view kHint = "take a full backup first";
  if (server.in_recovery) {
    return Error(Code::kFailedPrecondition,
                 "a differential backup cannot be made of a standby: what it is measured from is "
                 "kept on the primary")
        .WithHint("back up the primary, or make a full backup WITH COPY_ONLY");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const PostgresSet set, DecodePostgresSet(base.writer_data));
  if (set.system_identifier != server.set.system_identifier) {
    return Error(Code::kFailedPrecondition, "the full backup to measure from is of another cluster")
        .WithHint(std::string(kHint));
  }
  // The last byte of log that the base has must be of our own past.
  const Lsn last{base.lsns.last.value - 1};
  const Guid fork_then =
      PostgresFork(set.system_identifier, set.timeline, Lsn{set.timeline_begin_lsn});
  const std::uint32_t timeline_then = history.TimelineAt(last);
  const auto entry =
      std::ranges::find(history.entries(), timeline_then, &TimelineHistory::Entry::timeline);
  const bool is_ours =
      base.lsns.last.value != 0 && entry != history.entries().end() &&
      (PostgresFork(set.system_identifier, entry->timeline, entry->begin) == fork_then ||
       set.from_standby);
  if (!is_ours) {
    return Error(
               Code::kFailedPrecondition,
               "the cluster was restored or promoted to a point before the end of the full backup "
               "to measure from")
        .WithHint(std::string(kHint));
  }
  if (set.data_checksums != server.set.data_checksums) {
    return Error(Code::kFailedPrecondition,
                 "data checksums were switched on or off since the full backup to measure from")
        .WithHint(std::string(kHint));
  }
  return PageChanges(set, base.lsns.checkpoint);
}

}  // namespace

PostgresBackupSession::PostgresBackupSession(PostgresServer server, BackupControl control,
                                             std::unique_ptr<WriterActivity> activity)
    : server_(std::move(server)),
      activity_(std::move(activity)),
      start_(control.start()),
      stop_(control.start()),
      control_(std::move(control)) {}

PostgresBackupSession::~PostgresBackupSession() = default;

Result<std::unique_ptr<PostgresBackupSession>> PostgresBackupSession::Begin(
    PostgresConnection connection, Subject subject, const BackupOptions& options) {
  CAPSTAN_ASSIGN_OR_RETURN(PostgresServer server, AskServer(connection));
  CAPSTAN_RETURN_IF_ERROR(CheckServerIsHere(server, connection));
  if (options.kind == BackupKind::kDifferential && !options.base) {
    return Error(Code::kInvalidArgument, "a differential backup without a base");
  }
  // Before the backup begins, so that a file made after it never looks older.
  server.set.start_unix_us = UnixMicroseconds();
  CAPSTAN_ASSIGN_OR_RETURN(
      BackupControl control,
      BackupControl::Begin(std::move(connection), "Capstan " + subject.logical_name,
                           options.lock_deadline));
  server.set.start_lsn = control.start().value;
  server.set.timeline = control.timeline();
  CAPSTAN_ASSIGN_OR_RETURN(const TimelineHistory history, HistoryOf(server, control.timeline()));
  server.set.timeline_begin_lsn = history.entries().back().begin.value;
  std::optional<PageChanges> changes;
  if (options.kind == BackupKind::kDifferential) {
    CAPSTAN_ASSIGN_OR_RETURN(changes, ChangesSince(*options.base, server, history));
  }
  std::unique_ptr<PostgresBackupSession> session(new PostgresBackupSession(
      std::move(server), std::move(control), std::move(subject.activity)));
  session->fork_ = ForkOf(session->server_, history);
  session->description_ = DescribeServer(session->server_, subject.logical_name);
  CAPSTAN_RETURN_IF_ERROR(session->OpenPlaces());
  CAPSTAN_RETURN_IF_ERROR(session->MakeWriterData());
  if (options.on_page_error) {
    session->VerifyPages(subject.location, options.on_page_error);
  }
  session->PlanVolumes(options, changes);
  return session;
}

Status PostgresBackupSession::OpenPlaces() {
  const PostgresSet& set = server_.set;
  CAPSTAN_ASSIGN_OR_RETURN(ClusterRoot data, OpenClusterRoot(set.data_directory));
  for (const PostgresTablespace& tablespace : set.tablespaces) {
    if (tablespace.location.starts_with(set.data_directory + "/")) {
      data.not_folders.push_back(tablespace.location.substr(set.data_directory.size() + 1));
    }
  }
  places_.push_back(std::move(data));
  for (const PostgresTablespace& tablespace : set.tablespaces) {
    CAPSTAN_ASSIGN_OR_RETURN(ClusterRoot place, OpenClusterRoot(tablespace.location));
    place.tablespace_oid = tablespace.oid;
    place.only_folder = fmt::format("PG_{}_{}", set.server_version / 10000, set.catalog_version);
    places_.push_back(std::move(place));
  }
  for (const ClusterRoot& place : places_) {
    CAPSTAN_ASSIGN_OR_RETURN(std::vector<ClusterFolder> folders, ListClusterFolders(place));
    folders_.push_back(std::move(folders));
  }
  extents_.emplace(description_.files.size());
  return OkStatus();
}

Status PostgresBackupSession::MakeWriterData() {
  PostgresSet set = server_.set;
  for (const std::vector<ClusterFolder>& folders : folders_) {
    for (const ClusterFolder& folder : folders) {
      if (folder.relations_of && folder.relations_of->database_oid != 0) {
        set.database_folders.push_back(*folder.relations_of);
      }
    }
  }
  CAPSTAN_ASSIGN_OR_RETURN(writer_data_, EncodePostgresSet(set));
  return OkStatus();
}

void PostgresBackupSession::VerifyPages(const std::string& location,
                                        PageErrorHandler on_page_error) {
  // Shared, because a handler is copied.
  const auto names = std::make_shared<RelationNames>(location, server_.set);
  verifier_ = std::make_unique<PageVerifier>(PageVerifier::Options{
      .page_bytes = server_.set.block_bytes,
      .checksums = server_.set.data_checksums,
      .start = start_,
      .on_page_error = [names, on_page_error = std::move(on_page_error)](PageError error) {
        if (const std::string name = names->NameOf(error.file); !name.empty()) {
          error.cause += fmt::format(" (it is of {})", name);
        }
        return on_page_error(error);
      }});
}

void PostgresBackupSession::PlanVolumes(const BackupOptions& options,
                                        const std::optional<PageChanges>& changes) {
  if (options.kind == BackupKind::kFull) {
    kept_ = std::make_unique<KeptFiles>(
        KeptFiles::Options{.places = &places_,
                           .folders = &folders_,
                           .verifier = verifier_.get(),
                           .relation_segment_blocks = server_.set.relation_segment_blocks,
                           .drop_page_cache_behind = options.drop_page_cache_behind});
  }
  for (std::uint32_t v = 0; v < description_.volumes.size(); ++v) {
    FileFeed::Options feed{.changes = changes,
                           .kept = kept_.get(),
                           .drop_page_cache_behind = options.drop_page_cache_behind};
    for (std::uint32_t p = 0; p < places_.size(); ++p) {
      if (description_.files[p].volume == v) {
        feed.sources.push_back({.place_index = p, .place = &places_[p], .folders = &folders_[p]});
      }
    }
    volumes_.push_back({.options = std::move(feed)});
  }
}

// Not before: a feed takes the sizes that files have, and passes over what is kept of them.
Status PostgresBackupSession::StartFeed(Volume& volume) {
  if (kept_ != nullptr) {
    kept_->Seal();
  }
  CAPSTAN_ASSIGN_OR_RETURN(volume.feed, FileFeed::Start(volume.options));
  return OkStatus();
}

Result<bool> PostgresBackupSession::Keeps(const Extent& extent, std::span<const std::byte> bytes) {
  // No extent of ours gets as far as that, so it need not be passed over.
  constexpr std::uint64_t kOffsetMax = std::uint64_t{1} << 62;
  if (kept_ == nullptr || extent.file_index >= description_.files.size() ||
      extent.offset > kOffsetMax) {
    return false;
  }
  Result<bool> kept = kept_->Keep(extent, bytes);
  if (!kept.ok()) {
    return Fail(std::move(kept).status());
  }
  // What comes shares no offset with it, whether it is kept or not.
  extents_->Reserve(extent.file_index, extent.offset + extent.length);
  return kept;
}

Result<std::optional<FileStretch>> PostgresBackupSession::NextStretch(std::uint32_t volume) {
  if (volume < volumes_.size()) {
    Volume& from = volumes_[volume];
    if (from.feed == nullptr) {
      CAPSTAN_RETURN_IF_ERROR(StartFeed(from));
    }
    if (from.next || from.done) {
      return std::exchange(from.next, std::nullopt);
    }
    CAPSTAN_ASSIGN_OR_RETURN(std::optional<FileStretch> stretch, from.feed->Next());
    from.done = !stretch;
    return stretch;
  }
  if (tail_next_) {
    return std::exchange(tail_next_, std::nullopt);
  }
  if (tail_.empty()) {
    return std::optional<FileStretch>();
  }
  std::optional<FileStretch> stretch(std::move(tail_.front()));
  tail_.pop_front();
  CAPSTAN_RETURN_IF_ERROR(OpenTailFile(*stretch->file));
  return stretch;
}

Result<std::optional<Extent>> PostgresBackupSession::NextExtent(std::uint32_t volume,
                                                                std::uint32_t length_max) {
  const std::size_t volume_count = volumes_.size() + (tail_begun_ ? 1 : 0);
  if (volume >= volume_count || length_max < kBundleLengthMin || ended_) {
    return Error(Code::kInvalidArgument, "no extent of volume {} with at most {} bytes", volume,
                 length_max);
  }
  ExtentPlanner planner(length_max, server_.set.block_bytes);
  std::optional<std::uint32_t> file_index;
  while (true) {
    auto taken = NextStretch(volume);
    if (!taken.ok()) {
      return Fail(std::move(taken).status());
    }
    std::optional<FileStretch> stretch = *std::move(taken);
    if (!stretch) {
      break;
    }
    const std::uint32_t place = stretch->file->place;
    const bool fits = !file_index || *file_index == place;
    file_index = file_index.value_or(place);
    if (!fits || !planner.Add(&*stretch)) {
      (volume < volumes_.size() ? volumes_[volume].next : tail_next_) = std::move(stretch);
      break;
    }
  }
  if (planner.empty()) {
    return std::optional<Extent>();
  }
  return std::optional(extents_->Add(*file_index, planner.Finish()));
}

Status PostgresBackupSession::ReadExtent(const Extent& extent, std::span<std::byte> target) {
  if (extent.file_index >= description_.files.size()) {
    return Error(Code::kInvalidArgument, "an extent of file {}", extent.file_index);
  }
  Status status = extents_->Read(extent, target,
                                 {.verifier = verifier_.get(),
                                  .file_id = description_.files[extent.file_index].file_id,
                                  .relation_segment_blocks = server_.set.relation_segment_blocks});
  return status.ok() ? status : Fail(std::move(status));
}

Result<bool> PostgresBackupSession::BeginTail() {
  if (Status status = StopBackup(); !status.ok()) {
    return Fail(std::move(status));
  }
  return true;
}

Status PostgresBackupSession::StopBackup() {
  const bool read = std::ranges::all_of(
      volumes_, [](const Volume& volume) { return volume.done && !volume.next; });
  if (!read || tail_begun_ || !control_) {
    return Error(Code::kInternal, "the end of a backup before all of its files");
  }
  // A standby has no record in its log that says where the backup ends: pg_control does, so it is
  // the last file to be read, and read before the backup is stopped.
  BackupTailParts parts{.data_directory = server_.set.data_directory,
                        .wal_segment_bytes = server_.set.wal_segment_bytes,
                        .start = start_};
  CAPSTAN_ASSIGN_OR_RETURN(const PgControl control,
                           ReadPgControl(server_.set.data_directory, &parts.control_image));
  CAPSTAN_ASSIGN_OR_RETURN(parts.stopped, control_->Stop());
  stop_ = parts.stopped.stop;
  const std::uint32_t timeline =
      server_.in_recovery ? control.min_recovery_timeline : server_.set.timeline;
  CAPSTAN_ASSIGN_OR_RETURN(parts.history, HistoryOf(server_, timeline));
  fork_ = ForkOf(server_, parts.history);
  if (verifier_ != nullptr) {
    CAPSTAN_RETURN_IF_ERROR(verifier_->Settle(stop_));
  }

  ClusterManifest manifest{.stop_lsn = stop_.value, .timeline = timeline};
  for (Volume& volume : volumes_) {
    ClusterManifest share = volume.feed->TakeManifest();
    std::ranges::move(share.directories, std::back_inserter(manifest.directories));
    std::ranges::move(share.files, std::back_inserter(manifest.files));
    std::ranges::move(share.vanished, std::back_inserter(manifest.vanished));
  }
  const auto place_index = static_cast<std::uint32_t>(places_.size());
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<FileStretch> stretches,
                           MakeBackupTail(parts, place_index, &manifest));
  tail_.assign(stretches.begin(), stretches.end());
  tail_.push_back(MakeManifestStretch(manifest, place_index));
  tail_begun_ = true;
  return OkStatus();
}

Status PostgresBackupSession::End() {
  if (ended_) {
    return OkStatus();
  }
  Status status;
  if (!tail_begun_ || !tail_.empty() || tail_next_) {
    status = Error(Code::kFailedPrecondition,
                   "the backup ends before the log that makes it consistent has been read");
  }
  ended_ = true;
  volumes_.clear();
  control_.reset();
  for (std::size_t i = 0; i < description_.files.size(); ++i) {
    description_.files[i].size_bytes = extents_->size_bytes(i);
  }
  activity_->Finish(status);
  return status;
}

Status PostgresBackupSession::Fail(Status status) {
  activity_->Fail(status);
  return status;
}

}  // namespace capstan::writers
