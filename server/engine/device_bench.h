// DeviceBench: how fast a target is without a database in front of it (S0-14): a device set, shared
// buffers, an agent and its plugin, as in a backup, and bytes that cannot be compressed.
//
// Writes a medium of its own, flushes and commits it, reads it back, compares every byte, and
// removes it. The medium must not exist: nothing that does is ever touched. What a crash of the
// server leaves is the medium's name, or what its plugin had begun of it.
//
// Threads: RunDeviceBench on its caller's, plus one of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "server/engine/engine.h"
#include "vdi/base/status.h"

namespace capstan::engine {

struct DeviceBenchRequest {
  std::string device_class;                // "DISK", "URL"
  std::string medium;                      // a name that is free
  std::uint64_t size = 1ULL << 30;         // bytes
  std::uint32_t transfer_size = 1U << 20;  // bytes
  bool read = true;                        // read back and compare, too
  int session_id = 0;
  std::string statement;
};

// One step and what it took.
struct DeviceBenchStep {
  std::string name;  // "write", "flush", "commit", "read"
  std::uint64_t bytes = 0;
  double seconds = 0;
  std::uint64_t requests = 0;
  double latency_ms = 0;  // of a transfer, on average
  double latency_max_ms = 0;
  double waits_for_device =
      0;                   // share of the time in which no buffer was free: the device is slower
  double device_idle = 0;  // share of the time in which the device had nothing to do
};

// Errors are those of BACKUP and RESTORE; 3203 if what is read is not what was written.
Result<std::vector<DeviceBenchStep>> RunDeviceBench(const Engine::Parts& parts,
                                                    const DeviceBenchRequest& request,
                                                    JobObserver& observer);

// What is written at a position: the same for the same position, different in every eight bytes
// elsewhere. `target` is a multiple of eight bytes long.
void FillBenchBytes(std::uint64_t position, std::byte* target, std::size_t size);
bool AreBenchBytes(std::uint64_t position, const std::byte* bytes, std::size_t size);

}  // namespace capstan::engine
