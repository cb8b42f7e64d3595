#include "server/writers/sqlite/sqlite_lsn_clock.h"

#include <algorithm>

#include <fmt/core.h>
#include <sys/stat.h>

namespace capstan::writers {
namespace {

std::string FileTime(const std::string& path) {
  struct stat info {};
  (void)::stat(path.c_str(), &info);
  return fmt::format("@{}.{}", info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
}

}  // namespace

Result<SqliteLsns> SqliteLsnClock::Read(const SqliteView& view) {
  const auto& wal = view.wal_header();
  std::string state;
  std::uint32_t last = 0;
  std::uint32_t checkpoint = 0;
  if (wal) {
    state = fmt::format("{}:", view.inode());
    for (const std::byte byte : wal->salt) {
      state += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    }
    if (wal->salt == WalSalt{}) {
      state += FileTime(view.path());
    }
    last = wal->last_frame;
    checkpoint = std::min(view.backfilled(), last);
  } else {
    state = fmt::format("{}:#{}", view.inode(), view.header().change_counter);
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::uint64_t> tracked, TrackedGeneration(view));
  const std::uint64_t generation = (tracked ? *tracked : GenerationOf(view.path(), state)) << 32;
  return SqliteLsns{.last = {generation | last}, .checkpoint = {generation | checkpoint}};
}

Result<std::optional<std::uint64_t>> SqliteLsnClock::TrackedGeneration(const SqliteView& view) {
  const auto tracker = view.wal_header() ? keeper_->Find(view.path()) : nullptr;
  if (tracker == nullptr) {
    return std::optional<std::uint64_t>();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::uint32_t generation,
                           tracker->GenerationOf(view.wal_header()->salt));
  MutexLock lock(mutex_);
  Seen& seen = seen_[view.path()];
  seen.state.clear();
  seen.generation = std::max(seen.generation, generation);
  return std::optional<std::uint64_t>(generation);
}

std::uint64_t SqliteLsnClock::GenerationOf(const std::string& path, const std::string& state) {
  MutexLock lock(mutex_);
  Seen& seen = seen_[path];
  if (seen.state != state) {
    seen.state = state;
    seen.generation = keeper_->NextGeneration(seen.generation);
  }
  return seen.generation;
}

}  // namespace capstan::writers
