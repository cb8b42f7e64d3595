#include "server/engine/placement/restore_targets.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

// MOVE 'directory:/old' TO '/new': every file below /old goes below /new.
constexpr std::string_view kDirectory = "directory:";

bool IsOfDirectory(const std::string& name) {
  return name.starts_with(kDirectory);
}

std::string_view WithoutEndingSlash(std::string_view folder) {
  while (folder.size() > 1 && folder.ends_with('/')) {
    folder.remove_suffix(1);
  }
  return folder;
}

// `path` as it lies below `to` if it lies below `from`, or is it.
std::optional<std::string> Rebased(std::string_view path, std::string_view from,
                                   std::string_view to) {
  from = WithoutEndingSlash(from);
  to = WithoutEndingSlash(to);
  if (from.empty() || !path.starts_with(from)) {
    return std::nullopt;
  }
  const std::string_view rest = path.substr(from.size());
  if (!rest.empty() && rest.front() != '/' && from != "/") {
    return std::nullopt;
  }
  return std::string(to) + std::string(rest);
}

std::optional<std::string> Moved(const RestoreRequest& request, const media::BackupFile& file) {
  for (const auto& [name, place] : request.moves) {
    if (name == file.logical_name) {
      return place;
    }
  }
  for (const auto& [name, place] : request.moves) {
    if (IsOfDirectory(name)) {
      if (auto moved = Rebased(file.physical_name, name.substr(kDirectory.size()), place)) {
        return moved;
      }
    }
  }
  return std::nullopt;
}

Status CheckMoves(const RestoreRequest& request, const media::BackupSet& set) {
  for (const auto& move : request.moves) {
    const std::string& name = move.first;
    const bool known = std::any_of(set.files.begin(), set.files.end(), [&](const auto& file) {
      return IsOfDirectory(name)
                 ? Rebased(file.physical_name, name.substr(kDirectory.size()), "/").has_value()
                 : file.logical_name == name;
    });
    if (!known) {
      return SqlError(3234, name, set.database_name);
    }
  }
  return OkStatus();
}

const catalog::RollForward::File* FindPlaced(const catalog::Database* existing,
                                             const std::string& logical_name) {
  if (existing == nullptr) {
    return nullptr;
  }
  const auto& files = existing->roll_forward.files;
  const auto found = std::find_if(files.begin(), files.end(), [&](const auto& file) {
    return file.logical_name == logical_name;
  });
  return found == files.end() ? nullptr : &*found;
}

// Whether a restore may not put its file there. A folder without anything in it is no obstacle.
bool IsTaken(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return false;
  }
  return !std::filesystem::is_directory(status) || !std::filesystem::is_empty(path, error) || error;
}

}  // namespace

writers::DatabaseFile FileOf(const media::BackupFile& file) {
  return {.file_id = file.file_id,
          .logical_name = file.logical_name,
          .physical_name = file.physical_name,
          .type = file.type,
          .size_bytes = file.size_bytes,
          .page_size = file.page_size,
          .frozen_state = file.frozen_state,
          .whole = file.whole};
}

Result<std::vector<writers::RestoreTarget>> PlanTargets(const RestoreRequest& request,
                                                        const catalog::Database* existing,
                                                        const media::BackupSet& set) {
  const bool begins = set.kind == media::SetKind::kDatabase;
  if (begins) {
    CAPSTAN_RETURN_IF_ERROR(CheckMoves(request, set));
  }
  std::vector<writers::RestoreTarget> targets;
  for (const media::BackupFile& file : set.files) {
    writers::RestoreTarget target{.file = FileOf(file), .physical_name = file.physical_name};
    const auto moved = Moved(request, file);
    const auto* const placed = begins ? nullptr : FindPlaced(existing, file.logical_name);
    if (set.kind == media::SetKind::kLog && existing != nullptr && targets.empty()) {
      target.physical_name = existing->location;  // log goes into a database
    } else if (moved) {
      target.physical_name = *moved;
    } else if (placed != nullptr) {
      target.physical_name = placed->physical_name;
    } else if (existing != nullptr && targets.empty()) {
      target.physical_name = existing->location;
    } else if (set.is_snapshot && !targets.empty()) {
      target.physical_name.clear();  // the writer knows where it belongs beside the first one
    } else if (!targets.empty()) {
      // What lay in the folder that the first one is, is in it again.
      target.physical_name = Rebased(file.physical_name, targets.front().file.physical_name,
                                     targets.front().physical_name)
                                 .value_or(file.physical_name);
    }
    targets.push_back(std::move(target));
  }
  return targets;
}

Status CheckTargets(const RestoreRequest& request, const catalog::Database* existing,
                    const std::vector<writers::RestoreTarget>& targets,
                    const std::vector<catalog::Database>& databases,
                    const std::vector<std::string>& unfinished) {
  // What a database that is being restored left there is to be gone on with, or nothing worth.
  const bool may_overwrite =
      request.replace ||
      (existing != nullptr && existing->roll_forward.state != catalog::RollForward::State::kOnline);
  for (const writers::RestoreTarget& target : targets) {
    for (const catalog::Database& database : databases) {
      if (database.location == target.physical_name && database.name != request.database) {
        return SqlError(3156, target.file.logical_name, target.physical_name)
            .WithHint(fmt::format("the file belongs to the database '{}'", database.name));
      }
    }
    const bool ours = std::ranges::find(unfinished, target.physical_name) != unfinished.end();
    if (!may_overwrite && !ours && IsTaken(target.physical_name)) {
      return SqlError(3156, target.file.logical_name, target.physical_name)
          .WithHint("a file of that name exists; MOVE elsewhere, or add REPLACE to overwrite it");
    }
  }
  return OkStatus();
}

}  // namespace capstan::engine
