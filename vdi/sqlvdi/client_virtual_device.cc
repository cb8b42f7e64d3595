// ClientVirtualDevice, as the program calls it.
#include <string>

#include "vdi/sqlvdi/device_handles.h"
#include "vdi/sqlvdi/device_session.h"
#include "vdi/sqlvdi/error_codes.h"
#include "vdi/sqlvdi/guarded.h"
#include "vdi/sqlvdi/include/vdi.h"

using capstan::sqlvdi::CommandTimeoutMs;
using capstan::sqlvdi::CompletionCodeOf;
using capstan::sqlvdi::DeviceHandles;
using capstan::sqlvdi::DeviceSession;
using capstan::sqlvdi::Guarded;
using capstan::sqlvdi::NextStep;

namespace {

constexpr const char* kGetCommand = "ClientVirtualDevice::GetCommand";
constexpr const char* kCompleteCommand = "ClientVirtualDevice::CompleteCommand";

int GetCommandOf(DeviceSession& session, time_t timeout, VDC_Command** command) {
  if (command == nullptr) {
    return session.diagnostics().Conclude(
        kGetCommand, session.name(),
        capstan::Error(capstan::Code::kInvalidArgument, "the place for the command is null"));
  }
  const std::int64_t timeout_ms = CommandTimeoutMs(timeout, session.timeout_unit());
  const auto got = session.GetCommand(timeout_ms);
  if (!got.ok()) {
    const capstan::Status failure = got.status();
    const bool polled = failure.code() == capstan::Code::kDeadlineExceeded && timeout_ms == 0;
    return polled ? VD_E_TIMEOUT
                  : session.diagnostics().Conclude(kGetCommand, session.name(), failure);
  }
  if (*got == nullptr) {
    session.diagnostics().Write({.location = kGetCommand,
                                 .description = "the server has closed the device in good order",
                                 .vd_error = VD_E_CLOSE,
                                 .device = session.name(),
                                 .next_step = NextStep(VD_E_CLOSE)});
    return VD_E_CLOSE;
  }
  *command = *got;
  return NOERROR;
}

// What the program meant is a guess: say so.
void ReportOddCode(const DeviceSession& session, int completion_code) {
  const auto taken = static_cast<int>(CompletionCodeOf(completion_code));
  if (taken != completion_code && session.diagnostics().on()) {
    session.diagnostics().Write(
        {.location = kCompleteCommand,
         .description = "completion code " + std::to_string(completion_code) +
                        " is no Win32 error number and is taken for " + std::to_string(taken),
         .vd_error = NOERROR,
         .device = session.name(),
         .next_step = "complete commands with ERROR_ codes"});
  }
}

}  // namespace

ClientVirtualDevice::ClientVirtualDevice() : cvd(nullptr) {}

ClientVirtualDevice::~ClientVirtualDevice() {
  if (cvd != nullptr) {
    Guarded([this] {
      DeviceHandles::OfProcess().Forget(this, *cvd->session);
      return NOERROR;
    });
    delete cvd;
    cvd = nullptr;
  }
}

int ClientVirtualDevice::GetCommand(time_t timeout, VDC_Command** command) {
  return Guarded([&] {
    return cvd != nullptr ? GetCommandOf(*cvd->session, timeout, command) : VD_E_PROTOCOL;
  });
}

int ClientVirtualDevice::CompleteCommand(VDC_Command* command, int completionCode,
                                         unsigned long bytesTransferred, int64_t position) {
  return Guarded([&] {
    if (cvd == nullptr) {
      return VD_E_PROTOCOL;
    }
    DeviceSession& session = *cvd->session;
    ReportOddCode(session, completionCode);
    const capstan::Status completed =
        session.CompleteCommand(command, completionCode, bytesTransferred, position);
    return completed.ok()
               ? NOERROR
               : session.diagnostics().Conclude(kCompleteCommand, session.name(), completed);
  });
}
