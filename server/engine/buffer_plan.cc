#include "server/engine/buffer_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "server/messages/messages.h"

namespace capstan::engine {

std::vector<std::string> BufferPlan::Describe() const {
  constexpr std::uint64_t kMiB = 1 << 20;
  const auto line = [](std::string_view label, const std::string& value) {
    return fmt::format("{:<26}{}", label, value);
  };
  return {
      line("BufferPoolLimit:", fmt::format("{} MB", memory_limit / kMiB)),
      "Backup/Restore buffer configuration parameters",
      line("Memory Limit:", fmt::format("{} MB", memory_limit / kMiB)),
      line("Buffer count:", fmt::format("{}", buffer_count)),
      line("Max transfer size:", fmt::format("{}", transfer_size)),
      line("Total buffer space:", fmt::format("{} MB", total_bytes() / kMiB)),
      line("Buffers per read stream:", fmt::format("{}", buffer_count / volumes)),
      line("Buffers per write stream:", fmt::format("{}", buffer_count / devices)),
  };
}

Result<BufferPlan> PlanBuffers(const BufferRequest& request) {
  BufferPlan plan;
  plan.devices = std::max(1U, request.devices);
  plan.volumes = std::max(1U, request.volumes);
  plan.memory_limit = request.memory_limit;
  plan.transfer_size = request.max_transfer_size.value_or(kTransferSizeDefault);
  // Fewer than one buffer for each device and each reader could not keep them all busy.
  const std::uint32_t least = plan.devices + plan.volumes;
  plan.buffer_count = request.buffer_count.value_or(plan.devices * 4 + plan.volumes * 2);
  if (!request.buffer_count) {
    const std::uint64_t fitting = plan.memory_limit / plan.transfer_size;
    if (fitting >= least && fitting < plan.buffer_count) {
      plan.buffer_count = static_cast<std::uint32_t>(fitting);
    }
  }
  if (plan.total_bytes() > plan.memory_limit) {
    return SqlError(701).WithHint(fmt::format(
        "{} buffers of {} bytes are {} MB, the limit is {} MB: lower BUFFERCOUNT or "
        "MAXTRANSFERSIZE, or raise buffer_memory_mb in the server's configuration",
        plan.buffer_count, plan.transfer_size, plan.total_bytes() >> 20, plan.memory_limit >> 20));
  }
  return plan;
}

}  // namespace capstan::engine
