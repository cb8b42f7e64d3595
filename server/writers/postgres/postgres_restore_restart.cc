// PostgresRestoreSession, interrupted and gone on with: what makes a restore last, what of it is
// there again.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "server/writers/postgres/postgres_restore_session.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

using Phase = RestoringState::Phase;

// The bytes of a part, as they lie in the extent that it was decoded from.
std::span<std::byte> BytesOf(const BundlePart& part, std::span<std::byte> extent) {
  const auto begin = static_cast<std::size_t>(part.bytes.data() - extent.data());
  return part.bytes.empty() ? std::span<std::byte>() : extent.subspan(begin, part.bytes.size());
}

}  // namespace

Status PostgresRestoreSession::CheckResumed(std::span<const RestoreTarget> targets) {
  const auto state = RestoringFile(data_directory_).Read();
  const auto missing = [this](std::string_view why) {
    return Error(Code::kNotFound, "what restore {} has left in '{}' {}", options_.job_name,
                 data_directory_, why);
  };
  const bool is_there = state.ok() && state->job_name == options_.job_name &&
                        state->phase != Phase::kStandby && state->phase != Phase::kDifferential &&
                        PlacedExtents::IsThere(data_directory_, options_.job_name);
  if (!is_there) {
    return missing("is not there any more");
  }
  if (state->system_identifier != set_.system_identifier || state->start.value != set_.start_lsn) {
    return missing("is of another backup set");
  }
  const auto folders = targets.subspan(1, set_.tablespaces.size());
  const bool same_folders =
      std::ranges::equal(folders, state->tablespaces, {}, &RestoreTarget::physical_name) &&
      RealPath(log_directory_) == RealPath(state->log_directory);
  if (!same_folders) {
    return missing("is in other folders");
  }
  was_empty_ = state->was_empty;
  return state->phase == Phase::kWriting ? OkStatus() : ForgetRecovery();
}

Status PostgresRestoreSession::ForgetRecovery() {
  // Without a control file there is no recovery, whatever the directory says of itself until then.
  CAPSTAN_RETURN_IF_ERROR(RemoveFile(ControlFilePath(data_directory_)));
  CAPSTAN_RETURN_IF_ERROR(RemoveFile(HiddenControlFilePath(data_directory_)));
  CAPSTAN_RETURN_IF_ERROR(RemoveContents(log_directory_));
  return SyncDirectory(log_directory_);
}

PlacedExtent PostgresRestoreSession::Placed(const Extent& extent, std::span<const std::byte> source,
                                            std::span<const BundlePart> parts) const {
  PlacedExtent placed{.extent = extent, .end = {}, .apart = {}};
  std::size_t payload = 0;
  for (const BundlePart& part : parts) {
    payload += part.bytes.size();
    const Home home = HomeOf(PlaceOf(extent), part.entry);
    if (home != Home::kPlace && home != Home::kLog) {
      placed.apart.insert(placed.apart.end(), part.bytes.begin(), part.bytes.end());
    }
  }
  const auto end = source.subspan(payload);
  placed.end.assign(end.begin(), end.end());
  return placed;
}

Status PostgresRestoreSession::Checkpoint() {
  if (placed_ == nullptr) {
    return RestoreSession::Checkpoint();
  }
  if (committed_) {
    return Error(Code::kFailedPrecondition, "the restore of '{}' was committed", data_directory_);
  }
  for (RestoredPlace& place : places_) {
    CAPSTAN_RETURN_IF_ERROR(place.Sync());
  }
  CAPSTAN_RETURN_IF_ERROR(log_place_.front().Sync());
  CAPSTAN_CRASH_POINT("postgres.restore.synced");
  return placed_->Sync();
}

bool PostgresRestoreSession::Keep() {
  if (placed_ == nullptr || committed_) {
    return false;
  }
  RestoringState state = StateOf(Phase::kWriting);
  state.kept = true;
  if (Status status = RestoringFile(data_directory_).Write(state, owner_); !status.ok()) {
    CAPSTAN_LOG(kWarning, "restore not kept directory={}: {}", data_directory_, status.message());
    return false;
  }
  kept_ = true;
  return true;
}

