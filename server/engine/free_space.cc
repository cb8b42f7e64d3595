#include "server/engine/free_space.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <string>

#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

constexpr std::chrono::seconds kPatience{1};
constexpr std::uint64_t kMegabyte = 1ULL << 20;

}  // namespace

void WarnOfLowSpace(DeviceProvider& devices, const DeviceSetRequest& request,
                    JobObserver& observer) {
  if (request.device_class == "TAPE") {
    return;  // it goes on with the next cartridge
  }
  const Deadline deadline = Deadline::After(kPatience);
  const std::uint64_t expected = request.size_estimate;
  std::map<std::string, std::uint64_t> promised;  // bytes, by folder
  for (const DeviceTarget& target : request.targets) {
    const auto stat = devices.Stat(request.device_class, target, deadline);
    if (!stat.ok() && (deadline.passed() || stat.status().reason() == 65001)) {
      return;
    }
    if (!stat.ok() || stat->free_bytes == UINT64_MAX) {
      continue;
    }
    std::uint64_t& others = promised[target.name.substr(0, target.name.rfind('/') + 1)];
    const std::uint64_t left = stat->free_bytes - std::min(stat->free_bytes, others);
    if (left < expected) {
      observer.OnMessage(65011, MessageText(65011, (expected + kMegabyte - 1) / kMegabyte,
                                            target.name, left / kMegabyte));
    }
    others += expected;
  }
}

}  // namespace capstan::engine
