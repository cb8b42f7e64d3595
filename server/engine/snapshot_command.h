// The commands by which engine and client agree on a snapshot: PrepareToFreeze, Snapshot and
// MountSnapshot (VDI specification, "Snapshot backups"). The client holds each until it has done
// its part; refusing one fails the statement.
//
// Threads: ExecuteSnapshotCommand from a worker under a Monitor, RunSnapshotCommand from the job's.
#pragma once

#include <chrono>

#include "server/engine/job.h"
#include "server/engine/open_set.h"
#include "vdi/base/status.h"
#include "vdi/device_types.h"

namespace capstan::engine {

// Sends the command to the only device of the set and waits for the client. 3204 if the job was
// cancelled, 3271 with the cause if the client refused, died or took too long.
Status ExecuteSnapshotCommand(OpenSet& set, vdi::CommandCode code);

struct SnapshotCommandParts {
  Job& job;
  JobObserver& observer;
  OpenSet& set;
  std::chrono::milliseconds timeout;
};
// The same, watched: a cancel, and a client that takes longer than `timeout`, end the set. Clears
// the error that a device is in after a read past the end of what it has.
Status RunSnapshotCommand(vdi::CommandCode code, const SnapshotCommandParts& parts);

}  // namespace capstan::engine
