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

// 0, or a power of two up to the greatest that VDI has. kInvalidArgument.
Status CheckBufferAlignment(std::uint32_t alignment);

// Which commands a client of these final features executes: the bit 1 << CommandCode of each.
// GetError is none of any client's: VDI lists it, and does not define it.
std::uint32_t OfferedCommands(std::uint32_t features);

// Whether such a client executes this command. `size` is that of the command: a count of SkipMarks
// and SkipBlocks is signed, and negative with kReversePosition only.
bool OffersCommand(std::uint32_t features, CommandCode code, std::uint32_t size = 0);

// One name per device, the first that of the set, all different. kInvalidArgument.
Status CheckDeviceNames(std::string_view set_name, std::uint32_t device_count,
                        std::span<const std::string> names);

}  // namespace capstan::vdi
