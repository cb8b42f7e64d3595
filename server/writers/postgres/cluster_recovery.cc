#include "server/writers/postgres/cluster_recovery.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>

#include "server/messages/messages.h"
#include "server/writers/positioned_io.h"
#include "server/writers/postgres/child_program.h"
#include "server/writers/postgres/log_files.h"
#include "server/writers/postgres/postgres_fork.h"
#include "server/writers/postgres/standby_settings.h"
#include "server/writers/postgres/timeline_history.h"
#include "server/writers/postgres/wal_format.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

using Phase = RestoringState::Phase;

std::string RecoverySignalPath(const std::string& data_directory) {
  return data_directory + "/recovery.signal";
}

}  // namespace

Result<PgControl> ReadPresentControlFile(const std::string& data_directory) {
  const std::string path = PresentControlFilePath(data_directory);
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    return OsError(errno, fmt::format("unable to open '{}'", path));
  }
  std::array<std::byte, kPgControlFileBytes> bytes{};
  CAPSTAN_RETURN_IF_ERROR(Annotate(ReadFully(fd.get(), 0, bytes), path));
  return ParsePgControl(bytes);
}

Result<ClusterRecovery> ClusterRecovery::Open(Options options) {
  auto state = RestoringFile(options.data_directory).Read();
  if (state.status().code() == Code::kNotFound || (state.ok() && state->phase == Phase::kWriting)) {
    return SqlError(3117).WithHint(
        fmt::format("nothing is being restored in '{}': begin with a full backup WITH NORECOVERY",
                    options.data_directory));
  }
  CAPSTAN_RETURN_IF_ERROR(std::as_const(state).status());
  CAPSTAN_ASSIGN_OR_RETURN(const FileOwner owner, OwnerOfCluster(options.data_directory));
  return ClusterRecovery(std::move(options), owner, *std::move(state));
}

Result<RestoreOutcome> ClusterRecovery::End(RestoreEnd end, const StopPoint& stop) {
  if (end == RestoreEnd::kNoRecovery) {
    CAPSTAN_RETURN_IF_ERROR(LeaveStandby());
    CAPSTAN_RETURN_IF_ERROR(BackToRestoring());
    return RestoreOutcome{.reached = state_.log_end};
  }
  if (end == RestoreEnd::kRecovery || state_.phase != Phase::kStandby) {
    CAPSTAN_RETURN_IF_ERROR(LeaveStandby());
    CAPSTAN_RETURN_IF_ERROR(CheckNotRunning(directory()));
    CAPSTAN_ASSIGN_OR_RETURN(const bool recovered, IsRecovered());
    if (recovered) {
      return FinishRecovered();
    }
    CAPSTAN_RETURN_IF_ERROR(BackToRestoring());
    CAPSTAN_RETURN_IF_ERROR(TrimLog(state_.log_directory, state_.log_end, state_.segment_size));
  }
  CAPSTAN_ASSIGN_OR_RETURN(const StopSearchResult found, Find(stop));
  if (!found.found) {
    return RestoreOutcome{.reached = state_.log_end, .stop_missed = true};
  }
  return end == RestoreEnd::kRecovery ? Recover(found) : MakeStandby(found);
}

Result<StopSearchResult> ClusterRecovery::Find(const StopPoint& stop) const {
  CAPSTAN_ASSIGN_OR_RETURN(const PgControl control, ReadPresentControlFile(directory()));
  // Without the label an earlier recovery has begun; log from before its last checkpoint may be
  // gone, and nothing earlier than what its pages hold can be reached any more.
  const bool begun = !PathExists(directory() + "/backup_label");
  const Lsn consistent =
      begun ? std::max(state_.consistent, control.min_recovery_point) : state_.consistent;
  if (stop.kind == StopPoint::Kind::kNone) {
    // Each set's log was checked when it was restored.
    return StopSearchResult{.found = true, .stop = state_.log_end};
  }
  const std::vector<std::string> directories = LogDirectories();
  CAPSTAN_ASSIGN_OR_RETURN(TimelineHistory history,
                           TimelineHistory::ReadAny(directories, state_.timeline));
  return FindStop({.directories = directories,
                   .history = std::move(history),
                   .segment_size = state_.segment_size,
                   .system_identifier = state_.system_identifier,
                   .begin = begun ? control.checkpoint_redo : state_.start,
                   .end = state_.log_end},
                  stop, consistent);
}

