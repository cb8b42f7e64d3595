// BufferPlan: how many transfer buffers of which size a job gets (BUFFERCOUNT, MAXTRANSFERSIZE),
// and what the error log says about it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vdi/base/status.h"

namespace capstan::engine {

inline constexpr std::uint32_t kTransferSizeDefault = 1 << 20;  // bytes
inline constexpr std::uint32_t kBlockSizeDefault = 4096;        // bytes

struct BufferRequest {
  std::optional<std::uint32_t> buffer_count;
  std::optional<std::uint32_t> max_transfer_size;  // bytes
  std::uint32_t devices = 1;
  std::uint32_t volumes = 1;
  std::uint64_t memory_limit = 0;  // bytes that one job may take for buffers
};

struct BufferPlan {
  std::uint32_t buffer_count = 0;
  std::uint32_t transfer_size = 0;  // bytes
  std::uint64_t memory_limit = 0;   // bytes
  std::uint32_t devices = 1;
  std::uint32_t volumes = 1;

  std::uint64_t total_bytes() const {
    return static_cast<std::uint64_t>(buffer_count) * transfer_size;
  }
  // The lines that trace flags 3605 and 3213 write to the error log, in SQL Server's layout.
  std::vector<std::string> Describe() const;
};

// Without the options: devices x 4 + 2 x volumes buffers of 1 MiB, fewer if the limit is near. 701
// if what was asked for does not fit the limit.
Result<BufferPlan> PlanBuffers(const BufferRequest& request);

}  // namespace capstan::engine