Status PostgresRestoreSession::ReadBack(const Extent& extent, std::span<std::byte> target) {
  if (placed_ == nullptr || !options_.resume) {
    return RestoreSession::ReadBack(extent, target);
  }
  if (extent.length != target.size() || extent.file_index > places_.size()) {
    return Error(Code::kInvalidArgument, "extent of {} bytes of file {} does not fit",
                 extent.length, extent.file_index);
  }
  CAPSTAN_ASSIGN_OR_RETURN(std::optional<PlacedExtent> placed, placed_->Find(extent));
  std::optional<ReadExtent> read;
  if (placed) {
    CAPSTAN_ASSIGN_OR_RETURN(read, PutTogether(*std::move(placed), target));
  }
  if (!read) {
    std::ranges::fill(target, std::byte{0});
    return OkStatus();
  }
  const MutexLock lock(mutex_);
  read_back_.insert_or_assign(ExtentKey(extent.file_index, extent.offset), *std::move(read));
  return OkStatus();
}

Result<std::optional<PostgresRestoreSession::ReadExtent>> PostgresRestoreSession::PutTogether(
    PlacedExtent placed, std::span<std::byte> target) const {
  const std::optional<ReadExtent> missing;
  if (placed.end.size() > target.size()) {
    return missing;
  }
  std::ranges::copy(placed.end, target.last(placed.end.size()).begin());
  const auto parts = DecodeBundle(target);
  if (!parts.ok()) {
    return missing;
  }
  ReadExtent read;
  std::span<const std::byte> apart = placed.apart;
  for (const BundlePart& part : *parts) {
    const std::span<std::byte> bytes = BytesOf(part, target);
    CAPSTAN_ASSIGN_OR_RETURN(const bool is_there,
                             ReadPart(PlaceOf(placed.extent), part.entry, &apart, bytes));
    if (!is_there) {
      return missing;
    }
    read.entries.push_back(part.entry);
  }
  read.apart = std::move(placed.apart);
  return std::optional(std::move(read));
}

Result<bool> PostgresRestoreSession::ReadPart(std::uint32_t place, const BundleEntry& entry,
                                              std::span<const std::byte>* apart,
                                              std::span<std::byte> bytes) const {
  switch (HomeOf(place, entry)) {
    case Home::kPlace:
      return places_[place].ReadBack(entry, bytes);
    case Home::kLog: {
      BundleEntry inner = entry;
      inner.path = PathInLog(entry.path);
      return log_place_.front().ReadBack(inner, bytes);
    }
    default:
      break;
  }
  if (apart->size() < bytes.size()) {
    return false;
  }
  std::ranges::copy(apart->first(bytes.size()), bytes.begin());
  *apart = apart->subspan(bytes.size());
  return true;
}

void PostgresRestoreSession::Adopt(const Extent& extent) {
  ReadExtent read;
  {
    const MutexLock lock(mutex_);
    const auto found = read_back_.find(ExtentKey(extent.file_index, extent.offset));
    if (found == read_back_.end()) {
      return;  // it is missing when the restore ends
    }
    read = std::move(found->second);
    read_back_.erase(found);
  }
  const std::uint32_t place = PlaceOf(extent);
  std::span<const std::byte> apart = read.apart;
  for (BundleEntry& entry : read.entries) {
    const Home home = HomeOf(place, entry);
    if (home == Home::kPlace) {
      CountTaken(place, entry);
    }
    if (home == Home::kPlace || home == Home::kLog) {
      continue;
    }
    const auto length = static_cast<std::size_t>(entry.payload_length());
    const BundlePart part{.entry = std::move(entry), .bytes = apart.first(length)};
    apart = apart.subspan(length);
    // Fits, as it did when it was written; if not, it is missing when the restore ends.
    if (home != Home::kNowhere && !WritePart(place, part).ok()) {
      return;
    }
  }
}

}  // namespace capstan::writers
