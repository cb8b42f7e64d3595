// How the failure of a device is said in SQL Server's words: 18210 with its origin, which goes to
// the error log, and 3201, 3202 or 3203 for the session.
//
// Threads: any.
#pragma once

#include <string>
#include <string_view>

#include "server/engine/device_channel.h"
#include "server/engine/error_log.h"
#include "vdi/base/status.h"
#include "vdi/device_types.h"

namespace capstan::engine {

// The first words of 18210: "BackupVirtualDeviceSet::Initialize: Open failure ...".
struct FailureOrigin {
  std::string_view where;
  std::string_view what;
};
inline constexpr FailureOrigin kInitializeOrigin{"BackupVirtualDeviceSet::Initialize", "Open"};
inline constexpr FailureOrigin kOpenDeviceOrigin{"BackupVirtualDeviceSet::Initialize",
                                                 "OpenDevice"};
inline constexpr FailureOrigin kBufferOrigin{"BackupVirtualDeviceSet::SetBufferParms",
                                             "Request large buffers"};
inline constexpr FailureOrigin kAllocateOrigin{"BackupVirtualDeviceSet::AllocateBuffer", ""};
FailureOrigin OriginOf(vdi::CommandCode command);

// SQL Server's states of 3201.
inline constexpr int kOpenVirtualDevice = 6;
inline constexpr int kInitializeVirtualDevice = 7;

// 3201 of a virtual device, with 18210 in front of it. `cause` is "number(text)".
Status VirtualDeviceOpenError(const FailureOrigin& origin, const std::string& target,
                              const std::string& cause, int state);

// "number(text)" for a failed call of VDI.
std::string CauseOf(const Status& failure);

// What can be done about a failed transfer whose cause is "number(text)"; empty where that says
// all.
std::string_view TransferHint(std::string_view cause);

// What the engine was doing with the device: "writing", "committing".
std::string_view PhaseOf(vdi::CommandCode command);

// As SQL Server logs an error that carries a number: a line for the number, one for the text.
void LogError(ErrorLog& log, int session_id, const Status& error);

}  // namespace capstan::engine
