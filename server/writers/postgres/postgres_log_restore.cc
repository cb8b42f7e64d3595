#include "server/writers/postgres/postgres_log_restore.h"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/positioned_io.h"
#include "server/writers/postgres/cluster_place.h"
#include "server/writers/postgres/log_files.h"
#include "server/writers/postgres/standby_settings.h"
#include "server/writers/postgres/stop_search.h"
#include "server/writers/postgres/wal_format.h"
#include "vdi/base/crash_point.h"

namespace capstan::writers {
namespace {

using Phase = RestoringState::Phase;

constexpr std::string_view kLogPrefix = "pg_wal/";
constexpr std::size_t kCopyBytes = 1 << 20;

}  // namespace

Result<std::unique_ptr<PostgresLogRestore>> PostgresLogRestore::Begin(
    std::span<const RestoreTarget> targets, const RestoreOptions& options,
    std::shared_ptr<WriterStateTracker> tracker) {
  if (targets.empty() || !targets.front().physical_name.starts_with('/')) {
    return Error(Code::kInvalidArgument, "log is restored into a data directory");
  }
  const std::string& data_directory = targets.front().physical_name;
  CAPSTAN_ASSIGN_OR_RETURN(PostgresSet set, DecodePostgresSet(options.writer_data));
  CAPSTAN_ASSIGN_OR_RETURN(ClusterRecovery recovery,
                           ClusterRecovery::Open({.data_directory = data_directory}));
  CAPSTAN_ASSIGN_OR_RETURN(UniqueFd lock, LockDirectory(data_directory));
  std::unique_ptr<PostgresLogRestore> session(
      new PostgresLogRestore(options, std::move(set), std::move(recovery), std::move(lock)));
  CAPSTAN_RETURN_IF_ERROR(session->Check());
  CAPSTAN_RETURN_IF_ERROR(session->OpenGathered(data_directory));
  CAPSTAN_RETURN_IF_ERROR(session->CopyLastSegment());
  session->activity_ =
      std::make_unique<WriterActivity>(std::move(tracker), WriterActivity::Kind::kRestore);
  return session;
}

Status PostgresLogRestore::Check() const {
  const RestoringState& state = recovery_.state();
  CAPSTAN_ASSIGN_OR_RETURN(const bool recovered, recovery_.IsRecovered());
  if (recovered) {
    return SqlError(3117).WithHint(
        "the database was recovered already: end that with RESTORE DATABASE ... WITH RECOVERY");
  }
  if (state.system_identifier != set_.system_identifier ||
      state.segment_size != set_.wal_segment_bytes) {
    return SqlError(4330).WithHint(
        fmt::format("the log is of cluster {}, the database that is being restored of {}",
                    set_.system_identifier, state.system_identifier));
  }
  if (options_.lsns.first > state.log_end) {
    return SqlError(4305, options_.lsns.first.value, state.log_end.value)
        .WithHint(fmt::format("the log begins at {}, and the database needs it from {} on",
                              PostgresLsnText(options_.lsns.first),
                              PostgresLsnText(state.log_end)));
  }
  if (options_.lsns.last <= state.log_end) {
    return SqlError(4326, options_.lsns.last.value, state.log_end.value)
        .WithHint(fmt::format("the log ends at {}, and the database has it up to {}",
                              PostgresLsnText(options_.lsns.last), PostgresLsnText(state.log_end)));
  }
  return OkStatus();
}

Status PostgresLogRestore::OpenGathered(const std::string& data_directory) {
  const RestoringState& state = recovery_.state();
  stays_standby_ = state.phase == Phase::kStandby && options_.end == RestoreEnd::kStandby;
  if (state.phase == Phase::kStandby && !stays_standby_) {
    CAPSTAN_RETURN_IF_ERROR(CheckNotRunning(data_directory));
  }
  gathered_path_ = (stays_standby_ ? StandbyLogFolder(data_directory) : state.log_directory) +
                   "/capstan.incoming";
  CAPSTAN_RETURN_IF_ERROR(RemoveContents(gathered_path_));
  CAPSTAN_ASSIGN_OR_RETURN(RestoredPlace place,
                           RestoredPlace::Open(gathered_path_, recovery_.owner()));
  gathered_.emplace(std::move(place));
  return OkStatus();
}

Status PostgresLogRestore::CopyLastSegment() {
  const RestoringState& state = recovery_.state();
  const Lsn begin = WalSegmentBegin(state.log_end, state.segment_size);
  const std::string name = WalSegmentName(state.timeline, begin, state.segment_size);
  const std::uint64_t size = state.log_end.value - begin.value;
  UniqueFd source;
  for (const std::string& directory : recovery_.LogDirectories()) {
    if (!source.valid()) {
      source.Reset(::open((directory + "/" + name).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    }
  }
  if (!source.valid()) {
    // A log that ends with a segment has none of the next.
    return size == 0 ? OkStatus()
                     : OsError(errno, fmt::format("unable to open the log segment '{}'", name));
  }
  std::vector<std::byte> buffer(kCopyBytes);
  for (std::uint64_t offset = 0; offset < size; offset += buffer.size()) {
    const auto piece =
        std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), size - offset));
    CAPSTAN_RETURN_IF_ERROR(Annotate(ReadFully(source.get(), offset, piece), name));
    CAPSTAN_RETURN_IF_ERROR(gathered_->Write(
        {.entry = {.path = name, .offset = offset, .length = piece.size()}, .bytes = piece}));
  }
  if (size > 0) {
    const MutexLock lock(mutex_);
    segments_.insert(name);
  }
  return OkStatus();
}

