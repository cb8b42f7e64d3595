// The rules of a device set's configuration: what a client may wish, what an engine may decide.
// Pure functions; no I/O.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "vdi/base/status.h"
#include "vdi/device_types.h"
#include "vdi/server_device_set.h"

namespace capstan::vdi {

// kInvalidArgument: empty, longer than kSetNameSizeMax, a backslash or a control character.
Status CheckName(std::string_view name);

// kUnimplemented: a value or a combination of features that VDI does not have.
Status CheckWishes(const DeviceSetConfig& wishes);

// The wishes with the fields cleared that only the engine sets.
DeviceSetConfig CleanWishes(const DeviceSetConfig& wishes);

// The final configuration, less the buffer area. kInvalidArgument: the engine's part is impossible.
Result<DeviceSetConfig> MergeConfiguration(const DeviceSetConfig& wishes,
                                           const EngineConfiguration& engine);

// One name per device, the first that of the set, all different. kInvalidArgument.
Status CheckDeviceNames(std::string_view set_name, std::uint32_t device_count,
                        std::span<const std::string> names);

}  // namespace capstan::vdi