Result<RestoreOutcome> ClusterRecovery::Recover(const StopSearchResult& stop) {
  CAPSTAN_RETURN_IF_ERROR(SetPhase(Phase::kRecovering));
  CAPSTAN_RETURN_IF_ERROR(
      WriteFileDurably(RecoverySignalPath(directory()), std::string_view(), owner_));
  CAPSTAN_RETURN_IF_ERROR(ShowControlFile());
  CAPSTAN_CRASH_POINT("postgres.recovery.begun");
  CAPSTAN_LOG(kInfo, "recovery begin directory={} to={}", directory(), PostgresLsnText(stop.stop));
  const auto end = RunServer(stop.target);
  CAPSTAN_CRASH_POINT("postgres.recovery.ended");
  if (!end.ok() || *end == RecoveryEnd::kTargetMissed) {
    CAPSTAN_RETURN_IF_ERROR(BackToRestoring());
    CAPSTAN_RETURN_IF_ERROR(end.status());
    return RestoreOutcome{.reached = state_.log_end, .stop_missed = true};
  }
  return Recovered();
}

Result<RecoveryEnd> ClusterRecovery::RunServer(const RecoveryTarget& target) const {
  CAPSTAN_ASSIGN_OR_RETURN(
      const std::string program,
      FindPostgresProgram("postgres", state_.server_version, options_.bin_folder));
  CAPSTAN_ASSIGN_OR_RETURN(const PgControl control, ReadPresentControlFile(directory()));
  return RunPrivateRecovery({.program = program,
                             .data_directory = directory(),
                             .owner = owner_,
                             .server_version = state_.server_version,
                             .control = control,
                             .timeline = state_.timeline,
                             .target = target,
                             .silence_limit = options_.silence_limit});
}

Result<RestoreOutcome> ClusterRecovery::FinishRecovered() {
  CAPSTAN_ASSIGN_OR_RETURN(const PgControl control, ReadPresentControlFile(directory()));
  CAPSTAN_RETURN_IF_ERROR(ShowControlFile());
  if (control.state != PgControlState::kShutDown) {
    // It had recovered already when it was killed. What it has written since is in its own log.
    CAPSTAN_RETURN_IF_ERROR(RunServer({}).status());
  }
  CAPSTAN_RETURN_IF_ERROR(RemovePrivateFolder(directory()));
  return Recovered();
}

Result<RestoreOutcome> ClusterRecovery::Recovered() {
  CAPSTAN_ASSIGN_OR_RETURN(const PgControl control, ReadPresentControlFile(directory()));
  if (control.state != PgControlState::kShutDown || control.timeline <= state_.timeline) {
    return Error(Code::kInternal, "'{}' was recovered but is in state {} on timeline {}",
                 directory(), static_cast<int>(control.state), control.timeline);
  }
  CAPSTAN_ASSIGN_OR_RETURN(const TimelineHistory history,
                           TimelineHistory::Read(state_.log_directory, control.timeline));
  const Lsn begin = history.entries().back().begin;
  CAPSTAN_RETURN_IF_ERROR(RestoringFile(directory()).Remove());
  CAPSTAN_LOG(kInfo, "recovery end directory={} reached={} timeline={}", directory(),
              PostgresLsnText(begin), control.timeline);
  return RestoreOutcome{
      .reached = begin,
      .recovery_fork = PostgresFork(state_.system_identifier, control.timeline, begin)};
}

