#include "server/writers/sqlite/sqlite_lsn_clock.h"

#include <algorithm>
#include <chrono>

#include <fmt/core.h>

namespace capstan::writers {
namespace {

std::uint64_t SecondsSince1970() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}

}  // namespace

SqliteLsns SqliteLsnClock::Read(const SqliteView& view) {
  const auto& wal = view.wal_header();
  std::string state;
  std::uint32_t last = 0;
  std::uint32_t checkpoint = 0;
  if (wal) {
    state = fmt::format("{}:", view.inode());
    for (const std::byte byte : wal->salt) {
      state += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    }
    last = wal->last_frame;
    checkpoint = std::min(view.backfilled(), last);
  } else {
    state = fmt::format("{}:#{}", view.inode(), view.header().change_counter);
  }
  const std::uint64_t generation = GenerationOf(view.path(), state) << 32;
  return {.last = {generation | last}, .checkpoint = {generation | checkpoint}};
}

std::uint64_t SqliteLsnClock::GenerationOf(const std::string& path, const std::string& state) {
  MutexLock lock(mutex_);
  Seen& seen = seen_[path];
  if (seen.state != state) {
    seen.state = state;
    seen.generation = std::max(SecondsSince1970(), seen.generation + 1);
  }
  return seen.generation;
}

}  // namespace capstan::writers
