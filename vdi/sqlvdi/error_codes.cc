#include "vdi/sqlvdi/error_codes.h"

#include <cerrno>
#include <cstdint>

#include "vdi/sqlvdi/include/vdierror.h"

namespace capstan::sqlvdi {
namespace {

struct Row {
  int vd_error;
  std::string_view name;
  std::string_view next_step;
};

constexpr Row kRows[] = {
    {NOERROR, "NOERROR", ""},
    {VD_E_NOTOPEN, "VD_E_NOTOPEN", "call Create first"},
    {VD_E_TIMEOUT, "VD_E_TIMEOUT",
     "look whether the BACKUP or RESTORE statement has failed; otherwise call again"},
    {VD_E_ABORT, "VD_E_ABORT", "call Close; the statement's own messages say more"},
    {VD_E_SECURITY, "VD_E_SECURITY",
     "add this user to the group that owns the server's socket, and log in again"},
    {VD_E_INVALID, "VD_E_INVALID", "correct the argument"},
    {VD_E_INSTANCE_NAME, "VD_E_INSTANCE_NAME",
     "start capstand, or set CAPSTAN_VDI to the path of its virtual device socket"},
    {VD_E_NOTSUPPORTED, "VD_E_NOTSUPPORTED",
     "zero-fill VDConfig, set deviceCount from 1 to 64, and ask for features of a pipe, a tape or "
     "a disk"},
    {VD_E_MEMORY, "VD_E_MEMORY", "use a smaller MAXTRANSFERSIZE or BUFFERCOUNT, or add memory"},
    {VD_E_UNEXPECTED, "VD_E_UNEXPECTED",
     "install the same version of Capstan on both ends; otherwise report this line"},
    {VD_E_PROTOCOL, "VD_E_PROTOCOL",
     "keep to the order Create, GetConfiguration, OpenDevice, GetCommand, CompleteCommand, Close"},
    {VD_E_OPEN, "VD_E_OPEN", "close a set only after each device's GetCommand gave VD_E_CLOSE"},
    {VD_E_CLOSE, "VD_E_CLOSE", "call Close, then read the statement's result"},
    {VD_E_BUSY, "VD_E_BUSY", "try again; the server's log says what it is doing"},
};

const Row* Find(int vd_error) {
  for (const Row& row : kRows) {
    if (row.vd_error == vd_error) {
      return &row;
    }
  }
  return nullptr;
}

// Unavailable without a cause of the system, or because its queue is full: the server is there.
bool IsThere(int os_error) {
  return os_error == 0 || os_error == EAGAIN || os_error == ETIMEDOUT || os_error == EINPROGRESS;
}

}  // namespace

int VdErrorOf(const Status& status) {
  switch (status.code()) {
    case Code::kOk:
      return NOERROR;
    case Code::kDeadlineExceeded:
      return VD_E_TIMEOUT;
    case Code::kAborted:
    case Code::kCancelled:
      return VD_E_ABORT;
    case Code::kPermissionDenied:
    case Code::kUnauthenticated:
      return VD_E_SECURITY;
    case Code::kInvalidArgument:
    case Code::kOutOfRange:
      return VD_E_INVALID;
    case Code::kUnavailable:
      return IsThere(status.os_error()) ? VD_E_BUSY : VD_E_INSTANCE_NAME;
    case Code::kUnimplemented:
      return VD_E_NOTSUPPORTED;
    case Code::kResourceExhausted:
      return VD_E_MEMORY;
    case Code::kFailedPrecondition:
    case Code::kNotFound:  // OpenInSecondary of a set that is not there
      return VD_E_PROTOCOL;
    case Code::kAlreadyExists:
      return VD_E_OPEN;
    case Code::kUnknown:
    case Code::kInternal:
    case Code::kDataLoss:
      break;
  }
  return VD_E_UNEXPECTED;
}

std::string_view VdErrorName(int vd_error) {
  const Row* row = Find(vd_error);
  return row != nullptr ? row->name : "VD_E_?";
}

std::string_view NextStep(int vd_error) {
  const Row* row = Find(vd_error);
  return row != nullptr ? row->next_step : "";
}

vdi::CompletionCode CompletionCodeOf(int completion_code) {
  constexpr std::uint32_t kWin32Max = 0xFFFF;
  constexpr std::uint32_t kFromWin32 = 0x80070000;  // HRESULT_FROM_WIN32 puts this in front
  const auto code = static_cast<std::uint32_t>(completion_code);
  if (code <= kWin32Max) {
    return static_cast<vdi::CompletionCode>(code);
  }
  if ((code & ~kWin32Max) == kFromWin32 && (code & kWin32Max) != 0) {
    return static_cast<vdi::CompletionCode>(code & kWin32Max);
  }
  return completion_code == VD_E_ABORT ? vdi::CompletionCode::kOperationAborted
                                       : vdi::CompletionCode::kIoDevice;
}

}  // namespace capstan::sqlvdi