Result<RestoreOutcome> ClusterRecovery::MakeStandby(const StopSearchResult& stop) {
  const std::string folder = StandbyLogFolder(directory());
  CAPSTAN_RETURN_IF_ERROR(MakeDirectories(folder, owner_));
  CAPSTAN_RETURN_IF_ERROR(WriteStandbySettings(directory(), stop.target, owner_));
  if (state_.phase != Phase::kStandby) {
    CAPSTAN_RETURN_IF_ERROR(SetPhase(Phase::kStandby));
    CAPSTAN_RETURN_IF_ERROR(ShowControlFile());
  }
  return RestoreOutcome{.reached = std::min(stop.stop, state_.log_end)};
}

Status ClusterRecovery::Advance(Lsn log_end, std::uint32_t timeline) {
  state_.log_end = log_end;
  state_.timeline = timeline;
  return RestoringFile(directory()).Write(state_, owner_);
}

std::vector<std::string> ClusterRecovery::LogDirectories() const {
  if (state_.phase == Phase::kStandby) {
    return {StandbyLogFolder(directory()), state_.log_directory};
  }
  return {state_.log_directory};
}

Result<bool> ClusterRecovery::IsRecovered() const {
  if (state_.phase != Phase::kRecovering) {
    return false;
  }
  CAPSTAN_ASSIGN_OR_RETURN(const PgControl control, ReadPresentControlFile(directory()));
  return control.timeline > state_.timeline;
}

Status ClusterRecovery::LeaveStandby() {
  if (state_.phase != Phase::kStandby) {
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(CheckNotRunning(directory()));
  // From here on no server starts on it, so that the log can be moved; to repeat all this is fine.
  CAPSTAN_RETURN_IF_ERROR(HideControlFile());
  CAPSTAN_RETURN_IF_ERROR(RemoveStandbySettings(directory(), owner_));
  const std::string folder = StandbyLogFolder(directory());
  if (PathExists(folder)) {
    CAPSTAN_RETURN_IF_ERROR(MoveLogFiles(folder, state_.log_directory, owner_));
    CAPSTAN_RETURN_IF_ERROR(RemoveContents(folder));
    if (::rmdir(folder.c_str()) != 0) {
      return OsError(errno, fmt::format("unable to remove '{}'", folder));
    }
  }
  return SetPhase(Phase::kRestoring);
}

Status ClusterRecovery::BackToRestoring() {
  if (state_.phase == Phase::kRestoring) {
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(HideControlFile());
  CAPSTAN_RETURN_IF_ERROR(RemoveFile(RecoverySignalPath(directory())));
  CAPSTAN_RETURN_IF_ERROR(RemovePrivateFolder(directory()));
  return SetPhase(Phase::kRestoring);
}

Status ClusterRecovery::ShowControlFile() {
  const std::string hidden = HiddenControlFilePath(directory());
  return PathExists(hidden) ? RenameDurably(hidden, ControlFilePath(directory())) : OkStatus();
}

Status ClusterRecovery::HideControlFile() {
  const std::string shown = ControlFilePath(directory());
  return PathExists(shown) ? RenameDurably(shown, HiddenControlFilePath(directory())) : OkStatus();
}

Status ClusterRecovery::SetPhase(Phase phase) {
  state_.phase = phase;
  return RestoringFile(directory()).Write(state_, owner_);
}

Result<RestoreOutcome> RecoverDirectory(const std::string& data_directory,
                                        const RestoreOptions& options) {
  CAPSTAN_ASSIGN_OR_RETURN(ClusterRecovery recovery,
                           ClusterRecovery::Open({.data_directory = data_directory}));
  CAPSTAN_ASSIGN_OR_RETURN(const UniqueFd lock, LockDirectory(data_directory));
  return recovery.End(options.end, options.stop);
}

}  // namespace capstan::writers
