#include "server/writers/postgres/postgres_log_backup.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/positioned_io.h"
#include "server/writers/postgres/cluster_place.h"
#include "server/writers/postgres/cluster_tail.h"
#include "server/writers/postgres/postgres_fork.h"
#include "server/writers/postgres/postgres_server.h"
#include "server/writers/postgres/restoring_state.h"
#include "server/writers/postgres/wal_format.h"
#include "server/writers/volume_name.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

constexpr std::uint32_t kLogFileIndex = 1;
constexpr std::string_view kLogPrefix = "pg_wal/";

LogPlace PlaceOf(const PostgresSet& set) {
  return {.directory = set.data_directory + "/pg_wal",
          .system_identifier = set.system_identifier,
          .segment_size = set.wal_segment_bytes};
}

Result<Lsn> LsnOf(const PostgresRows& rows) {
  const auto lsn = rows.size() == 1 ? ParsePostgresLsn(rows.Text(0, 0)) : std::nullopt;
  if (!lsn) {
    return Error(Code::kInternal, "PostgreSQL answered without an LSN");
  }
  return *lsn;
}

// How far the log of a running server goes.
Result<LogEnd> EndOfRunning(PostgresConnection& connection, const PostgresServer& server,
                            Lsn first) {
  const LogPlace place = PlaceOf(server.set);
  if (server.in_recovery) {
    CAPSTAN_ASSIGN_OR_RETURN(const PostgresRows rows,
                             connection.Query("SELECT pg_last_wal_replay_lsn()"));
    CAPSTAN_ASSIGN_OR_RETURN(const Lsn replayed, LsnOf(rows));
    CAPSTAN_ASSIGN_OR_RETURN(TimelineHistory history, NewestHistoryAt(place, {replayed.value - 1}));
    return LogEnd{.history = std::move(history), .end = replayed};
  }
  // A commit of our own, so that all that was committed before it is on disk, and so that the log
  // itself tells up to which time it goes: a stop point before that can be decided.
  CAPSTAN_RETURN_IF_ERROR(connection.Query("SET synchronous_commit TO local").status());
  CAPSTAN_RETURN_IF_ERROR(connection.Query("SELECT pg_current_xact_id()").status());
  CAPSTAN_ASSIGN_OR_RETURN(
      const PostgresRows rows,
      connection.Query("SELECT pg_current_wal_flush_lsn(), "
                       "('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))"
                       "::bit(32)::int"));
  CAPSTAN_ASSIGN_OR_RETURN(const Lsn flushed, LsnOf(rows));
  const auto timeline = static_cast<std::uint32_t>(rows.Number(0, 1));
  CAPSTAN_ASSIGN_OR_RETURN(TimelineHistory history,
                           TimelineHistory::Read(place.directory, timeline));
  CAPSTAN_ASSIGN_OR_RETURN(const Lsn end, LastRecordEnd(place, history, first, flushed));
  return LogEnd{.history = std::move(history), .end = end};
}

}  // namespace

Result<std::unique_ptr<PostgresLogBackup>> PostgresLogBackup::BeginRunning(
    PostgresConnection connection, const BackupOptions& options, Source source) {
  CAPSTAN_ASSIGN_OR_RETURN(PostgresServer server, AskServer(connection));
  CAPSTAN_RETURN_IF_ERROR(CheckServerIsHere(server, connection));
  CAPSTAN_ASSIGN_OR_RETURN(const LogEnd log, EndOfRunning(connection, server, options.log_from));
  if (log.end < options.log_from) {
    return Error(Code::kOutOfRange,
                 "the log ends at {}, before {}, from where it is to be backed up",
                 PostgresLsnText(log.end), PostgresLsnText(options.log_from))
        .WithHint(server.in_recovery
                      ? "the standby is behind: wait for it, or back up the log of the primary"
                      : "the cluster was restored to an earlier point: take a full backup");
  }
  return Open(log, options.log_from, std::move(server.set), std::move(source));
}

Result<std::unique_ptr<PostgresLogBackup>> PostgresLogBackup::BeginOffline(
    const std::string& data_directory, const BackupOptions& options, Source source) {
  CAPSTAN_ASSIGN_OR_RETURN(PostgresSet set, DescribeDirectory(data_directory));
  CAPSTAN_ASSIGN_OR_RETURN(const LogEnd log, FindLogEnd(PlaceOf(set), options.log_from));
  return Open(log, options.log_from, std::move(set), std::move(source));
}

Result<std::unique_ptr<PostgresLogBackup>> PostgresLogBackup::BeginTailOf(
    const std::string& data_directory, const BackupOptions& options, Source source) {
  // Before anything is stopped: what cannot be backed up is not taken out of use either.
  CAPSTAN_ASSIGN_OR_RETURN(const PostgresSet set, DescribeDirectory(data_directory));
  CAPSTAN_RETURN_IF_ERROR(FindLogEnd(PlaceOf(set), options.log_from).status());
  CAPSTAN_ASSIGN_OR_RETURN(UniqueFd lock, LockDirectory(data_directory));
  CAPSTAN_RETURN_IF_ERROR(StopCluster(data_directory, options.lock_deadline));
  CAPSTAN_ASSIGN_OR_RETURN(const LogEnd log, FindLogEnd(PlaceOf(set), options.log_from));
  CAPSTAN_ASSIGN_OR_RETURN(auto session, Open(log, options.log_from, set, std::move(source)));
  CAPSTAN_RETURN_IF_ERROR(WithdrawCluster(set, log));
  session->withdrawn_ = true;
  session->lock_ = std::move(lock);
  return session;
}

