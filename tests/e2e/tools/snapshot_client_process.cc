// A program that takes snapshots, as a vendor's would, driven step by step by a test.
//
//   snapshot_client_process SOCKET SET STREAM
//
// Creates the device set SET, keeps what is written to its one device in the file STREAM, or serves
// it from there. Prints "Created", then the name of every other command that arrives, and completes
// PrepareToFreeze, Snapshot and MountSnapshot with the code that is the next line of standard
// input. Prints "Closed" when the engine closed the device, "Aborted" otherwise.

#include <cstdio>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "vdi/base/unique_fd.h"
#include "vdi/client_device_set.h"

namespace capstan {
namespace {

using vdi::CommandCode;
using vdi::CompletionCode;

void Say(std::string_view line) {
  std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(stdout);
}

CompletionCode Ask() {
  char line[32];
  return std::fgets(line, sizeof line, stdin) != nullptr
             ? static_cast<CompletionCode>(std::strtoul(line, nullptr, 10))
             : CompletionCode::kOperationAborted;
}

CompletionCode Execute(const vdi::ClientCommand& command, int stream, std::uint32_t& bytes) {
  ssize_t done = 0;
  switch (command.code) {
    case CommandCode::kWrite:
      done = ::write(stream, command.buffer, command.size);
      bytes = done < 0 ? 0 : static_cast<std::uint32_t>(done);
      return bytes == command.size ? CompletionCode::kSuccess : CompletionCode::kDiskFull;
    case CommandCode::kRead:
      done = ::read(stream, command.buffer, command.size);
      bytes = done < 0 ? 0 : static_cast<std::uint32_t>(done);
      return bytes == command.size ? CompletionCode::kSuccess : CompletionCode::kHandleEof;
    case CommandCode::kPrepareToFreeze:
    case CommandCode::kSnapshot:
    case CommandCode::kMountSnapshot:
      Say(vdi::CommandName(command.code));
      return Ask();
    case CommandCode::kClearError:
    case CommandCode::kFlush:
      return CompletionCode::kSuccess;
    default:
      return CompletionCode::kNotSupported;
  }
}

int Fail(const Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  Say("Aborted");
  return 1;
}

int Serve(vdi::ClientDeviceSet& set, const std::string& name, const char* stream_path) {
  const auto configured = set.GetConfiguration(Deadline::Never());  // the engine's death ends it
  if (!configured.ok()) {
    return Fail(configured.status());
  }
  const bool writes = (configured->features & vdi::feature::kWriteMedia) != 0;
  const UniqueFd stream(::open(
      stream_path, writes ? O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0600));
  const auto device = set.OpenDevice(name);
  if (!device.ok()) {
    return Fail(device.status());
  }
  while (true) {
    const auto command = (*device)->GetCommand(Deadline::Never());  // as above
    if (!command.ok()) {
      return Fail(command.status());
    }
    if (!command->has_value()) {
      Say("Closed");
      return 0;
    }
    std::uint32_t bytes = 0;
    const CompletionCode code = Execute(**command, stream.get(), bytes);
    if (Status status = (*device)->CompleteCommand((**command).id, code, bytes, 0); !status.ok()) {
      return Fail(status);
    }
  }
}

int Main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: snapshot_client_process SOCKET SET STREAM\n");
    return 2;
  }
  auto set = vdi::ClientDeviceSet::Create(
      argv[1], argv[2], {.device_count = 1, .features = vdi::feature::kSnapshotPrepare});
  if (!set.ok()) {
    return Fail(set.status());
  }
  Say("Created");
  return Serve(**set, argv[2], argv[3]);
}

}  // namespace
}  // namespace capstan

int main(int argc, char** argv) {
  return capstan::Main(argc, argv);
}
