// sync_client: a backup program as vendors have written it for twenty years: one thread,
// GetCommand, fwrite, CompleteCommand.
//
//   sync_client SET FILE [--durable]
//
// Creates the device set SET, prints "ready", and stores what a BACKUP ... TO VIRTUAL_DEVICE='SET'
// sends in FILE. A Flush empties the program's buffer, as most programs have it; with --durable it
// also waits until the data is on disk, as it should. Exit status: 0 the server closed the device
// in good order, 1 it did not, 2 wrong usage.
#include <cstdio>
#include <cstring>
#include <memory>

#include <unistd.h>
#include <vdi.h>

namespace {

constexpr time_t kConfigurationTimeoutMs = 60'000;
constexpr time_t kCommandTimeoutS = 90;

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

int Execute(const VDC_Command& command, std::FILE* file, bool durable, unsigned long* bytes) {
  switch (command.commandCode) {
    case VDC_Write:
      *bytes = std::fwrite(command.buffer, 1, static_cast<std::size_t>(command.size), file);
      return *bytes == static_cast<unsigned long>(command.size) ? ERROR_SUCCESS : ERROR_DISK_FULL;
    case VDC_Flush:
      return std::fflush(file) == 0 && (!durable || ::fdatasync(::fileno(file)) == 0)
                 ? ERROR_SUCCESS
                 : ERROR_DISK_FULL;
    case VDC_ClearError:
      return ERROR_SUCCESS;
    default:
      return ERROR_NOT_SUPPORTED;
  }
}

// What GetCommand said last: VD_E_CLOSE is the normal end.
int Transfer(ClientVirtualDevice& device, std::FILE* file, bool durable) {
  VDC_Command* command = nullptr;
  int status = NOERROR;
  while ((status = device.GetCommand(kCommandTimeoutS, &command)) == NOERROR) {
    unsigned long bytes = 0;
    const int code = Execute(*command, file, durable, &bytes);
    status = device.CompleteCommand(command, code, bytes, 0);
    if (status != NOERROR) {
      break;
    }
  }
  return status;
}

int Fail(const char* call, int status) {
  std::fprintf(stderr, "sync_client: %s gave %#x\n", call, static_cast<unsigned int>(status));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const bool durable = argc == 4 && std::strcmp(argv[3], "--durable") == 0;
  if (argc < 3 || argc > 4 || (argc == 4 && !durable)) {
    std::fputs("usage: sync_client SET FILE [--durable]\n", stderr);
    return 2;
  }
  ClientVirtualDeviceSet set;
  VDConfig config{};
  config.deviceCount = 1;
  if (const int status = set.Create(argv[1], &config); status != NOERROR) {
    return Fail("Create", status);
  }
  std::puts("ready");
  std::fflush(stdout);
  if (const int status = set.GetConfiguration(kConfigurationTimeoutMs, &config);
      status != NOERROR) {
    return Fail("GetConfiguration", status);
  }
  ClientVirtualDevice* device = nullptr;
  if (const int status = set.OpenDevice(argv[1], &device); status != NOERROR) {
    return Fail("OpenDevice", status);
  }
  const File file(std::fopen(argv[2], "wb"), std::fclose);
  if (file == nullptr) {
    std::perror("sync_client: fopen");
    return 1;
  }
  const int last = Transfer(*device, file.get(), durable);
  set.Close();
  return last == VD_E_CLOSE ? 0 : Fail("the transfer", last);
}