Result<std::unique_ptr<PostgresLogBackup>> PostgresLogBackup::Open(const LogEnd& log, Lsn first,
                                                                   PostgresSet set, Source source) {
  std::unique_ptr<PostgresLogBackup> session(new PostgresLogBackup(std::move(source)));
  session->first_ = first;
  session->last_ = log.end;
  session->place_ = PlaceOf(set);
  session->data_directory_ = set.data_directory;
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<WalPiece> pieces,
                           FindLog(session->place_, log.history, first, log.end));
  session->pieces_.assign(pieces.begin(), pieces.end());
  const Lsn branch = log.history.entries().back().begin;
  session->fork_ = PostgresFork(set.system_identifier, log.history.timeline(), branch);
  set.start_lsn = first.value;
  set.timeline = log.history.timeline();
  set.timeline_begin_lsn = branch.value;
  set.database_folders.clear();
  CAPSTAN_ASSIGN_OR_RETURN(session->writer_data_, EncodePostgresSet(set));
  session->Describe(set);
  return session;
}

void PostgresLogBackup::Describe(const PostgresSet& set) {
  struct stat info {};
  const std::string& path = place_.directory;
  std::uint64_t size = 0;
  for (const WalPiece& piece : pieces_) {
    size += piece.length;
  }
  description_ = {
      .writer = "postgresql",
      .version = fmt::format("{}.{}", set.server_version / 10'000, set.server_version % 10'000),
      .recovery_model = RecoveryModel::kFull,
      .page_size = set.block_bytes,
      // An identifier has the time at which initdb made it in its upper half.
      .created_unix_s = static_cast<std::int64_t>(set.system_identifier >> 32),
      .files = {{.file_id = 1,
                 .logical_name = source_.logical_name,
                 .physical_name = data_directory_,
                 .type = 'D',
                 .page_size = set.block_bytes,
                 .whole = false},
                {.file_id = 2 + static_cast<std::uint32_t>(set.tablespaces.size()),
                 .logical_name = source_.logical_name + "_log",
                 .physical_name = path,
                 .type = 'L',
                 .size_bytes = size,
                 .page_size = set.block_bytes,
                 .whole = false}},
      .volumes = {::stat(path.c_str(), &info) == 0 ? VolumeName(info.st_dev) : path},
      .role = set.from_standby ? ReplicaRole::kSecondary : ReplicaRole::kPrimary};
}

PostgresLogBackup::~PostgresLogBackup() {
  if (withdrawn_ && !ended_) {
    const Status status = ReinstateCluster(data_directory_);
    CAPSTAN_LOG(kWarning, "the tail of the log was not backed up: PostgreSQL stays stopped in {}{}",
                data_directory_, status.ok() ? "" : fmt::format(", {}", status.message()));
  }
}

Result<FileStretch> PostgresLogBackup::OpenPiece(const WalPiece& piece) {
  const std::string path = place_.directory + "/" + piece.name;
  auto file = std::make_shared<BackupFile>();
  file->path = std::string(kLogPrefix) + piece.name;
  file->physical_name = path;
  file->size_bytes = piece.offset + piece.length;
  file->fd.Reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!file->fd.valid() || ::fstat(file->fd.get(), &info) != 0) {
    return OsError(errno, fmt::format("unable to open the log segment '{}'", path));
  }
  ::posix_fadvise(file->fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  segments_.push_back({.path = path, .inode = info.st_ino});
  return FileStretch{.file = std::move(file), .offset = piece.offset, .length = piece.length};
}

Result<std::optional<Extent>> PostgresLogBackup::NextExtent(std::uint32_t volume,
                                                            std::uint32_t length_max) {
  if (volume != 0 || length_max < kBundleLengthMin || ended_) {
    return Error(Code::kInvalidArgument, "no extent of volume {} with at most {} bytes", volume,
                 length_max);
  }
  ExtentPlanner planner(length_max, kWalPageSize);
  while (next_ || !pieces_.empty()) {
    if (!next_) {
      CAPSTAN_ASSIGN_OR_RETURN(next_, OpenPiece(pieces_.front()));
      pieces_.pop_front();
    }
    if (!planner.Add(&*next_)) {
      break;
    }
    next_.reset();
  }
  if (planner.empty()) {
    return std::optional<Extent>();
  }
  return std::optional(extents_.Add(kLogFileIndex, planner.Finish()));
}

Status PostgresLogBackup::ReadExtent(const Extent& extent, std::span<std::byte> target) {
  Status status = extents_.Read(extent, target, {});
  if (!status.ok()) {
    source_.activity->Fail(status);
  }
  return status;
}

Status PostgresLogBackup::End() {
  if (ended_) {
    return OkStatus();
  }
  Status status;
  // A segment that PostgreSQL uses again gets another name before it is written to.
  for (const Segment& segment : segments_) {
    struct stat info {};
    if (::stat(segment.path.c_str(), &info) != 0 || info.st_ino != segment.inode) {
      status = Error(Code::kDataLoss, "the log segment '{}' was removed while it was backed up",
                     segment.path)
                   .WithHint("the log is not kept: see the warnings in the error log");
      break;
    }
  }
  ended_ = status.ok();
  source_.activity->Finish(status);
  return status;
}

void PostgresLogBackup::Committed() {
  if (source_.on_committed) {
    std::exchange(source_.on_committed, nullptr)(last_);
  }
}

}  // namespace capstan::writers
