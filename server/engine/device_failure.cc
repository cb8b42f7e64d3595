#include "server/engine/device_failure.h"

#include <cerrno>
#include <charconv>

#include <fmt/format.h>

#include "server/messages/messages.h"

namespace capstan::engine {

FailureOrigin OriginOf(vdi::CommandCode command) {
  using vdi::CommandCode;
  switch (command) {
    case CommandCode::kRead:
      return {"BackupMedium::ReportIoError", "read"};
    case CommandCode::kWrite:
      return {"BackupMedium::ReportIoError", "write"};
    case CommandCode::kFlush:
    case CommandCode::kComplete:
      return {"BackupVirtualDeviceFile::RequestDurableMedia", "Flush"};
    case CommandCode::kClearError:
      return {"BackupVirtualDeviceFile::ClearError", ""};
    case CommandCode::kPrepareToFreeze:
      return {"BackupVirtualDeviceFile::PrepareToFreeze", ""};
    case CommandCode::kSnapshot:
      return {"BackupVirtualDeviceFile::TakeSnapshot", ""};
    default:
      return {"BackupVirtualDeviceFile::SendCommand", vdi::CommandName(command)};
  }
}

std::string_view PhaseOf(vdi::CommandCode command) {
  using vdi::CommandCode;
  switch (command) {
    case CommandCode::kRead:
      return "reading";
    case CommandCode::kWrite:
      return "writing";
    case CommandCode::kFlush:
      return "flushing";
    case CommandCode::kComplete:
      return "committing";
    case CommandCode::kClearError:
      return "leaving an error";
    case CommandCode::kPrepareToFreeze:
    case CommandCode::kSnapshot:
    case CommandCode::kMountSnapshot:
      return "taking or mounting a snapshot";
    default:
      return "positioning";
  }
}

std::string CauseOf(const Status& failure) {
  switch (failure.code()) {
    case Code::kNotFound:
      return "0x80070002(The system cannot find the file specified.)";
    case Code::kAborted:
      return std::string(vdi::CompletionText(vdi::CompletionCode::kOperationAborted));
    case Code::kDeadlineExceeded:
      return fmt::format("0x80770003({})", failure.message());  // VD_E_TIMEOUT
    case Code::kResourceExhausted:
      return fmt::format("0x8077000A({})", failure.message());  // VD_E_MEMORY
    default:
      return fmt::format("0x8077000B({})", failure.message());  // VD_E_UNEXPECTED
  }
}

std::string_view TransferHint(std::string_view cause) {
  int number = 0;
  std::from_chars(cause.data(), cause.data() + cause.size(), number);
  switch (number) {
    case ENOENT:
      return "the medium was removed or replaced while it was in use";
    case EIO:
      return "the disk or the way to it has failed; the log of the system tells more";
    case EFBIG:
      return "its file system, or a limit of the agent's process, lets the file grow no further";
    case ENOSPC:
    case EDQUOT:
    case 112:  // the same of a device that has no number of the system
      return "make room there, or use another device; what was on the medium before is kept";
    default:
      return "";
  }
}

Status VirtualDeviceOpenError(const FailureOrigin& origin, const std::string& target,
                              const std::string& cause, int state) {
  return SqlError(3201, target, cause)
      .WithState(state)
      .WithEarlier(SqlError(18210, origin.where, origin.what, target, cause));
}

void LogError(ErrorLog& log, int session_id, const Status& error) {
  const MessageInfo* info = FindMessage(error.reason());
  const int state = info == nullptr ? 1 : info->state;
  log.Write(session_id, fmt::format("Error: {}, Severity: {}, State: {}.", error.reason(),
                                    info == nullptr ? 16 : info->severity,
                                    error.state() == 0 ? state : error.state()));
  log.Write(session_id, error.message());
}

}  // namespace capstan::engine
