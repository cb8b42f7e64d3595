// A client of a device set, as a process of its own: torture_client SOCKET SET DEVICES. Serves all
// devices from one thread each until the set ends, however it does, or it is killed. Exit status: 0
// the engine closed the set in good order, 3 it was aborted, 1 anything else.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "vdi/client_device_set.h"

namespace {

using namespace capstan;       // NOLINT(google-build-using-namespace): the whole program
using namespace capstan::vdi;  // NOLINT(google-build-using-namespace)

constexpr int kAborted = 3;

int ExitOf(const Status& status) {
  if (status.code() == Code::kAborted) {
    return kAborted;
  }
  std::fprintf(stderr, "torture_client: %s\n", status.ToString().c_str());
  return 1;
}

// Writes come back as they are; every 97th fails, to keep IO-ERROR and ClearError busy.
Status Serve(ClientDevice& device) {
  for (std::uint64_t count = 1;; ++count) {
    // Abort and the engine's death end this wait.
    const auto got = device.GetCommand(Deadline::Never());
    if (!got.ok()) {
      return got.status();
    }
    if (!got->has_value()) {
      return OkStatus();
    }
    const ClientCommand& command = **got;
    const bool fails = command.code == CommandCode::kWrite && count % 97 == 0;
    CAPSTAN_RETURN_IF_ERROR(device.CompleteCommand(
        command.id, fails ? CompletionCode::kDiskFull : CompletionCode::kSuccess,
        command.code == CommandCode::kWrite && !fails ? command.size : 0, 0));
  }
}

Status Run(const std::string& path, const std::string& name, std::uint32_t device_count) {
  CAPSTAN_ASSIGN_OR_RETURN(auto set,
                           ClientDeviceSet::Create(path, name, {.device_count = device_count}));
  CAPSTAN_RETURN_IF_ERROR(set->GetConfiguration(Deadline::Never()).status());  // as above
  std::vector<Status> ended(device_count);
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < device_count; ++i) {
      const std::string device_name = i == 0 ? name : name + "." + std::to_string(i);
      CAPSTAN_ASSIGN_OR_RETURN(ClientDevice * device, set->OpenDevice(device_name));
      threads.emplace_back([device, &end = ended[i]] { end = Serve(*device); });
    }
  }
  for (Status& end : ended) {
    CAPSTAN_RETURN_IF_ERROR(std::move(end));
  }
  return set->Close();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: torture_client SOCKET SET DEVICES\n", stderr);
    return 2;
  }
  const Status ran = Run(argv[1], argv[2], static_cast<std::uint32_t>(std::atoi(argv[3])));
  return ran.ok() ? 0 : ExitOf(ran);
}
