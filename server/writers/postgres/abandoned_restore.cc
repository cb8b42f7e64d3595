#include "server/writers/postgres/abandoned_restore.h"

#include <filesystem>
#include <system_error>

#include <unistd.h>

#include "server/writers/postgres/cluster_place.h"
#include "server/writers/postgres/placed_extents.h"
#include "server/writers/postgres/restoring_state.h"
#include "server/writers/postgres/standby_settings.h"
#include "vdi/base/log.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

using Phase = RestoringState::Phase;

// A tablespace's folder may hold those of clusters of other versions.
Status RemoveTablespace(const std::string& folder, std::uint32_t major) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(fmt::format("PG_{}_", major))) {
      CAPSTAN_RETURN_IF_ERROR(RemoveContents(entry->path().string()));
      ::rmdir(entry->path().c_str());
    }
  }
  return OkStatus();
}

}  // namespace

Status AbandonDirectory(const std::string& data_directory) {
  const RestoringFile marker(data_directory);
  if (!marker.exists()) {
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(CheckNotRunning(data_directory));
  CAPSTAN_ASSIGN_OR_RETURN(const UniqueFd lock, LockDirectory(data_directory));
  const auto state = marker.Read();
  if (state.ok()) {
    for (const std::string& folder : state->tablespaces) {
      CAPSTAN_RETURN_IF_ERROR(RemoveTablespace(folder, state->server_version / 10'000));
    }
    CAPSTAN_RETURN_IF_ERROR(RemoveContents(state->log_directory));
  }
  CAPSTAN_RETURN_IF_ERROR(RemoveContents(StandbyLogFolder(data_directory)));
  ::rmdir(StandbyLogFolder(data_directory).c_str());
  CAPSTAN_LOG(kInfo, "restore given up directory={}", data_directory);
  return RemoveContents(data_directory);
}

Status DiscardDirectory(const std::string& data_directory, const std::string& job_name) {
  const auto state = RestoringFile(data_directory).Read();
  const bool is_left = state.ok() && state->job_name == job_name &&
                       (state->kept || (state->phase == Phase::kWriting && state->was_empty));
  return is_left ? AbandonDirectory(data_directory) : OkStatus();
}

Result<bool> KeepDirectory(const std::string& data_directory, const std::string& job_name) {
  const RestoringFile marker(data_directory);
  if (!marker.exists()) {
    return false;
  }
  CAPSTAN_ASSIGN_OR_RETURN(const UniqueFd lock, LockDirectory(data_directory));
  auto state = marker.Read();
  // A standby was ready: what is left is not to be written over.
  const bool can_go_on = state.ok() && state->job_name == job_name &&
                         state->phase != Phase::kStandby && state->phase != Phase::kDifferential &&
                         PlacedExtents::IsThere(data_directory, job_name);
  if (!can_go_on) {
    return false;
  }
  state->kept = true;
  CAPSTAN_ASSIGN_OR_RETURN(const FileOwner owner, OwnerOfCluster(data_directory));
  CAPSTAN_RETURN_IF_ERROR(marker.Write(*state, owner));
  return true;
}

}  // namespace capstan::writers
