// A client with one fault, to see that the server survives it.
//
//   faulty_client {--backup|--restore} DATABASE --fault FAULT [--after N] [as in session.h]
//
// FAULT is one of:
//   never-opens       waits for the configuration, then opens no device and does not close
//   never-takes       opens its device and takes no command
//   aborts            SignalAbort after N commands, in mid-transfer
//   closes            Close with the device open after N commands
//   too-many-bytes    completes a transfer with more bytes than it has
//   completes-twice   completes a command again
//   vd-code           completes with a VD_E_ value, as some programs do by mistake
//   short-success     completes a transfer with success and half of its bytes
// It has no medium: whatever is written is thrown away, whatever is read is zeros.
#include <cstdio>
#include <cstring>
#include <string>

#include <unistd.h>

#include "arguments.h"
#include "medium.h"
#include "session.h"

namespace {

// Until the test ends us, or the server the set.
int WaitForAbort(vendor::Session* session) {
  VDConfig config;
  while (session->set().GetConfiguration(0, &config) == 0) {
    usleep(10000);
  }
  return VD_E_ABORT;
}

int CompleteWrongly(ClientVirtualDevice* device, VDC_Command* command, const std::string& fault) {
  const bool transfer = command->commandCode == VDC_Read || command->commandCode == VDC_Write;
  const unsigned long size = transfer ? static_cast<unsigned long>(command->size) : 0;
  if (fault == "too-many-bytes" && transfer) {
    vendor::PrintStatus("Completion of too many bytes",
                        device->CompleteCommand(command, ERROR_SUCCESS, size + 1, 0));
  }
  if (fault == "vd-code") {
    vendor::PrintStatus("Completion with a status of VDI",
                        device->CompleteCommand(command, VD_E_ABORT, 0, 0));
  }
  const int status = device->CompleteCommand(command, ERROR_SUCCESS,
                                             fault == "short-success" ? size / 2 : size, 0);
  if (fault == "completes-twice") {
    vendor::PrintStatus("Second completion",
                        device->CompleteCommand(command, ERROR_SUCCESS, size, 0));
  }
  return status;
}

int Serve(vendor::Session* session, ClientVirtualDevice* device, const std::string& fault,
          long after) {
  VDC_Command* command = nullptr;
  int status;
  for (long count = 0; (status = device->GetCommand(90, &command)) == 0; ++count) {
    if (command->commandCode == VDC_Read) {
      std::memset(command->buffer, 0, static_cast<std::size_t>(command->size));
    }
    if (count == after && fault == "aborts") {
      vendor::PrintStatus("SignalAbort", session->set().SignalAbort());
    }
    if (count == after && fault == "closes") {
      return VD_E_OPEN;
    }
    status = count >= after ? CompleteWrongly(device, command, fault)
                            : CompleteWrongly(device, command, "");
    if (status != 0) {
      break;
    }
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  const vendor::Arguments arguments(argc, argv);
  const std::string fault = arguments.Required("fault");
  vendor::Session session(arguments);
  if (!session.Begin() || !session.AwaitConfiguration()) {
    return session.End(false);
  }
  if (fault == "never-opens") {
    vendor::Session::Report(0, WaitForAbort(&session));
    return session.End(false);
  }
  ClientVirtualDevice* device = session.Open(0);
  if (device == nullptr) {
    return session.End(false);
  }
  const int status = fault == "never-takes"
                         ? WaitForAbort(&session)
                         : Serve(&session, device, fault, arguments.Number("after", 0));
  vendor::Session::Report(0, status);
  return session.End(status == VD_E_CLOSE);
}
