#include "server/engine/snapshot_command.h"

#include <atomic>

#include "server/engine/monitor.h"
#include "server/engine/worker_group.h"
#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

Status Refused(OpenSet& set, vdi::CommandCode code, vdi::CompletionCode completion) {
  const std::string& target = set.device(0).target();
  const Status reason = set.abort_reason();
  if (reason.reason() == 3204) {
    return reason;  // cancelled: nobody is to blame
  }
  if (!reason.ok()) {
    return SqlError(3271, target, fmt::format("995({})", reason.message()));
  }
  return SqlError(3271, target, vdi::CompletionText(completion))
      .WithHint(
          fmt::format("the client of the device answered {} with this", vdi::CommandName(code)));
}

// A device in error takes nothing but ClearError.
Result<vdi::ServerCommand> ExecuteAfterError(DeviceChannel& channel, vdi::CommandCode code) {
  vdi::ServerCommand command;
  command.code = code;
  auto done = channel.Execute(command);
  if (done.ok() || done.status().code() != Code::kFailedPrecondition) {
    return done;
  }
  vdi::ServerCommand clear;
  clear.code = vdi::CommandCode::kClearError;
  CAPSTAN_ASSIGN_OR_RETURN(const vdi::ServerCommand cleared, channel.Execute(clear));
  return cleared.completion_code == vdi::CompletionCode::kSuccess
             ? channel.Execute(command)
             : Result<vdi::ServerCommand>(cleared);
}

}  // namespace

Status ExecuteSnapshotCommand(OpenSet& set, vdi::CommandCode code) {
  CAPSTAN_ASSIGN_OR_RETURN(const vdi::ServerCommand done, ExecuteAfterError(set.device(0), code));
  return done.completion_code == vdi::CompletionCode::kSuccess
             ? OkStatus()
             : Refused(set, code, done.completion_code);
}

Status RunSnapshotCommand(vdi::CommandCode code, const SnapshotCommandParts& parts) {
  FirstError error;
  const std::atomic<std::uint64_t> no_bytes{0};
  Monitor monitor({parts.job, parts.observer, parts.set, error, no_bytes, parts.timeout, {}});
  {
    WorkerGroup worker(error);
    worker.Start([&] { return ExecuteSnapshotCommand(parts.set, code); });
    monitor.RunUntil([&](std::chrono::milliseconds patience) { return worker.WaitAll(patience); });
  }
  return error.failed() ? error.status() : OkStatus();
}

}  // namespace capstan::engine
