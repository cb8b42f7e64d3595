#include "server/writers/postgres/cluster_tail.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>

#include <fmt/format.h>
#include <signal.h>

#include "server/writers/postgres/cluster_place.h"
#include "server/writers/postgres/cluster_recovery.h"
#include "server/writers/postgres/pg_control.h"
#include "server/writers/postgres/restoring_state.h"
#include "server/writers/postgres/wal_format.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::minutes kStopWait = 10min;  // a checkpoint writes all of shared_buffers
constexpr std::chrono::milliseconds kStopPoll = 20ms;
constexpr std::uint32_t kUsualBlockBytes = 8192;
constexpr std::uint32_t kUsualSegmentBlocks = 131'072;

}  // namespace

Status StopCluster(const std::string& data_directory, Deadline deadline) {
  const Deadline until = deadline.never() ? Deadline::After(kStopWait) : deadline;
  const pid_t pid = RunningPostmaster(data_directory);
  if (pid != 0) {
    CAPSTAN_LOG(kInfo, "stopping PostgreSQL directory={} pid={}", data_directory, pid);
    if (::kill(pid, SIGINT) != 0 && errno != ESRCH) {
      return OsError(errno, fmt::format("unable to stop PostgreSQL, process {}", pid));
    }
  }
  while (RunningPostmaster(data_directory) == pid && pid != 0) {
    if (until.passed()) {
      return Error(Code::kDeadlineExceeded, "PostgreSQL, process {}, does not shut down", pid);
    }
    std::this_thread::sleep_for(kStopPoll);
  }
  CAPSTAN_ASSIGN_OR_RETURN(const PgControl control, ReadPgControl(data_directory));
  if (RunningPostmaster(data_directory) != 0 || control.state != PgControlState::kShutDown) {
    return Error(Code::kFailedPrecondition,
                 "PostgreSQL on '{}' was not shut down in good order, or was started again",
                 data_directory)
        .WithHint("keep its service from starting it, or use WITH NO_TRUNCATE if it cannot start");
  }
  return OkStatus();
}

Result<PostgresSet> DescribeDirectory(const std::string& data_directory) {
  PostgresSet set{.wal_block_bytes = kWalPageSize, .data_directory = data_directory};
  std::uint32_t major = 0;
  std::ifstream(data_directory + "/PG_VERSION") >> major;
  set.server_version = major * 10'000;
  if (const auto control = ReadPresentControlFile(data_directory); control.ok()) {
    set.system_identifier = control->system_identifier;
    set.control_version = control->control_version;
    set.catalog_version = control->catalog_version;
    set.block_bytes = control->block_bytes;
    set.relation_segment_blocks = control->relation_segment_blocks;
    set.wal_segment_bytes = control->wal_segment_bytes;
    set.data_checksums = control->data_checksums;
    return set;
  }
  // A damaged cluster; its log says what it needs, and sizes of pages do not matter to that.
  set.block_bytes = kUsualBlockBytes;
  set.relation_segment_blocks = kUsualSegmentBlocks;
  CAPSTAN_ASSIGN_OR_RETURN(const LogPlace place, DescribeLogPlace(data_directory + "/pg_wal"));
  set.system_identifier = place.system_identifier;
  set.wal_segment_bytes = place.segment_size;
  return set;
}

Status WithdrawCluster(const PostgresSet& set, const LogEnd& log) {
  const std::string& directory = set.data_directory;
  CAPSTAN_ASSIGN_OR_RETURN(const FileOwner owner, OwnerOfCluster(directory));
  CAPSTAN_ASSIGN_OR_RETURN(const PgControl control, ReadPgControl(directory));
  RestoringState state{.phase = RestoringState::Phase::kRestoring,
                       .system_identifier = set.system_identifier,
                       .server_version = set.server_version,
                       .segment_size = set.wal_segment_bytes,
                       .timeline = log.history.timeline(),
                       .start = control.checkpoint_redo,
                       .consistent = log.end,
                       .log_end = log.end,
                       .log_directory = RealPath(directory + "/pg_wal")};
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory + "/pg_tblspc", error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    state.tablespaces.push_back(RealPath(entry->path().string()));
  }
  CAPSTAN_RETURN_IF_ERROR(RestoringFile(directory).Write(state, owner));
  return RenameDurably(ControlFilePath(directory), HiddenControlFilePath(directory));
}

Status ReinstateCluster(const std::string& data_directory) {
  const std::string hidden = HiddenControlFilePath(data_directory);
  if (PathExists(hidden)) {
    CAPSTAN_RETURN_IF_ERROR(RenameDurably(hidden, ControlFilePath(data_directory)));
  }
  return RestoringFile(data_directory).Remove();
}

}  // namespace capstan::writers
