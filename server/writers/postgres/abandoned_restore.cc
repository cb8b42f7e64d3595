#include "server/writers/postgres/abandoned_restore.h"

#include <filesystem>
#include <system_error>

#include <unistd.h>

#include "server/writers/postgres/cluster_place.h"
#include "server/writers/postgres/restoring_state.h"
#include "server/writers/postgres/standby_settings.h"
#include "vdi/base/log.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

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
  const bool is_left = state.ok() && state->phase == RestoringState::Phase::kWriting &&
                       state->job_name == job_name && state->was_empty;
  return is_left ? AbandonDirectory(data_directory) : OkStatus();
}

}  // namespace capstan::writers
