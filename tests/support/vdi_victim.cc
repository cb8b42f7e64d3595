// A program that holds one end of a device set and is there to be killed.
//
//   vdi_victim client SOCKET NAME close|abort        executes the commands of a session
//   vdi_victim secondary SOCKET NAME                 joins a configured set and does the same
//   vdi_victim engine SOCKET NAME close|abort        sends them
//   vdi_victim busy-client SOCKET NAME [TIMEOUT]     completes writes as fast as they come; the
//                                                    server's timeout in ms
//   vdi_victim busy-engine SOCKET NAME               sends them until the set ends
//   vdi_victim vendor SOCKET NAME FILE [FAULT]       keeps what is written in a file, or reads it
//
// A vendor's FAULT happens when the first Flush comes: abort (SignalAbort), leave (Close with the
// device open), stop (SIGSTOP; after a serverTimeOut was asked for) or die (SIGKILL).
// Exit status 0: its part ended in good order.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include <signal.h>

#include "tests/support/busy_engine.h"
#include "tests/support/device_session.h"
#include "vdi/rendezvous.h"

namespace capstan::vdi {
namespace {

struct Order {
  std::string_view role;
  std::string path;
  std::string name;
  std::string argument;
  std::string fault;
};

Status ServeBusily(const Order& order) {
  DeviceSetConfig wishes = SessionWishes();
  wishes.server_timeout_ms = static_cast<std::uint32_t>(std::atoi(order.argument.c_str()));
  CAPSTAN_ASSIGN_OR_RETURN(const auto set, ClientDeviceSet::Create(order.path, order.name, wishes));
  CAPSTAN_RETURN_IF_ERROR(set->GetConfiguration(test::Patience()).status());
  CAPSTAN_ASSIGN_OR_RETURN(ClientDevice * device, set->OpenDevice(order.name));
  return ServeDevice(*device, *set, Ending::kClose);
}

// One medium in a file, as a vendor's program would keep it.
class Medium {
 public:
  explicit Medium(std::string path) : path_(std::move(path)) {}

  Status Execute(ClientDevice& device, const ClientCommand& command) {
    std::uint32_t bytes = 0;
    auto code = CompletionCode::kSuccess;
    if (command.code == CommandCode::kWrite) {
      if (!output_.is_open()) {
        output_.open(path_, std::ios::binary | std::ios::trunc);
      }
      output_.write(reinterpret_cast<const char*>(command.buffer), command.size);
      bytes = command.size;
    } else if (command.code == CommandCode::kRead) {
      if (!input_.is_open()) {
        input_.open(path_, std::ios::binary);
      }
      input_.read(reinterpret_cast<char*>(command.buffer), command.size);
      bytes = static_cast<std::uint32_t>(input_.gcount());
      code = bytes == command.size ? code : CompletionCode::kHandleEof;
    } else if (command.code == CommandCode::kFlush) {
      output_.flush();
    }
    if (output_.is_open() && !output_) {
      code = CompletionCode::kDiskFull;
    }
    return device.CompleteCommand(command.id, code, bytes, 0);
  }

 private:
  const std::string path_;
  std::ofstream output_;
  std::ifstream input_;
};

// OK: the command is still to be executed.
Status Misbehave(const Order& order, ClientDeviceSet& set, const ClientCommand& command) {
  if (command.code != CommandCode::kFlush || order.fault.empty()) {
    return OkStatus();
  }
  if (order.fault == "abort") {
    set.SignalAbort();
    return set.abort_reason();
  }
  if (order.fault == "leave") {
    return set.Close();
  }
  ::raise(order.fault == "stop" ? SIGSTOP : SIGKILL);
  return OkStatus();
}

Status ServeAsVendor(const Order& order) {
  CAPSTAN_ASSIGN_OR_RETURN(
      const auto set,
      ClientDeviceSet::Create(order.path, order.name,
                              {.device_count = 1,
                               .features = feature::kRequestComplete,
                               .server_timeout_ms = order.fault == "stop" ? 200U : 0U}));
  std::puts("created");  // the statement may be sent now
  std::fflush(stdout);
  CAPSTAN_RETURN_IF_ERROR(set->GetConfiguration(test::Patience()).status());
  CAPSTAN_ASSIGN_OR_RETURN(ClientDevice * device, set->OpenDevice(order.name));
  Medium medium(order.argument);
  for (;;) {
    CAPSTAN_ASSIGN_OR_RETURN(const auto command, device->GetCommand(test::Patience()));
    if (!command) {
      return set->Close();
    }
    CAPSTAN_RETURN_IF_ERROR(Misbehave(order, *set, *command));
    CAPSTAN_RETURN_IF_ERROR(medium.Execute(*device, *command));
  }
}

Status RunEngine(const Order& order, Ending ending) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto rendezvous, Rendezvous::Listen({.path = order.path}));
  CAPSTAN_ASSIGN_OR_RETURN(const auto set, rendezvous->Open(order.name, test::Patience()));
  if (order.role == "busy-engine") {
    return BusyEngine(*set).Run();
  }
  Status ran = EngineSession(*set, ending).Run();
  Status closed = set->Close();
  return ran.ok() ? closed : ran;
}

Status Run(const Order& order) {
  const Ending ending = order.argument == "abort" ? Ending::kAbort : Ending::kClose;
  if (order.role == "client") {
    return RunClient(order.path, order.name, ending);
  }
  if (order.role == "secondary") {
    return RunSecondary(order.path, order.name);
  }
  if (order.role == "busy-client") {
    return ServeBusily(order);
  }
  if (order.role == "vendor") {
    return ServeAsVendor(order);
  }
  return RunEngine(order, ending);
}

}  // namespace
}  // namespace capstan::vdi

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("usage: vdi_victim ROLE SOCKET NAME [ARGUMENT]\n", stderr);
    return 2;
  }
  const capstan::Status ended = capstan::vdi::Run({.role = argv[1],
                                                   .path = argv[2],
                                                   .name = argv[3],
                                                   .argument = argc > 4 ? argv[4] : "",
                                                   .fault = argc > 5 ? argv[5] : ""});
  if (!ended.ok()) {
    std::fprintf(stderr, "vdi_victim: %s\n", ended.ToString().c_str());
  }
  return ended.ok() ? 0 : 1;
}