PostgresLogRestore::~PostgresLogRestore() {
  if (!gathered_path_.empty()) {
    static_cast<void>(RemoveContents(gathered_path_).ok());
    ::rmdir(gathered_path_.c_str());
  }
}

Status PostgresLogRestore::WriteExtent(const Extent& extent, std::span<const std::byte> source) {
  if (extent.length != source.size() || committed_) {
    return Error(Code::kInvalidArgument, "extent of {} bytes of file {} does not fit",
                 extent.length, extent.file_index);
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<BundlePart> parts, DecodeBundle(source));
  for (const BundlePart& part : parts) {
    if (Status status = WritePart(part); !status.ok()) {
      activity_->Fail(status);
      return status;
    }
  }
  return OkStatus();
}

Status PostgresLogRestore::WritePart(const BundlePart& part) {
  BundlePart inner = part;
  const bool of_log = part.entry.path.starts_with(kLogPrefix);
  inner.entry.path = of_log ? part.entry.path.substr(kLogPrefix.size()) : "";
  const std::string& name = inner.entry.path;
  const bool segment = ParseWalSegmentName(name, set_.wal_segment_bytes).has_value();
  const bool history = name.size() == TimelineHistoryName(1).size() && name.ends_with(".history") &&
                       IsBundlePath(name) && name.find('/') == std::string::npos;
  if (!segment && !history) {
    return Error(Code::kDataLoss, "a log backup has no file '{}'", part.entry.path);
  }
  if (part.entry.offset + part.entry.length > set_.wal_segment_bytes) {
    return Error(Code::kDataLoss, "the log backup's '{}' is longer than a segment", name);
  }
  if (segment) {
    const MutexLock lock(mutex_);
    segments_.insert(name);
  }
  return gathered_->Write(inner);
}

Result<RestoreOutcome> PostgresLogRestore::Commit() {
  if (committed_) {
    return Error(Code::kFailedPrecondition, "the restore of this log was committed already");
  }
  auto outcome = CommitSteps();
  activity_->Finish(outcome.status());
  return outcome;
}

Status PostgresLogRestore::FillSegments() {
  const MutexLock lock(mutex_);
  for (const std::string& name : segments_) {
    CAPSTAN_RETURN_IF_ERROR(gathered_->Finish(name, set_.wal_segment_bytes, S_IRUSR | S_IWUSR));
  }
  return OkStatus();
}

Status PostgresLogRestore::CheckGathered() const {
  const RestoringState& state = recovery_.state();
  std::vector<std::string> directories = recovery_.LogDirectories();
  directories.insert(directories.begin(), gathered_path_);
  CAPSTAN_ASSIGN_OR_RETURN(const TimelineHistory history,
                           TimelineHistory::ReadAny(directories, set_.timeline));
  if (history.TimelineAt({state.log_end.value - 1}) != state.timeline) {
    return SqlError(4330).WithHint(
        fmt::format("the log is of timeline {}, which did not come from timeline {} at {}",
                    set_.timeline, state.timeline, PostgresLsnText(state.log_end)));
  }
  return CheckLog({.directories = std::move(directories),
                   .history = history,
                   .segment_size = state.segment_size,
                   .system_identifier = state.system_identifier,
                   .begin = state.log_end,
                   .end = options_.lsns.last});
}

Result<RestoreOutcome> PostgresLogRestore::CommitSteps() {
  CAPSTAN_RETURN_IF_ERROR(FillSegments());
  CAPSTAN_RETURN_IF_ERROR(CheckGathered());
  CAPSTAN_RETURN_IF_ERROR(SyncFileSystem(gathered_path_));
  CAPSTAN_CRASH_POINT("postgres.log_restore.gathered");
  if (!stays_standby_) {
    // Neither a standby nor a recovery that was interrupted.
    CAPSTAN_RETURN_IF_ERROR(recovery_.End(RestoreEnd::kNoRecovery, {}).status());
  }
  const std::string target = recovery_.LogDirectories().front();
  CAPSTAN_RETURN_IF_ERROR(MoveLogFiles(gathered_path_, target, recovery_.owner()));
  CAPSTAN_CRASH_POINT("postgres.log_restore.moved");
  CAPSTAN_RETURN_IF_ERROR(recovery_.Advance(options_.lsns.last, set_.timeline));
  committed_ = true;
  return recovery_.End(options_.end, options_.stop);
}

}  // namespace capstan::writers
