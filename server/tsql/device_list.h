// "DISK = 'x', DISK = 'y'": the devices of a BACKUP or RESTORE.
#pragma once

#include <cstddef>
#include <vector>

#include "server/tsql/statement.h"
#include "server/tsql/token_stream.h"

namespace capstan::tsql {

inline constexpr std::size_t kDevicesMax = 64;  // of one statement, mirrors included

// 1..64 devices of one class. Errors: 3044 (no name), 3011 (classes mixed), 3205 (more than 64),
// 3206 (a logical device; there are none).
Result<std::vector<DeviceClause>> ParseDeviceList(TokenStream& tokens);

// What WITH SNAPSHOT asks of the devices: 3277 unless it is one VIRTUAL_DEVICE. `first` is where
// the list began.
Status CheckSnapshotDevices(TokenStream& tokens, const Token& first,
                            const std::vector<DeviceClause>& devices);

}  // namespace capstan::tsql
