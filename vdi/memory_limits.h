// What memory this process may still take, so that a set too large is refused and not killed for.
//
// The kernel kills instead of refusing when a control group or the machine runs out, and sends a
// signal when RLIMIT_FSIZE is passed; so the limits are looked at before memory is reserved.
#pragma once

#include <cstdint>
#include <string>

#include "vdi/base/status.h"

namespace capstan::vdi {

// Where to read; tests put their own files there.
struct MemoryLimitSources {
  std::string meminfo = "/proc/meminfo";
  std::string own_groups = "/proc/self/cgroup";
  std::string group_root = "/sys/fs/cgroup";
};

// The least of what the machine has available and what each control group above this process still
// allows, in bytes. Sources that cannot be read do not limit.
std::uint64_t AvailableMemory(const MemoryLimitSources& sources);

// kResourceExhausted if `size` bytes cannot be had now. A race with other processes remains.
Status CheckMemoryFor(std::uint64_t size, const MemoryLimitSources& sources = {});

}  // namespace capstan::vdi
