#include "vdi/memory_limits.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>

#include <sys/resource.h>

namespace capstan::vdi {
namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

std::optional<std::string> ReadWhole(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return std::nullopt;
  }
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// The number that follows `key` and blanks; the number at the start if `key` is empty. "max" and
// absence are nullopt.
std::optional<std::uint64_t> NumberAfter(std::string_view text, std::string_view key) {
  std::size_t at = 0;
  if (!key.empty()) {
    at = text.find(key);
    if (at == std::string_view::npos) {
      return std::nullopt;
    }
    at = text.find_first_not_of(' ', at + key.size());
    if (at == std::string_view::npos) {
      return std::nullopt;
    }
  }
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(text.data() + at, text.data() + text.size(), number);
  return parsed.ec == std::errc() ? std::optional(number) : std::nullopt;
}

std::optional<std::uint64_t> NumberIn(const std::string& path, std::string_view key) {
  const auto text = ReadWhole(path);
  return text ? NumberAfter(*text, key) : std::nullopt;
}

struct GroupFiles {
  std::string_view limit;
  std::string_view usage;
  std::string_view cache_key;  // in memory.stat: page cache that the kernel drops under pressure
};
constexpr GroupFiles kVersion2{"memory.max", "memory.current", "\ninactive_file"};
constexpr GroupFiles kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes",
                               "\ntotal_inactive_file"};

std::uint64_t AvailableInGroup(const std::string& folder, const GroupFiles& files) {
  const auto limit = NumberIn(fmt::format("{}/{}", folder, files.limit), "");
  const auto usage = NumberIn(fmt::format("{}/{}", folder, files.usage), "");
  if (!limit || !usage) {
    return kUnlimited;
  }
  const std::uint64_t cache = NumberIn(folder + "/memory.stat", files.cache_key).value_or(0);
  const std::uint64_t pinned = *usage - std::min(*usage, cache);
  return *limit - std::min(*limit, pinned);
}

// The group itself and all above it: each of them may limit.
std::uint64_t AvailableUpwards(const std::string& root, std::string group,
                               const GroupFiles& files) {
  std::uint64_t available = AvailableInGroup(root, files);
  while (group.size() > 1) {
    available = std::min(available, AvailableInGroup(root + group, files));
    group.resize(group.find_last_of('/'));
  }
  return available;
}

}  // namespace

std::uint64_t AvailableMemory(const MemoryLimitSources& sources) {
  std::uint64_t available = kUnlimited;
  if (const auto kilobytes = NumberIn(sources.meminfo, "MemAvailable:")) {
    available = *kilobytes * 1024;
  }
  std::istringstream groups(ReadWhole(sources.own_groups).value_or(""));
  for (std::string line; std::getline(groups, line);) {
    // "0::/user.slice" for version 2, "4:memory:/user" for version 1.
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (!group.starts_with('/')) {
      continue;
    }
    if (controllers.empty()) {
      available = std::min(available, AvailableUpwards(sources.group_root, group, kVersion2));
    } else if (controllers == "memory") {
      available =
          std::min(available, AvailableUpwards(sources.group_root + "/memory", group, kVersion1));
    }
  }
  return available;
}

Status CheckMemoryFor(std::uint64_t size, const MemoryLimitSources& sources) {
  rlimit file_size{};
  if (::getrlimit(RLIMIT_FSIZE, &file_size) == 0 && file_size.rlim_cur != RLIM_INFINITY &&
      size > file_size.rlim_cur) {
    return Error(
               Code::kResourceExhausted,
               "unable to reserve {} bytes of shared memory: the limit on file size (RLIMIT_FSIZE) "
               "is {}",
               size, file_size.rlim_cur)
        .WithHint("raise LimitFSIZE of the service, or lower BUFFERCOUNT or MAXTRANSFERSIZE");
  }
  if (const std::uint64_t available = AvailableMemory(sources); size > available) {
    return Error(Code::kResourceExhausted,
                 "unable to reserve {} bytes of shared memory: only {} are available", size,
                 available)
        .WithHint("lower BUFFERCOUNT or MAXTRANSFERSIZE, or raise the service's memory limit");
  }
  return OkStatus();
}

}  // namespace capstan::vdi
